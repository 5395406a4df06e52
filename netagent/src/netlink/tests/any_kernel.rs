//! Tests that need neither bonding, 802.1Q interfaces nor VLAN filtering.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use rtnetlink::{
    RouteMessageBuilder, RouteNextHopBuilder,
    packet_core::NLM_F_CREATE,
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, CacheInfo},
    },
    sys::protocols::NETLINK_GENERIC,
};

use super::{again::run, cidr, in_namespace, name};
use crate::{
    change::LinkChange,
    clock::boot_seconds,
    names::Mac,
    netlink::{Failure, Watch, request, socket::Socket},
    state::{Kind, Route},
};

#[test]
#[ignore = "needs root"]
fn a_bridge_with_a_port_is_observed_as_configured() {
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
            // The second deletion is not an error.
            netlink
                .apply_all([LinkChange::Delete(name("br")), LinkChange::Delete(name("br"))])
                .await;
            assert_eq!(netlink.observe().await.unwrap().links.len(), 3, "lo and both ends");
        })
    });
}

#[test]
#[ignore = "needs root"]
fn another_device_with_the_name_of_a_port_is_not_put_on_the_bridge() {
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
            let plug = LinkChange::AddPort(name("vm0"), name("br"));
            let refused = netlink.apply(&plug, Some(index)).await.unwrap_err();
            assert!(format!("{refused:#}").contains("does not exist any more"), "{refused:#}");
            let other = netlink.link_now("vm0").await;
            assert_eq!(other.controller, None);
            netlink.apply(&plug, Some(other.index)).await.unwrap();
            assert_eq!(netlink.link_now("vm0").await.controller, Some(name("br")));
        })
    });
}

#[test]
#[ignore = "needs root"]
fn addresses_are_added_and_removed() {
    in_namespace(|netlink| {
        Box::pin(async move {
            let addresses = [cidr("10.0.0.5/24"), cidr("10.0.0.6/31"), cidr("fd00::5/64")];
            let add = |address| LinkChange::AddAddress(name("br"), address);
            let remove = |address| LinkChange::RemoveAddress(name("br"), address);
            netlink.apply_all([LinkChange::AddBridge(name("br"), None)]).await;
            for _ in 0..2 {
                netlink.apply_all(addresses.map(add)).await;
                let found = netlink.link_now("br").await.addresses;
                assert_eq!(
                    found.keys().copied().collect::<Vec<_>>(),
                    addresses,
                    "no link-local one"
                );
                assert!(found.values().all(|address| address.owned && !address.expires()));
            }
            for _ in 0..2 {
                netlink.apply_all(addresses.map(remove)).await;
                assert_eq!(netlink.link_now("br").await.addresses, BTreeMap::new());
            }
        })
    });
}

/// The kernel removes the other addresses of a subnet with the first one.
#[test]
#[ignore = "needs root"]
fn other_addresses_of_the_subnet_stay_when_the_first_one_goes() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.apply_all([LinkChange::AddBridge(name("br"), None)]).await;
            run(
                "ip address add 10.0.0.5/24 dev br; ip address add 10.0.0.6/24 dev br label br:1; \
                 ip address add 10.0.0.7/24 dev br valid_lft 300 preferred_lft 200; \
                 ip address add fd00::6/64 dev br nodad",
            );
            let before = netlink.link_now("br").await.addresses;
            let secondary = |address: &str| before[&cidr(address)].secondary;
            assert!(!secondary("10.0.0.5/24") && secondary("10.0.0.6/24"));
            let remove = LinkChange::RemoveAddress(name("br"), cidr("10.0.0.5/24"));
            netlink.apply_all([remove]).await;
            run("ip address show dev br | grep -q '10.0.0.6/24 scope global br:1'");
            run("ip address show dev br | grep -A1 10.0.0.7/24 | grep -Eq 'valid_lft [0-9]+sec'");
            assert_eq!(netlink.link_now("br").await.addresses.len(), before.len() - 1);
        })
    });
}

