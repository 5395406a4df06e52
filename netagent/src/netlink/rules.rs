//! Rules of TC on devices that are not the agent's: queueing disciplines that somebody has set
//! (`tc qdisc`), and filters (`tc filter`).
//!
//! No qdisc is requested alone: the kernel tells all listeners of such a request, as of a change
//! (`qdisc_get_notify`).

use std::collections::BTreeSet;

use rtnetlink::packet_route::{RouteNetlinkMessage, tc::TcMessage};

use super::{Failure, Netlink, filter, netfilter, observe::Links, wire};
use crate::{
    names::IfName,
    state::{ClsactSide, Kind, Link, Place, Rule},
};

/// `TC_H_INGRESS`, the parent of the qdiscs `ingress` and `clsact`
const INGRESS: u32 = 0xffff_fff1;
/// Queueing disciplines that a device gets by itself (`net.core.default_qdisc`), or that are none.
const DEFAULTS: [&str; 7] = ["noqueue", "noop", "mq", "pfifo_fast", "fq_codel", "fq", "sfq"];

/// The rule that a device's queueing discipline is.
pub(super) fn of_queue(kind: Option<String>) -> BTreeSet<Rule> {
    let kind = kind.filter(|kind| !DEFAULTS.contains(&kind.as_str()));
    let rule = kind.map(|kind| Rule::new(Place::Queue, format!("queueing discipline {kind}")));
    rule.into_iter().collect()
}

/// Whether frames of VMs may pass a link: a port of a bridge, a bond, or a member of one.
fn may_carry(link: &Link) -> bool {
    link.controller.is_some() || matches!(link.kind, Kind::Bond(_))
}

impl Netlink {
    /// Adds the rules of others to the links that carry frames of VMs.
    pub(super) async fn add_rules(&self, links: &mut Links) -> Result<(), Failure> {
        let chains = self.read_chains().await?;
        let with_filters = self.with_filters().await?;
        for (name, link) in links.values_mut().filter(|(_, link)| may_carry(link)) {
            link.rules.extend(netfilter::rules_of(&chains, name));
            if with_filters.contains(&link.index) {
                self.add_filters(link).await?;
            }
        }
        Ok(())
    }

    /// [`add_rules`](Self::add_rules) for one link. The chains of nftables are those that were read
    /// last: a change of them is a reason to look at everything.
    pub(super) async fn read_rules(&self, name: &IfName, link: &mut Link) -> Result<(), Failure> {
        if may_carry(link) {
            link.rules.extend(netfilter::rules_of(&self.known_chains(), name));
            self.add_filters(link).await?;
        }
        Ok(())
    }

    async fn add_filters(&self, link: &mut Link) -> Result<(), Failure> {
        for (side, place) in
            [(ClsactSide::Ingress, Place::Ingress), (ClsactSide::Egress, Place::Egress)]
        {
            let filters = self.filters_at(link.index, side).await?;
            let kinds = filters.iter().filter_map(filter::of_others);
            link.rules.extend(kinds.map(|kind| Rule::new(place, format!("filter {kind}"))));
        }
        Ok(())
    }

    /// `tc qdisc show`: the interface indexes of the devices that may have filters.
    async fn with_filters(&self) -> Result<BTreeSet<u32>, Failure> {
        let message = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        let replies = self.socket.dump(message).await?;
        let payloads = replies.iter().filter_map(|reply| reply.of_kind(libc::RTM_NEWQDISC));
        let of_ingress = payloads.filter(|payload| wire::u32_at(payload, 12) == Some(INGRESS));
        Ok(of_ingress.filter_map(|payload| wire::u32_at(payload, 4)).collect())
    }
}
