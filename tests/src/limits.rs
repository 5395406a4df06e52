//! The limits of broadcast, multicast and frames to unknown stations, each with the others open.

use crate::{
    counters::lab::{Address, Lab, station},
    forward::entry,
    frame::BROADCAST,
    lab::{seen, wait_for},
    node::Node,
    once,
};

const KINDS: [(&str, Address); 3] =
    [("broadcast", BROADCAST), ("multicast", [1, 0, 0x5e, 0, 0, 1]), ("unknown", station(0x99))];
/// Frames at a time: many more than one in a second.
const FRAMES: u64 = 60;

/// A port for each kind of frames, with a limit of one in a second of that kind.
fn config() -> String {
    let port = |(kind, _): (&str, Address)| {
        format!(
            "  - {{ device: vm-{kind}, network: v100, security: {{ storm: {{ {kind}: 1 }} }} }}\n"
        )
    };
    format!(
        "
clusterNetworks:
  oob: {{ vlanFiltering: off, uplink: {{ nics: [eth2], bond: {{ mode: none }}, xdp: off }} }}
networks: {{ v100: {{ clusterNetwork: oob, vlan: 100 }} }}
ports:
  - {{ device: target, network: v100 }}
{}",
        KINDS.map(port).concat()
    )
}

fn lab() -> Lab {
    let lab = Lab::new(&["eth2", "target", "vm-broadcast", "vm-multicast", "vm-unknown"]);
    lab.node.configure(&config());
    lab
}

/// Sends frames to a station; returns how many are dropped, by which limit.
fn flood(lab: &Lab, port: &str, destination: Address) -> Vec<(String, u64)> {
    let storms = |node: &Node| {
        let mut drops = node.drops();
        drops.retain(|(device, reason), _| device == port && reason.ends_with("-storm"));
        drops
    };
    let before = storms(&lab.node);
    for _ in 0..FRAMES {
        lab.send(port, &[], [station(1), destination]);
    }
    lab.fence.pass();
    let more = storms(&lab.node).into_iter().map(|(kind, count)| {
        let before = before.get(&kind).copied().unwrap_or_default();
        (kind.1, count - before)
    });
    more.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn each_limit_is_for_its_kind_of_frames() {
    once();
    let lab = lab();
    let _daemon = lab.node.run();
    for (limited, _) in KINDS {
        let port = &format!("vm-{limited}");
        for (kind, destination) in KINDS {
            if kind != limited {
                assert_eq!(flood(&lab, port, destination), [], "{kind} from {port}");
                continue;
            }
            // Without a processor the agent cannot say which stations are known: then none is
            // limited.
            wait_for("frames above the limit are dropped", || {
                let dropped = flood(&lab, port, destination);
                let is_limited = matches!(&dropped[..], [(reason, count)]
                    if *reason == format!("{kind}-storm") && *count < FRAMES);
                seen(dropped, is_limited)
            });
        }
    }
}

/// Nobody says any more which stations are known: a limit must not cut off those that are.
#[test]
fn stations_are_not_limited_as_unknown_without_the_agent() {
    once();
    let lab = lab();
    let daemon = lab.node.run();
    let (known, late) = (station(2), station(3));
    lab.learn("target", &[], known);
    daemon.kill();
    // The bridge learns it, the agent does not.
    lab.send("target", &[], [late, station(0x98)]);
    lab.fence.pass();
    for station in [late, known] {
        wait_for("no frame is dropped", || {
            let dropped = flood(&lab, "vm-unknown", station);
            seen(dropped.clone(), dropped.is_empty())
        });
        let frame = lab.send("vm-unknown", &[], [self::station(1), station]);
        lab.up_to("target", &frame);
    }
}

/// The agent has lost notifications in a flood of addresses: the limit holds until it has compared.
#[test]
fn frames_to_unknown_stations_are_limited_while_the_copy_lacks_changes() {
    once();
    let lab = lab();
    let daemon = lab.node.run();
    let known = station(2);
    lab.learn("target", &[], known);
    daemon.kill();
    entry::wait_until_out_of_date(&lab.node);
    wait_for("frames above the limit are dropped", || {
        entry::doubt(&lab.node);
        let dropped = flood(&lab, "vm-unknown", station(0x99));
        let is_limited = matches!(&dropped[..], [(reason, _)] if reason == "unknown-storm");
        seen(dropped, is_limited)
    });
    entry::doubt(&lab.node);
    assert_eq!(flood(&lab, "vm-unknown", known), []);
}
