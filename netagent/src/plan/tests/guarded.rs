//! Which changes touch the node's own network, and how the plan says so.

use super::*;
use crate::state::Original;

fn owned(link: Link) -> Link {
    Link { alias: Some("netagent".to_owned()), ..link }
}

/// A VLAN interface with an address.
fn interface(index: u32, parent: &str, number: u16) -> Link {
    let parent = Some(name(parent));
    let kind = Kind::Vlan { parent: parent.clone(), vid: vid(number) };
    let addresses = BTreeMap::from([("10.3.0.5/24".parse().unwrap(), Address::default())]);
    Link { lower: parent, addresses, ..link(index, kind) }
}

/// On the uplink, its NICs or its bridge; before there was a policy, every VLAN passed.
#[test]
fn an_interface_of_the_node_that_loses_its_vlan_is_guarded() {
    let (settled, datapath) = settled();
    let other = OOB.replace("vlan: 100", "vlan: 200");
    let none = ObservedDatapath::default();
    for (file, datapath, parent, vid, guarded) in [
        (&*other, &datapath, "oob-bo", 100, true),
        (&*other, &datapath, "oob-br", 100, true),
        (&*other, &datapath, "eth2", 100, true),
        (&*other, &datapath, "oob-br", 1, false),
        (&*other, &datapath, "oob-bo", 300, false),
        (&*other, &datapath, "tap7", 100, false),
        (&*other, &datapath, "eth9", 100, false),
        (OOB, &none, "oob-br", 300, true),
        (OOB, &none, "oob-br", 100, false),
    ] {
        let mut observed = settled.clone();
        let device = name(&format!("{parent}.{vid}"));
        observed.links.insert(device.clone(), interface(50, parent, vid));
        let plan = planned(&desired(file), &observed, datapath);
        assert_eq!(plan.unconfirmed().contains(&device), guarded, "{device}");
    }
}

#[test]
fn a_port_waits_for_a_bridge_that_waits_with_what_the_port_needs() {
    let fresh = planned(&desired(OOB), &fresh(), &ObservedDatapath::default());
    assert_eq!(found(&fresh, Code::Blocked), [""; 0], "nothing waits");
    let (mut observed, datapath) = settled();
    observed.routes.insert(default_route("oob-br"));
    observed.links.get_mut(&name("tap7")).unwrap().vlans.clear();
    let blocked = |observed: &Observed, mtu| {
        let mut desired = desired(OOB);
        desired.bridges.get_mut(&name("oob-br")).unwrap().mtu = mtu;
        let plan = planned(&desired, observed, &datapath);
        (plan.unconfirmed().contains(&name("oob-br")), found(&plan, Code::Blocked))
    };
    assert_eq!(blocked(&observed, Some(9000)), (true, vec![]), "a port needs no MTU");
    let state = BridgeState { vlan_filtering: Some(true), default_pvid: Some(1), snooping: None };
    observed.links.get_mut(&name("oob-br")).unwrap().kind = Kind::Bridge(state);
    let text = "port tap7 waits for bridge oob-br, which waits for confirmation";
    assert_eq!(blocked(&observed, None), (true, vec![text.to_owned()]));
}

#[test]
fn a_route_of_others_goes_with_confirmation_only() {
    let (mut observed, datapath) = settled();
    let file =
        OOB.replace("mode: 802.3ad } }", "mode: 802.3ad } }, host: { address: 10.0.0.5/24 }");
    let link = observed.links.get_mut(&name("oob-br")).unwrap();
    let address = Address { owned: true, ..Address::default() };
    link.addresses.insert("10.0.0.5/24".parse().unwrap(), address);
    link.vlans = BTreeMap::from([(Vid::MIN, VlanFlags { pvid: true, untagged: true })]);
    let waits = |observed: &Observed| planned(&desired(&file), observed, &datapath).unconfirmed();
    assert_eq!(waits(&observed), BTreeSet::new());
    observed.routes.insert(Route { protocol: crate::state::PROTOCOL, ..default_route("oob-br") });
    assert_eq!(waits(&observed), [name("oob-br")].into());
}

