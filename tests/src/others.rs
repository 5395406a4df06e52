//! Rules and programs of others on the devices of ports work as without the agent's programs.

mod clsact;
mod drift;
mod foreign;
mod owner;
mod states;

use serde_json::Value;

use self::foreign::{Filter, Foreign, Place};
use crate::{
    Feature,
    counters::lab::{Lab, station},
    forward::Path,
    lab::{kernel_has, output, wait_until},
    needs,
};

const CONFIG: &str = "
clusterNetworks:
  lab:
    vlanFiltering: off
    fastPath: PATH
    uplink: { nics: [eth2], bond: { mode: none }, xdp: XDP }
networks: { v100: { clusterNetwork: lab, vlan: 100 } }
ports:
  - { device: vm-a, network: v100 }
  - { device: vm-b, network: v100 }
";

/// Drops every frame of vm-b to vm-a, at one end or the other; and what takes the rule away.
/// `DROP` stands for a filter.
const FROM: [(&str, &str, &str); 5] = [
    (
        "a filter of an ingress qdisc",
        "tc qdisc add dev vm-b ingress; tc filter add dev vm-b parent ffff: DROP",
        "tc qdisc del dev vm-b ingress",
    ),
    (
        "a shared block",
        "tc qdisc add dev vm-b ingress_block 7 ingress; tc filter add block 7 DROP",
        "tc qdisc del dev vm-b ingress_block 7 ingress",
    ),
    (
        "a filter of clsact",
        "tc qdisc replace dev vm-b clsact; tc filter add dev vm-b ingress pref 9 DROP",
        "tc filter del dev vm-b ingress pref 9",
    ),
    (
        "a chain of netdev",
        "nft add table netdev t; nft 'add chain netdev t c { type filter hook ingress device vm-b \
         priority 0; policy drop; }'",
        "nft delete table netdev t",
    ),
    (
        "a chain of bridge",
        "nft add table bridge t; nft 'add chain bridge t c { type filter hook forward priority 0; \
         policy drop; }'",
        "nft delete table bridge t",
    ),
];
const TO: [(&str, &str, &str); 3] = [
    (
        "a filter at egress",
        "tc qdisc replace dev vm-a clsact; tc filter add dev vm-a egress pref 9 DROP",
        "tc filter del dev vm-a egress pref 9",
    ),
    (
        "a queueing discipline",
        "tc qdisc replace dev vm-a root handle 1: pfifo limit 0",
        "tc qdisc del dev vm-a root",
    ),
    (
        "a chain of netdev at egress",
        "nft add table netdev t; nft 'add chain netdev t c { type filter hook egress device vm-a \
         priority 0; policy drop; }'",
        "nft delete table netdev t",
    ),
];

fn lab(path: Path) -> Lab {
    lab_of(path, CONFIG)
}

fn lab_of(path: Path, yaml: &str) -> Lab {
    let lab = Lab::new(&["eth2", "vm-a", "vm-b"]);
    path.prepare(&lab.node.netns, &lab.others, &["vm-a", "vm-b"]);
    lab.node.configure(&path.fill_in(yaml));
    lab
}

/// The tags of frames from a port.
fn tags(from: &str) -> &'static [(u16, u16)] {
    if from == "eth2" { &[(crate::frame::C, 100)] } else { &[] }
}

/// Whether frames from vm-b, or from the wire, arrive at vm-a.
fn pass(lab: &Lab, from: &str) -> bool {
    let wire = lab.wire("vm-a");
    let sent = [(); 3].map(|()| lab.send(from, tags(from), [station(2), station(1)]));
    lab.fence.pass();
    let came = std::iter::from_fn(|| wire.receive(std::time::Duration::ZERO));
    let came: Vec<_> = came.filter_map(|bytes| crate::frame::Frame::from_bytes(&bytes)).collect();
    sent.iter().any(|frame| came.iter().any(|came| came.number() == frame.number()))
}

/// Waits until frames take the fast path.
fn wait_until_fast(lab: &Lab, path: Path, from: &str) {
    let counted = path.counted(from);
    lab.learn("vm-a", &[], station(1));
    lab.learn(from, tags(from), station(2));
    wait_until(&format!("frames from {from} take the path {counted}"), || {
        let before = lab.forwarded(from, counted);
        assert!(pass(lab, from));
        lab.forwarded(from, counted) > before
    });
}

