//! What moves from a link that the node lives on to the interface that takes its place.

use super::*;
use crate::{names::Cidr, state::Neighbour};

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

const BOND: &str = "
clusterNetworks:
  mgmt: { uplink: { nics: [eth2, eth3], xdp: off }, host: { address: 10.0.0.5/24 } }
";

/// A node that lives on `eth2`.
fn node() -> Observed {
    let mut observed = fresh();
    let link = observed.links.get_mut(&name("eth2")).unwrap();
    link.addresses.insert(cidr("10.0.0.5/24"), Address::default());
    observed.routes.insert(default_route("eth2"));
    observed
}

fn takeover(file: &str, observed: &Observed) -> (Vec<String>, Vec<String>) {
    let plan = planned(&desired(file), observed, &ObservedDatapath::default());
    let units = plan.units.into_iter().filter(|unit| unit.id.part == Part::Takeover);
    let (mut steps, mut impact) = (Vec::new(), Vec::new());
    for unit in units {
        steps.extend(unit.steps.iter().map(|step| step.change.to_string()));
        impact.extend(unit.impact);
    }
    (steps, impact)
}

fn has(lines: &[String], line: &str) -> bool {
    lines.iter().any(|other| other == line)
}

#[test]
fn routes_and_neighbours_move_with_the_address_that_reaches_them_or_with_their_vlan() {
    let route = |to: &str, via: Option<&str>| Route {
        to: cidr(to),
        via: via.map(|via| via.parse().unwrap()),
        ..default_route("eth2")
    };
    let mut observed = node();
    observed.routes.extend([
        route("10.8.0.0/16", None),
        route("10.78.0.0/16", Some("10.77.0.1")),
        route("fd00:9::/32", Some("fe80::1")),
        route("10.79.0.0/16", Some("10.0.0.2")),
    ]);
    let neighbour = |address: &str| Neighbour {
        device: name("eth2"),
        address: address.parse().unwrap(),
        mac: Mac([2, 0, 0, 0, 0, 8]),
    };
    observed.neighbours.extend([neighbour("10.0.0.9"), neighbour("172.16.0.1")]);
    let tagged = BOND.replace("host: {", "host: { vlan: 10,");
    for (file, to, same_vlan) in [(BOND, "mgmt-br", true), (&*tagged, "mgmt-br.10", false)] {
        let (steps, impact) = takeover(file, &observed);
        for (line, moves) in [
            (format!("ip route append default via 10.0.0.1 dev {to}"), true),
            (format!("ip route append 10.79.0.0/16 via 10.0.0.2 dev {to}"), true),
            (format!("ip route append 10.8.0.0/16 dev {to}"), same_vlan),
            (format!("ip route append 10.78.0.0/16 via 10.77.0.1 dev {to}"), false),
            (format!("ip route append fd00:9::/32 via fe80::1 dev {to} metric 1"), same_vlan),
            (neigh("10.0.0.9", to), true),
            (neigh("172.16.0.1", to), same_vlan),
            ("ip neigh del 10.0.0.9 dev eth2".to_owned(), true),
            ("ip neigh del 172.16.0.1 dev eth2".to_owned(), same_vlan),
        ] {
            assert_eq!(has(&steps, &line), moves, "{line}: {steps:#?}");
        }
        // The gateway of the default route learns where the node is.
        let asked: Vec<_> = steps.iter().filter(|step| step.ends_with(" use")).collect();
        assert_eq!(asked, [&format!("ip neigh replace 10.0.0.1 dev {to} use")]);
        assert!(!impact.iter().any(|line| line.contains("stops working")), "{impact:?}");
    }
}

fn neigh(address: &str, to: &str) -> String {
    format!("ip neigh replace {address} lladdr 02:00:00:00:00:08 dev {to} nud permanent")
}

/// The bridge of an apply that was interrupted has some of it already.
#[test]
fn what_is_there_is_not_added_again() {
    let append = "ip route append default via 10.0.0.1 dev mgmt-br";
    let neighbour = |device: &str| Neighbour {
        device: name(device),
        address: "10.0.0.9".parse().unwrap(),
        mac: Mac([2, 0, 0, 0, 0, 8]),
    };
    for (metric, there) in [(0, true), (7, false)] {
        let mut observed = node();
        observed.neighbours.insert(neighbour("eth2"));
        let bridge = link(40, Kind::Bridge(BridgeState::default()));
        let bridge = Link { alias: Some("netagent".to_owned()), ..bridge };
        observed.links.insert(name("mgmt-br"), bridge);
        observed.routes.insert(Route { metric, ..default_route("mgmt-br") });
        let (steps, _) = takeover(BOND, &observed);
        assert_eq!(!has(&steps, append), there, "{steps:?}");
        assert!(has(&steps, &neigh("10.0.0.9", "mgmt-br")), "{steps:?}");
        observed.neighbours.insert(neighbour("mgmt-br"));
        let (steps, _) = takeover(BOND, &observed);
        assert!(!has(&steps, &neigh("10.0.0.9", "mgmt-br")), "{steps:?}");
    }
}

