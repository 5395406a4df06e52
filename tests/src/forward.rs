//! Known unicast frames bypass the bridge and leave as they would leave through it: at the port
//! behind which the bridge knows the station, with the tags of that port, counted at both ports.
//! When a station or a port changes, no frame reaches a wrong port.

mod bonds;
mod bulk;
mod clusters;
pub mod crossing;
pub mod entry;
mod movement;
mod path;
mod tags;
mod too_long;
mod trust;

pub use path::Path;
pub use tags::every_case;

use std::{cell::Cell, collections::BTreeSet, time::Duration};

use crate::{
    Feature,
    fence::Fence,
    frame::{C, Frame, TEST},
    lab::{Netns, seen, stay_on_one_processor, wait_for, wait_until_eq},
    needs,
    node::Node,
    wire::Wire,
};

pub type Address = [u8; 6];

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: FILTERING, fastPath: PATH, uplink: { nics: [eth2], bond: { mode: none }, xdp: XDP } }
networks:
  v100:  { clusterNetwork: oob, vlan: 100 }
  v200:  { clusterNetwork: oob, vlan: 200 }
  trunk: { clusterNetwork: oob, trunk: '100,200' }
ports:
  - { device: vm-a, network: v100 }
  - { device: vm-b, network: v100 }
  - { device: vm-c, network: v200 }
  - { device: vm-t, network: trunk }
";

const PORTS: [&str; 5] = ["eth2", "vm-a", "vm-b", "vm-c", "vm-t"];

/// The tags of a frame in a VLAN at a port.
fn tags(port: &str, vid: u16) -> Vec<(u16, u16)> {
    if matches!(port, "eth2" | "vm-t") { vec![(C, vid)] } else { vec![] }
}

fn config(filtering: &str, path: Path) -> String {
    path.fill_in(&CONFIG.replace("FILTERING", filtering))
}

pub const fn station(number: u8) -> Address {
    [0x02, 0x74, 0xff, 0, 0, number]
}

/// A node whose agent follows the bridge, and the other ends of its ports.
struct Lab {
    node: Node,
    others: Netns,
    wires: Vec<(&'static str, Wire)>,
    fence: Fence,
    sent: Cell<u32>,
}

impl Lab {
    fn new(filtering: &str, path: Path) -> Self {
        stay_on_one_processor();
        let (node, others) = (Node::new(), Netns::new("others"));
        PORTS.iter().for_each(|port| node.netns.veth(port, &others, port));
        path.prepare(&node.netns, &others, &PORTS[1..]);
        let wires = PORTS.iter().map(|port| (*port, Wire::open(&others, port))).collect();
        node.configure(&config(filtering, path));
        let fence = Fence::new(&others);
        Self { node, others, wires, fence, sent: Cell::new(0) }
    }

    fn wire(&self, port: &str) -> &Wire {
        &self.wires.iter().find(|(name, _)| *name == port).unwrap().1
    }

    /// Sends a frame with a number of its own from a port.
    fn send(&self, from: &str, vid: u16, source: Address, destination: Address) -> Frame {
        self.send_long(from, vid, [source, destination], 46)
    }

    /// [`send`](Self::send), with a payload of this length.
    fn send_long(
        &self,
        from: &str,
        vid: u16,
        [source, destination]: [Address; 2],
        length: usize,
    ) -> Frame {
        let number = self.sent.replace(self.sent.get() + 1);
        let mut frame = Frame { destination, source, ..Frame::numbered(number, &tags(from, vid)) };
        frame.payload.resize(length, 0);
        self.wire(from).send(&frame);
        frame
    }

    /// Sends a broadcast frame and returns the frames that leave a port before it.
    fn until_now(&self, port: &str, vid: u16) -> Vec<Frame> {
        let from = PORTS.into_iter().find(|from| *from != port && carries(from, vid)).unwrap();
        self.fence.pass();
        let end = self.send(from, vid, station(0), crate::frame::BROADCAST);
        let mut frames = Vec::new();
        loop {
            let bytes = self.wire(port).receive(Duration::from_secs(10));
            let bytes = bytes.unwrap_or_else(|| panic!("{port} has lost a broadcast frame"));
            let Some(frame) = Frame::from_bytes(&bytes).filter(|frame| frame.ethertype == TEST)
            else {
                continue;
            };
            if frame.number() == end.number() {
                return frames;
            }
            frames.push(frame);
        }
    }

