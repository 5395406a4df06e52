//! Links that the node lives on: what moves, in which order, and what it needs.

use super::*;
use crate::names::Cidr;

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

/// A node that is reached over one link: an address, a lease, and a default route.
fn lived_on(device: &str) -> Observed {
    let mut observed = fresh();
    if let Some((parent, number)) = device.split_once('.') {
        let (parent, number) = (name(parent), vid(number.parse().unwrap()));
        let mut vlan = link(30, Kind::Vlan { parent: Some(parent.clone()), vid: number });
        vlan.lower = Some(parent);
        observed.links.insert(name(device), vlan);
    }
    let link = observed.links.get_mut(&name(device)).unwrap();
    link.addresses.insert(cidr("10.0.0.5/24"), Address::default());
    link.addresses.insert(cidr("10.0.0.77/24"), Address { until: Some(9), ..Address::default() });
    observed.routes.insert(default_route(device));
    observed
}

const BOND: &str = "
clusterNetworks:
  mgmt: { uplink: { nics: [eth2, eth3], xdp: off }, host: { address: 10.0.0.5/24 } }
";

#[test]
fn nic_that_the_node_lives_on_joins_last_and_brings_its_addresses() {
    let plan = planned(&desired(BOND), &lived_on("eth2"), &ObservedDatapath::default());
    let takeover = plan.units.last().unwrap();
    assert_eq!(takeover.id.to_string(), "takeover of eth2");
    assert!(takeover.is_whole, "half of it would cut the node off");
    let steps: Vec<_> = takeover.steps.iter().map(|step| step.change.to_string()).collect();
    insta::assert_snapshot!(steps.join("\n"), @r"
    wait for the carrier of mgmt-bo
    ip link set mgmt-bo address 02:00:00:00:00:01
    ip link set mgmt-br address <that of mgmt-bo>
    ip address add 10.0.0.5/24 dev mgmt-br
    ip address add 10.0.0.77/24 dev mgmt-br <as on eth2>
    ip route append default via 10.0.0.1 dev mgmt-br
    ip link set eth2 down master mgmt-bo
    ip route del default via 10.0.0.1 dev eth2
    ip address del 10.0.0.77/24 dev eth2
    ip address del 10.0.0.5/24 dev eth2
    ip neigh replace 10.0.0.1 dev mgmt-br use
    ");
    // The other NIC has joined before, and nothing else is left to the NIC's unit.
    let joins = |change: &Change| change.to_string() == "ip link set eth3 down master mgmt-bo";
    let bond = plan.units.iter().find(|unit| unit.id.to_string() == "bond mgmt-bo").unwrap();
    assert!(bond.steps.iter().any(|step| joins(&step.change)));
    assert_eq!(plan.unconfirmed(), [name("eth2")].into());
    assert!(takeover.impact.contains(&"eth2 → mgmt-br: 10.0.0.77/24 moves".to_owned()));
}

/// The addresses that the file does not have belong to another VLAN than the new interface.
#[test]
fn only_addresses_of_the_file_move_to_another_vlan() {
    let file = BOND.replace("host: {", "host: { vlan: 10,");
    let plan = planned(&desired(&file), &lived_on("eth2"), &ObservedDatapath::default());
    let takeover = plan.units.last().unwrap();
    let text = |change: &Change| change.to_string();
    let steps: Vec<String> = takeover.steps.iter().map(|step| text(&step.change)).collect();
    assert!(steps.contains(&"ip address add 10.0.0.5/24 dev mgmt-br.10".to_owned()), "{steps:?}");
    assert!(!steps.iter().any(|step| step.contains("10.0.0.77")), "{steps:?}");
    assert!(takeover.impact.contains(&"10.0.0.77/24 on eth2 stops working".to_owned()));
}

#[test]
fn vlan_interface_on_a_nic_is_replaced_by_that_of_the_bridge() {
    let file = BOND.replace("host: {", "host: { vlan: 10,");
    let plan = planned(&desired(&file), &lived_on("eth2.10"), &ObservedDatapath::default());
    let steps: Vec<_> = changes(&plan).iter().map(ToString::to_string).collect();
    let at = |step: &str| steps.iter().position(|other| other == step);
    let copied = at("ip address add 10.0.0.77/24 dev mgmt-br.10 <as on eth2.10>");
    let joined = at("ip link set eth2 down master mgmt-bo");
    let deleted = at("ip link delete eth2.10");
    assert!(copied.is_some() && copied < joined && joined < deleted, "{steps:?}");
    // The NIC carries the node though it has no address of its own.
    assert!(plan.unconfirmed().contains(&name("eth2")));
    assert!(plan.unconfirmed().contains(&name("eth2.10")));
}

/// A bond that has the addresses already: the new interface gets them with the bond, not before.
#[test]
fn bond_that_the_node_lives_on_brings_its_addresses() {
    let file = BOND.replace("host: {", "host: { gateway: 10.0.0.1,");
    let file = file.replace("nics: [eth2, eth3]", "nics: [eth2, eth3], bond: { name: bond0 }");
    let mut observed = fresh();
    observed.links.insert(name("bond0"), link(30, Kind::Bond(BondState::default())));
    for nic in ["eth2", "eth3"] {
        observed.links.get_mut(&name(nic)).unwrap().controller = Some(name("bond0"));
    }
    let bond = observed.links.get_mut(&name("bond0")).unwrap();
    bond.addresses.insert(cidr("10.0.0.5/24"), Address::default());
    observed.routes.insert(default_route("bond0"));
    let plan = planned(&desired(&file), &observed, &ObservedDatapath::default());
    let unit = plan.units.iter().find(|unit| unit.id.to_string() == "port bond0").unwrap();
    assert!(unit.is_whole, "half of it would cut the node off");
    let steps = unit.steps.iter().map(|step| step.change.to_string());
    let steps: Vec<_> = steps.filter(|step| step.starts_with("ip ")).collect();
    insta::assert_snapshot!(steps.join("\n"), @"
    ip address add 10.0.0.5/24 dev mgmt-br
    ip route append default via 10.0.0.1 dev mgmt-br
    ip link set bond0 master mgmt-br
    ip route del default via 10.0.0.1 dev bond0
    ip address del 10.0.0.5/24 dev bond0
    ip neigh replace 10.0.0.1 dev mgmt-br use
    ");
    let of_host = plan.units.iter().filter(|unit| unit.id.part == Part::Host);
    assert_eq!(of_host.flat_map(|unit| &unit.steps).count(), 0);
}

/// An agent that was killed has left the route that waited behind the one of the NIC.
#[test]
fn route_that_waited_goes_when_the_one_before_it_is_there() {
    let file = "clusterNetworks: { mgmt: { uplink: { nics: [eth2], bond: { mode: none } }, \
                host: { address: \"fd00::5/64\" } } }";
    let mut observed = fresh();
    let bridge = BridgeState { vlan_filtering: Some(true), default_pvid: Some(0), snooping: None };
    let mut link = link(21, Kind::Bridge(bridge));
    link.addresses.insert(cidr("fd00::5/64"), Address::default());
    link.alias = Some("netagent".to_owned());
    observed.links.insert(name("mgmt-br"), link);
    observed.links.get_mut(&name("eth2")).unwrap().controller = Some(name("mgmt-br"));
    let everywhere = Route::everywhere("fd00::1".parse().unwrap());
    let route = Route::desired(&name("mgmt-br"), everywhere, "fd00::1".parse().ok());
    let route = |metric| Route { metric, protocol: 4, ..route.clone() };
    observed.routes = BTreeSet::from([route(1024), route(1025), route(2000)]);
    let plan = planned(&desired(file), &observed, &ObservedDatapath::default());
    let steps: Vec<_> = changes(&plan).iter().map(ToString::to_string).collect();
    let removed: Vec<_> = steps.iter().filter(|step| step.starts_with("ip route del")).collect();
    assert_eq!(removed, ["ip route del default via fd00::1 dev mgmt-br metric 1025"]);
    assert!(!plan.unconfirmed().contains(&name("mgmt-br")), "nothing is lost");
}

/// The node lives on a VLAN interface of a NIC that a segment without the node takes.
#[test]
fn nic_below_a_link_that_the_node_lives_on_needs_confirmation() {
    let file = "clusterNetworks: { oob: { uplink: { nics: [eth2], bond: { mode: none } } } }";
    let plan = planned(&desired(file), &lived_on("eth2.10"), &ObservedDatapath::default());
    assert!(plan.unconfirmed().contains(&name("eth2")), "{:?}", plan.unconfirmed());
    let needed = found(&plan, Code::ConfirmationNeeded);
    assert!(needed.iter().any(|text| text.contains("10.0.0.5/24 on eth2.10 stops working")));
}

#[test]
fn addresses_and_routes_of_others_stay_on_the_nodes_interface() {
    let file = "clusterNetworks: { lab: { host: { address: 10.0.0.5/24 } } }";
    let mut observed = fresh();
    let bridge = BridgeState { vlan_filtering: Some(true), default_pvid: Some(0), snooping: None };
    let mut link = link(21, Kind::Bridge(bridge));
    (link.alias, link.vlans) = (
        Some("netagent".to_owned()),
        BTreeMap::from([(Vid::MIN, VlanFlags { pvid: true, untagged: true })]),
    );
    let owned = Address { owned: true, ..Address::default() };
    link.addresses = BTreeMap::from([
        (cidr("10.0.0.5/24"), owned.clone()),
        (cidr("10.0.0.6/24"), owned),
        (cidr("10.0.0.100/32"), Address::default()),
    ]);
    observed.links.insert(name("lab-br"), link);
    let ours = Route { protocol: crate::state::PROTOCOL, ..default_route("lab-br") };
    let theirs = Route { metric: 50, ..default_route("lab-br") };
    observed.routes = BTreeSet::from([ours, theirs]);
    let left = |file: &str| {
        let plan = planned(&desired(file), &observed, &ObservedDatapath::default());
        changes(&plan).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let former =
        ["ip address del 10.0.0.6/24 dev lab-br", "ip route del default via 10.0.0.1 dev lab-br"];
    assert_eq!(left(file), former);
    let alone = file.replace("/24 }", "/24, keepForeign: false }");
    assert_eq!(left(&alone), [former[0], "ip address del 10.0.0.100/32 dev lab-br", former[1]]);
}

#[test]
fn most_of_the_ports_go_only_with_confirmation_of_their_bridge() {
    let ports = |names: &[&str]| {
        let one = |port: &&str| format!("  - {{ device: {port}, network: corp-net }}\n");
        let (head, _) = OOB.split_once("  - { device").unwrap();
        desired(&format!("{head}{}", names.iter().map(one).collect::<String>()))
    };
    let (mut observed, _) = settled();
    for (index, tap) in [(10, "tap8"), (11, "tap9")] {
        let like = observed.links[&name("tap7")].clone();
        observed.links.insert(name(tap), Link { index, ..like });
    }
    let datapath = carried_out(&ports(&["tap7", "tap8", "tap9"]), &observed);
    let waits = |left: &[&str]| planned(&ports(left), &observed, &datapath).unconfirmed();
    assert_eq!(waits(&["tap7", "tap8"]), BTreeSet::new());
    assert_eq!(waits(&["tap9"]), [name("oob-br")].into());
    // A segment with the VMs on it.
    let other = desired("clusterNetworks: { lab: {} }");
    let plan = planned(&other, &observed, &datapath);
    assert_eq!(plan.unconfirmed(), [name("oob-br")].into());
    let runnable = plan.units.iter().filter(|unit| unit.is_runnable());
    let runnable: Vec<_> = runnable.map(|unit| unit.id.to_string()).collect();
    assert_eq!(runnable, ["bridge lab-br"]);
}