/// The node keeps its address if a bond of several NICs would have another one.
#[test]
fn the_bond_takes_the_mac_address_of_the_first_nic_that_the_node_lives_on() {
    let takes = |file: &str, observed: &Observed| {
        let (steps, _) = takeover(file, observed);
        let count = |start: &str| steps.iter().filter(|step| step.starts_with(start)).count();
        (count("wait for the carrier"), count("ip link set mgmt-bo address"))
    };
    assert_eq!(takes(BOND, &node()), (1, 1));
    assert_eq!(takes(&BOND.replace("[eth2, eth3]", "[eth2]"), &node()), (0, 0));
    let mut both = node();
    let second = both.links.get_mut(&name("eth3")).unwrap();
    second.addresses.insert(cidr("10.9.0.5/24"), Address::default());
    assert_eq!(takes(BOND, &both), (2, 1));
    let mut in_use = node();
    let mut bridge = link(40, Kind::Bridge(BridgeState::default()));
    bridge.addresses.insert(cidr("10.9.0.5/24"), Address::default());
    in_use.links.insert(name("mgmt-br"), bridge);
    assert_eq!(takes(BOND, &in_use), (1, 0));
    let mut fixed = desired(BOND);
    fixed.bonds.get_mut(&name("mgmt-bo")).unwrap().mac = Some(Mac([2, 0, 0, 0, 0, 5]));
    let plan = planned(&fixed, &node(), &ObservedDatapath::default());
    let unit = plan.units.iter().find(|unit| unit.id.part == Part::Takeover).unwrap();
    assert!(!unit.steps.iter().any(|step| step.change.to_string().contains("address 02:")));
}

#[test]
fn what_does_not_move_is_told() {
    let mut observed = node();
    observed.rule_devices.insert(name("eth2"));
    observed.multipath.insert(name("eth2"));
    observed.rule_devices.insert(name("eth9"));
    let (_, impact) = takeover(BOND, &observed);
    let told: Vec<_> = impact.iter().filter(|line| !line.contains(" → ")).collect();
    assert_eq!(
        told,
        [
            "policy rules with iif or oif eth2 do not match the segment: change them yourself",
            "multipath routes over eth2 do not move: replace them by routes in the file"
        ]
    );
}

/// The interface of the node gets another VLAN: the one before goes with the new one.
#[test]
fn an_interface_of_another_vlan_gives_its_address_to_the_new_one() {
    let file = OOB.replace(
        "mode: 802.3ad } }",
        "mode: 802.3ad } }, host: { vlan: 20, address: 10.0.0.5/24 }",
    );
    let old = |parent: &str, alias: Option<&str>, address: &str| {
        let (mut observed, _) = settled();
        let kind = Kind::Vlan { parent: Some(name(parent)), vid: vid(10) };
        let mut link = link(50, kind);
        link.alias = alias.map(str::to_owned);
        link.addresses.insert(cidr(address), Address::default());
        observed.links.insert(name("old"), link);
        observed.routes.insert(default_route("old"));
        let plan = planned(&desired(&file), &observed, &ObservedDatapath::default());
        let of = |part: Part| {
            let units = plan.units.iter().filter(|unit| unit.id.part == part);
            let steps = units.flat_map(|unit| &unit.steps).map(|step| step.change.to_string());
            steps.filter(|step| step.contains("old")).collect::<Vec<_>>()
        };
        (of(Part::Host), of(Part::FormerLink))
    };
    let (ours, same) = (Some("netagent"), "10.0.0.5/24");
    let route = "ip route del default via 10.0.0.1 dev old".to_owned();
    let (delete, none) = ("ip link delete old".to_owned(), Vec::new());
    assert_eq!(old("oob-br", ours, same), (vec![route.clone(), delete.clone()], none.clone()));
    let address = "ip address del 10.0.0.5/24 dev old".to_owned();
    assert_eq!(old("oob-br", None, same), (vec![route, address], none.clone()));
    assert_eq!(old("oob-br", ours, "10.9.0.5/24"), (none.clone(), vec![delete.clone()]));
    assert_eq!(old("other", ours, same), (none.clone(), vec![delete]));
    assert_eq!(old("other", None, same), (none.clone(), none));
}