#[test]
#[ignore = "needs root"]
fn acceptance_of_router_advertisements_is_set_and_observed() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.apply_all([LinkChange::AddBridge(name("br.7"), None)]).await;
            assert_eq!(netlink.link_now("br.7").await.accept_ra, Some(1));
            for value in [2, 0] {
                netlink.apply_all([LinkChange::SetAcceptRa(name("br.7"), value)]).await;
                assert_eq!(netlink.link_now("br.7").await.accept_ra, Some(value));
            }
            // Below it, the kernel disables IPv6 on a device.
            netlink.apply_all([LinkChange::SetMtu(name("br.7"), 1000)]).await;
            assert_eq!(netlink.link_now("br.7").await.accept_ra, None);
            assert_eq!(
                netlink.error_of(LinkChange::SetAcceptRa(name("br.7"), 2)).await,
                "sysctl -w net/ipv6/conf/br.7/accept_ra=2: br.7 has no IPv6: it is off in the \
                 kernel, or the MTU is below 1280"
            );
        })
    });
}

#[test]
#[ignore = "needs root"]
fn a_copied_address_keeps_its_lifetime() {
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
            netlink.apply_all([LinkChange::AddBridge(name("to"), None)]).await;
            let copy = LinkChange::CopyAddress(name("br"), name("to"), cidr("fd00::7/64"));
            netlink.apply_all([copy.clone(), copy]).await;
            for link in ["br", "to"] {
                let found = netlink.link_now(link).await.addresses;
                let (found, address) = found.into_iter().next().unwrap();
                assert_eq!((found, address.owned), (cidr("fd00::7/64"), false), "{link}");
                let left = address.until.unwrap() - boot_seconds();
                assert!((1790..=1800).contains(&left), "{link}: {left}");
            }
            run("ip -6 address show dev to scope global | grep -Eq 'valid_lft 1[78][0-9]{2}sec'");
        })
    });
}

#[test]
#[ignore = "needs root"]
fn default_routes_are_found_in_both_families() {
    in_namespace(|netlink| {
        Box::pin(async move {
            assert!(netlink.observe().await.unwrap().routes.is_empty());
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
            let observed = netlink.observe().await.unwrap();
            assert_eq!(observed.multipath, BTreeSet::from(["br4a", "br4b"].map(name)));
            let devices: Vec<_> = observed.routes.iter().map(|route| &route.device).collect();
            assert_eq!(devices, [&name("br6")]);
            assert!(observed.routes.iter().all(Route::is_default));
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
            let error =
                netlink.apply(&LinkChange::SetMtu(name("br"), 1 << 30), None).await.unwrap_err();
            let failure = error.downcast_ref::<Failure>().unwrap();
            assert!(failure.is(libc::EINVAL));
        })
    });
}

#[test]
#[ignore = "needs root"]
fn a_link_with_an_impossible_name_does_not_hide_others() {
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
fn a_cancelled_dump_does_not_affect_the_next_one() {
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
fn a_request_without_an_answer_ends() {
    in_namespace(|netlink| {
        Box::pin(async move {
            let mut socket = Socket::open(NETLINK_GENERIC).unwrap();
            socket.limit = Duration::from_millis(10);
            let exchange = socket.exchange.lock().await;
            let failure = socket.dump(request::addresses(0)).await.unwrap_err();
            assert_eq!(failure.to_string(), "no answer from the kernel within 10ms");
            drop(exchange);
            netlink.observe().await.unwrap();
        })
    });
}

#[test]
#[ignore = "needs root"]
fn each_kind_of_change_names_its_link() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.apply_all([LinkChange::AddBridge(name("br"), None)]).await;
            let index = netlink.index(&name("br")).await.unwrap();
            let mut watch = Watch::open().unwrap();
            let nothing = tokio::time::timeout(Duration::from_millis(50), watch.changed()).await;
            assert!(nothing.is_err(), "a change before the subscription");
            for change in [
                LinkChange::SetMtu(name("br"), 1400),
                LinkChange::AddAddress(name("br"), cidr("10.0.0.5/24")),
                LinkChange::AddAddress(name("br"), cidr("fd00::5/64")),
                LinkChange::Delete(name("br")),
            ] {
                netlink.apply(&change, None).await.unwrap();
                let seen = tokio::time::timeout(Duration::from_secs(5), watch.changed()).await;
                let seen = seen.unwrap().unwrap();
                assert_eq!(seen.links, BTreeSet::from([index]), "{change}");
            }
        })
    });
}

