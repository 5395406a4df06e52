//! DHCP leases of the node's own interface on the bridge of `OOB`.

use super::*;
use crate::{
    names::{Cidr, Family},
    state::{DHCP_PROTOCOL, Dhcp, Lease, Lifetime},
};

/// The second since the boot at which the lease ends.
const UNTIL: u64 = 4000;

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

/// A lease of 10.0.0.5/24 with a default route, and a route to a gateway that only another route of
/// the lease reaches.
fn lease() -> Lease {
    let address = cidr("10.0.0.5/24");
    let route = |to: Cidr, via: Option<&str>| {
        Route::leased(&name("oob-br"), to, via.map(|via| via.parse().unwrap()), address)
    };
    let everywhere = Route::everywhere(address.address);
    let routes = [
        route(everywhere, Some("10.0.0.1")),
        route(cidr("10.7.0.0/16"), Some("10.9.9.1")),
        route(cidr("10.9.9.1/32"), None),
    ];
    Lease { address, lifetime: Lifetime::until(UNTIL), routes: routes.into(), replaces: None }
}

fn desired_with(dhcp: Dhcp) -> Desired {
    let mut desired =
        desired(&OOB.replace("mode: 802.3ad } }", "mode: 802.3ad } }, host: { dhcp: v4 }"));
    let host = desired.hosts.get_mut(&name("oob-br")).unwrap();
    assert_eq!(host.dhcp.get(&Family::V4), Some(&Dhcp::Unknown));
    host.dhcp.insert(Family::V4, dhcp);
    desired
}

fn ended() -> Dhcp {
    Dhcp::Ended { address: cidr("10.0.0.5/24"), reason: "it has expired".to_owned() }
}

/// The node with these addresses on the bridge: whether the agent added each, and when it expires.
fn node(addresses: &[(&str, bool, Option<u64>)]) -> Observed {
    let (mut observed, _) = settled();
    let addresses = addresses.iter().map(|(text, owned, until)| {
        (cidr(text), Address { owned: *owned, until: *until, ..Address::default() })
    });
    observed.links.get_mut(&name("oob-br")).unwrap().addresses = addresses.collect();
    observed
}

/// The steps for addresses and routes, and the links that need confirmation.
fn of_host(desired: &Desired, observed: &Observed) -> Vec<String> {
    let plan = planned(desired, observed, &ObservedDatapath::default());
    let of_host = |unit: &&Unit| [Part::Lease(Family::V4), Part::Host].contains(&unit.id.part);
    let units = plan.units.iter().filter(of_host);
    let text = |unit: &Unit| {
        let guarded = unit.unconfirmed.iter().map(|name| format!("# guarded: {name}"));
        let steps = unit.steps.iter().map(|step| step.change.to_string());
        steps.chain(guarded).collect::<Vec<_>>()
    };
    units.flat_map(text).collect()
}

