//! Tests that need neither bonding, 802.1Q interfaces nor VLAN filtering.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use rtnetlink::{
    RouteMessageBuilder, RouteNextHopBuilder,
    packet_core::NLM_F_CREATE,
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, CacheInfo},
    },
};

use super::{cidr, in_namespace, name};
use crate::{
    change::LinkChange,
    names::Mac,
    netlink::{Failure, Watch, request},
    state::Kind,
};

#[test]
#[ignore = "needs root"]
fn a_bridge_with_a_port_is_observed_as_it_was_asked_for() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.add_veth("vm0", "vm0-peer").await;
            let mac = Mac([2, 0, 0, 0, 0, 7]);
            netlink
                .apply_all([
                    LinkChange::AddBridge(name("br"), None),
                    LinkChange::AddPort(name("vm0"), name("br")),
                    LinkChange::SetMtu(name("vm0"), 9000),
                    LinkChange::SetTxqlen(name("vm0"), 77),
                    LinkChange::SetMac(name("vm0"), mac),
                    LinkChange::CopyMac(name("br"), name("vm0")),
                    LinkChange::SetUp(name("vm0")),
                    LinkChange::SetUp(name("vm0-peer")),
                ])
                .await;
            let observed = netlink.observe().await.unwrap();
            let bridge = observed.link(&name("br")).unwrap();
            assert!(bridge.is_owned() && bridge.up, "{bridge:?}");
            assert!(matches!(bridge.kind, Kind::Bridge(_)), "{bridge:?}");
            assert_eq!(bridge.mac, mac);
            let port = observed.link(&name("vm0")).unwrap();
            assert!(!port.is_owned() && port.up && port.carrier, "{port:?}");
            assert_eq!((port.mtu, port.txqlen, port.mac), (9000, 77, mac));
            assert_eq!(port.kind, Kind::Other("veth".to_owned()));
            assert_eq!(port.controller, Some(name("br")));
            assert!(observed.kernel.bridge);

            netlink.apply_all([LinkChange::Release(name("vm0"))]).await;
            let port = netlink.link_now("vm0").await;
            assert!(port.up && port.controller.is_none(), "{port:?}");
            // Twice: what is gone already is as asked.
            netlink
                .apply_all([LinkChange::Delete(name("br")), LinkChange::Delete(name("br"))])
                .await;
            assert_eq!(netlink.observe().await.unwrap().links.len(), 3, "lo and both ends");
        })
    });
}

#[test]
#[ignore = "needs root"]
fn a_device_that_came_by_a_ports_name_is_not_plugged_in_its_place() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.add_veth("vm0", "vm0-peer").await;
            let index = netlink.link_now("vm0").await.index;
            netlink
                .apply_all([
                    LinkChange::AddBridge(name("br"), None),
                    LinkChange::Delete(name("vm0")),
                ])
                .await;
            netlink.add_veth("vm0", "vm0-peer").await;
            let refused = netlink.add_port(&name("vm0"), index, &name("br")).await.unwrap_err();
            assert!(
                format!("{refused:#}").starts_with("ip link set vm0 master br: "),
                "{refused:#}"
            );
            let other = netlink.link_now("vm0").await;
            assert_eq!(other.controller, None);
            netlink.add_port(&name("vm0"), other.index, &name("br")).await.unwrap();
            assert_eq!(netlink.link_now("vm0").await.controller, Some(name("br")));
        })
    });
}

#[test]
#[ignore = "needs root"]
fn addresses_come_and_go() {
    in_namespace(|netlink| {
        Box::pin(async move {
            let addresses = [cidr("10.0.0.5/24"), cidr("10.0.0.6/31"), cidr("fd00::5/64")];
            let add = |address| LinkChange::AddAddress(name("br"), address);
            let remove = |address| LinkChange::RemoveAddress(name("br"), address);
            netlink.apply_all([LinkChange::AddBridge(name("br"), None)]).await;
            for _ in 0..2 {
                netlink.apply_all(addresses.map(add)).await;
                let expected = BTreeSet::from(addresses);
                assert_eq!(netlink.link_now("br").await.addresses, expected, "no link-local one");
            }
            for _ in 0..2 {
                netlink.apply_all(addresses.map(remove)).await;
                assert_eq!(netlink.link_now("br").await.addresses, BTreeSet::new());
            }
        })
    });
}

#[test]
#[ignore = "needs root"]
fn addresses_from_router_advertisements_are_not_ours() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.apply_all([LinkChange::AddBridge(name("br"), None)]).await;
            let index = netlink.index(&name("br")).await.unwrap();
            let mut message = request::address(index, cidr("fd00::7/64"));
            let mut lifetime = CacheInfo::default();
            (lifetime.ifa_preferred, lifetime.ifa_valid) = (1800, 1800);
            message.attributes.push(AddressAttribute::CacheInfo(lifetime));
            let request = RouteNetlinkMessage::NewAddress(message);
            netlink.socket.request(request, NLM_F_CREATE).await.unwrap();
            assert_eq!(netlink.link_now("br").await.addresses, BTreeSet::new());
        })
    });
}