    /// The ports of a VLAN that a frame leaves. Asserts that it leaves each with the right tags and
    /// once.
    fn reached(&self, vid: u16, frame: &Frame) -> BTreeSet<&'static str> {
        let ports = PORTS.into_iter().filter(|port| carries(port, vid));
        let reached = ports.filter(|port| {
            let frames = self.until_now(port, vid);
            let copies: Vec<_> = frames.iter().filter(|f| f.number() == frame.number()).collect();
            if let Some(copy) = copies.first() {
                assert_eq!(**copy, frame.with_tags(&tags(port, vid)), "at {port}");
            }
            assert!(copies.len() < 2, "{port} got the frame {} times", copies.len());
            !copies.is_empty()
        });
        reached.collect()
    }

    /// Sends from a station at a port, and waits until the programs know the station.
    fn learn(&self, port: &str, vid: u16, source: Address) {
        self.send(port, vid, source, crate::frame::BROADCAST);
        let there = Some(port.to_owned());
        wait_until_eq("the agent knows the station", &there, || self.known(vid, source));
    }

    /// The device to which the programs send frames for a station.
    fn known(&self, vid: u16, mac: Address) -> Option<String> {
        let rows: serde_json::Value = serde_json::from_str(&self.node.ok("show fdb -j")).unwrap();
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        let of_vlan = |row: &&serde_json::Value| {
            row["vlan"] == "all" || row["vlan"] == vid.to_string().as_str()
        };
        let mut rows = rows.as_array().unwrap().iter().filter(of_vlan);
        let row = rows.find(|row| row["mac"] == mac.as_str() && row["moved"] == false)?;
        Some(row["device"].as_str().unwrap().to_owned())
    }
}

fn carries(port: &str, vid: u16) -> bool {
    matches!(port, "eth2" | "vm-t") || (vid == 200) == (port == "vm-c")
}

