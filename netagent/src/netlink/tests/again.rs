//! Reading the links again that a [`Watch`] names.

use std::{collections::BTreeSet, process::Command, sync::mpsc, thread, time::Duration};

use tokio::time::timeout;

use super::{cidr, in_namespace, name};
use crate::{
    change::LinkChange,
    netlink::{Changes, Netlink, Watch},
    state::Observed,
};

/// Follows the state of the node by notifications.
pub(super) struct Follower<'a> {
    netlink: &'a Netlink,
    watch: Watch,
    pub(super) observed: Observed,
}

impl<'a> Follower<'a> {
    pub(super) async fn new(netlink: &'a Netlink) -> Self {
        let mut watch = Watch::open().unwrap();
        // New links change by themselves for a while: IPv6 addresses, qdiscs, carriers.
        while timeout(Duration::from_millis(1500), watch.changed()).await.is_ok() {}
        let observed = netlink.observe().await.unwrap();
        Self { netlink, watch, observed }
    }

    async fn changes(&mut self, why: &str) -> Changes {
        let Ok(changes) = timeout(Duration::from_secs(5), self.watch.changed()).await else {
            panic!("{why}: no notification; known: {:#?}", self.observed)
        };
        changes.unwrap()
    }

    /// Makes a change and reads the links again that notifications name, and only these, until the
    /// known state is the state of the node. Returns the named links.
    pub(super) async fn follow(&mut self, change: LinkChange) -> BTreeSet<u32> {
        self.netlink.apply(&change, None).await.unwrap();
        self.catch_up(&change.to_string()).await
    }

    /// [`follow`](Self::follow) for a change that a command makes.
    pub(super) async fn follow_command(&mut self, command: &str) -> BTreeSet<u32> {
        run(command);
        self.catch_up(command).await
    }

    async fn catch_up(&mut self, why: &str) -> BTreeSet<u32> {
        let now = self.netlink.observe().await.unwrap();
        assert_ne!(now, self.observed, "{why}: changed nothing");
        let mut named = BTreeSet::new();
        while self.netlink.observe().await.unwrap() != self.observed {
            let changes = self.changes(why).await;
            assert!(!changes.everything);
            let enough = self.netlink.observe_again(&mut self.observed, &changes.links).await;
            assert!(enough.unwrap(), "{why}: not enough: {changes:?}");
            if changes.routes {
                self.netlink.observe_routes(&mut self.observed).await.unwrap();
            }
            named.extend(changes.links);
        }
        named
    }

    pub(super) fn index(&self, name: &str) -> u32 {
        self.observed.link(&super::name(name)).unwrap().index
    }
}

/// Another namespace, as long as this value lives.
struct Guest {
    thread: i32,
    _end: mpsc::Sender<()>,
}

fn guest() -> Guest {
    let (end, ended) = mpsc::channel::<()>();
    let (tell, thread) = mpsc::channel();
    thread::spawn(move || {
        // SAFETY: takes no memory; the thread gets a namespace of its own.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "needs root");
        tell.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        ended.recv().unwrap_err();
    });
    Guest { thread: thread.recv().unwrap(), _end: end }
}

pub(super) fn run(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status();
    assert!(status.is_ok_and(|status| status.success()), "{command}");
}

#[test]
#[ignore = "needs root"]
fn a_changed_link_is_named_and_its_new_state_is_read() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.add_veth("vm0", "vm0-peer").await;
            netlink.add_veth("vm1", "vm1-peer").await;
            netlink.apply_all([LinkChange::AddBridge(name("br"), None)]).await;
            let mut follower = Follower::new(netlink).await;
            for change in [
                LinkChange::SetMtu(name("vm0"), 1400),
                LinkChange::SetTxqlen(name("vm0"), 77),
                LinkChange::SetMac(name("vm0"), crate::names::Mac([2, 0, 0, 0, 0, 7])),
                LinkChange::AddAddress(name("vm0"), cidr("10.0.0.5/24")),
                LinkChange::AddAddress(name("vm0"), cidr("fd00::5/64")),
                LinkChange::RemoveAddress(name("vm0"), cidr("10.0.0.5/24")),
                LinkChange::RemoveAddress(name("vm0"), cidr("fd00::5/64")),
                LinkChange::SetUp(name("vm0")),
                LinkChange::AddPort(name("vm0"), name("br")),
                LinkChange::Release(name("vm0")),
                LinkChange::SetDown(name("vm0")),
            ] {
                let text = change.to_string();
                let named = follower.follow(change).await;
                assert!(named.contains(&follower.index("vm0")), "{text}: {named:?}");
                assert!(!named.contains(&follower.index("vm1")), "{text}: {named:?}");
            }
            // There is no notification of the alias of a link that is down.
            follower.follow(LinkChange::SetUp(name("vm0"))).await;
            let named = follower.follow_command("ip link set dev vm0 alias someone").await;
            assert!(named.contains(&follower.index("vm0")));
        })
    });
}

