//! Ports: their flags, the policy by what is around them, and devices that change.

use netagent_common::policy::{FAST, FAST_XDP, ISOLATION, PEER, PVID_TAGGED};

use super::*;
use crate::{
    plan::policy::{Surroundings, compile, differences},
    state::{FastPath, PortFlag, PortPolicy, Role},
};

/// What is planned for the port, after a change of its desired and its found state.
fn of_tap(change: impl FnOnce(&mut crate::state::Port, &mut Observed)) -> (String, Plan) {
    let (mut observed, datapath) = settled();
    let mut desired = desired(OOB);
    change(desired.ports.get_mut(&name("tap7")).unwrap(), &mut observed);
    (steps(&desired, &observed, &datapath), planned(&desired, &observed, &datapath))
}

#[test]
fn flags_of_a_bridge_port_are_set_if_they_are_asked_for_and_differ() {
    let hairpin = |on| format!("bridge link set dev tap7 hairpin {on}");
    for (wanted, found, expected) in [
        (None, true, String::new()),
        (None, false, String::new()),
        (Some(true), true, String::new()),
        (Some(false), false, String::new()),
        (Some(true), false, hairpin("on")),
        (Some(false), true, hairpin("off")),
    ] {
        let (text, _) = of_tap(|port, observed| {
            port.hairpin = wanted;
            let flags = &mut observed.links.get_mut(&name("tap7")).unwrap().port_flags;
            flags.extend(found.then_some(PortFlag::Hairpin));
        });
        assert_eq!(text, expected, "{wanted:?} {found}");
    }
    let mut desired = desired(OOB);
    desired.ports.get_mut(&name("tap7")).unwrap().port_isolation = Some(true);
    let text = steps(&desired, &fresh(), &ObservedDatapath::default());
    assert!(text.contains("bridge link set dev tap7 isolated on"), "{text}");
}

#[test]
fn a_port_that_was_set_down_stays_down_and_a_bond_is_set_up_with_its_members() {
    let (text, plan) = of_tap(|_, observed| {
        observed.links.get_mut(&name("tap7")).unwrap().up = false;
    });
    assert_eq!((text.as_str(), found(&plan, Code::PortDown).len()), ("", 1));
    // It is plugged in again.
    let (text, plan) = of_tap(|_, observed| {
        let tap = observed.links.get_mut(&name("tap7")).unwrap();
        (tap.up, tap.controller) = (false, None);
    });
    assert!(text.starts_with("ip link set tap7 up\nip link set tap7 master oob-br"), "{text}");
    assert!(found(&plan, Code::PortDown).is_empty());
    let (text, _) = of_tap(|_, observed| {
        observed.links.get_mut(&name("eth3")).unwrap().up = false;
    });
    assert_eq!(text, "ip link set eth3 up");
    let (text, _) = of_tap(|_, observed| {
        observed.links.get_mut(&name("oob-bo")).unwrap().up = false;
    });
    assert_eq!(text, "ip link set oob-bo up");
}

#[test]
fn what_this_kernel_cannot_have_is_refused() {
    for (stacked_tags, refused) in [(false, 1), (true, 0)] {
        let mut desired = desired(OOB);
        desired.ports.get_mut(&name("tap7")).unwrap().role = Role::Tunnel;
        let datapath = ObservedDatapath { stacked_tags, ..ObservedDatapath::default() };
        let plan = planned(&desired, &fresh(), &datapath);
        assert_eq!(found(&plan, Code::Refused).len(), refused);
    }
}

const LAB: &str = "
clusterNetworks:
  oob: { uplink: { nics: [eth2, eth3] } }
  lab: { bridge: vmbr0 }
networks:
  a: { clusterNetwork: oob, vlan: 100 }
  b: { clusterNetwork: lab, vlan: 100 }
ports:
  - { device: tap7, network: a }
  - { device: tap8, network: a }
  - { device: tap9, network: b }
