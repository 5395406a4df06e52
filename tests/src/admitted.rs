//! `admit`: which frames a port takes, tagged or untagged, on trunks and access ports, with a
//! native VLAN and without; and how the native VLAN leaves a trunk.

use crate::{
    Feature,
    counters::lab::{Lab, Tags, station},
    frame::{BROADCAST, C},
    needs, once,
};

/// A port, and the VLANs and frame types of its network.
const PORTS: [(&str, &str, &str); 6] = [
    ("trunk-all", "trunk: '200', native: 100", "admit: all"),
    ("trunk-tagged", "trunk: '200', native: 100", "admit: tagged"),
    ("trunk-plain", "trunk: '200', native: 100", "admit: untagged-and-priority"),
    ("trunk-native", "trunk: '200', native: 100, nativeTagged: true", "admit: all"),
    ("access-plain", "vlan: 100", "admit: untagged-and-priority"),
    ("access-all", "vlan: 100", "admit: all"),
];

/// The tags of a frame from a VM.
const FRAMES: [Tags<'_>; 5] = [&[], &[(C, 0)], &[(C, 100)], &[(C, 200)], &[(C, 300)]];

/// The VLAN that each of these frames gets at a port, or why it is dropped.
fn expected(port: &str) -> [Result<u16, &'static str>; 5] {
    let foreign = Err("vlan-not-allowed");
    match port {
        "trunk-all" | "trunk-native" => [Ok(100), Ok(100), Ok(100), Ok(200), foreign],
        "trunk-tagged" => [Err("untagged"), Err("untagged"), Ok(100), Ok(200), foreign],
        "trunk-plain" => {
            [Ok(100), Ok(100), Err("tagged-on-access"), Err("tagged-on-access"), foreign]
        }
        "access-plain" => [Ok(100), Ok(100), Err("tagged-on-access"), foreign, foreign],
        "access-all" => [Ok(100), Ok(100), Ok(100), foreign, foreign],
        _ => unreachable!(),
    }
}

/// The tags with which a VLAN leaves a port; `None`: it does not.
fn leaves(port: &str, vid: u16) -> Option<Tags<'static>> {
    match (port, vid) {
        ("trunk-native", 100) => Some(&[(C, 100)]),
        (_, 100) => Some(&[]),
        ("access-plain" | "access-all", 200) => None,
        (_, 200) => Some(&[(C, 200)]),
        _ => None,
    }
}

fn port_takes_what_it_admits(filtering: &str) {
    let names = PORTS.map(|(name, ..)| name);
    let lab = Lab::new(&[&["eth2"][..], &names].concat());
    let network =
        |(name, vlans, admit)| format!("  {name}: {{ clusterNetwork: oob, {vlans}, {admit} }}\n");
    let port =
        |(name, _, _): (&str, &str, &str)| format!("  - {{ device: {name}, network: {name} }}\n");
    lab.node.apply(&format!(
        "
clusterNetworks:
  oob: {{ vlanFiltering: {filtering}, uplink: {{ nics: [eth2], bond: {{ mode: none }}, xdp: off }} }}
networks:
{}ports:
{}",
        PORTS.map(network).concat(),
        PORTS.map(port).concat()
    ));
    lab.node.assert_settled();
    for port in names {
        for (tags, expected) in FRAMES.into_iter().zip(expected(port)) {
            let drops = || {
                let mut drops = lab.node.drops();
                drops.retain(|(device, reason), _| device == port && reason != "egress-filtered");
                drops
            };
            let before = drops();
            let frame = lab.send(port, tags, [station(1), BROADCAST]);
            match expected {
                Ok(vid) => {
                    let came = lab.up_to("eth2", &frame).pop();
                    assert_eq!(came, Some(frame.with_tags(&[(C, vid)])), "{port} {tags:?}");
                    assert_eq!(drops(), before, "{port} {tags:?}");
                }
                Err(reason) => {
                    let other = if port == "access-all" { "trunk-all" } else { "access-all" };
                    assert_eq!(lab.heard("eth2", &[frame], (other, &[])), [0_usize; 0]);
                    let kind = (port.to_owned(), reason.to_owned());
                    let [before, after] = [before, drops()]
                        .map(|drops| drops.get(&kind).copied().unwrap_or_default());
                    assert_eq!(after, before + 1, "{port} {tags:?}: {reason}");
                }
            }
        }
        for vid in [100, 200] {
            let frame = lab.send("eth2", &[(C, vid)], [station(2), BROADCAST]);
            if let Some(tags) = leaves(port, vid) {
                let came = lab.up_to(port, &frame).pop();
                assert_eq!(came, Some(frame.with_tags(tags)), "{port}: VLAN {vid}");
            } else {
                assert_eq!(lab.heard(port, &[frame], ("eth2", &[(C, 100)])), [0_usize; 0]);
            }
        }
    }
}

#[test]
fn port_takes_what_it_admits_on_an_unaware_bridge() {
    once();
    port_takes_what_it_admits("off");
}

#[test]
fn port_takes_what_it_admits_on_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        port_takes_what_it_admits("on");
    }
}
