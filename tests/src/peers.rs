//! Test cases of netagent's peers: transparency to a customer's tags, as carriers test their
//! Ethernet services; the VLAN cases of the CNI bridge plugin; the functional part of RFC 2889 for
//! LAN switches. Each case is a list of rows. A row is a frame that a port sends and its outcome at
//! all ports. This module runs rows.

mod bridge_plugin;
mod bridge_plugin_vlans;
mod lan_switch;
mod transparency;

use std::{collections::BTreeMap, time::Duration};

use crate::{
    fence::{BURST, Fence},
    frame::Frame,
    lab::{Netns, stay_on_one_processor},
    node::Node,
    wire::Wire,
};

type Address = [u8; 6];
/// Tags as (TPID, TCI), from the outer to the inner.
type Tags = [(u16, u16)];

/// A frame that enters a port; the ports that it leaves, with its tags there; the ports that count
/// it as dropped, with the reason.
struct Row {
    from: &'static str,
    frame: Frame,
    leaves: Vec<(&'static str, Vec<(u16, u16)>)>,
    drops: Vec<(&'static str, &'static str)>,
}

/// A broadcast frame that reaches no port, unless the row is extended.
fn sends(from: &'static str, tags: &Tags) -> Row {
    Row { from, frame: Frame::numbered(0, tags), leaves: vec![], drops: vec![] }
}

impl Row {
    fn reaches(mut self, port: &'static str, tags: &Tags) -> Self {
        self.leaves.push((port, tags.to_vec()));
        self
    }

    fn dropped_at(mut self, port: &'static str, reason: &'static str) -> Self {
        self.drops.push((port, reason));
        self
    }

    /// Sets the source address. By default every frame has a source of its own.
    fn source(mut self, source: Address) -> Self {
        self.frame.source = source;
        self
    }

    fn to(mut self, destination: Address) -> Self {
        self.frame.destination = destination;
        self
    }

    fn ethertype(mut self, ethertype: u16) -> Self {
        self.frame.ethertype = ethertype;
        self
    }

    fn payload(mut self, length: usize) -> Self {
        self.frame.payload.resize(length, 0);
        self
    }

    /// Gives the frame a number, which distinguishes it from all other frames.
    fn number(&mut self, number: u32) {
        let numbered = Frame::numbered(number, &[]);
        if self.frame.source == Frame::numbered(0, &[]).source {
            self.frame.source = numbered.source;
        }
        for (byte, value) in self.frame.payload.iter_mut().zip(&numbered.payload[..4]) {
            *byte = *value;
        }
    }
}

/// A station that sends several frames. All frames of a test have its first two bytes.
const fn station(kind: u8, number: u16) -> Address {
    let [high, low] = number.to_be_bytes();
    [0x02, 0x74, 1, kind, high, low]
}

/// A node and the other ends of its ports.
struct Lab {
    node: Node,
    others: Netns,
    wires: Vec<(&'static str, Wire)>,
    fence: Fence,
    sent: u32,
}

impl Lab {
    fn new(ports: &[&'static str]) -> Self {
        stay_on_one_processor();
        let (node, others) = (Node::new(), Netns::new("others"));
        ports.iter().for_each(|port| node.netns.veth(port, &others, port));
        let wires = ports.iter().map(|port| (*port, Wire::open(&others, port))).collect();
        let fence = Fence::new(&others);
        Self { node, others, wires, fence, sent: 0 }
    }

    fn apply(&self, yaml: &str) {
        self.node.apply(yaml);
        self.node.assert_settled();
    }

    /// Sends the frames of all rows. Asserts that every port receives exactly the expected frames
    /// and that every drop is counted. The `last` rows together reach every port: frames stay in
    /// order, so no frame of the other rows arrives after them.
    fn prove(&mut self, what: &str, rows: Vec<Row>, last: Vec<Row>) {
        let before = self.node.drops();
        // Expected minus received frames, by port.
        let mut due: BTreeMap<_, BTreeMap<Vec<u8>, i32>> = BTreeMap::new();
        let mut ends: BTreeMap<_, Vec<Vec<u8>>> = BTreeMap::new();
        let mut drops = BTreeMap::new();
        let first_of_last = rows.len();
        for (index, mut row) in rows.into_iter().chain(last).enumerate() {
            self.sent += 1;
            row.number(self.sent);
            for (port, tags) in row.leaves {
                let bytes = row.frame.with_tags(&tags).to_bytes();
                if index >= first_of_last {
                    ends.entry(port).or_default().push(bytes.clone());
                }
                *due.entry(port).or_default().entry(bytes).or_default() += 1;
            }
            for (port, reason) in row.drops {
                *drops.entry((port.to_owned(), reason.to_owned())).or_insert(0) += 1;
            }
            // At most as many frames as fit into a queue, and the `last` rows after all others.
            if self.sent.is_multiple_of(BURST) || index == first_of_last {
                self.fence.pass();
            }
            self.wire(row.from).send(&row.frame);
        }
        self.fence.pass();
        for (port, wire) in &self.wires {
            let ends = ends.entry(port).or_default();
            assert!(!ends.is_empty(), "{what}: no `last` row reaches {port}");
            let due = due.entry(port).or_default();
            while !ends.is_empty() {
                // A lost frame fails the comparison below.
                let Some(bytes) = wire.receive(Duration::from_secs(10)) else { break };
                if bytes.get(6..8) == Some(&Frame::numbered(0, &[]).source[..2]) {
                    ends.retain(|end| *end != bytes);
                    *due.entry(bytes).or_default() -= 1;
                }
            }
            let odd = |sign: i32| {
                let odd = due.iter().filter(move |(_, count)| count.signum() == sign);
                odd.map(|(bytes, _)| format!("\n  {:02x?}", &bytes[..bytes.len().min(40)]))
            };
            let (missing, wrong): (String, String) = (odd(1).collect(), odd(-1).collect());
            assert!(
                missing.is_empty() && wrong.is_empty(),
                "{what}: {port} did not receive{missing}\nand received{wrong}\n{}",
                self.node.ok("show drops")
            );
        }
        assert_eq!(self.drops_since(&before, &drops), drops, "{what}");
    }

    fn wire(&self, port: &str) -> &Wire {
        let found = self.wires.iter().find(|(name, _)| *name == port);
        &found.unwrap_or_else(|| panic!("no port {port}")).1
    }

    /// The drops since `before`, by port and reason.
    fn drops_since(
        &self,
        before: &BTreeMap<(String, String), u64>,
        expected: &BTreeMap<(String, String), u64>,
    ) -> BTreeMap<(String, String), u64> {
        // A VLAN-unaware bridge floods, and the filtering ports count these drops. A VLAN-aware
        // bridge does not.
        const FLOODED: &str = "egress-filtered";
        let flooded = expected.keys().any(|(_, reason)| reason == FLOODED);
        let mut drops = self.node.drops();
        for (kind, packets) in &mut drops {
            *packets -= before.get(kind).unwrap_or(&0);
        }
        drops.retain(|(_, reason), packets| *packets > 0 && (flooded || reason != FLOODED));
        drops
    }
}