/// What the status says of a port.
fn remarks(lab: &Lab, device: &str) -> Vec<String> {
    let output = lab.node.netagent("status -j");
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = status["findings"].as_array().unwrap().iter();
    let of_port = findings.filter(|finding| finding["subject"] == format!("port {device}"));
    of_port.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

/// Whether the status says that a port's frames take another path. A kernel before 6.3 has other
/// reasons as well.
fn says_why(lab: &Lab, device: &str) -> bool {
    remarks(lab, device).iter().any(|code| code == "rules-of-others")
}

#[test]
fn rules_of_others_see_the_frames_that_a_bridge_would_forward() {
    for path in Path::FAST {
        let lab = lab(path);
        let _daemon = lab.node.run();
        let from = path.sender();
        let filter = Filter::drop_all(&lab.node.netns);
        let own_clsact = !kernel_has(Feature::Tcx);
        let has_nft = output("command -v nft").status.success();
        for (device, rules) in [("vm-b", &FROM[..]), ("vm-a", &TO[..])] {
            for (what, add, remove) in rules {
                // These are rules for frames from a VM; the programs before 6.6 need clsact.
                let is_of_sender = device == "vm-b";
                let blocked = own_clsact && (add.contains(" ingress;") || add.contains("block"));
                let unknown = path == Path::Tc && what.contains("queueing")
                    || what.contains("chain") && !has_nft;
                if is_of_sender && from == "eth2" || blocked || unknown {
                    continue;
                }
                println!("{path:?}: {what}");
                wait_until_fast(&lab, path, from);
                lab.node.netns.sh(&add.replace("DROP", &filter.text()));
                wait_until("the rule drops the frames", || !pass(&lab, from));
                wait_until("the status says why", || says_why(&lab, device));
                lab.node.netns.sh(remove);
                wait_until("the frames pass again", || pass(&lab, from));
            }
        }
        wait_until_fast(&lab, path, from);
        if !has_nft {
            continue;
        }
        // It sees IP only, which these frames are not.
        let chain = "type filter hook ingress device vm-b priority 0;";
        lab.node.netns.sh(&format!("nft add table inet t; nft 'add chain inet t c {{ {chain} }}'"));
        wait_until("the status says why", || says_why(&lab, "vm-b"));
    }
}

#[test]
fn programs_of_others_behind_ours_see_the_frames() {
    if !needs(&[Feature::Tcx]) {
        return;
    }
    for path in Path::FAST {
        let lab = lab(path);
        let _daemon = lab.node.run();
        let from = path.sender();
        for (device, place) in [(from, Place::Ingress), ("vm-a", Place::Egress)] {
            wait_until_fast(&lab, path, from);
            let foreign = Foreign::drop_all(&lab.node.netns, device, place);
            wait_until("the program drops the frames", || !pass(&lab, from));
            drop(foreign);
            wait_until("the frames pass again", || pass(&lab, from));
        }
        wait_until_fast(&lab, path, from);
    }
}

/// A program that ends the run with TC_ACT_OK would let each VLAN, and each address, pass.
#[test]
fn ours_run_before_programs_of_others() {
    let lab = lab(Path::Bridge);
    let daemon = lab.node.run();
    let other = |lab: &Lab| {
        let sent = lab.send("vm-b", &[(crate::frame::C, 200)], [station(2), station(1)]);
        lab.heard("vm-a", &[sent], ("vm-b", &[]))
    };
    assert!(other(&lab).is_empty(), "another VLAN is dropped");
    for place in [Place::Ingress, Place::Egress] {
        let device = if place == Place::Ingress { "vm-b" } else { "vm-a" };
        let foreign = Foreign::accept_all(&lab.node.netns, device, place);
        let moved = format!("before the other programs of {device}");
        wait_until("ours has moved", || lab.node.ok("history").contains(&moved));
        wait_until("ours is the first again", || remarks(&lab, device).is_empty());
        assert!(other(&lab).is_empty(), "another VLAN passes {device}");
        assert!(pass(&lab, "vm-b"));
        // It insists: the agent does not fight, and says so.
        drop(foreign);
        let foreign = Foreign::accept_all(&lab.node.netns, device, place);
        wait_until("the status says so", || remarks(&lab, device) == ["not-first"]);
        assert!(!daemon.get("readyz").starts_with("ready"));
        drop(foreign);
        wait_until("the status has nothing to say", || remarks(&lab, device).is_empty());
        daemon.wait_until_ready();
    }
}