";

/// Two taps on the bridge of an uplink, and one on a bridge of others.
fn lab() -> Observed {
    let mut observed = fresh();
    let state = BridgeState { vlan_filtering: Some(true), default_pvid: Some(1), snooping: None };
    observed.links.insert(name("vmbr0"), link(40, Kind::Bridge(state)));
    for (index, tap) in [(10, "tap8"), (11, "tap9")] {
        observed.links.insert(name(tap), link(index, Kind::Other("tun".to_owned())));
    }
    observed
}

fn flags(desired: &Desired, observed: &Observed, flag: u32) -> Vec<String> {
    let datapath = carried_out(desired, observed);
    let ports = datapath.ports.iter().filter(|(_, port)| port.policy.has(flag));
    ports.map(|(name, _)| name.to_string()).collect()
}

/// Policies of devices that do not exist yet have no interface index: the bond is there.
fn with_bond(mut observed: Observed) -> Observed {
    observed.links.insert(name("oob-bo"), link(20, Kind::Bond(BondState::default())));
    observed
}

#[test]
fn isolation_is_looked_for_at_the_ports_of_vms_on_the_bridge_of_an_isolated_one() {
    let mut desired = desired(LAB);
    let observed = with_bond(lab());
    assert_eq!(flags(&desired, &observed, ISOLATION), [""; 0]);
    desired.ports.get_mut(&name("tap8")).unwrap().security.isolated = true;
    assert_eq!(flags(&desired, &observed, ISOLATION), ["tap7", "tap8"]);
}

