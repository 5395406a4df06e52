//! The maps' room: a file that wants more changes nothing, and of two files that both fit each
//! leads to the other, whatever they make of the room that is left.

use std::{fmt::Write as _, time::Duration};

use crate::{
    frame::{C, Frame},
    lab::{Netns, seen, wait_for},
    needs_program,
    node::Node,
    once,
    wire::Wire,
};

const LINKS: [&str; 4] = ["eth2", "t1", "t2", "t3"];

struct Lab {
    node: Node,
    others: Netns,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { node: Node::new(), others: Netns::new("others") };
        for link in LINKS {
            lab.node.netns.veth(link, &lab.others, link);
        }
        lab
    }

    /// An uplink with all VLANs, and trunks with these.
    fn file(trunks: [&str; 3]) -> String {
        let mut text = "clusterNetworks:\n  oob: { vlanFiltering: off, uplink: { nics: [eth2], \
                        bond: { mode: none }, native: none } }\nnetworks:\n  \
                        all: { clusterNetwork: oob, trunk: 1-4094, native: none }\n"
            .to_owned();
        for (link, vids) in LINKS[1..].iter().zip(trunks) {
            writeln!(text, "  {link}: {{ clusterNetwork: oob, trunk: \"{vids}\", native: none }}")
                .unwrap();
        }
        text += "ports:\n";
        for link in &LINKS[1..] {
            writeln!(text, "  - {{ device: {link}, network: {link} }}").unwrap();
        }
        text
    }

    fn apply(&self, trunks: [&str; 3]) {
        self.node.apply(&Self::file(trunks));
        self.node.assert_settled();
    }

    /// A frame in this VLAN from the wire reaches the first two trunks, and is counted there as
    /// often as said.
    fn assert_counts(&self, vid: u16, times: u64) {
        let wire = Wire::open(&self.others, "eth2");
        let receivers = ["t1", "t2"].map(|link| (link, Wire::open(&self.others, link)));
        let frame = Frame::numbered(vid.into(), &[(C, vid)]);
        wire.send(&frame);
        for (link, receiver) in receivers {
            let bytes = receiver.receive(Duration::from_secs(10)).expect("a frame");
            assert_eq!(Frame::from_bytes(&bytes).as_ref(), Some(&frame), "{link}");
            assert_eq!(self.node.packets(link, &vid.to_string()), (0, times), "{link}");
        }
    }

    /// Blocks of 64 VIDs in which somebody has a counter.
    fn blocks(&self) -> usize {
        let dump = format!("bpftool -j map dump pinned {}/PAIR_BLOCKS", self.node.pin("maps"));
        let blocks = self.node.netns.json(&dump);
        let used = |block: &&serde_json::Value| {
            let pairs = block["formatted"]["value"].as_array().unwrap();
            pairs.iter().any(|pair| pair.as_u64() != Some(0))
        };
        blocks.as_array().unwrap().iter().filter(used).count()
    }

    /// Applies, and is killed as soon as it waits for programs that still use what it has replaced
    /// or removed.
    fn apply_and_be_killed(&self, yaml: &str) {
        self.node.configure(yaml);
        let apply = self.node.line(&format!("apply -c {}", self.node.config()));
        let strace =
            "strace -f -o /dev/null -e trace=membarrier -e inject=membarrier:signal=KILL:when=1";
        let output = self.node.netns.output(&format!("{strace} {apply}"));
        assert!(!output.status.success(), "it was not killed");
    }
}

#[test]
fn a_file_that_wants_too_many_counters_changes_nothing() {
    once();
    let lab = Lab::new();
    lab.node.configure(&Lab::file(["1-4094"; 3]));
    let before = lab.node.netns.json("ip -j -d link");
    for command in ["check", "plan", "apply", "run"] {
        let error = lab.node.refused(&format!("{command} -c {}", lab.node.config()));
        assert!(
            error.contains(":11:15: ports[2].device: with t3 the ports so far need 16380 counters"),
            "{error}"
        );
    }
    assert_eq!(lab.node.netns.json("ip -j -d link"), before);
}

#[test]
fn from_any_file_that_fits_to_any_other() {
    once();
    let lab = Lab::new();
    // 14,326 of 14,335 pairs.
    lab.apply(["1-4094", "1-2040", "1-4094"]);
    lab.assert_counts(2, 1);
    // The first grows by what another gives back; its own counters stay.
    lab.apply(["1-2040", "1-4094", "1-4094"]);
    lab.assert_counts(2, 2);
    lab.apply(["1-4094", "1-2040", "1-4094"]);
    lab.assert_counts(2, 3);
    // One alone gives back all that it had, and takes as much.
    lab.apply(["1-4094", "2055-4094", "1-4094"]);
    lab.assert_counts(2055, 1);
    // Pairs and blocks that nobody has any more are others'.
    lab.apply(["100", "3000", "100"]);
    // All of the uplink's, and of each trunk its VLAN's and that of link-local frames.
    assert_eq!(lab.blocks(), 64 + 3 * 2);
    lab.apply(["3000", "100", "100"]);
    assert_eq!(lab.blocks(), 64 + 3 * 2);
}

#[test]
fn what_an_agent_leaves_that_is_killed_is_nobodys() {
    if !needs_program("strace") {
        return;
    }
    let lab = Lab::new();
    // 14,326 of 14,335 pairs.
    lab.apply(["1-4094", "1-2040", "1-4094"]);
    // The new policy is in force, and the old one's counters are there still, in the same blocks.
    let even: Vec<String> = (2..=4094).step_by(2).map(|vid: u16| vid.to_string()).collect();
    let even = even.join(",");
    lab.apply_and_be_killed(&Lab::file([&even, "1-2040", "1-4094"]));
    lab.apply([&even, "1-4080", "1-4094"]);
    lab.assert_counts(4000, 1);

    // Who gets the number of a port that is gone has not dropped what that one did.
    lab.apply([&even, "5", "5"]);
    Wire::open(&lab.others, "t3").send(&Frame::numbered(1, &[(C, 4000)]));
    let dropped = || lab.node.drops().into_keys().any(|(device, _)| device == "t3");
    wait_for("the frame is dropped", || seen(lab.node.drops(), dropped()));
    let without = Lab::file([&even, "5", "5"]).replace("  - { device: t3, network: t3 }\n", "");
    lab.apply_and_be_killed(&without);
    lab.apply([&even, "5", "5"]);
    assert!(!dropped(), "{:?}", lab.node.drops());
}