#[test]
#[ignore = "needs root"]
fn links_that_appear_and_vanish_are_followed() {
    in_namespace(|netlink| {
        Box::pin(async move {
            let mut follower = Follower::new(netlink).await;
            follower.follow(LinkChange::AddBridge(name("br"), None)).await;
            follower.follow_command("ip link add vm0 type veth peer name vm0-peer").await;
            follower.follow_command("ip link set vm0 up; ip link set vm0-peer up").await;
            follower.follow(LinkChange::AddPort(name("vm0"), name("br"))).await;
            // A new link with the name of a deleted one.
            let before = follower.index("vm0");
            follower
                .follow_command(
                    "ip link delete vm0; ip link add vm0 type veth peer name other; \
                     ip link set vm0 master br",
                )
                .await;
            assert_ne!(follower.index("vm0"), before);
            follower.follow(LinkChange::Delete(name("br"))).await;
            follower.follow(LinkChange::Delete(name("vm0"))).await;
        })
    });
}

#[test]
#[ignore = "needs root"]
fn a_veth_whose_peer_moves_to_another_namespace_is_read_again() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.add_veth("vm0", "vm0-peer").await;
            let mut follower = Follower::new(netlink).await;
            let guest = guest();
            let there = format!("ip link set vm0-peer netns {}", guest.thread);
            let named = follower.follow_command(&there).await;
            assert!(named.contains(&follower.index("vm0")), "{named:?}");
            assert!(follower.observed.links[&name("vm0")].leads_elsewhere);
            let back = "ip link set vm0-peer netns $$";
            let back = format!("nsenter --net=/proc/{}/ns/net {back}", guest.thread);
            follower.follow_command(&back).await;
            assert!(!follower.observed.links[&name("vm0")].leads_elsewhere);
        })
    });
}

#[test]
#[ignore = "needs root"]
fn default_routes_that_are_removed_without_notification_are_noticed() {
    in_namespace(|netlink| {
        Box::pin(async move {
            for bridge in ["br0", "br1"] {
                netlink.apply_all([LinkChange::AddBridge(name(bridge), None)]).await;
            }
            let mut follower = Follower::new(netlink).await;
            follower.follow_command("ip route add default dev br0").await;
            follower.follow_command("ip -6 route add default dev br1").await;
            assert_eq!(follower.observed.routes.len(), 2);
            follower.follow_command("ip -6 route del default").await;
            follower.follow(LinkChange::SetDown(name("br0"))).await;
            assert!(follower.observed.routes.is_empty());
            follower.follow(LinkChange::SetUp(name("br0"))).await;
            // The preferred source address of a route on another device.
            follower.follow(LinkChange::AddAddress(name("br1"), cidr("10.0.0.5/32"))).await;
            follower.follow_command("ip route add default dev br0 src 10.0.0.5").await;
            follower.follow(LinkChange::RemoveAddress(name("br1"), cidr("10.0.0.5/32"))).await;
            assert!(follower.observed.routes.is_empty());
        })
    });
}

