//! A node with an uplink and VMs, the other ends of its links, and what it has counted.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use serde_json::Value;

use crate::{
    fence::Fence,
    forward,
    frame::{BROADCAST, Frame, TEST},
    lab::{Netns, bpftool_bytes, stay_on_one_processor, wait_until_eq},
    node::Node,
    wire::Wire,
};

pub use crate::forward::{Address, crossing::Tags, station};

/// Length of an Ethernet header.
pub const ETHERNET: usize = 14;

/// A node and the other ends of its links, which have the same names.
pub struct Lab {
    pub node: Node,
    pub others: Netns,
    pub fence: Fence,
    wires: RefCell<BTreeMap<String, Rc<Wire>>>,
    sent: Cell<u32>,
}

impl Lab {
    pub fn new(links: &[&str]) -> Self {
        stay_on_one_processor();
        let (node, others) = (Node::new(), Netns::new("others"));
        let fence = Fence::new(&others);
        let wires = RefCell::default();
        let lab = Self { node, others, fence, wires, sent: Cell::new(0) };
        links.iter().for_each(|link| lab.plug(link, None));
        lab
    }

    /// Adds a link. Its end in the node has this index, or any.
    pub fn plug(&self, link: &str, index: Option<u32>) {
        let index = index.map_or_else(String::new, |index| format!("index {index}"));
        let others = &self.others.name;
        self.node
            .netns
            .sh(&format!("ip link add {link} {index} type veth peer name {link} netns {others}"));
        for netns in [&self.node.netns, &self.others] {
            netns.sh(&format!("ethtool -K {link} txvlan off >/dev/null && ip link set {link} up"));
        }
        let wire = Rc::new(Wire::open(&self.others, link));
        self.wires.borrow_mut().insert(link.to_owned(), wire);
    }

    pub fn unplug(&self, link: &str) {
        self.node.netns.sh(&format!("ip link del {link}"));
        self.wires.borrow_mut().remove(link);
    }

    pub fn wire(&self, link: &str) -> Rc<Wire> {
        self.wires.borrow()[link].clone()
    }

    /// Sends a frame with a number of its own, and of this length without its tags.
    pub fn send_long(
        &self,
        from: &str,
        tags: Tags<'_>,
        [source, destination]: [Address; 2],
        length: usize,
    ) -> Frame {
        let number = self.sent.replace(self.sent.get() + 1);
        let mut frame = Frame { destination, source, ..Frame::numbered(number, tags) };
        frame.payload.resize(length - ETHERNET, 0);
        self.wire(from).send(&frame);
        frame
    }

    /// [`send_long`](Self::send_long), as short as can be.
    pub fn send(&self, from: &str, tags: Tags<'_>, stations: [Address; 2]) -> Frame {
        self.send_long(from, tags, stations, 60)
    }

    /// The frames that leave a port, up to this one, which must come.
    pub fn up_to(&self, port: &str, last: &Frame) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let bytes = self.wire(port).receive(Duration::from_secs(20));
            let bytes = bytes.unwrap_or_else(|| panic!("{last:?} does not come out of {port}"));
            frames.extend(Frame::from_bytes(&bytes).filter(|frame| frame.ethertype == TEST));
            if frames.last().is_some_and(|frame| frame.number() == last.number()) {
                return frames;
            }
        }
    }

    /// Which of these frames leave a port. A broadcast from another port ends the wait.
    pub fn heard(
        &self,
        port: &str,
        frames: &[Frame],
        (from, tags): (&str, Tags<'_>),
    ) -> Vec<usize> {
        self.fence.pass();
        let last = self.send(from, tags, [station(0xee), BROADCAST]);
        let came = self.up_to(port, &last);
        let is_there = |frame: &Frame| came.iter().any(|there| there.number() == frame.number());
        (0..frames.len()).filter(|index| is_there(&frames[*index])).collect()
    }

    /// Sends from a station at a port, and waits until the programs know the station.
    pub fn learn(&self, port: &str, tags: Tags<'_>, source: Address) {
        self.send(port, tags, [source, station(0xdd)]);
        let there = Some(port.to_owned());
        wait_until_eq("the agent knows the station", &there, || self.known(source));
    }

    /// The device to which the programs send frames for a station.
    pub fn known(&self, mac: Address) -> Option<String> {
        let rows: Value = serde_json::from_str(&self.node.ok("show fdb -j")).unwrap();
        let mac = text(mac);
        let row = rows.as_array().unwrap().iter().find(|row| row["mac"] == mac.as_str())?;
        Some(row["device"].as_str().unwrap().to_owned())
    }

    /// What a port has counted in a VLAN.
    pub fn traffic(&self, device: &str, vlan: &str) -> Traffic {
        let ports: Value = serde_json::from_str(&self.node.ok("show vlans -j")).unwrap();
        let of = |list: &Value, key: &str, name: &str| {
            let found = list.as_array().unwrap().iter().find(|entry| entry[key] == name);
            found.cloned().unwrap_or_else(|| panic!("no {key} {name} in {ports}"))
        };
        let vlan = of(&of(&ports, "device", device)["vlans"], "vlan", vlan);
        let number = |key: &str| vlan[key].as_u64().unwrap();
        Traffic {
            received: [number("rx_packets"), number("rx_bytes")],
            transmitted: [number("tx_packets"), number("tx_bytes")],
        }
    }

    /// The drops: packets and bytes by device, direction, VLAN and reason.
    pub fn drops(&self) -> BTreeMap<[String; 4], [u64; 2]> {
        let rows: Value = serde_json::from_str(&self.node.ok("show drops -j")).unwrap();
        let row = |row: &Value| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            let key = ["device", "direction", "vlan", "reason"].map(text);
            (key, ["packets", "bytes"].map(|key| row[key].as_u64().unwrap()))
        };
        rows.as_array().unwrap().iter().map(row).collect()
    }

    /// The number of frames from a port that took this path.
    pub fn forwarded(&self, device: &str, path: &str) -> u64 {
        forward::forwarded(&self.node, device, path)
    }

    /// The number of a device's port, by the index that the programs use.
    pub fn number(&self, device: &str) -> u64 {
        let ifindex = self.node.netns.ifindex(device);
        let element = bpftool_bytes(&(ifindex % 65536).to_ne_bytes());
        let pin = self.node.pin("maps/PORT_INDEX");
        let found =
            self.node.netns.json(&format!("bpftool -j map lookup pinned {pin} key hex {element}"));
        let value = &found["formatted"]["value"];
        assert_eq!(value["ifindex"].as_u64(), Some(ifindex.into()), "{found}");
        value["record"].as_u64().unwrap() / 2
    }
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    pub received: [u64; 2],
    pub transmitted: [u64; 2],
}

/// The increase from one count to another.
pub fn more([packets, bytes]: [u64; 2], [more_packets, more_bytes]: [u64; 2]) -> [u64; 2] {
    [more_packets - packets, more_bytes - bytes]
}

/// An address as text.
pub fn text(mac: Address) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