/// Without the bridge's name the reason is what the change alters; with it, what goes with it.
#[test]
fn the_reason_names_what_the_change_takes_down_or_alters() {
    let reasons = |desired: &Desired,
                   observed: &Observed,
                   datapath: &ObservedDatapath,
                   confirmed: &[&str]| {
        let confirmed = confirmed.iter().map(|link| name(link)).collect();
        let permission = Permission { confirmed, ..Permission::default() };
        found(&plan(desired, observed, datapath, &permission), Code::ConfirmationNeeded)
    };
    let (mut observed, datapath) = settled();
    let texts = reasons(&desired("{}"), &observed, &datapath, &[]);
    let down = "not done: the change takes down oob-br, with its ports: most of what was there";
    assert!(texts[0].starts_with(down), "{texts:?}");
    // The port of a VM that the node lives on.
    let tap = observed.links.get_mut(&name("tap7")).unwrap();
    tap.addresses.insert("10.3.0.5/24".parse().unwrap(), Address::default());
    let mut without = desired(OOB.split("ports:").next().unwrap());
    let texts = reasons(&without, &observed, &datapath, &[]);
    let alters = "port tap7 is left as it is: the change alters tap7, which carries the node's own";
    assert!(texts[0].starts_with(alters), "{texts:?}");
    // A damaged list is about former ports only.
    without.keep_former_ports = true;
    without.bridges.get_mut(&name("oob-br")).unwrap().mtu = Some(9000);
    observed.routes.insert(default_route("oob-br"));
    let texts = reasons(&without, &observed, &datapath, &[]);
    let bridge = "the change alters oob-br, which carries the node's own network";
    assert!(texts.iter().any(|text| text.contains(bridge)), "{texts:?}");
    observed.routes.insert(default_route("eth2"));
    let texts = reasons(&desired("{}"), &observed, &datapath, &["oob-br"]);
    assert!(!texts.is_empty() && texts.iter().all(|text| text.contains("carries")), "{texts:?}");
}