#[test]
#[ignore = "needs root"]
fn default_routes_are_found_in_both_families() {
    in_namespace(|netlink| {
        Box::pin(async move {
            assert!(netlink.observe().await.unwrap().default_routes.is_empty());
            let mut indexes = Vec::new();
            for bridge in ["br4a", "br4b", "br6", "other"] {
                netlink.apply_all([LinkChange::AddBridge(name(bridge), None)]).await;
                indexes.push(netlink.index(&name(bridge)).await.unwrap());
            }
            let hop = |index| RouteNextHopBuilder::new_ipv4().interface(index).build();
            let both = vec![hop(indexes[0]), hop(indexes[1])];
            let local = u32::from(libc::RT_TABLE_LOCAL);
            let v4 = RouteMessageBuilder::<Ipv4Addr>::new;
            for route in [
                v4().multipath(both).build(),
                RouteMessageBuilder::<Ipv6Addr>::new().output_interface(indexes[2]).build(),
                v4().output_interface(indexes[3]).table_id(local).build(),
            ] {
                let request = RouteNetlinkMessage::NewRoute(route);
                netlink.socket.request(request, NLM_F_CREATE).await.unwrap();
            }
            let expected = BTreeSet::from(["br4a", "br4b", "br6"].map(name));
            assert_eq!(netlink.observe().await.unwrap().default_routes, expected);
        })
    });
}

#[test]
#[ignore = "needs root"]
fn errors_name_the_interface_the_operation_and_the_cause() {
    in_namespace(|netlink| {
        Box::pin(async move {
            let add = LinkChange::AddBridge(name("br"), None);
            netlink.apply_all([add.clone()]).await;
            let error = netlink.error_of(add).await;
            assert!(error.starts_with("ip link add br type bridge: already exists"), "{error}");
            let error = netlink.error_of(LinkChange::AddPort(name("nic"), name("br"))).await;
            assert_eq!(error, "ip link set nic master br: interface nic does not exist");
            let error = netlink.error_of(LinkChange::SetMtu(name("br"), 1 << 30)).await;
            assert!(error.contains("(kernel: mtu greater than device maximum)"), "{error}");
            let error = netlink.apply(&LinkChange::SetMtu(name("br"), 1 << 30)).await.unwrap_err();
            let failure = error.downcast_ref::<Failure>().unwrap();
            assert!(failure.is(libc::EINVAL));
        })
    });
}

#[test]
#[ignore = "needs root"]
fn a_link_with_an_impossible_name_hides_no_other() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.add_veth("gr\u{fc}n", "\u{221e}").await;
            netlink.add_veth("vm0", "vm1").await;
            let observed = netlink.observe().await.unwrap();
            assert_eq!(
                observed.links.into_keys().collect::<BTreeSet<_>>(),
                BTreeSet::from(["lo", "vm0", "vm1"].map(name))
            );
        })
    });
}

#[test]
#[ignore = "needs root"]
fn a_dump_that_was_given_up_does_not_spoil_the_next() {
    in_namespace(|netlink| {
        Box::pin(async move {
            for number in 0..40 {
                netlink.add_veth(&format!("a{number}"), &format!("b{number}")).await;
            }
            for _ in 0..20 {
                let _ = tokio::time::timeout(Duration::ZERO, netlink.observe()).await;
                assert_eq!(netlink.observe().await.unwrap().links.len(), 81);
            }
        })
    });
}

#[test]
#[ignore = "needs root"]
fn the_watch_sees_each_kind_of_change_once() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.apply_all([LinkChange::AddBridge(name("br"), None)]).await;
            let mut watch = Watch::open().unwrap();
            let nothing = tokio::time::timeout(Duration::from_millis(50), watch.changed()).await;
            assert!(nothing.is_err(), "a change from before");
            for change in [
                LinkChange::SetMtu(name("br"), 1400),
                LinkChange::AddAddress(name("br"), cidr("10.0.0.5/24")),
                LinkChange::AddAddress(name("br"), cidr("fd00::5/64")),
                LinkChange::Delete(name("br")),
            ] {
                netlink.apply(&change).await.unwrap();
                let seen = tokio::time::timeout(Duration::from_secs(5), watch.changed()).await;
                assert!(matches!(seen, Ok(Ok(_))), "{change}");
            }
        })
    });
}

#[test]
#[ignore = "needs root"]
fn the_watch_sees_a_qdisc() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.apply_all([LinkChange::AddBridge(name("br"), None)]).await;
            let mut watch = Watch::open().unwrap();
            // What becomes of a new link by itself.
            while tokio::time::timeout(Duration::from_secs(2), watch.changed()).await.is_ok() {}
            let qdisc = "tc qdisc add dev br root pfifo";
            let status = std::process::Command::new("sh").args(["-c", qdisc]).status();
            assert!(status.is_ok_and(|status| status.success()), "{qdisc}");
            let seen = tokio::time::timeout(Duration::from_secs(5), watch.changed()).await;
            assert!(matches!(seen, Ok(Ok(_))), "{qdisc}");
        })
    });
}

#[test]
#[ignore = "needs root"]
fn the_watch_survives_more_changes_than_fit() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.apply_all([LinkChange::AddBridge(name("br"), None)]).await;
            let mut watch = Watch::open().unwrap();
            for mtu in 1000..2000 {
                netlink.apply_all([LinkChange::SetMtu(name("br"), mtu)]).await;
            }
            watch.changed().await.unwrap();
            netlink.apply_all([LinkChange::SetMtu(name("br"), 1500)]).await;
            watch.changed().await.unwrap();
        })
    });
}