/// A VLAN interface on a NIC.
fn vlan_on(parent: &str, index: u32, tag: u16, addresses: &[&str]) -> Link {
    let addresses = addresses.iter().map(|address| (cidr(address), Address::default()));
    let kind = Kind::Vlan { parent: Some(name(parent)), vid: vid(tag) };
    Link { addresses: addresses.collect(), ..link(index, kind) }
}

const TWO: &str = "
clusterNetworks:
  mgmt:
    uplink: { nics: [eth2, eth3], xdp: off }
    host: [{ address: 10.0.0.5/24 }, { vlan: 10, address: 10.9.0.5/24 }]
";

#[test]
fn a_link_gives_what_it_has_and_is_deleted_if_it_would_take_the_frames() {
    let (desired, mut observed) = (desired(TWO), node());
    observed.routes.clear();
    for (device, link) in [
        ("eth2.10", vlan_on("eth2", 30, 10, &[])),
        ("eth2.20", vlan_on("eth2", 31, 20, &[])),
        ("eth3.10", vlan_on("eth3", 32, 10, &["10.9.0.5/24"])),
    ] {
        observed.links.insert(name(device), link);
    }
    let datapath = ObservedDatapath::default();
    let view = View { desired: &desired, observed: &observed, datapath: &datapath };
    let (nic, bridge) = (name("eth2"), name("mgmt-br"));
    let moves = lived_on::moves(&view, &nic, &bridge);
    let moves: Vec<_> = moves
        .iter()
        .map(|it| (it.from.as_str(), it.to.as_str(), it.addresses.len(), it.delete))
        .collect();
    assert_eq!(moves, [("eth2", "mgmt-br", 1, false), ("eth2.10", "mgmt-br.10", 0, true)]);
}

#[test]
fn only_a_nic_that_is_lived_on_and_elsewhere_is_taken_over() {
    let (desired, mut observed) = (desired(TWO), node());
    let (bond, datapath) = (name("mgmt-bo"), ObservedDatapath::default());
    let is_taken_over = |observed: &Observed, nic| {
        let view = View { desired: &desired, observed, datapath: &datapath };
        view.is_taken_over(&name(nic), &bond)
    };
    assert!(is_taken_over(&observed, "eth2"));
    assert!(!is_taken_over(&observed, "eth3") && !is_taken_over(&observed, "eth4"));
    observed.links.get_mut(&name("eth2")).unwrap().controller = Some(bond.clone());
    assert!(!is_taken_over(&observed, "eth2"));
}

/// The first NIC has only an address that no file wants.
#[test]
fn an_interface_gets_its_addresses_with_the_nic_that_has_them() {
    let desired = desired(&BOND.replace("host: {", "host: { vlan: 10,"));
    let mut observed = fresh();
    for (nic, address) in [("eth2", "192.0.2.5/24"), ("eth3", "10.0.0.5/24")] {
        let link = observed.links.get_mut(&name(nic)).unwrap();
        link.addresses.insert(cidr(address), Address::default());
    }
    let datapath = ObservedDatapath::default();
    let view = View { desired: &desired, observed: &observed, datapath: &datapath };
    assert_eq!(view.carrier_of(&name("mgmt-br.10")), Some(&name("eth3")));
}

#[test]
fn an_interface_replaces_those_on_its_bridge_that_nothing_wants() {
    let one = BOND.replace("host: {", "host: { vlan: 10,");
    let two = TWO.replace("10.0.0.5/24", "10.7.0.5/24").replace("10.9.0.5/24", "10.0.0.5/24");
    let mut observed = node();
    let bridge = BridgeState { vlan_filtering: Some(true), default_pvid: Some(0), snooping: None };
    let bridge = || Link {
        addresses: [(cidr("10.0.0.5/24"), Address::default())].into(),
        ..link(40, Kind::Bridge(bridge))
    };
    for (device, link) in [
        ("mgmt-br", bridge()),
        ("mgmt-br.10", vlan_on("mgmt-br", 41, 10, &["10.0.0.5/24"])),
        ("mgmt-br.20", vlan_on("mgmt-br", 42, 20, &["10.0.0.5/24"])),
        ("mgmt-br.30", vlan_on("mgmt-br", 43, 30, &["10.0.0.7/24"])),
        ("virbr0", bridge()),
        ("virbr0.20", vlan_on("virbr0", 44, 20, &["10.0.0.5/24"])),
    ] {
        observed.links.insert(name(device), link);
    }
    for (file, replaced) in [(&one, vec!["mgmt-br", "mgmt-br.20"]), (&two, vec!["mgmt-br.20"])] {
        let (desired, datapath) = (desired(file), ObservedDatapath::default());
        let view = View { desired: &desired, observed: &observed, datapath: &datapath };
        let to = name("mgmt-br.10");
        let names = view.replaced_by(&to, &desired.hosts[&to]);
        assert_eq!(names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), replaced, "{file}");
    }
}