#[test]
fn peers_are_entered_where_the_kernel_counts_and_a_veth_leads_elsewhere() {
    let desired = desired(LAB);
    for (counted_peers, elsewhere, expected) in
        [(false, true, false), (true, false, false), (true, true, true)]
    {
        let mut observed = with_bond(lab());
        for device in ["tap7", "oob-bo"] {
            observed.links.get_mut(&name(device)).unwrap().leads_elsewhere = elsewhere;
        }
        let datapath = ObservedDatapath { counted_peers, ..ObservedDatapath::default() };
        let enters =
            changes(&planned(&desired, &observed, &datapath)).into_iter().filter_map(|change| {
                match change {
                    Change::Datapath(DatapathChange::SetPolicy(name, policy))
                        if policy.has(PEER) =>
                    {
                        Some(name.to_string())
                    }
                    _ => None,
                }
            });
        let expected = if expected { vec!["tap7"] } else { vec![] };
        assert_eq!(enters.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn the_untagged_vlan_of_the_node_is_that_of_its_own_bridge() {
    for (host, expected) in [
        ("host: { address: 10.0.0.5/24 }", Some(Vid::MIN)),
        ("host: { vlan: 10, address: 10.0.0.5/24 }", None),
    ] {
        let file = LAB.replace("oob: {", &format!("oob: {{ vlanFiltering: off, {host},"));
        let file = file.replace("lab: {", "lab: { vlanFiltering: off,");
        let mut observed = with_bond(lab());
        observed.links.get_mut(&name("vmbr0")).unwrap().alias = Some("netagent".to_owned());
        let datapath = carried_out(&desired(&file), &observed);
        let of = |port: &str| datapath.ports[&name(port)].policy.bridge_pvid;
        assert_eq!((of("oob-bo"), of("tap7"), of("tap9")), (expected, expected, None), "{host}");
    }
}

#[test]
fn an_uplink_has_the_nics_of_its_bond_and_none_besides_itself() {
    let nics = |file: &str, uplink: &str| {
        let datapath = carried_out(&desired(file), &with_bond(lab()));
        datapath.ports[&name(uplink)].policy.nics.clone()
    };
    assert_eq!(nics(LAB, "oob-bo"), [2, 3].into());
    let file = LAB.replace("nics: [eth2, eth3]", "nics: [eth2], bond: { mode: none }");
    assert_eq!(nics(&file, "eth2"), [].into());
}

#[test]
fn a_port_comes_from_a_bridge_that_a_source_names_or_that_is_ours() {
    let from = |bridge: &str, alias: Option<&str>| {
        let mut observed = lab();
        let other = link(41, Kind::Bridge(BridgeState::default()));
        let other = Link { alias: alias.map(str::to_owned), ..other };
        observed.links.insert(name("other"), other);
        observed.links.get_mut(&name("tap7")).unwrap().controller = Some(name(bridge));
        found(&planned(&desired(LAB), &observed, &ObservedDatapath::default()), Code::Refused)
    };
    assert_eq!(from("vmbr0", None), [""; 0]);
    assert_eq!(from("other", Some("netagent")), [""; 0]);
    assert_eq!(
        from("other", None),
        ["tap7: belongs to other, not oob-br: ip link set tap7 nomaster"]
    );
}

/// The device with the policy has another name, and another device may have its own.
#[test]
fn a_device_that_was_renamed_leaves_if_another_takes_its_place() {
    let (settled, datapath) = settled();
    let renamed = |file: &str, new: bool| {
        let mut observed = settled.clone();
        let tap = observed.links.remove(&name("tap7")).unwrap();
        observed.links.insert(name("tap9"), tap);
        if new {
            observed.links.insert(name("tap7"), link(12, Kind::Other("tun".to_owned())));
        }
        let plan = planned(&desired(file), &observed, &datapath);
        let leaves = plan.units.iter().any(|unit| unit.id.part == Part::FormerPort);
        (leaves, found(&plan, Code::Renamed))
    };
    let leaves = "tap9 was tap7 when it got its policy: it leaves the bridge";
    assert_eq!(renamed(OOB, true), (true, vec![leaves.to_owned()]));
    let both = format!("{OOB}  - {{ device: tap9, network: corp-net }}\n");
    let (left, texts) = renamed(&both, false);
    assert!(left && texts.contains(&leaves.to_owned()), "{texts:?}");
    let keeps = "tap7: is called tap9 now, and keeps its policy: ip link set tap9 name tap7, or \
                 name tap9 in `ports`";
    assert_eq!(renamed(OOB, false), (false, vec![keeps.to_owned()]));
}

/// Both policies have a check: the programs never lose it.
#[test]
fn a_check_of_both_policies_stays_while_another_comes() {
    let with = |keys: &str| {
        let network = "device: tap7, network: corp-net";
        desired(&OOB.replace(network, &format!("{network}, security: {{ {keys} }}")))
    };
    let (observed, _) = settled();
    let datapath = carried_out(&with("dhcpGuard: true"), &observed);
    insta::assert_snapshot!(steps(&with("dhcpGuard: true, maxMacs: 4"), &observed, &datapath), @"
    attach port_in to tap7 with maxMacs, dhcpGuard
    policy tap7: access in corp-net, vids 100, pvid 100, admit untagged-and-priority, maxMacs, dhcpGuard
    ");
}

#[test]
fn the_fast_paths_of_a_port_are_those_that_the_file_and_the_device_have() {
    let mut port = desired(OOB).ports[&name("tap7")].clone();
    let around = |able| Surroundings {
        aware: true,
        host_untagged: None,
        isolation: false,
        tags_in_bytes: false,
        xdp_frames: able,
        peer: able,
        needs_bridge: false,
    };
    for (path, able, expected) in [
        (FastPath::Off, true, 0),
        (FastPath::Tc, false, FAST),
        (FastPath::Tc, true, FAST | PEER),
        (FastPath::Xdp, false, FAST),
        (FastPath::Xdp, true, FAST | PEER | FAST_XDP),
    ] {
        port.fast_path = path;
        let policy = compile(&port, BTreeSet::new(), around(able));
        assert_eq!(policy.flags & (FAST | PEER | FAST_XDP), expected, "{path:?} {able}");
    }
    let around = |able| Surroundings { needs_bridge: true, ..around(able) };
    port.fast_path = FastPath::Xdp;
    let policy = compile(&port, BTreeSet::new(), around(true));
    assert_eq!(policy.flags & (FAST | PEER | FAST_XDP), 0);
    for (pvid, tagged, expected) in
        [(Some(vid(100)), true, true), (Some(vid(100)), false, false), (None, true, false)]
    {
        (port.pvid, port.pvid_tagged) = (pvid, tagged);
        let policy = compile(&port, BTreeSet::new(), around(true));
        assert_eq!(policy.has(PVID_TAGGED), expected, "{pvid:?} {tagged}");
    }
    // The map has 32 bytes.
    for (length, kept) in [(31, 31), (30, 32)] {
        port.network = format!("{}é", "x".repeat(length));
        let policy = compile(&port, BTreeSet::new(), around(true));
        assert_eq!((policy.network.len(), policy.network.is_ascii()), (kept, kept == 31));
    }
}

#[test]
fn a_change_of_a_policy_is_told_by_network_and_vlans() {
    let policy = |keys: &str| {
        let file = OOB.replace("vlan: 100", keys);
        carried_out(&desired(&file), &settled().0).ports[&name("tap7")].policy.clone()
    };
    let (access, trunk) = (policy("vlan: 100"), policy("trunk: 200-201"));
    let told = |old: &PortPolicy, new: &PortPolicy| differences(&name("tap7"), old, new);
    assert_eq!(told(&access, &access), [""; 0]);
    assert_eq!(
        told(&access, &trunk),
        ["tap7: VLAN 100 → 200-201", "tap7: VLAN of untagged frames 100 → none"]
    );
    assert_eq!(told(&trunk, &access).len(), 2);
    let empty = PortPolicy { allowed: <_>::default(), ..access.clone() };
    assert_eq!(told(&access, &empty), ["tap7: VLAN 100 → none"]);
    let other = PortPolicy { network: "b".to_owned(), ..access.clone() };
    assert_eq!(told(&access, &other), ["tap7: network corp-net → b"]);
}

#[test]
fn lldp_passes_where_it_is_asked_for_and_keeps_its_form() {
    let lldp = |native: bool, asked: bool, mask: u16| {
        let (mut observed, datapath) = settled();
        let mut desired = desired(OOB);
        let port = desired.ports.get_mut(&name("tap7")).unwrap();
        port.security.allow_link_local = asked;
        if native {
            port.pvid = desired.bridges[&name("oob-br")].native;
        }
        for device in ["tap7", "oob-bo"] {
            observed.links.get_mut(&name(device)).unwrap().group_fwd_mask = mask;
        }
        let plan = planned(&desired, &observed, &datapath);
        let steps = steps(&desired, &observed, &datapath);
        let steps = steps.lines().filter(|step| step.contains("group_fwd_mask"));
        let steps: Vec<String> = steps.map(str::to_owned).collect();
        (steps, found(&plan, Code::LinkLocalKept).len())
    };
    let set = |device: &str, mask: &str| {
        format!("ip link set {device} type bridge_slave group_fwd_mask {mask}")
    };
    let both = |mask| vec![set("oob-bo", mask), set("tap7", mask)];
    assert_eq!(lldp(true, true, 0), (both("0x4000"), 0));
    assert_eq!(lldp(true, true, 8), (both("0x4008"), 0));
    assert_eq!(lldp(true, true, 0x4000), (vec![], 0));
    // The bond is netagent's; of the tap nobody knows how it was found.
    assert_eq!(lldp(true, false, 0x4008), (vec![set("oob-bo", "0x8")], 0));
    // The bridge filters VLANs: the frames would leave with the tag of VLAN 100.
    assert_eq!(lldp(false, true, 0), (vec![], 1));
    assert_eq!(lldp(false, false, 0), (vec![], 0));
}
