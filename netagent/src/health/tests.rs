use std::collections::BTreeMap;

use netagent_common::vlan::Vid;

use super::*;
use crate::{
    config,
    names::IfName,
    state::{
        Address, BondState, BridgeState, Hook, Kind, Link, Member, ObservedPort, VlanFlags,
        sample::link,
    },
};

const YAML: &str = "
clusterNetworks:
  oob: { uplink: { nics: [eth2, eth3], bond: { mode: active-backup } } }
networks:
  corp-net: { clusterNetwork: oob, vlan: 100 }
ports:
  - { device: tap7, network: corp-net }
";

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// A node that is as `YAML` declares it.
fn node() -> (Desired, Observed, ObservedDatapath) {
    let desired = config::parse(YAML, "test").unwrap().desired();
    let mut links = Observed::default();
    let mut add = |text: &str, link: Link| links.links.insert(name(text), link);
    let vlans = |vids: &[u16]| -> BTreeMap<Vid, VlanFlags> {
        vids.iter().filter_map(|vid| Some((Vid::new(*vid)?, VlanFlags::default()))).collect()
    };
    let on = |of: &str, link: Link| Link { controller: Some(name(of)), ..link };
    let bridge = BridgeState { vlan_filtering: Some(true), default_pvid: Some(0), snooping: None };
    add("oob-br", link(1, Kind::Bridge(bridge)));
    let bond = link(2, Kind::Bond(BondState::default()));
    add("oob-bo", Link { vlans: vlans(&[1, 100]), ..on("oob-br", bond) });
    let tap = link(3, Kind::Other("tun".to_owned()));
    add("tap7", Link { vlans: vlans(&[100]), ..on("oob-br", tap) });
    for (index, nic) in [(4, "eth2"), (5, "eth3")] {
        let member = Member { mii_up: true, active: index == 4, failures: 0, aggregator: None };
        let nic_link = link(index, Kind::Other(String::new()));
        add(nic, Link { member: Some(member), ..on("oob-bo", nic_link) });
    }
    let mut datapath = ObservedDatapath::default();
    for (ifindex, device, hooks) in [
        (2, "oob-bo", [Hook::UplinkIn, Hook::UplinkOut]),
        (3, "tap7", [Hook::PortIn, Hook::PortOut]),
    ] {
        let port = ObservedPort { ifindex, attached: hooks.into(), ..ObservedPort::default() };
        datapath.ports.insert(name(device), port);
    }
    (desired, links, datapath)
}

fn codes(
    known: &[Finding],
    change: impl FnOnce(&mut Observed, &mut ObservedDatapath),
) -> (Vec<Code>, Health) {
    let (desired, mut links, mut datapath) = node();
    change(&mut links, &mut datapath);
    let health = judge(Evidence { desired: &desired, links: &links, datapath: &datapath, known });
    (health.findings.iter().map(|finding| finding.code).collect(), health)
}

fn link_of<'a>(links: &'a mut Observed, device: &str) -> &'a mut Link {
    links.links.get_mut(&name(device)).unwrap()
}

#[test]
fn a_node_that_is_as_desired_has_no_findings() {
    let (codes, health) = codes(&[], |_, _| {});
    assert_eq!(codes, []);
    assert!(health.is_ready() && health.is_well());
    assert_eq!(health.segments[0].state, State::Ready);
}

#[test]
fn each_fault_has_its_code_and_only_lost_frames_fail_readiness() {
    type Fault = fn(&mut Observed, &mut ObservedDatapath);
    let cases: [(Fault, Code, bool); 10] = [
        (
            |links, _| link_of(links, "eth3").member.as_mut().unwrap().mii_up = false,
            Code::MemberDown,
            true,
        ),
        (
            |links, _| {
                for nic in ["eth2", "eth3"] {
                    link_of(links, nic).member.as_mut().unwrap().mii_up = false;
                }
            },
            Code::SegmentDown,
            false,
        ),
        (|links, _| link_of(links, "oob-bo").up = false, Code::SegmentDown, false),
        (|links, _| link_of(links, "tap7").controller = None, Code::NotOnBridge, true),
        (|links, _| link_of(links, "oob-bo").controller = None, Code::SegmentDown, false),
        (|links, _| link_of(links, "tap7").vlans.clear(), Code::VlanMissing, false),
        (
            |_, datapath| {
                datapath.ports.get_mut(&name("tap7")).unwrap().attached.remove(&Hook::PortOut);
            },
            Code::ProgramMissing,
            false,
        ),
        (
            |links, _| {
                link_of(links, "tap7").addresses =
                    [("10.0.0.9/24".parse().unwrap(), Address::default())].into();
            },
            Code::AddressOnPort,
            true,
        ),
        // Another device of that name: the policy is not for it.
        (|links, _| link_of(links, "tap7").index = 77, Code::ProgramMissing, false),
        (|links, _| drop(links.links.remove(&name("oob-bo"))), Code::SegmentDown, false),
    ];
    for (fault, code, ready) in cases {
        let (found, health) = codes(&[], fault);
        assert!(found.contains(&code), "{found:?} lacks {code:?}");
        assert_eq!(health.is_ready(), ready, "{code:?}");
        assert_eq!(health.is_well(), code.state() == State::Ready, "{code:?}");
    }
}

#[test]
fn a_missing_nic_is_named_by_the_segment() {
    let missing = Finding::new(
        Subject::Segment("oob".to_owned()),
        Code::NicMissing,
        "eth3: no such device",
        "",
    );
    let (_, health) = codes(&[missing], |links, _| drop(links.links.remove(&name("eth3"))));
    let segment = &health.segments[0];
    assert_eq!(segment.state, State::Degraded);
    assert_eq!((segment.nics.len(), segment.nics_present.len()), (2, 1));
    assert!(health.is_ready() && !health.is_well());
}

/// A port that this node cannot have is not asked for its programs.
#[test]
fn a_refused_port_does_not_fail_readiness() {
    let refused =
        Finding::new(Subject::Port(name("tap7")), Code::Refused, "tap7: belongs to virbr0", "");
    let (found, health) = codes(&[refused], |links, datapath| {
        link_of(links, "tap7").controller = Some(name("virbr0"));
        datapath.ports.remove(&name("tap7"));
    });
    assert_eq!(found, [Code::Refused]);
    assert!(health.is_ready() && !health.is_well());
    assert_eq!(health.ports[0].state, State::Refused);
    assert_eq!(health.segments[0].state, State::Ready);
}
