//! What the parts of the state say of themselves.

use std::collections::{BTreeMap, BTreeSet};

use netagent_common::{
    policy::{
        ADMIT_TAGGED, ADMIT_UNTAGGED, DHCP_GUARD, FAST, FAST_XDP, IP_GUARD, ISOLATED, ISOLATION,
        MAC_GUARD, MAC_LIMIT, PRIORITY_ALWAYS, PRIORITY_IF_NONZERO, PVID_TAGGED, QUERIER_GUARD,
        RA_GUARD, SERVICES, SILENT, STORM, TRUNK, TUNNEL, UPLINK,
    },
    vlan::Vid,
};

use super::*;
use crate::{
    config,
    names::{Cidr, IfName, Mac},
};

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

#[test]
fn each_program_has_code_for_its_own_optional_flags() {
    let uplink = SERVICES;
    let guards = MAC_GUARD | IP_GUARD | DHCP_GUARD | RA_GUARD | QUERIER_GUARD;
    let port_in = TUNNEL | guards | MAC_LIMIT | STORM | SILENT;
    let port_out = TUNNEL | ISOLATION | PRIORITY_IF_NONZERO | PRIORITY_ALWAYS;
    for (hook, flags, is_of_uplink, program) in [
        (Hook::UplinkXdp, SERVICES | FAST_XDP, true, "uplink_xdp"),
        (Hook::UplinkIn, uplink, true, "uplink_in"),
        (Hook::UplinkOut, uplink, true, "uplink_out"),
        (Hook::PortIn, port_in, false, "port_in"),
        (Hook::PortOut, port_out, false, "port_out"),
    ] {
        assert_eq!(hook.optional(u32::MAX), flags, "{hook:?}");
        assert_eq!(hook.optional(0), 0, "{hook:?}");
        assert_eq!((hook.is_of_uplink(), hook.program()), (is_of_uplink, program));
    }
}

#[test]
fn subjects_are_read_as_they_are_written() {
    for subject in [Subject::Node, Subject::Segment("oob".to_owned()), Subject::Port(name("tap7"))]
    {
        assert_eq!(subject.to_string().parse(), Ok(subject));
    }
    for text in ["", "nodes", "node x", "segment", "port", "port a/b", "bond x"] {
        assert!(text.parse::<Subject>().is_err(), "{text}");
    }
}

#[test]
fn codes_have_names_by_which_they_are_found() {
    let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(names.len(), Code::ALL.len());
    let those = |is: fn(Code) -> bool| {
        let codes = Code::ALL.iter().filter(|code| is(**code));
        codes.map(|code| code.name()).collect::<Vec<_>>()
    };
    for code in Code::ALL {
        assert_eq!(Code::named(code.name()), Some(*code));
    }
    assert_eq!(Code::named("no-such-code"), None);
    assert_eq!(
        those(Code::is_of_a_nic),
        ["nic-missing", "nic-in-use", "member-down", "lacp-no-partner", "lacp-split"]
    );
    assert_eq!(
        those(Code::depends_on_the_wire),
        ["member-down", "lacp-no-partner", "lacp-split", "segment-down"]
    );
}

#[test]
fn a_finding_is_unwell_if_it_is_a_fault_of_its_subject() {
    for (code, unwell) in [
        (Code::NicMissing, true),
        (Code::ConfirmationNeeded, true),
        // Expected, or the subject is as desired.
        (Code::DeviceMissing, false),
        (Code::MtuLow, false),
        (Code::Silent, false),
    ] {
        assert_eq!(Finding::new(Subject::Node, code, "", "").is_unwell(), unwell, "{code:?}");
    }
    let finding = |remedy| Finding::new(Subject::Node, Code::MtuLow, "text", remedy).to_string();
    assert_eq!([finding(""), finding("remedy")], ["text", "text: remedy"]);
    let states = [State::Ready, State::Waiting, State::Degraded, State::Refused];
    let names = states.map(|state| format!("{state:>8}"));
    assert_eq!(names, ["   Ready", " Waiting", "Degraded", " Refused"]);
    let severities = Severity::ALL.map(Severity::name);
    assert_eq!(severities, ["info", "warning", "error", "critical"]);
}

fn policy(flags: u32, pvid: u16, vids: &[u16]) -> PortPolicy {
    let allowed = vids.iter().filter_map(|vid| Vid::new(*vid)).collect();
    PortPolicy { flags, pvid: Vid::new(pvid), allowed, ..PortPolicy::default() }
}

#[test]
fn a_policy_counts_the_vlans_inside_the_bridge() {
    let trunk = policy(TRUNK | ADMIT_TAGGED, 5, &[5, 7]);
    assert_eq!(trunk.counted_vids(), [0, 5, 7].into());
    let tunnel = policy(TUNNEL, 3000, &[10, 11]);
    assert_eq!(tunnel.counted_vids(), [0, 3000].into());
    let only = trunk.only(|vid| vid.get() != 5);
    assert_eq!((only.pvid, only.counted_vids()), (None, [0, 7].into()));
    let only = tunnel.only(|vid| vid.get() == 3000);
    assert_eq!((only.pvid, &only.allowed), (tunnel.pvid, &tunnel.allowed));
}

