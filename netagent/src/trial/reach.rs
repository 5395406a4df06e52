//! Whether the node is still reachable: its default gateways and the addresses of `probes` answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinSet, time::sleep};
use tracing::debug;

use super::echo;
use crate::{
    clock::since_boot,
    netlink::{Netlink, NextHop},
};

/// How often everything is asked.
const PERIOD: Duration = Duration::from_secs(1);

/// Addresses for documentation (RFC 5737, RFC 3849): only a default route leads there.
const ANYWHERE: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(198, 51, 100, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// Something that must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Target {
    /// The gateway of the IPv4 default route, whichever it is.
    Gateway4,
    /// The gateway of the IPv6 default route.
    Gateway6,
    /// An address of `probes`.
    Address(IpAddr),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway4 => f.write_str("the IPv4 default gateway"),
            Self::Gateway6 => f.write_str("the IPv6 default gateway"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// What does not answer, and since which uptime.
pub type Silent = BTreeMap<Target, Duration>;

/// Asks all targets once. Returns those that answer.
pub async fn ask(targets: &BTreeSet<Target>) -> Result<BTreeSet<Target>> {
    let mut questions = JoinSet::new();
    for target in targets {
        let target = *target;
        let netlink = Netlink::open()?;
        questions.spawn(async move { (target, answers(&netlink, target).await) });
    }
    let mut answered = BTreeSet::new();
    for (target, result) in questions.join_all().await {
        match result {
            Ok(true) => drop(answered.insert(target)),
            Ok(false) => {}
            Err(error) => debug!("ask {target}: {error:#}"),
        }
    }
    Ok(answered)
}

/// Asks all targets once per second, until the receiver is dropped. Tells what does not answer;
/// `None` until the first result is there.
pub fn watch(targets: BTreeSet<Target>) -> watch::Receiver<Option<Silent>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        while !sender.is_closed() {
            let asked = since_boot();
            match ask(&targets).await {
                Ok(answered) => sender.send_modify(|known| {
                    let before: Silent = known.take().unwrap_or_default();
                    let silent = targets.difference(&answered);
                    let since = |target: &Target| *before.get(target).unwrap_or(&asked);
                    *known = Some(silent.map(|target| (*target, since(target))).collect());
                }),
                Err(error) => debug!("ask who can be reached: {error:#}"),
            }
            sleep(PERIOD).await;
        }
    });
    receiver
}

async fn answers(netlink: &Netlink, target: Target) -> Result<bool> {
    let destination = match target {
        Target::Gateway4 => IpAddr::V4(ANYWHERE.0),
        Target::Gateway6 => IpAddr::V6(ANYWHERE.1),
        Target::Address(address) => address,
    };
    let Some(NextHop { index, via }) = netlink.next_hop(destination).await? else {
        return Ok(false);
    };
    match (target, via) {
        (Target::Address(_), Some(_)) => Ok(echo::answers(destination).await?),
        (Target::Address(_), None) => Ok(netlink.answers(index, destination).await?),
        (Target::Gateway4 | Target::Gateway6, Some(via)) => Ok(netlink.answers(index, via).await?),
        // A point-to-point link.
        (Target::Gateway4 | Target::Gateway6, None) => Ok(true),
    }
}
