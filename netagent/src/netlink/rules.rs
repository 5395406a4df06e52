//! Rules of TC on devices that are not the agent's: queueing disciplines that somebody has set
//! (`tc qdisc`), and filters (`tc filter`).
//!
//! No qdisc is requested alone: the kernel tells all listeners of such a request, as of a change
//! (`qdisc_get_notify`).

use std::collections::{BTreeMap, BTreeSet};

use rtnetlink::packet_route::{
    RouteNetlinkMessage,
    tc::{TcHandle, TcMessage},
};

use super::{Failure, Netlink, filter, netfilter, observe::Links, wire};
use crate::{
    names::IfName,
    state::{ClsactSide, Kind, Link, Place, Rule},
};

/// `struct tcmsg`
const HEADER_BYTES: usize = 20;
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
            if with_filters.contains_key(&link.index) {
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

    /// `tc qdisc show`: the devices that may have filters, with the kind of their qdisc, `ingress`
    /// or `clsact`.
    async fn with_filters(&self) -> Result<BTreeMap<u32, String>, Failure> {
        let message = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        let replies = self.socket.dump(message).await?;
        let payloads = replies.iter().filter_map(|reply| reply.of_kind(libc::RTM_NEWQDISC));
        let of_ingress = payloads.filter(|payload| wire::u32_at(payload, 12) == Some(INGRESS));
        let kind = |payload: &[u8]| {
            let kind = wire::find_text(payload.get(HEADER_BYTES..)?, libc::TCA_KIND)?;
            Some((wire::u32_at(payload, 4)?, kind))
        };
        Ok(of_ingress.filter_map(kind).collect())
    }

    /// Whether a device has the qdisc `ingress`, which leaves no place for clsact and takes filters
    /// for egress as filters for ingress (`ingress_tcf_block`).
    pub async fn has_ingress(&self, index: u32) -> Result<bool, Failure> {
        Ok(self.with_filters().await?.get(&index).is_some_and(|kind| kind == "ingress"))
    }

    /// `tc qdisc del dev DEV clsact`, if it has no filter: others may have use for its place.
    pub async fn remove_empty_clsact(&self, index: u32) -> Result<(), Failure> {
        if self.with_filters().await?.get(&index).is_none_or(|kind| kind != "clsact") {
            return Ok(());
        }
        for side in [ClsactSide::Ingress, ClsactSide::Egress] {
            if !self.filters_at(index, side).await?.is_empty() {
                return Ok(());
            }
        }
        let mut message = TcMessage::with_index(index.cast_signed());
        message.header.parent = TcHandle::from(INGRESS);
        let message = RouteNetlinkMessage::DelQueueDiscipline(message);
        match self.socket.request(message, 0).await {
            Err(failure) if failure.is(libc::ENODEV) || failure.is(libc::ENOENT) => Ok(()),
            removed => removed.map(drop),
        }
    }
}
