//! One VM sends from a million addresses and in every VLAN. Nothing of the agent or its maps grows,
//! every drop is counted, and its neighbour loses no frame.

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
/// Ends the flood earlier, after enough frames: an emulated machine is slow.
const TIME: Duration = Duration::from_secs(5);
const SOAK_TIME: Duration = Duration::from_secs(120);
const ENOUGH: u32 = 20_000;
/// The neighbour sends a frame after so many.
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
fn a_flood_of_addresses_and_vlans_grows_nothing_and_harms_nobody() {
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
    // On one processor frames stay in order: when the neighbour's frame arrives, all before it have
    // been judged.
    stay_on_one_processor();
    // What is allocated once, at the first drops and at the first scrapes, is no growth.
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
    assert!(grown < 1024, "the agent has grown by {grown} KiB");
    let fdb = node.netns.sh("bridge fdb show dev hostile");
    let learned = fdb.lines().filter(|line| !line.contains("permanent")).count();
    assert!(learned <= MAX_MACS as usize, "{fdb}");
}

/// Without a limit the bridge learns them all, which is its own affair. Of what it knows of one VM
/// the programs' copy has no more than that VM's share, and the agent that makes it does not grow
/// either; others keep their place.
#[test]
fn what_a_bridge_learns_of_one_vm_is_copied_up_to_its_share() {
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
    // What is allocated once is no growth.
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
    assert!(grown < 1024, "the agent has grown by {grown} KiB");
    let neighbour = ("neighbour".to_owned(), "02:74:00:00:00:00".to_owned());
    assert!(copied().contains(&neighbour));
}

/// Untagged from ever new addresses, and tagged with every VID in turn.
fn hostile_frame(number: u32) -> Frame {
    let [_, b, c, d] = number.to_be_bytes();
    let tags = [(0x8100, u16::try_from(number / 2 % 4096).unwrap())];
    let tags = if number.is_multiple_of(2) { &[][..] } else { &tags };
    Frame { source: [0x06, 0, 0, b, c, d], ..Frame::numbered(number, tags) }
}

/// The first addresses have the slots, and the others never get one.
fn passes(number: u32) -> bool {
    // Frames 0, 1 (VID 0, a priority tag), 2 and 4: the warm-up has shown them already.
    matches!(number, 0 | 1 | 2 | 4)
}

fn dropped(node: &Node) -> u64 {
    let drops = node.drops();
    drops.iter().filter(|((device, _), _)| device == "hostile").map(|(_, packets)| packets).sum()
}

/// Bytes of each map, by its name.
fn map_bytes(node: &Node) -> String {
    node.netns.sh(&format!(
        "for map in {}/*; do echo ${{map##*/}} $(bpftool map show pinned $map | grep -o 'memlock [0-9]*B'); done",
        node.pin("maps")
    ))
}

/// Of its own memory, not of its file's pages. In KiB.
fn resident(daemon: &Daemon<'_>) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
