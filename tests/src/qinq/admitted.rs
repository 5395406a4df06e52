//! What a customer's port admits, and service VLANs that have a C-tag on the wire: with those only,
//! XDP and the peers forward what enters by the uplink.

use super::{make_room_for_a_tag, modern};
use crate::{
    Feature,
    forward::{
        self, Path,
        crossing::{At, Crossing},
    },
    frame::{C, S},
    needs, once,
};

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: FILTERING, fastPath: PATH, uplink: { nics: [eth2], bond: { mode: none }, mtu: 1504, xdp: XDP } }
networks:
  v100:   { clusterNetwork: oob, vlan: 100 }
  every:  { clusterNetwork: oob, qinq: 3001, tpid: 802.1Q }
  listed: { clusterNetwork: oob, qinq: 3002, tpid: 802.1Q, customerVids: 10-20 }
  tagged: { clusterNetwork: oob, qinq: 3003, tpid: 802.1Q, admit: tagged }
  bare:   { clusterNetwork: oob, qinq: 3004, tpid: 802.1Q, admit: untagged-and-priority }
ports:
  - { device: a100,   network: v100 }
  - { device: every1, network: every }
  - { device: every2, network: every }
  - { device: listed, network: listed }
  - { device: tagged, network: tagged }
  - { device: bare,   network: bare }
";

const DEVICES: [&str; 7] = ["eth2", "a100", "every1", "every2", "listed", "tagged", "bare"];

const FIRST: &[At<'_>] = &[
    ("eth2", &[(C, 100)]),
    ("eth2", &[(C, 3001)]),
    ("eth2", &[(C, 3002)]),
    ("eth2", &[(C, 3003)]),
    ("eth2", &[(C, 3004)]),
    ("a100", &[]),
    ("every1", &[]),
    ("every2", &[]),
    ("listed", &[]),
    ("tagged", &[(C, 10)]),
    ("bare", &[]),
];

const CROSS: &[(At<'_>, &[At<'_>])] = &[
    (("eth2", &[(C, 0xb064)]), &[("a100", &[])]),
    (("eth2", &[(C, 3001)]), &[("every1", &[])]),
    (("eth2", &[(C, 3001), (C, 0xb064)]), &[("every1", &[(C, 0xb064)])]),
    (("eth2", &[(C, 3001), (C, 0)]), &[("every1", &[(C, 0)])]),
    (("eth2", &[(C, 3001), (S, 100)]), &[("every1", &[(S, 100)])]),
    (("eth2", &[(C, 3002)]), &[("listed", &[])]),
    (("eth2", &[(C, 3002), (C, 20)]), &[("listed", &[(C, 20)])]),
    (("every1", &[]), &[("eth2", &[(C, 3001)]), ("every2", &[])]),
    (
        ("every1", &[(C, 0xb064)]),
        &[("eth2", &[(C, 0xbbb9), (C, 0xb064)]), ("every2", &[(C, 0xb064)])],
    ),
    (("every1", &[(C, 0x6000)]), &[("eth2", &[(C, 0x6bb9), (C, 0x6000)])]),
    (("listed", &[(C, 10)]), &[("eth2", &[(C, 3002), (C, 10)])]),
    // `admit` is about what the customer sends.
    (("tagged", &[(C, 10)]), &[("eth2", &[(C, 3003), (C, 10)])]),
    (("eth2", &[(C, 3003)]), &[("tagged", &[])]),
    (("bare", &[]), &[("eth2", &[(C, 3004)])]),
    (("bare", &[(C, 0)]), &[("eth2", &[(C, 3004), (C, 0)])]),
    (("bare", &[(S, 10)]), &[("eth2", &[(C, 3004), (S, 10)])]),
    (("eth2", &[(C, 3004), (C, 10)]), &[("bare", &[(C, 10)])]),
];

const STOPPED: &[(At<'_>, &str)] = &[
    (("eth2", &[(C, 3002), (C, 21)]), "listed"),
    (("eth2", &[(C, 3002), (C, 3002)]), "listed"),
    (("eth2", &[(S, 3001)]), "every1"),
    (("eth2", &[(C, 100), (C, 10)]), "a100"),
    (("eth2", &[(C, 3001)]), "listed"),
    (("eth2", &[(C, 100)]), "every1"),
    (("listed", &[(C, 21)]), "eth2"),
    (("listed", &[(C, 3002)]), "eth2"),
    (("tagged", &[]), "eth2"),
    (("tagged", &[(C, 0)]), "eth2"),
    (("tagged", &[(S, 10)]), "eth2"),
    (("bare", &[(C, 10)]), "eth2"),
];

fn without_s_tags(filtering: &str, path: Path) {
    let lab = Crossing::new(path, &DEVICES, &CONFIG.replace("FILTERING", filtering));
    make_room_for_a_tag(&lab.others, &DEVICES);
    forward::every_case(&lab, FIRST, CROSS, STOPPED);
    let drops = lab.node.drops();
    let counted = |device: &str, reason: &str| {
        drops.get(&(device.to_owned(), reason.to_owned())).copied().unwrap_or_default()
    };
    // With the agent and, if frames bypass the bridge with it, without it.
    let rounds = if path == Path::Bridge { 1 } else { 2 };
    let (untagged, tagged) = (counted("tagged", "untagged"), counted("bare", "tagged-on-access"));
    assert_eq!((untagged, tagged), (3 * rounds, rounds));
}

#[test]
fn customer_sends_what_its_network_admits_around_an_unaware_bridge() {
    once();
    if modern() {
        Path::around("off").iter().for_each(|path| without_s_tags("off", *path));
    }
}

#[test]
fn customer_sends_what_its_network_admits_around_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) && modern() {
        Path::around("on").iter().for_each(|path| without_s_tags("on", *path));
    }
}