#[test]
#[ignore = "needs root"]
fn a_changed_qdisc_names_its_link() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.apply_all([LinkChange::AddBridge(name("br"), None)]).await;
            let index = netlink.index(&name("br")).await.unwrap();
            let mut watch = Watch::open().unwrap();
            // A new link changes by itself for a while.
            while tokio::time::timeout(Duration::from_secs(2), watch.changed()).await.is_ok() {}
            let qdisc = "tc qdisc add dev br root pfifo";
            let status = std::process::Command::new("sh").args(["-c", qdisc]).status();
            assert!(status.is_ok_and(|status| status.success()), "{qdisc}");
            let seen = tokio::time::timeout(Duration::from_secs(5), watch.changed()).await;
            assert_eq!(seen.unwrap().unwrap().links, BTreeSet::from([index]), "{qdisc}");
        })
    });
}

#[test]
#[ignore = "needs root"]
fn lost_notifications_are_reported() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.apply_all([LinkChange::AddBridge(name("br"), None)]).await;
            let mut watch = Watch::open().unwrap();
            // It has room for a burst.
            for mtu in 1000..1500 {
                netlink.apply_all([LinkChange::SetMtu(name("br"), mtu)]).await;
            }
            assert!(!watch.changed().await.unwrap().everything);
            watch.crowd();
            for mtu in 1000..1500 {
                netlink.apply_all([LinkChange::SetMtu(name("br"), mtu)]).await;
            }
            assert!(watch.changed().await.unwrap().everything);
            netlink.apply_all([LinkChange::SetMtu(name("br"), 1500)]).await;
            assert!(!watch.changed().await.unwrap().everything);
        })
    });
}

#[test]
#[ignore = "needs root"]
fn each_request_and_its_answer_are_logged_at_debug() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.apply_all([LinkChange::AddBridge(name("br"), None)]).await;
            let index = netlink.index(&name("br")).await.unwrap();
            let log = Log::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::DEBUG)
                .with_writer(move || writer.clone())
                .finish();
            let requests = async || {
                netlink.apply_all([LinkChange::SetMtu(name("br"), 1400)]).await;
                netlink.error_of(LinkChange::SetMtu(name("br"), 1 << 30)).await;
            };
            // tracing decides once for each call site whether it is on; other tests do not log.
            requests().await;
            let logging = tracing::subscriber::set_default(subscriber);
            tracing::callsite::rebuild_interest_cache();
            requests().await;
            drop(logging);
            let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            for line in [
                "netlink: ip link set br mtu 1400\n".to_owned(),
                "netlink: RTM_GETLINK: ok, 1 messages\n".to_owned(),
                format!("netlink: RTM_NEWLINK index {index}\n"),
                format!("netlink: RTM_NEWLINK index {index}: ok, 0 messages\n"),
                format!("netlink: RTM_NEWLINK index {index}: errno 22: invalid argument"),
            ] {
                assert!(text.contains(&line), "{line:?} is not in:\n{text}");
            }
        })
    });
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One port that is read alone shows the same as in the list of all.
#[test]
#[ignore = "needs root"]
fn a_bridge_port_is_read_alone_as_with_the_others() {
    in_namespace(|netlink| {
        Box::pin(async move {
            run("ip link add name br type bridge && ip link set dev br up");
            netlink.add_veth("vm0", "vm0-peer").await;
            run("ip link set vm0 up && ip link set vm0-peer up && ip link set vm0 master br");
            let index = netlink.index(&name("vm0")).await.unwrap();
            let mut seen = BTreeSet::new();
            for change in [
                "true",
                "bridge link set dev vm0 state 3",
                "bridge link set dev vm0 isolated on",
                "bridge link set dev vm0 isolated off learning off",
                "bridge link set dev vm0 learning on",
                "ip link set vm0 nomaster",
                "ip link set vm0 master br && bridge link set dev vm0 state 3",
                "ip link del vm0",
            ] {
                run(change);
                let all = netlink.plain_ports().await.unwrap();
                let (controller, bridge) = netlink.plain_port(index).await.unwrap();
                assert_eq!(bridge, all.get(&index).copied(), "{change}");
                seen.insert((controller.is_some(), bridge.is_some()));
            }
            assert_eq!(seen, [(false, false), (true, false), (true, true)].into());
        })
    });
}