#[test]
fn a_policy_says_what_it_admits_and_what_kind_of_port_it_is_for() {
    for (flags, mode, admit, hooks) in [
        (UPLINK | TRUNK | ADMIT_TAGGED | ADMIT_UNTAGGED, "uplink", Admit::All, 3),
        (TUNNEL | TRUNK | ADMIT_TAGGED, "qinq", Admit::Tagged, 2),
        (TRUNK | ADMIT_TAGGED, "trunk", Admit::Tagged, 2),
        (ADMIT_UNTAGGED, "access", Admit::UntaggedAndPriority, 2),
    ] {
        let policy = policy(flags, 5, &[5]);
        assert_eq!((policy.mode(), policy.admit(), policy.hooks().len()), (mode, admit, hooks));
        assert!(policy.has(flags) && !policy.has(flags | FAST));
    }
    let names = ["all", "tagged", "untagged-and-priority"];
    assert_eq!([Admit::All, Admit::Tagged, Admit::UntaggedAndPriority].map(Admit::name), names);
    let plain = policy(PVID_TAGGED | ADMIT_UNTAGGED | SERVICES | ISOLATED, 5, &[5]);
    let plain = PortPolicy { network: "a".to_owned(), ..plain };
    let text =
        "access in a, vids 5, pvid 5 tagged, admit untagged-and-priority, services , isolated";
    assert_eq!(plain.to_string(), text);
    assert_eq!(checks(0).count(), 0);
    assert_eq!(checks(u32::MAX).count(), 11);
}

#[test]
fn untagged_frames_leave_a_bridge_untagged_unless_the_programs_need_the_tag() {
    let file = "clusterNetworks: { oob: {} }\nnetworks: { a: { clusterNetwork: oob, vlan: 5 } }\n\
                ports: [{ device: tap7, network: a }]";
    let desired = config::parse(file, "test").unwrap().desired();
    let port = &desired.ports[&name("tap7")];
    for (pvid, pvid_tagged, priority_tags, untags) in [
        (port.pvid, false, PriorityTags::Never, true),
        (None, false, PriorityTags::Never, false),
        (port.pvid, true, PriorityTags::Never, false),
        (port.pvid, false, PriorityTags::Always, false),
    ] {
        let port = Port { pvid, pvid_tagged, priority_tags, ..port.clone() };
        assert_eq!(port.bridge_untags(), untags);
    }
}

#[test]
fn every_device_of_the_desired_state_is_mentioned() {
    let file = "clusterNetworks:\n  \
                oob: { uplink: { nics: [eth2] }, host: { vlan: 10 } }\n  \
                lab: { bridge: br0, uplink: { nics: [eth3], bond: { mode: none } } }\n\
                networks: { a: { clusterNetwork: oob, vlan: 5 } }\n\
                ports: [{ device: tap7, network: a }]";
    let desired = config::parse(file, "test").unwrap().desired();
    for device in ["oob-bo", "eth2", "oob-br", "oob-br.10", "br0", "eth3", "tap7"] {
        assert!(desired.mentions(&name(device)), "{device}");
    }
    assert!(!desired.mentions(&name("eth4")));
    let one = |change: fn(&mut Desired)| {
        let mut desired = desired.clone();
        change(&mut desired);
        desired.mentions(&name("eth2"))
    };
    assert!(one(|desired| desired.bonds.clear()), "a NIC of an uplink");
    assert!(one(|desired| desired.ports.clear()), "a member of a bond");
    assert!(!one(|desired| {
        desired.bonds.clear();
        desired.ports.clear();
    }));
    assert_eq!(desired.segment_of(&name("br0")), Subject::Segment("lab".to_owned()));
    assert_eq!(desired.segment_of(&name("br1")), Subject::Node);
}

#[test]
fn links_are_found_by_index_and_by_what_they_are_stacked_on() {
    let mut observed = Observed::default();
    for (index, device, lower) in [(2, "eth2", None), (3, "eth2.5", Some("eth2"))] {
        let link = sample::link(index, Kind::Other(String::new()));
        let lower = lower.map(name);
        observed.links.insert(name(device), Link { lower, ..link });
    }
    let mut top = sample::link(4, Kind::Bond(BondState::default()));
    top.lower = Some(name("eth2.5"));
    observed.links.insert(name("top"), top);
    assert_eq!(observed.name(3), Some(&name("eth2.5")));
    assert_eq!(observed.name(9), None);
    let (eth2, top) = (name("eth2"), name("top"));
    assert_eq!(observed.above(&eth2), [&name("eth2.5"), &top].into());
    assert_eq!(observed.bonds().map(|(name, ..)| name).collect::<Vec<_>>(), [&top]);
    assert!(!observed.is_lived_on(&eth2));
    observed.multipath.insert(top.clone());
    assert!(observed.is_lived_on(&eth2) && observed.is_lived_on(&top));
    observed.multipath.clear();
    let everywhere = Route::everywhere("10.0.0.1".parse().unwrap());
    observed.routes.insert(Route::desired(&top, everywhere, None));
    assert!(observed.is_lived_on(&eth2));
    assert_eq!((observed.routes_of(&top).count(), observed.routes_of(&eth2).count()), (1, 0));
}

