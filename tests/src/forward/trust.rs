//! What the fast path trusts: an entry of the present epoch, of the bridge of the ingress port, at
//! the port that receives the frame; and only ports that bypass the bridge themselves.

use super::{
    Lab, Path,
    crossing::Crossing,
    entry::{self, EPOCH},
    forwarded, station,
};
use crate::{
    Feature,
    lab::{seen, wait_for},
    needs, once,
};

/// A station that goes elsewhere and comes back, while the agent hears of neither: each of its
/// frames is a frame to a known station, and the bridge must receive both.
fn returns_unheard(filtering: &str, path: Path) {
    let lab = Lab::new(filtering, path);
    let daemon = lab.node.run();
    let signal = |name| crate::lab::sh(&format!("kill -{name} {}", daemon.child.id()));
    let [traveller, sender] = [station(1), station(2)];
    let home = path.sender();
    lab.learn("vm-t", 100, sender);
    lab.learn(home, 100, traveller);
    for _ in 0..3 {
        bypasses(&lab, path, (home, traveller), sender);
        signal("STOP");
        for port in ["vm-a", home] {
            lab.send(port, 100, traveller, sender);
            let frame = lab.send("vm-t", 100, sender, traveller);
            assert_eq!(lab.reached(100, &frame), [port].into(), "{path:?}");
        }
        signal("CONT");
    }
}

/// Waits until a frame of a station takes the path.
fn bypasses(lab: &Lab, path: Path, (from, source): (&str, super::Address), to: super::Address) {
    let counted = || forwarded(&lab.node, from, path.counted(from));
    wait_for("frames of the station bypass the bridge", || {
        let before = counted();
        lab.send(from, 100, source, to);
        let after = counted();
        seen((before, after), after > before)
    });
}

#[test]
fn station_that_returns_is_followed_around_an_unaware_bridge() {
    once();
    Path::around("off").iter().for_each(|path| returns_unheard("off", *path));
}

#[test]
fn station_that_returns_is_followed_around_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        Path::around("on").iter().for_each(|path| returns_unheard("on", *path));
    }
}

/// In each epoch the bridge receives one frame of every source, and the next one takes the fast
/// path again: otherwise the bridge would forget the station, or never be bypassed again.
#[test]
fn bridge_receives_a_frame_of_each_source_in_every_epoch() {
    once();
    for path in Path::FAST {
        let lab = Lab::new("off", path);
        let _daemon = lab.node.run();
        let (from, [source, target]) = (path.sender(), [station(1), station(2)]);
        lab.learn(from, 100, source);
        lab.learn("vm-a", 100, target);
        let by = |taken: &[&str]| -> u64 {
            taken.iter().map(|taken| forwarded(&lab.node, from, taken)).sum()
        };
        for _ in 0..2 {
            bypasses(&lab, path, (from, source), target);
            // The epoch before this one.
            entry::alter(&lab.node, ("oob-br", 0, source), EPOCH, |epoch| epoch.wrapping_sub(1));
            let before = [by(&["bridge"]), by(&["tc", "xdp"])];
            let frame = lab.send(from, 100, source, target);
            lab.fence.pass();
            let after = [by(&["bridge"]), by(&["tc", "xdp"])];
            assert_eq!(after, [before[0] + 1, before[1]], "{path:?}");
            assert_eq!(lab.reached(100, &frame), ["vm-a"].into(), "{path:?}");
        }
    }
}

/// Stations behind one port reach each other beyond it: the node does not send their frames back.
#[test]
fn frame_does_not_leave_by_the_port_that_it_came_from() {
    once();
    for path in Path::ALL {
        let lab = Lab::new("off", path);
        let _daemon = lab.node.run();
        let from = path.sender();
        let [source, beside, elsewhere] = [station(1), station(2), station(3)];
        lab.learn("vm-a", 100, elsewhere);
        lab.learn(from, 100, source);
        lab.learn(from, 100, beside);
        if path != Path::Bridge {
            bypasses(&lab, path, (from, source), elsewhere);
        }
        for _ in 0..2 {
            let frame = lab.send(from, 100, source, beside);
            assert_eq!(lab.reached(100, &frame), [].into(), "{path:?}");
        }
    }
}

const MIXED: &str = "
clusterNetworks:
  oob: { vlanFiltering: off, fastPath: PATH, uplink: { nics: [eth2], bond: { mode: none }, xdp: XDP } }
networks:
  fast: { clusterNetwork: oob, vlan: 100 }
  slow: { clusterNetwork: oob, vlan: 100, fastPath: off }
ports:
  - { device: vm-a, network: fast }
  - { device: vm-b, network: fast }
  - { device: slow, network: slow }
";

/// `fastPath: off` of a network applies in both directions, whatever the other port has.
#[test]
fn port_without_a_fast_path_is_reached_through_the_bridge() {
    once();
    for path in Path::FAST {
        let lab = Crossing::new(path, &["eth2", "vm-a", "vm-b", "slow"], MIXED);
        let _daemon = lab.node.run();
        let tags = |port: &str| -> &[(u16, u16)] {
            if port == "eth2" { &[(crate::frame::C, 100)] } else { &[] }
        };
        for port in ["vm-a", "vm-b", "eth2", "slow"] {
            lab.introduce((port, tags(port)));
        }
        for (from, to) in [("vm-a", "vm-b"), ("eth2", "vm-a"), ("vm-a", "eth2")] {
            lab.crosses((from, tags(from)), (to, tags(to)));
        }
        for (from, to) in [("vm-a", "slow"), ("eth2", "slow"), ("slow", "vm-a"), ("slow", "eth2")] {
            let before = lab.bypassed(from);
            // The egress port of a long frame is looked up in any case.
            for length in [46, 46, 200, 200] {
                let mut frame = lab.frame(from, tags(from), lab.station(to));
                frame.payload.resize(length, 0);
                let copies = lab.send(from, &frame, Some(to));
                let copies: Vec<_> = copies.into_iter().collect();
                assert_eq!(copies, [(to, vec![tags(to).to_vec()])], "{from} by {path:?}");
            }
            assert_eq!(lab.bypassed(from), before, "{from} to {to} by {path:?}");
        }
    }
}
