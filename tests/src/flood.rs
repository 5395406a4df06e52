//! A VM sends from a million addresses and in every VLAN. Neither the agent nor its maps grow,
//! every drop is counted, and another VM loses no frame.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    fence::Fence,
    frame::{Frame, TEST},
    lab::{Netns, seen, stay_on_one_processor, wait_for, wait_until_eq},
    node::{Daemon, Node},
    once, soak,
    wire::Wire,
};

const FRAMES: u32 = 1_000_000;
/// Maximum duration: an emulated machine may send fewer frames in this time.
const TIME: Duration = Duration::from_secs(5);
const SOAK_TIME: Duration = Duration::from_secs(120);
const ENOUGH: u32 = 20_000;
/// The other VM sends a frame after this number of hostile frames.
const TURN: u32 = 100;
const MAX_MACS: u32 = 4;

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: off, uplink: { nics: [eth2], bond: { mode: none }, xdp: off } }
networks:
  v100: { clusterNetwork: oob, vlan: 100 }
ports:
  - { device: hostile, network: v100, security: { maxMacs: 4 } }
  - { device: neighbour, network: v100 }
";

#[test]
fn flood_of_addresses_and_vlans_grows_nothing_and_loses_no_frame() {
    let (node, others) = (Node::new(), Netns::new("others"));
    for name in ["eth2", "hostile", "neighbour"] {
        node.netns.veth(name, &others, name);
    }
    let [wire, hostile, neighbour] =
        ["eth2", "hostile", "neighbour"].map(|name| Wire::open(&others, name));
    node.configure(CONFIG);
    let daemon = node.run();
    let neighbour_is_heard = |number: u32| {
        let mine = Frame::numbered(number, &[]);
        neighbour.send(&mine);
        loop {
            let bytes = wire.receive(Duration::from_secs(10)).expect("no frame is lost");
            let frame = Frame::from_bytes(&bytes).unwrap();
            if frame.ethertype == TEST && frame.source == mine.source {
                break;
            }
        }
    };
    // On one processor frames stay in order: when the other VM's frame arrives, the programs have
    // decided on all earlier frames.
    stay_on_one_processor();
    // The first drops and the first scrapes allocate once. That is not growth.
    for number in 0..10_000 {
        hostile.send(&hostile_frame(number));
    }
    neighbour_is_heard(0);
    (0..3).for_each(|_| drop(daemon.get("metrics")));
    let (maps, resident) = (map_bytes(&node), resident(&daemon));
    let before = dropped(&node);

    let started = Instant::now();
    let time = if soak() { SOAK_TIME } else { TIME };
    let mut sent = 0;
    while sent < FRAMES && (sent < ENOUGH || started.elapsed() < time) {
        hostile.send(&hostile_frame(sent));
        sent += 1;
        if sent.is_multiple_of(TURN) {
            neighbour_is_heard(sent);
        }
    }
    neighbour_is_heard(sent);
    println!("flood: {sent} frames");
    let stopped: u64 = (0..sent).map(|number| u64::from(!passes(number))).sum();
    assert_eq!(dropped(&node) - before, stopped, "every drop is counted");
    daemon.get("metrics");
    assert_eq!(map_bytes(&node), maps);
    let grown = self::resident(&daemon).saturating_sub(resident);
    println!("flood: the agent has grown by {grown} KiB");
    // A periodic look at the whole node, with the snapshot for readers, may fall into the time: on
    // a slow kernel it needs its memory for the first time now.
    assert!(grown < 2048, "the agent has grown by {grown} KiB");
    let fdb = node.netns.sh("bridge fdb show dev hostile");
    let learned = fdb.lines().filter(|line| !line.contains("permanent")).count();
    assert!(learned <= MAX_MACS as usize, "{fdb}");
}

/// Without a limit the bridge learns all addresses of a VM. The programs' FDB has at most the VM's
/// share of them, the agent does not grow, and other stations keep their entries.
#[test]
fn fdb_has_at_most_the_share_of_a_vm() {
    const ADDRESSES: u32 = 50_000;
    const SHARE: usize = 1024;
    once();
    let (node, others) = (Node::new(), Netns::new("others"));
    for name in ["eth2", "hostile", "neighbour"] {
        node.netns.veth(name, &others, name);
    }
    let [hostile, neighbour] = ["hostile", "neighbour"].map(|name| Wire::open(&others, name));
    node.configure(&CONFIG.replace(", security: { maxMacs: 4 }", ""));
    let daemon = node.run();
    let mine = Frame::numbered(0, &[]);
    neighbour.send(&mine);
    let copied = || -> Vec<(String, String)> {
        let rows: serde_json::Value = serde_json::from_str(&node.ok("show fdb -j")).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| (text(&row["device"]), text(&row["mac"]))).collect()
    };
    let of_hostile = || copied().iter().filter(|(device, _)| device == "hostile").count();
    // The first entries allocate once. That is not growth.
    stay_on_one_processor();
    let fence = Fence::new(&others);
    let address = |number: u32| {
        if number.is_multiple_of(TURN) {
            fence.pass();
        }
        hostile.send(&hostile_frame(2 * number));
    };
    (0..10_000).for_each(address);
    wait_until_eq("the share is used up", &SHARE, of_hostile);
    let (maps, resident) = (map_bytes(&node), resident(&daemon));
    (10_000..ADDRESSES).for_each(address);
    wait_for("the bridge has learned all, the agent has copied the share", || {
        let learned = node.netns.sh("bridge fdb show dev hostile | wc -l");
        let (learned, copied) = (learned.trim().parse::<u32>().unwrap(), of_hostile());
        seen((learned, copied), learned > ADDRESSES && copied == SHARE)
    });
    assert_eq!(map_bytes(&node), maps);
    let grown = self::resident(&daemon).saturating_sub(resident);
    println!("flood: the agent has grown by {grown} KiB");
    // A periodic look at the whole node, with the snapshot for readers, may fall into the time: on
    // a slow kernel it needs its memory for the first time now.
    assert!(grown < 2048, "the agent has grown by {grown} KiB");
    let neighbour = ("neighbour".to_owned(), "02:74:00:00:00:00".to_owned());
    assert!(copied().contains(&neighbour));
}

/// Untagged frames from new addresses, and frames tagged with every VID in turn.
fn hostile_frame(number: u32) -> Frame {
    let [_, b, c, d] = number.to_be_bytes();
    let tags = [(0x8100, u16::try_from(number / 2 % 4096).unwrap())];
    let tags = if number.is_multiple_of(2) { &[][..] } else { &tags };
    Frame { source: [0x06, 0, 0, b, c, d], ..Frame::numbered(number, tags) }
}

/// Whether a frame passes: the first addresses occupy the slots, later ones get none.
fn passes(number: u32) -> bool {
    // Frames 0, 1 (VID 0, a priority tag), 2 and 4: their addresses are known from the warm-up.
    matches!(number, 0 | 1 | 2 | 4)
}

fn dropped(node: &Node) -> u64 {
    let drops = node.drops();
    drops.iter().filter(|((device, _), _)| device == "hostile").map(|(_, packets)| packets).sum()
}

/// The size of each map in bytes, by name.
fn map_bytes(node: &Node) -> String {
    node.netns.sh(&format!(
        "for map in {}/*; do echo ${{map##*/}} $(bpftool map show pinned $map | grep -o 'memlock [0-9]*B'); done",
        node.pin("maps")
    ))
}

/// Anonymous memory in KiB, without the pages of files.
fn resident(daemon: &Daemon<'_>) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