#[test]
#[ignore = "needs root"]
fn observe_again_refuses_where_all_links_must_be_read() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.add_veth("vm0", "vm0-peer").await;
            netlink
                .apply_all([
                    LinkChange::AddBridge(name("br"), None),
                    LinkChange::AddPort(name("vm0"), name("br")),
                ])
                .await;
            let before = netlink.observe().await.unwrap();
            let (bridge, port) =
                (before.links[&name("br")].index, before.links[&name("vm0")].index);
            let not_enough = async |indexes: &[u32]| {
                let mut observed = before.clone();
                let indexes = indexes.iter().copied().collect();
                assert!(!netlink.observe_again(&mut observed, &indexes).await.unwrap());
                assert_eq!(observed, before);
            };
            // Before Linux 6.2, a link that is up cannot be renamed.
            let rename = |from: &str, to: &str| {
                run(&format!("ip link set dev {from} down && ip link set dev {from} name {to}"));
            };
            rename("br", "other");
            not_enough(&[bridge]).await;
            rename("vm0", "tmp");
            rename("vm0-peer", "vm0");
            rename("tmp", "br");
            not_enough(&[port]).await;
            rename("vm0", "vm0-peer");
            rename("br", "vm0");
            // Another link has the name, and the deletion of the first is not known yet.
            run("ip link delete other && ip link add name br type bridge");
            not_enough(&[netlink.index(&name("br")).await.unwrap()]).await;
            run("ip link delete dev br");
            // The port refers to a bridge that does not exist any more.
            not_enough(&[bridge]).await;
            let mut observed = before.clone();
            let both = BTreeSet::from([bridge, port]);
            assert!(netlink.observe_again(&mut observed, &both).await.unwrap());
            assert_eq!(observed, netlink.observe().await.unwrap());
            // The port refers to a bridge that is not known yet.
            run("ip link add new type bridge; ip link set vm0 master new");
            assert!(!netlink.observe_again(&mut observed, &BTreeSet::from([port])).await.unwrap());
        })
    });
}

#[test]
#[ignore = "needs root"]
fn reading_one_link_takes_as_many_datagrams_with_500_links_as_with_20() {
    in_namespace(|netlink| {
        Box::pin(async move {
            let mut costs = Vec::new();
            let mut known = 0;
            for pairs in [10, 250] {
                for number in known..pairs {
                    netlink.add_veth(&format!("a{number}"), &format!("b{number}")).await;
                }
                known = pairs;
                let before = netlink.datagrams().await;
                let mut observed = netlink.observe().await.unwrap();
                let all = netlink.datagrams().await - before;
                let index = BTreeSet::from([observed.links[&name("a0")].index]);
                netlink.apply_all([LinkChange::AddAddress(name("a0"), cidr("10.0.0.5/24"))]).await;
                let before = netlink.datagrams().await;
                assert!(netlink.observe_again(&mut observed, &index).await.unwrap());
                costs.push((netlink.datagrams().await - before, all));
                netlink
                    .apply_all([LinkChange::RemoveAddress(name("a0"), cidr("10.0.0.5/24"))])
                    .await;
            }
            println!("datagrams for one link, for all: {costs:?}");
            assert_eq!(costs[0].0, costs[1].0, "{costs:?}");
            assert!(costs[0].1 < costs[1].1, "{costs:?}");
        })
    });
}

#[test]
#[ignore = "needs root"]
fn support_for_xdp_redirect_is_followed() {
    in_namespace(|netlink| {
        Box::pin(async move {
            if netlink.netdev.family().await.unwrap().is_none() {
                let name = "netlink::tests::again::support_for_xdp_redirect_is_followed";
                println!("skipped: {name}: the kernel has no netdev family");
                return;
            }
            netlink.add_veth("vm0", "vm0-peer").await;
            netlink.apply_all(["vm0", "vm0-peer"].map(|link| LinkChange::SetUp(name(link)))).await;
            let mut follower = Follower::new(netlink).await;
            for gro in ["on", "off"] {
                follower.follow_command(&format!("ethtool -K vm0-peer gro {gro}")).await;
                let supported = follower.observed.links[&name("vm0")].takes_xdp_frames;
                assert_eq!(supported, gro == "on");
            }
        })
    });
}

impl Netlink {
    async fn datagrams(&self) -> usize {
        self.socket.datagrams().await + self.netdev.socket.datagrams().await
    }
}
