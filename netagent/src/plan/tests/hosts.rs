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
