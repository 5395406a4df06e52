//! The capacity of the maps: a file that exceeds it changes nothing, and a transition between two
//! files that both fit always succeeds.

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

    /// The configuration of an uplink with all VLANs and of trunks with these VLANs.
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

    /// A frame in this VLAN from the wire reaches the first two trunks, whose counters then have
    /// this value.
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

    /// The number of used blocks of 64 VIDs.
    fn blocks(&self) -> usize {
        let dump = format!("bpftool -j map dump pinned {}/PAIR_BLOCKS", self.node.pin("maps"));
        let blocks = self.node.netns.json(&dump);
        let used = |block: &&serde_json::Value| {
            let pairs = block["formatted"]["value"].as_array().unwrap();
            pairs.iter().any(|pair| pair.as_u64() != Some(0))
        };
        blocks.as_array().unwrap().iter().filter(used).count()
    }

    /// Runs an apply that is killed as soon as it waits for the end of programs that may still use
    /// replaced or removed entries.
    fn apply_and_be_killed(&self, yaml: &str) {
        self.node.configure(yaml);
        let apply = self.node.line(&format!("apply -c {}", self.node.config()));
        let strace =
            "strace -f -o /dev/null -e trace=membarrier -e inject=membarrier:signal=KILL:when=1";
        let output = self.node.netns.output(&format!("{strace} {apply}"));
        assert!(!output.status.success(), "the apply was not killed");
    }
}

#[test]
fn file_that_exceeds_the_counters_changes_nothing() {
    once();
    let lab = Lab::new();
    lab.node.configure(&Lab::file(["1-4094"; 3]));
    lab.node.netns.wait_for_carriers();
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
fn transition_between_any_two_files_that_fit_succeeds() {
    once();
    let lab = Lab::new();
    // Uses 14,326 of 14,335 pairs.
    lab.apply(["1-4094", "1-2040", "1-4094"]);
    lab.assert_counts(2, 1);
    // The first trunk grows by the pairs that the second releases. Its own counters stay.
    lab.apply(["1-2040", "1-4094", "1-4094"]);
    lab.assert_counts(2, 2);
    lab.apply(["1-4094", "1-2040", "1-4094"]);
    lab.assert_counts(2, 3);
    // The second trunk releases all its pairs and takes as many new ones.
    lab.apply(["1-4094", "2055-4094", "1-4094"]);
    lab.assert_counts(2055, 1);
    // Unused pairs and blocks become free.
    lab.apply(["100", "3000", "100"]);
    // All blocks of the uplink, and for each trunk those of its VLAN and of link-local frames.
    assert_eq!(lab.blocks(), 64 + 3 * 2);
    lab.apply(["3000", "100", "100"]);
    assert_eq!(lab.blocks(), 64 + 3 * 2);
}

#[test]
fn reopen_frees_what_a_killed_agent_left() {
    once();
    if !needs_program("strace") {
        return;
    }
    let lab = Lab::new();
    // Uses 14,326 of 14,335 pairs.
    lab.apply(["1-4094", "1-2040", "1-4094"]);
    // The new policy is in force, and the counters of the old one still occupy their blocks.
    let even: Vec<String> = (2..=4094).step_by(2).map(|vid: u16| vid.to_string()).collect();
    let even = even.join(",");
    lab.apply_and_be_killed(&Lab::file([&even, "1-2040", "1-4094"]));
    lab.apply([&even, "1-4080", "1-4094"]);
    lab.assert_counts(4000, 1);

    // A port that reuses the number of a removed port does not inherit its drops.
    lab.apply([&even, "5", "5"]);
    Wire::open(&lab.others, "t3").send(&Frame::numbered(1, &[(C, 4000)]));
    let dropped = || lab.node.drops().into_keys().any(|(device, _)| device == "t3");
    wait_for("the frame is dropped", || seen(lab.node.drops(), dropped()));
    let without = Lab::file([&even, "5", "5"]).replace("  - { device: t3, network: t3 }\n", "");
    lab.apply_and_be_killed(&without);
    lab.apply([&even, "5", "5"]);
    assert!(!dropped(), "{:?}", lab.node.drops());
}
