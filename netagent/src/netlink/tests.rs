//! Tests against the kernel, each in a network namespace of its own. [`full_kernel`] needs bonding,
//! 802.1Q interfaces and VLAN filtering; the other tests need veth and bridges only.

mod again;
mod any_kernel;
mod full_kernel;

use std::{future::Future, pin::Pin, thread, time::Duration};

use rtnetlink::{
    LinkVeth,
    packet_core::{NLM_F_CREATE, NLM_F_EXCL},
    packet_route::RouteNetlinkMessage,
};

use super::Netlink;
use crate::{
    change::LinkChange,
    names::{Cidr, IfName},
    state::{Link, Observed},
};

/// Runs a test on a thread in a new namespace: the namespace goes when the thread does.
fn in_namespace(
    test: impl for<'a> FnOnce(&'a Netlink) -> Pin<Box<dyn Future<Output = ()> + 'a>> + Send,
) {
    thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: takes no memory; the thread gets a namespace of its own.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "needs root");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async { test(&Netlink::open().unwrap()).await });
        });
    });
}

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

impl Netlink {
    /// `ip link add NAME type veth peer name PEER`
    async fn add_veth(&self, name: &str, peer: &str) {
        let request = RouteNetlinkMessage::NewLink(LinkVeth::new(name, peer).build());
        self.socket.request(request, NLM_F_CREATE | NLM_F_EXCL).await.unwrap();
    }

    async fn apply_all(&self, changes: impl IntoIterator<Item = LinkChange>) {
        for change in changes {
            self.apply(&change, None).await.unwrap();
        }
    }

    async fn link_now(&self, name: &str) -> Link {
        self.observe().await.unwrap().links.remove(&self::name(name)).unwrap()
    }

    async fn error_of(&self, change: LinkChange) -> String {
        format!("{change}: {:#}", self.apply(&change, None).await.unwrap_err())
    }

    /// Reads the node until it is as expected.
    async fn until(&self, expected: impl Fn(&Observed) -> bool) -> Observed {
        for _ in 0..200 {
            let observed = self.observe().await.unwrap();
            if expected(&observed) {
                return observed;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the node did not become as expected: {:#?}", self.observe().await.unwrap());
    }
}
