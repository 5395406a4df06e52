//! What a client makes of the answers of servers (RFC 8415 section 18.2.10).

use std::time::Duration;

use super::{Action, BEST, Machine, Offer, Phase};
use crate::dhcp::v6::{
    lease::Lease,
    message::{Association, Reply, Status},
};

impl Machine {
    /// A server offers an address. The first wait is for all servers; then the first one counts.
    pub(super) fn offered(
        &mut self,
        now: Duration,
        best: Option<Offer>,
        reply: &Reply,
    ) -> Vec<Action> {
        self.solicit_max = reply.solicit_max.or(self.solicit_max);
        let Some(lease) = self.granted(reply) else { return vec![] };
        let Reply { preference, .. } = *reply;
        let offer = Offer { server: lease.server, preference, address: lease.address };
        if preference == BEST || self.exchange.sent() > 1 {
            return self.request(now, offer);
        }
        let is_better = best.as_ref().is_none_or(|best| best.preference < preference);
        self.phase = Phase::Soliciting(if is_better { Some(offer) } else { best });
        vec![]
    }

    /// The server has answered a Request.
    pub(super) fn replied(&mut self, now: Duration, reply: &Reply) -> Vec<Action> {
        let of_address = reply.association.as_ref().map(|association| association.status);
        match (reply.status, of_address) {
            (Status::Success, Some(Status::Success)) => match self.granted(reply) {
                Some(lease) => self.bind(lease),
                None => self.refused(now, "the server has no address for this node"),
            },
            // The server says nothing of the address, or cannot do it now (section 18.2.10): it is
            // asked again.
            (Status::Success, None) | (Status::Failed(_), _) | (_, Some(Status::Failed(_))) => {
                vec![]
            }
            (Status::NotOnLink, _) | (_, Some(Status::NotOnLink)) => {
                self.refused(now, "its address does not fit the link")
            }
            _ => self.refused(now, "the server has no address for this node"),
        }
    }

    /// A server has answered a Renew or Rebind.
    pub(super) fn extended(&mut self, now: Duration, reply: &Reply) -> Vec<Action> {
        let (Status::Success, Some(association), Some(held)) =
            (reply.status, &reply.association, &self.lease)
        else {
            return vec![];
        };
        if association.status == Status::NoBinding {
            let (server, address) = (reply.server.clone(), held.address);
            return self.request(now, Offer { server, preference: 0, address });
        }
        let mut addresses = association.addresses.iter();
        let is_withdrawn =
            addresses.any(|granted| granted.address == held.address && granted.is_withdrawn());
        match self.granted(reply) {
            Some(lease) => self.bind(lease),
            None if is_withdrawn => self.end(now, "the server has withdrawn it"),
            // The server says nothing of the address: it is asked again.
            None => vec![],
        }
    }

    /// The lease that a server grants: of the address that the client has or asks for, or else of
    /// the first one that can be used.
    fn granted(&self, reply: &Reply) -> Option<Lease> {
        let association: &Association = reply.granted()?;
        let begin = self.asked.as_secs();
        let usable = |granted| association.lease(granted, &reply.server, begin);
        let mut leases: Vec<Lease> =
            association.addresses.iter().filter_map(|granted| usable(*granted)).collect();
        let wanted = self.lease.as_ref().map(|lease| lease.address).or(self.hint);
        let place = leases.iter().position(|lease| Some(lease.address) == wanted);
        let place = place.unwrap_or(0);
        (place < leases.len()).then(|| leases.swap_remove(place))
    }
}