#[test]
fn a_zero_address_is_no_partner() {
    let partner = |mac| BondState { partner: Some(Mac(mac)), ..BondState::default() };
    assert_eq!(partner([0; 6]).lacp_partner(), None);
    assert_eq!(partner([2; 6]).lacp_partner(), Some(Mac([2; 6])));
}

#[test]
fn routes_and_others_are_written_as_their_commands_take_them() {
    let plain = Route::desired(&name("br0"), "10.7.0.0/16".parse().unwrap(), None);
    assert_eq!(plain.to_string(), "10.7.0.0/16 dev br0");
    let via = "10.0.0.1".parse().unwrap();
    let default = Route::desired(&name("br0"), Route::everywhere(via), Some(via));
    let all = Route { metric: 9, table: 100, ..default };
    assert_eq!(all.to_string(), "default via 10.0.0.1 dev br0 metric 9 table 100");
    assert!(all.is_default() && !plain.is_default());
    assert!(all.leads_as(&Route { metric: 0, ..all.over(&name("br1")) }));
    assert!(!all.leads_as(&Route { table: 254, ..all.clone() }));
    assert_eq!(Route::everywhere("fd00::1".parse().unwrap()).to_string(), "::/0");
    let neighbour = Neighbour {
        device: name("br0"),
        address: "10.0.0.9".parse().unwrap(),
        mac: Mac([2, 0, 0, 0, 0, 9]),
    };
    assert_eq!(neighbour.to_string(), "10.0.0.9 lladdr 02:00:00:00:00:09 dev br0");
    assert_eq!(neighbour.over(&name("br1")).device, name("br1"));
    let text = |text: &str| text.to_owned();
    let pod = PodInterface { namespace: text("a"), pod: text("b"), interface: text("net1") };
    assert_eq!(pod.to_string(), "a/b net1");
    let flags = |pvid, untagged| VlanFlags { pvid, untagged }.to_string();
    assert_eq!([flags(true, true), flags(false, false)], [" pvid untagged", ""]);
    assert_eq!(
        [PortFlag::Hairpin, PortFlag::Isolated].map(PortFlag::name),
        ["hairpin", "isolated"]
    );
    let vlan = |vid| DropKind {
        direction: netagent_common::counters::Direction::Receive,
        reason: netagent_common::counters::Reason::Untagged,
        vid,
    };
    let vlans = [None, Some(0), Some(7)].map(|vid| vlan(vid).vlan().into_owned());
    assert_eq!(vlans, ["other", "none", "7"]);
}

#[test]
fn only_addresses_of_ours_that_expire_are_of_leases() {
    for (owned, until, leased) in
        [(true, Some(9), true), (true, None, false), (false, Some(9), false)]
    {
        let address = Address { owned, until, ..Address::default() };
        assert_eq!((address.is_leased(), address.expires()), (leased, until.is_some()));
    }
}

#[test]
fn a_route_of_a_lease_has_the_address_of_the_lease_as_source() {
    let address: Cidr = "10.0.0.5/24".parse().unwrap();
    let via = "10.0.0.1".parse().unwrap();
    let route = Route::leased(&name("br0"), Route::everywhere(via), Some(via), address);
    assert_eq!((route.source, route.via), (Some(address.address), Some(via)));
    assert_eq!((route.protocol, route.metric), (DHCP_PROTOCOL, LEASED_METRIC));
}

#[test]
fn an_original_knows_its_addresses_and_its_vlan() {
    let kind = Kind::Vlan { parent: Some(name("eth2")), vid: Vid::MIN };
    let mut link = sample::link(7, kind);
    let cidr = "10.0.0.5/24".parse().unwrap();
    link.addresses = BTreeMap::from([(cidr, Address::default())]);
    let original = Original::of(&link, HiddenTags::NONE);
    assert_eq!(original.address(&cidr), Some(&Address::default()));
    assert_eq!(original.address(&"10.0.0.6/24".parse().unwrap()), None);
    assert_eq!(original.vlan, Some((name("eth2"), 1)));
    let route = Route::desired(&name("eth2.1"), cidr, None);
    assert_eq!(original.with_routes([route.clone()].into()).routes, [route].into());
}
