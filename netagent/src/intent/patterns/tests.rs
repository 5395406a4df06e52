//! The devices of a node, and what becomes of each.

use crate::{
    config,
    intent::{Compiled, Devices, Intent, Item, Origin, PortIntent, Released, compile},
    names::{IfName, Mac},
    state::{
        Address, BridgeState, Kind, Link, Observed, ObservedDatapath, ObservedPort, PortPolicy,
        sample::link,
    },
};

const FILE: &str = "\
clusterNetworks:
  oob: { uplink: { nics: [eth2] } }
  lab: {}
networks:
  corp: { clusterNetwork: oob, vlan: 100 }
  other: { clusterNetwork: oob, vlan: 200 }
  of-lab: { clusterNetwork: lab, vlan: 100 }
ports:
  - { device: vnet9, network: other }
  - { device: \"vnet*\", network: corp, security: { dhcpGuard: true } }
";

fn name(name: &str) -> IfName {
    name.parse().unwrap()
}

fn tap(index: u32) -> Link {
    link(index, Kind::Other("tun".to_owned()))
}

/// A node with these links.
fn node(links: &[(&str, Link)]) -> Observed {
    let links = links.iter().map(|(device, link)| (name(device), link.clone()));
    Observed { links: links.collect(), ..Observed::default() }
}

fn compiled(file: &str, others: &[Intent], links: &Observed) -> Compiled {
    on(file, others, links, &ObservedDatapath::default())
}

fn on(file: &str, others: &[Intent], links: &Observed, datapath: &ObservedDatapath) -> Compiled {
    let file = config::parse(file, "node.yaml").unwrap().intent;
    let devices = Devices::matching(&file.patterns, links, datapath);
    compile(&[&[file], others].concat(), &devices)
}

/// The ports of VMs: device, network, source.
fn ports(compiled: &Compiled) -> Vec<String> {
    let ports = compiled.desired.ports.iter();
    let of_vms = ports.filter(|(device, _)| device.as_str() != "oob-bo");
    of_vms.map(|(device, port)| format!("{device} {} {}", port.network, port.origin)).collect()
}

fn left_alone(compiled: &Compiled) -> Vec<String> {
    compiled.left_alone.iter().map(ToString::to_string).collect()
}

const LITERAL: &str = "vnet9 other node.yaml:9:5";

#[test]
fn each_device_that_matches_becomes_a_port_and_a_literal_wins() {
    let veth = link(3, Kind::Other("veth".to_owned()));
    let links = node(&[
        ("vnet0", tap(1)),
        ("vnet1", veth),
        ("vnet9", tap(4)),
        ("tap0", tap(5)),
        ("xvnet0", tap(6)),
    ]);
    let compiled = compiled(FILE, &[], &links);
    let pattern = "node.yaml:10:5 (vnet*)";
    let wanted = [format!("vnet0 corp {pattern}"), format!("vnet1 corp {pattern}")];
    assert_eq!(ports(&compiled), [wanted[0].as_str(), &wanted[1], LITERAL]);
    assert_eq!((left_alone(&compiled), compiled.rejected.len()), (vec![], 0));
    let guards = ["vnet0", "vnet9"].map(|it| compiled.desired.ports[&name(it)].security.dhcp_guard);
    assert_eq!(guards, [true, false]);
}

#[test]
fn a_device_that_another_source_names_is_not_the_patterns_even_if_that_is_rejected() {
    let links = node(&[("vnet0", tap(1)), ("vnet1", tap(2))]);
    let of_socket = |network: &str| {
        let value = PortIntent {
            device: name("vnet0"),
            network: network.to_owned(),
            mtu: None,
            hairpin: None,
            port_isolation: None,
            silent: None,
            security: <_>::default(),
        };
        Intent::port(Origin::Socket, value)
    };
    let taken = compiled(FILE, &[of_socket("other")], &links);
    let others = ["vnet1 corp node.yaml:10:5 (vnet*)", LITERAL];
    assert_eq!(ports(&taken), [&["vnet0 other control socket"], &others[..]].concat());
    let rejected = compiled(FILE, &[of_socket("gone")], &links);
    assert_eq!(ports(&rejected), others);
    assert_eq!(rejected.rejected[0].item, Item::Port(name("vnet0")));
}

#[test]
fn what_is_no_device_of_a_vm_is_left_alone_with_the_reason() {
    let plain = || tap(1);
    let mut with_address = plain();
    with_address.addresses.insert("10.0.0.1/24".parse().unwrap(), Address::default());
    let upper = Link { lower: Some(name("vnet6")), ..with_address.clone() };
    let links = node(&[
        ("vnet0", link(1, Kind::Bridge(BridgeState::default()))),
        ("vnet1", link(1, Kind::Other(String::new()))),
        ("vnet2", link(1, Kind::Other("wireguard".to_owned()))),
        ("vnet3", Link { mac: Mac([0; 6]), ..plain() }),
        ("vnet4", with_address),
        ("vnet5", Link { controller: Some(name("virbr0")), ..plain() }),
        ("vnet6", plain()),
        ("upper", upper),
        ("vnet7", Link { up: false, ..plain() }),
        ("vnet8", Link { controller: Some(name("lab-br")), ..plain() }),
        ("vnet10", Link { controller: Some(name("oob-br")), ..plain() }),
    ]);
    let compiled = compiled(FILE, &[], &links);
    assert_eq!(ports(&compiled), ["vnet10 corp node.yaml:10:5 (vnet*)", LITERAL]);
    let by = "left alone by node.yaml:10:5 (vnet*): it";
    let narrow = "narrow the pattern";
    let named = |device: &str| {
        format!("name {device} in `ports` if it is a port of netagent, or narrow the pattern")
    };
    let wanted = [
        format!("vnet0: {by} is a bridge, not a tap or veth of a VM: {narrow}"),
        format!("vnet1: {by} is a NIC, not a tap or veth of a VM: {narrow}"),
        format!("vnet2: {by} is a device of kind wireguard, not a tap or veth of a VM: {narrow}"),
        format!("vnet3: {by} is a tunnel without Ethernet, not a tap or veth of a VM: {narrow}"),
        format!("vnet4: {by} has addresses or routes of the node: {}", named("vnet4")),
        format!("vnet5: {by} belongs to virbr0: {}", named("vnet5")),
        format!("vnet6: {by} has addresses or routes of the node: {}", named("vnet6")),
        format!("vnet7: {by} is down: ip link set vnet7 up"),
        format!("vnet8: {by} belongs to lab-br: {}", named("vnet8")),
    ];
    assert_eq!(left_alone(&compiled), wanted);
    assert_eq!(compiled.rejected, []);
}

/// Otherwise an address or `ip link set down` by mistake would unplug a VM.
#[test]
fn a_device_that_is_a_port_stays_one_until_another_has_its_name() {
    let mut changed = Link { up: false, controller: Some(name("virbr0")), ..tap(7) };
    changed.addresses.insert("10.0.0.1/24".parse().unwrap(), Address::default());
    let links = node(&[("vnet0", changed)]);
    let datapath = |ifindex| {
        let port = ObservedPort { ifindex, policy: PortPolicy::default(), ..<_>::default() };
        ObservedDatapath { ports: [(name("vnet0"), port)].into(), ..<_>::default() }
    };
    let stays = on(FILE, &[], &links, &datapath(7));
    assert_eq!(ports(&stays), ["vnet0 corp node.yaml:10:5 (vnet*)", LITERAL]);
    let another = on(FILE, &[], &links, &datapath(6));
    assert_eq!(ports(&another), [LITERAL]);
    assert_eq!(another.left_alone.len(), 1);
}

#[test]
fn of_two_patterns_that_differ_neither_applies() {
    let second = |rest: &str| format!("{FILE}  - {{ device: \"*net1\", {rest} }}\n");
    let links = node(&[("vnet0", tap(1)), ("vnet1", tap(2))]);
    for rest in ["network: other, security: { dhcpGuard: true }", "network: corp"] {
        let compiled = compiled(&second(rest), &[], &links);
        assert_eq!(ports(&compiled), ["vnet0 corp node.yaml:10:5 (vnet*)", LITERAL]);
        let network = rest.split([' ', ',']).nth(1).unwrap();
        let [rejected] = compiled.rejected.as_slice() else { panic!("{:?}", compiled.rejected) };
        assert_eq!(
            format!("{}: {}: {}", rejected.origin, rejected.item, rejected.problem),
            format!(
                "node.yaml:10:5 (vnet*): port vnet1: matches \"vnet*\" (node.yaml:10:5, network \
                 corp) and \"*net1\" (node.yaml:11:5, network {network}), which differ, so that \
                 none applies; name the device itself, or narrow the patterns"
            )
        );
    }
    // They agree.
    let compiled = compiled(&second("network: corp, security: { dhcpGuard: true }"), &[], &links);
    assert_eq!(ports(&compiled).len(), 3);
    assert_eq!(compiled.rejected, []);
}

/// A device must not end up in the network of the pattern that is left.
#[test]
fn a_pattern_of_a_released_cluster_network_keeps_its_devices_from_other_patterns() {
    let text = format!("{FILE}  - {{ device: \"*net1\", network: of-lab }}\n");
    let mut intents = [config::parse(&text, "node.yaml").unwrap().intent];
    let links = node(&[("vnet0", tap(1)), ("vnet1", tap(2))]);
    let devices = Devices::matching(&intents[0].patterns, &links, &ObservedDatapath::default());
    let mut released = Released::default();
    released.insert("lab".to_owned());
    released.leave_out(&mut intents);
    let compiled = compile(&intents, &devices);
    assert_eq!(ports(&compiled), ["vnet0 corp node.yaml:10:5 (vnet*)", LITERAL]);
    assert_eq!((compiled.rejected.len(), compiled.left_alone.len()), (0, 0));
}
