//! What netagent's peers are tested for: transparency to a customer's tags, as carriers test their
//! Ethernet services; the VLAN cases of the CNI bridge plugin; and the functional part of RFC 2889
//! for LAN switches. Each is a list of rows, and a row is what a port sends and what becomes of it.
//! This module runs rows.

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
/// Tags as (TPID, TCI), from the outside in.
type Tags = [(u16, u16)];

/// A frame that comes in at a port; all ports that it leaves, with its tags there; all that count
/// it as dropped, and why.
struct Row {
    from: &'static str,
    frame: Frame,
    leaves: Vec<(&'static str, Vec<(u16, u16)>)>,
    drops: Vec<(&'static str, &'static str)>,
}

/// A broadcast frame, which no port gets unless the row goes on to say so.
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

    /// Addresses of a station; else every frame has a source of its own.
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

    /// Gives it a number, by which it differs from all others.
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

/// A station that sends more than one frame. The first two bytes are those of all frames of a test.
const fn station(kind: u8, number: u16) -> Address {
    let [high, low] = number.to_be_bytes();
    [0x02, 0x74, 1, kind, high, low]
}

/// A node, and the other ends of its ports.
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

    /// Sends the frames of all rows, and demands that out of every port comes what is to come and
    /// nothing else, and that every drop is counted. The `last` rows together reach every port:
    /// frames stay in order, so what has not come by then does not come.
    fn prove(&mut self, what: &str, rows: Vec<Row>, last: Vec<Row>) {
        let before = self.node.drops();
        // What is to come less what came, by port.
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
            // No more frames than fit in a queue, and the last ones after all others.
            if self.sent.is_multiple_of(BURST) || index == first_of_last {
                self.fence.pass();
            }
            self.wire(row.from).send(&row.frame);
        }
        self.fence.pass();
        for (port, wire) in &self.wires {
            let ends = ends.entry(port).or_default();
            assert!(!ends.is_empty(), "{what}: {port} gets no frame that proves that none follows");
            let due = due.entry(port).or_default();
            while !ends.is_empty() {
                // A frame that is lost shows in the comparison.
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
                "{what}: {port} should have got{missing}\nand got{wrong}\n{}",
                self.node.ok("show drops")
            );
        }
        assert_eq!(self.drops_since(&before, &drops), drops, "{what}");
    }

    fn wire(&self, port: &str) -> &Wire {
        let found = self.wires.iter().find(|(name, _)| *name == port);
        &found.unwrap_or_else(|| panic!("no port {port}")).1
    }

    /// What was dropped, by port and reason.
    fn drops_since(
        &self,
        before: &BTreeMap<(String, String), u64>,
        expected: &BTreeMap<(String, String), u64>,
    ) -> BTreeMap<(String, String), u64> {
        // A bridge that knows no VLANs floods, and whoever filters behind it counts; an aware one
        // does neither.
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