#[test]
fn a_lease_becomes_an_address_and_routes() {
    let desired = desired_with(Dhcp::Leased(lease()));
    insta::assert_snapshot!(of_host(&desired, &node(&[])).join("\n"), @"
    ip address replace 10.0.0.5/24 dev oob-br <until the lease ends>
    ip route append 10.9.9.1/32 dev oob-br metric 1024
    ip route append default via 10.0.0.1 dev oob-br metric 1024
    ip route append 10.7.0.0/16 via 10.9.9.1 dev oob-br metric 1024
    ");
}

#[test]
fn a_lease_is_renewed_in_place_and_a_lifetime_that_others_changed_is_restored() {
    let desired = desired_with(Dhcp::Leased(lease()));
    let planned = |owned, until| {
        let mut observed = node(&[("10.0.0.5/24", owned, until)]);
        observed.routes.extend(lease().routes);
        of_host(&desired, &observed)
    };
    let renewed = ["ip address replace 10.0.0.5/24 dev oob-br <until the lease ends>"];
    assert_eq!(planned(true, Some(UNTIL)), [""; 0]);
    assert_eq!(planned(true, Some(UNTIL - 2)), [""; 0], "the kernel counts in seconds");
    assert_eq!(planned(true, Some(UNTIL - 100)), renewed);
    assert_eq!(planned(true, None), renewed);
    assert_eq!(planned(false, Some(UNTIL)), [""; 0], "of the DHCP client before");
    assert_eq!(planned(false, Some(UNTIL - 100)), renewed);
}

#[test]
fn routes_and_addresses_that_the_lease_has_no_more_go() {
    let mut observed = node(&[("10.0.0.5/24", true, Some(UNTIL)), ("10.0.0.9/24", true, Some(9))]);
    observed.routes.extend(lease().routes);
    let mut lease = lease();
    lease.routes.pop_first();
    let desired = desired_with(Dhcp::Leased(lease));
    assert_eq!(
        of_host(&desired, &observed),
        [
            "ip address del 10.0.0.9/24 dev oob-br",
            "ip route del default via 10.0.0.1 dev oob-br metric 1024",
        ]
    );
}

#[test]
fn an_address_of_a_client_before_goes_before_the_new_one_comes() {
    let lease = Lease { replaces: Some(cidr("10.0.0.9/24")), routes: <_>::default(), ..lease() };
    let observed = node(&[("10.0.0.9/24", false, Some(9)), ("10.0.0.77/24", false, None)]);
    assert_eq!(
        of_host(&desired_with(Dhcp::Leased(lease)), &observed),
        [
            "ip address del 10.0.0.9/24 dev oob-br",
            "ip address replace 10.0.0.5/24 dev oob-br <until the lease ends>",
        ]
    );
}

#[test]
fn a_lease_that_has_ended_takes_its_address_and_routes_along_without_confirmation() {
    let mut observed = node(&[
        ("10.0.0.5/24", true, Some(UNTIL)),
        ("10.0.0.77/24", false, None),
        ("10.3.0.5/24", true, None),
    ]);
    observed.routes.extend(lease().routes);
    let mut desired = desired_with(ended());
    desired.hosts.get_mut(&name("oob-br")).unwrap().addresses = [cidr("10.3.0.5/24")].into();
    desired.protected.insert(name("oob-br"));
    assert_eq!(
        of_host(&desired, &observed),
        [
            "ip route del default via 10.0.0.1 dev oob-br metric 1024",
            "ip route del 10.7.0.0/16 via 10.9.9.1 dev oob-br metric 1024",
            "ip route del 10.9.9.1/32 dev oob-br metric 1024",
            "ip address del 10.0.0.5/24 dev oob-br",
        ]
    );
    // As the moved address of another client.
    let observed = node(&[("10.0.0.5/24", false, Some(UNTIL))]);
    assert_eq!(
        of_host(&desired_with(ended()), &observed),
        ["ip address del 10.0.0.5/24 dev oob-br"]
    );
}

#[test]
fn a_lease_is_renewed_while_its_segment_waits() {
    let mut observed = node(&[("10.0.0.5/24", true, Some(100))]);
    observed.routes.extend(lease().routes);
    let mut desired = desired_with(Dhcp::Leased(lease()));
    desired.bridges.get_mut(&name("oob-br")).unwrap().mtu = Some(9000);
    let plan = planned(&desired, &observed, &ObservedDatapath::default());
    assert!(plan.unconfirmed().contains(&name("oob-br")), "{plan:#?}");
    let lease = plan.units.iter().find(|unit| unit.id.part == Part::Lease(Family::V4)).unwrap();
    assert!(lease.is_runnable(), "{lease:#?}");
}

#[test]
fn nothing_is_touched_while_nothing_is_known() {
    let mut observed = node(&[
        ("10.0.0.5/24", true, Some(UNTIL)),
        ("10.0.0.6/24", false, Some(9)),
        // Of an earlier file.
        ("10.0.0.7/24", true, None),
    ]);
    observed.routes.extend(lease().routes);
    let mut desired = desired_with(Dhcp::Unknown);
    desired.hosts.get_mut(&name("oob-br")).unwrap().keep_foreign = false;
    assert_eq!(of_host(&desired, &observed), [""; 0]);
    let missing = |observed: &Observed| {
        found(&planned(&desired, observed, &ObservedDatapath::default()), Code::LeaseMissing)
    };
    assert_eq!(missing(&observed), [""; 0]);
    let text = "oob-br: no DHCP lease yet: `netagent run` gets one when a server answers";
    assert_eq!(missing(&node(&[])), [text]);
    let lost = planned(&desired_with(ended()), &node(&[]), &ObservedDatapath::default());
    assert_eq!(
        found(&lost, Code::LeaseLost),
        ["oob-br: the DHCP lease of 10.0.0.5/24 is lost: it has expired: check the DHCP server, \
          and the VLAN on the way to it"]
    );
}

#[test]
fn without_dhcp_in_the_file_the_lease_goes_with_confirmation() {
    let observed = node(&[("10.0.0.5/24", true, Some(UNTIL))]);
    let desired = desired(&OOB.replace("mode: 802.3ad } }", "mode: 802.3ad } }, host: {}"));
    assert_eq!(
        of_host(&desired, &observed),
        ["ip address del 10.0.0.5/24 dev oob-br", "# guarded: oob-br"]
    );
    assert_eq!(lease().routes.first().unwrap().protocol, DHCP_PROTOCOL);
}

/// The lease of one family says nothing of the other one, nor of addresses of others.
#[test]
fn a_lease_of_the_other_family_and_addresses_of_others_stay() {
    let v6 = ("fd00::5/64", true, Some(UNTIL));
    let others = ("10.9.0.5/24", false, Some(9));
    let of_v6 = Route::leased(
        &name("oob-br"),
        Route::everywhere("fd00::1".parse().unwrap()),
        "fd00::1".parse().ok(),
        cidr("fd00::5/64"),
    );
    let mut observed = node(&[("10.0.0.5/24", true, Some(UNTIL)), v6, others]);
    observed.routes.extend(lease().routes);
    observed.routes.insert(of_v6);
    let both = |dhcp| {
        let mut desired = desired_with(dhcp);
        let host = desired.hosts.get_mut(&name("oob-br")).unwrap();
        host.dhcp.insert(Family::V6, Dhcp::Unknown);
        desired
    };
    assert_eq!(of_host(&both(Dhcp::Leased(lease())), &observed), [""; 0]);
    observed.routes.retain(|route| !lease().routes.contains(route));
    assert_eq!(of_host(&both(ended()), &observed), ["ip address del 10.0.0.5/24 dev oob-br"]);
    let missing = planned(&both(Dhcp::Unknown), &node(&[v6]), &<_>::default());
    assert_eq!(found(&missing, Code::LeaseMissing).len(), 1);
}

#[test]
fn a_fixed_route_of_an_earlier_file_goes_with_confirmation() {
    let mut observed = node(&[("10.0.0.5/24", true, Some(UNTIL))]);
    observed.routes.insert(Route { protocol: crate::state::PROTOCOL, ..default_route("oob-br") });
    let lease = Lease { routes: <_>::default(), ..lease() };
    assert_eq!(
        of_host(&desired_with(Dhcp::Leased(lease)), &observed),
        ["ip route del default via 10.0.0.1 dev oob-br", "# guarded: oob-br"]
    );
}
