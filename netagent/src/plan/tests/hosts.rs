//! The node's own interfaces on a bridge of `OOB`.

use super::*;

/// A host with these keys in `OOB`.
fn with_host(keys: &str) -> Desired {
    desired(&OOB.replace("mode: 802.3ad } }", &format!("mode: 802.3ad }} }}, host: {keys}")))
}

/// The steps of the host interfaces.
fn of_hosts(desired: &Desired, observed: &Observed) -> Vec<String> {
    let plan = planned(desired, observed, &ObservedDatapath::default());
    let units = plan.units.iter().filter(|unit| unit.id.part == Part::Host);
    units.flat_map(|unit| &unit.steps).map(|step| step.change.to_string()).collect()
}

#[test]
fn each_host_of_a_list_has_an_interface_and_routes_of_its_own() {
    let (observed, _) = settled();
    let desired = with_host(
        "[{ vlan: 10, address: 10.0.0.5/24, gateway: 10.0.0.1 }, \
         { vlan: 20, address: 10.2.0.5/24, gateway: 10.2.0.1, metric: 500 }]",
    );
    insta::assert_snapshot!(of_hosts(&desired, &observed).join("\n"), @"
    ip link add link oob-br name oob-br.10 type vlan id 10
    ip address add 10.0.0.5/24 dev oob-br.10
    ip route append default via 10.0.0.1 dev oob-br.10
    ip link add link oob-br name oob-br.20 type vlan id 20
    ip address add 10.2.0.5/24 dev oob-br.20
    ip route append default via 10.2.0.1 dev oob-br.20 metric 500
    ");
    let uplink = &desired.ports[&name("oob-bo")];
    assert_eq!(uplink.vids.to_string(), "1,10,20,100");
}

#[test]
fn a_metric_replaces_the_default_route_and_without_one_any_metric_is_good() {
    let (mut observed, _) = settled();
    let address = Address { owned: true, ..Address::default() };
    let link = observed.links.get_mut(&name("oob-br")).unwrap();
    link.addresses.insert("10.0.0.5/24".parse().unwrap(), address);
    observed.routes.insert(Route { metric: 7, protocol: 110, ..default_route("oob-br") });
    let keys = "{ address: 10.0.0.5/24, gateway: 10.0.0.1 }";
    assert_eq!(of_hosts(&with_host(keys), &observed), [""; 0]);
    let keys = keys.replace(" }", ", metric: 9 }");
    assert_eq!(
        of_hosts(&with_host(&keys), &observed),
        [
            "ip route append default via 10.0.0.1 dev oob-br metric 9",
            "ip route del default via 10.0.0.1 dev oob-br metric 7",
        ]
    );
}

#[test]
fn router_advertisements_are_accepted_as_the_file_says() {
    let (mut observed, _) = settled();
    let mut planned = |keys: &str, found| {
        observed.links.get_mut(&name("oob-br")).unwrap().accept_ra = found;
        of_hosts(&with_host(keys), &observed).join("\n")
    };
    let yes = "{ acceptRa: true }";
    for (keys, found, expected) in [
        (yes, Some(1), "sysctl -w net/ipv6/conf/oob-br/accept_ra=2"),
        (yes, None, "sysctl -w net/ipv6/conf/oob-br/accept_ra=2"),
        (yes, Some(2), ""),
        ("{ acceptRa: false }", Some(1), "sysctl -w net/ipv6/conf/oob-br/accept_ra=0"),
        ("{ acceptRa: false }", Some(0), ""),
        ("{}", Some(1), ""),
    ] {
        assert_eq!(planned(keys, found), expected, "{keys}, {found:?}");
    }
}

#[test]
fn advertisements_of_a_link_that_carries_the_node_end_with_confirmation_only() {
    let (mut observed, datapath) = settled();
    observed.routes.insert(default_route("oob-br"));
    let refuse = planned(&with_host("{ acceptRa: false }"), &observed, &datapath);
    assert!(refuse.unconfirmed().contains(&name("oob-br")));
    let accept = planned(&with_host("{ acceptRa: true }"), &observed, &datapath);
    assert_eq!(accept.unconfirmed(), BTreeSet::new());
}

#[test]
fn an_interface_that_exists_is_taken_if_it_is_that_vlan_of_the_bridge() {
    let vlan = |parent: &str, number| Kind::Vlan { parent: Some(name(parent)), vid: vid(number) };
    for (kind, up, expected) in [
        (vlan("oob-br", 10), true, Some("")),
        (vlan("oob-br", 10), false, Some("ip link set oob-br.10 up")),
        (vlan("oob-br", 11), true, None),
        (vlan("other", 10), true, None),
        (Kind::Other("dummy".to_owned()), true, None),
    ] {
        let (mut observed, datapath) = settled();
        observed.links.insert(name("oob-br.10"), Link { up, ..link(50, kind) });
        let desired = with_host("{ vlan: 10 }");
        let plan = planned(&desired, &observed, &datapath);
        let refused = "oob-br.10 exists and is not VLAN 10 on oob-br: rename it, or ip link delete \
                       oob-br.10";
        assert_eq!(
            found(&plan, Code::Refused),
            Vec::from_iter(expected.is_none().then_some(refused))
        );
        assert_eq!(of_hosts(&desired, &observed).join("\n"), expected.unwrap_or_default());
    }
}

#[test]
fn our_bridge_loses_the_vlans_that_no_interface_needs() {
    let removed = |filtering: &str, alias: Option<&str>| {
        let (mut observed, datapath) = settled();
        let link = observed.links.get_mut(&name("oob-br")).unwrap();
        link.alias = alias.map(str::to_owned);
        link.vlans =
            BTreeMap::from([(vid(10), VlanFlags::default()), (vid(50), VlanFlags::default())]);
        let file = OOB.replace("{ uplink:", &format!("{{ vlanFiltering: {filtering}, uplink:"));
        let file = file.replace("mode: 802.3ad } }", "mode: 802.3ad } }, host: { vlan: 10 }");
        let plan = planned(&desired(&file), &observed, &datapath);
        let steps = changes(&plan).into_iter().map(|change| change.to_string());
        steps.filter(|step| step.starts_with("bridge vlan del dev oob-br ")).collect::<Vec<_>>()
    };
    let ours = Some("netagent");
    assert_eq!(removed("auto", ours), ["bridge vlan del dev oob-br vid 50 self"]);
    assert_eq!(removed("off", ours), [""; 0]);
    assert_eq!(removed("on", None), [""; 0]);
}

#[test]
fn addresses_of_others_go_if_the_file_says_so_unless_they_expire_by_themselves() {
    let (mut observed, _) = settled();
    let address = |secondary, until| Address { until, secondary, ..Address::default() };
    observed.links.get_mut(&name("oob-br")).unwrap().addresses = [
        ("10.9.9.1/24", address(false, None)),
        ("10.9.9.2/24", address(true, None)),
        ("10.9.9.3/24", address(false, Some(9))),
        ("fd00::8/64", address(false, None)),
        ("fd00::9/64", address(false, Some(9))),
    ]
    .map(|(cidr, address)| (cidr.parse().unwrap(), address))
    .into();
    assert_eq!(of_hosts(&with_host("{}"), &observed), [""; 0]);
    // The first one of a subnet last.
    assert_eq!(
        of_hosts(&with_host("{ keepForeign: false }"), &observed),
        ["10.9.9.2/24", "10.9.9.1/24", "10.9.9.3/24", "fd00::8/64"]
            .map(|cidr| format!("ip address del {cidr} dev oob-br"))
    );
}