/// How many stations have moved to a port.
pub fn mac_moves(node: &Node, port: &str) -> Option<u64> {
    let metrics = node.get("metrics");
    let series = format!("netagent_port_mac_moves_total{{device=\"{port}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
}

/// The number of frames from a port that took this path.
pub fn forwarded(node: &Node, device: &str, path: &str) -> u64 {
    let series = format!("netagent_forward_packets_total{{device=\"{device}\",path=\"{path}\"}} ");
    let metrics = node.get("metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
    line.unwrap_or_else(|| panic!("no {series}in {metrics}")).parse().unwrap()
}

/// For every pair of ports and both VLANs: each frame reaches its station and no other port, all
/// but the first few frames bypass the bridge, and the devices have counted the frames that the
/// programs counted.
fn all_pairs(filtering: &str, path: Path) {
    const FRAMES: u64 = 5;
    let lab = Lab::new(filtering, path);
    let _daemon = lab.node.run();
    for (vid, ports) in
        [(100, ["eth2", "vm-a", "vm-b", "vm-t"]), (200, ["eth2", "vm-c", "vm-t", ""])]
    {
        let ports = ports.into_iter().filter(|port| !port.is_empty()).zip(1..);
        let ports: Vec<_> = ports
            .map(|(port, number)| (port, station(number + u8::try_from(vid).unwrap())))
            .collect();
        for (port, mac) in &ports {
            lab.learn(port, vid, *mac);
        }
        for (from, source) in &ports {
            let path = path.counted(from);
            let before = forwarded(&lab.node, from, path);
            for (to, destination) in ports.iter().filter(|(to, _)| to != from) {
                for _ in 0..FRAMES {
                    let frame = lab.send(from, vid, *source, *destination);
                    assert_eq!(lab.reached(vid, &frame), BTreeSet::from([*to]), "{from} to {to}");
                }
            }
            let fast = forwarded(&lab.node, from, path) - before;
            let others = u64::try_from(ports.len()).unwrap() - 1;
            // The bridge receives one frame of each source in 17 seconds.
            assert!(fast + 3 >= FRAMES * others, "{from}: only {fast} frames bypassed the bridge");
        }
    }
    // The programs counted as many frames to a VM as the VM's device received.
    for port in &PORTS[1..] {
        let sent: u64 = [100, 200]
            .into_iter()
            .filter(|vid| carries(port, *vid))
            .map(|vid| lab.node.packets(port, &vid.to_string()).1)
            .sum();
        assert_eq!(sent, received(&lab.others, port), "{port}");
    }
}

fn received(netns: &Netns, device: &str) -> u64 {
    let link = &netns.json(&format!("ip -j -s link show {device}"))[0];
    link["stats64"]["rx"]["packets"].as_u64().unwrap()
}

#[test]
fn known_unicast_bypasses_an_unaware_bridge() {
    all_pairs("off", Path::Peer);
}

#[test]
fn known_unicast_bypasses_an_unaware_bridge_into_queues() {
    all_pairs("off", Path::Tc);
}

#[test]
fn known_unicast_bypasses_an_aware_bridge() {
    if needs(&[Feature::VlanFiltering]) {
        all_pairs("on", Path::Peer);
    }
}

#[test]
fn known_unicast_bypasses_an_unaware_bridge_by_xdp() {
    all_pairs("off", Path::Xdp);
}

#[test]
fn known_unicast_bypasses_an_aware_bridge_by_xdp() {
    if needs(&[Feature::VlanFiltering]) {
        all_pairs("on", Path::Xdp);
    }
}

#[test]
fn fast_path_can_be_switched_on_at_run_time() {
    let lab = Lab::new("off", Path::Bridge);
    let daemon = lab.node.run();
    let [a, b] = [station(1), station(2)];
    lab.send("vm-a", 100, a, crate::frame::BROADCAST);
    lab.send("vm-b", 100, b, crate::frame::BROADCAST);
    let frame = lab.send("vm-a", 100, a, b);
    assert_eq!(lab.reached(100, &frame), BTreeSet::from(["vm-b"]));
    assert_eq!(forwarded(&lab.node, "vm-a", "tc"), 0);
    lab.node.configure(&config("off", Path::Peer));
    daemon.hangup();
    wait_for("frames bypass the bridge", || {
        let frame = lab.send("vm-a", 100, a, b);
        assert_eq!(lab.reached(100, &frame), BTreeSet::from(["vm-b"]));
        let forwarded = forwarded(&lab.node, "vm-a", "tc");
        seen(forwarded, forwarded > 0)
    });
}

/// Frames to unknown stations are limited; frames to known stations are not.
#[test]
fn unknown_unicast_is_limited() {
    const LIMIT: u32 = 5;
    let lab = Lab::new("off", Path::Peer);
    let yaml = config("off", Path::Peer).replace(
        "{ device: vm-a, network: v100 }",
        &format!(
            "{{ device: vm-a, network: v100, security: {{ storm: {{ unknown: {LIMIT} }} }} }}"
        ),
    );
    lab.node.configure(&yaml);
    let _daemon = lab.node.run();
    lab.learn("vm-a", 100, station(1));
    lab.learn("vm-b", 100, station(2));
    let began = std::time::Instant::now();
    for _ in 0..200 {
        lab.send("vm-a", 100, station(1), station(99));
        lab.send("vm-a", 100, station(1), station(2));
    }
    let frames = lab.until_now("vm-b", 100);
    let to = |mac| u32::try_from(frames.iter().filter(|f| f.destination == mac).count()).unwrap();
    assert_eq!(to(station(2)), 200);
    let most = LIMIT * u32::try_from(began.elapsed().as_secs() + 2).unwrap();
    assert!((LIMIT..=most).contains(&to(station(99))), "{} of at most {most}", to(station(99)));
    let stopped = lab.node.drops()[&("vm-a".to_owned(), "unknown-storm".to_owned())];
    assert_eq!(stopped, u64::from(200 - to(station(99))));
}