#[test]
fn only_ports_of_vms_are_kept_while_a_source_is_damaged() {
    let (mut observed, datapath) = settled();
    for nic in ["eth2", "tap7", "oob-bo"] {
        let link = observed.links.get_mut(&name(nic)).unwrap();
        link.alias = None;
        observed.originals.insert(name(nic), Original::of(link, HiddenTags::NONE));
    }
    for nic in ["eth2", "tap7"] {
        observed.links.get_mut(&name(nic)).unwrap().controller = None;
        observed.links.get_mut(&name(nic)).unwrap().mtu = 1400;
    }
    observed.links.get_mut(&name("oob-bo")).unwrap().mtu = 1400;
    let given_back = |keep| {
        let file = desired("clusterNetworks: { lab: {} }");
        let text = steps(&Desired { keep_former_ports: keep, ..file }, &observed, &datapath);
        let lines = text.lines().filter(|line| line.ends_with("mtu 1500"));
        lines.map(|line| line.split(' ').nth(3).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(given_back(false), ["eth2", "oob-bo", "tap7"]);
    assert_eq!(given_back(true), ["eth2", "oob-bo"]);
}

/// Somebody has made the difference: what was as desired is restored without a question.
#[test]
fn drift_is_repaired_as_a_part_of_the_unit_that_was_as_desired() {
    let waits =
        |file: &str, observed: &Observed, datapath: &ObservedDatapath, allowed: &[(Part, &str)]| {
            let allowed = allowed.iter().map(|(part, of)| UnitId::new(*part, &name(of))).collect();
            let permission = Permission { allowed, ..Permission::default() };
            plan(&desired(file), observed, datapath, &permission).unconfirmed()
        };
    let (mut observed, datapath) = settled();
    observed.routes.insert(default_route("oob-br"));
    let mut foreign = observed.clone();
    let nic = Link { controller: Some(name("oob-bo")), ..link(4, Kind::Other(String::new())) };
    foreign.links.insert(name("eth4"), nic);
    assert_eq!(waits(OOB, &foreign, &datapath, &[]), [name("oob-bo")].into());
    assert!(waits(OOB, &foreign, &datapath, &[(Part::Bond, "oob-bo")]).is_empty());
    // A VLAN of the bridge itself.
    let bridge = observed.links.get_mut(&name("oob-br")).unwrap();
    bridge.vlans = BTreeMap::from([(vid(50), VlanFlags::default())]);
    assert_eq!(waits(OOB, &observed, &datapath, &[]), [name("oob-br")].into());
    assert!(waits(OOB, &observed, &datapath, &[(Part::OwnVlans, "oob-br")]).is_empty());
    // A NIC that got addresses after it fell out of its bond.
    let file = "clusterNetworks: { lab: { uplink: { nics: [eth2, eth3] }, \
                host: { address: 10.0.0.5/24 } } }";
    let mut fallen = fresh();
    let address = Address::default();
    let nic = fallen.links.get_mut(&name("eth2")).unwrap();
    nic.addresses.insert("10.0.0.5/24".parse().unwrap(), address);
    let mut before = fallen.clone();
    before.links.insert(name("lab-bo"), link(20, Kind::Bond(BondState::default())));
    let mut datapath = carried_out(&desired(file), &before);
    assert_eq!(waits(file, &fallen, &datapath, &[]), [name("eth2")].into());
    let allowed = [(Part::Bond, "lab-bo")];
    assert!(waits(file, &fallen, &datapath, &allowed).is_empty());
    datapath.ports.clear();
    assert_eq!(waits(file, &fallen, &datapath, &allowed), [name("eth2")].into());
}

/// The ports of VMs join a segment that waits as soon as it exists.
#[test]
fn ports_of_vms_do_not_wait_with_their_segment() {
    let file = "
clusterNetworks:
  mgmt: { uplink: { nics: [eth2] }, host: { vlan: 10, address: 10.0.0.5/24 } }
networks:
  a: { clusterNetwork: mgmt, vlan: 100 }
ports:
  - { device: tap7, network: a }
";
    let mut observed = fresh();
    observed.routes.insert(default_route("eth2"));
    let plan = planned(&desired(file), &observed, &ObservedDatapath::default());
    let runnable = plan.units.iter().filter(|unit| unit.is_runnable());
    assert_eq!(runnable.map(|unit| unit.id.to_string()).collect::<Vec<_>>(), ["port tap7"]);
}

/// An apply was interrupted: nothing can be reached over its bridge yet.
#[test]
fn a_bridge_of_ours_without_ports_carries_nothing() {
    let file = "clusterNetworks: { mgmt: { mtu: 9000, host: { vlan: 10, address: 10.0.0.5/24 } } }";
    let mut desired = desired(&file.replace("mtu: 9000, ", ""));
    desired.bridges.get_mut(&name("mgmt-br")).unwrap().mtu = Some(9000);
    let bridge = link(40, Kind::Bridge(BridgeState::default()));
    for (bridge, with_port, guarded) in [
        (owned(bridge.clone()), false, false),
        (owned(bridge.clone()), true, true),
        (bridge, false, true),
    ] {
        let mut observed = fresh();
        observed.links.insert(name("mgmt-br"), bridge);
        if with_port {
            observed.links.get_mut(&name("eth3")).unwrap().controller = Some(name("mgmt-br"));
        }
        let plan = planned(&desired, &observed, &ObservedDatapath::default());
        assert_eq!(plan.unconfirmed().contains(&name("mgmt-br")), guarded, "{with_port}");
    }
}

/// The file has lost `mgmt`, whose links have other names.
#[test]
fn links_of_mgmt_are_known_by_the_policy_of_its_uplink() {
    let (mut observed, _) = settled();
    observed.links.remove(&name("tap7"));
    let file = |segment: &str| {
        let keys = "bridge: oob-br, uplink: { nics: [eth2, eth3], bond: { name: oob-bo } }";
        desired(&format!("clusterNetworks: {{ {segment}: {{ {keys} }} }}"))
    };
    for (index, parent) in [(50, "oob-br"), (51, "other")] {
        let vlan = Link { addresses: <_>::default(), ..interface(index, parent, 10) };
        observed.links.insert(name(&format!("{parent}.10")), owned(vlan));
    }
    let goes = |segment: &str| {
        let datapath = carried_out(&file(segment), &observed);
        let other = desired("clusterNetworks: { other: {} }");
        let plan = planned(&other, &observed, &datapath);
        plan.unconfirmed().into_iter().map(|link| link.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(goes("lab"), [""; 0]);
    assert_eq!(goes("mgmt"), ["oob-bo", "oob-br", "oob-br.10"]);
}
