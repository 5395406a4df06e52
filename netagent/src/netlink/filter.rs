//! TC filters (`tc filter`): those that hold the programs on kernels without TCX, and those of
//! others.

use libc::TCA_KIND;

use super::{Failure, Netlink, request, socket::Reply, wire};
use crate::state::{ClsactSide, TcFilter};

/// `struct tcmsg`
const HEADER_BYTES: usize = 20;
/// `TCA_OPTIONS`
const OPTIONS: u16 = 2;
/// `TCA_BPF_ID`, since 4.13
const BPF_ID: u16 = 11;

/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)` and `..._EGRESS`
const fn parent(side: ClsactSide) -> u32 {
    match side {
        ClsactSide::Ingress => 0xffff_fff2,
        ClsactSide::Egress => 0xffff_fff3,
    }
}

impl Netlink {
    /// The filters with programs on both sides of the device with this index, in the order in which
    /// they run.
    pub async fn filters(&self, ifindex: u32) -> Result<Vec<TcFilter>, Failure> {
        let mut filters = Vec::new();
        for side in [ClsactSide::Ingress, ClsactSide::Egress] {
            let replies = self.filters_at(ifindex, side).await?;
            filters.extend(replies.iter().filter_map(|reply| program(&reply.payload, side)));
        }
        Ok(filters)
    }

    /// `tc filter show dev DEV ingress` or `egress`
    pub(super) async fn filters_at(
        &self,
        ifindex: u32,
        side: ClsactSide,
    ) -> Result<Vec<Reply>, Failure> {
        let replies = match self.socket.dump(request::filters(ifindex, parent(side))).await {
            // The device has no filters, or does not exist any more.
            Err(failure) if failure.is(libc::EINVAL) || failure.is(libc::ENODEV) => Vec::new(),
            replies => replies?,
        };
        let is_filter = |reply: &Reply| reply.of_kind(libc::RTM_NEWTFILTER).is_some();
        Ok(replies.into_iter().filter(is_filter).collect())
    }
}

/// The kind of a filter that is not the agent's. Each classifier has an entry without a filter.
pub(super) fn of_others(reply: &Reply) -> Option<String> {
    let (priority, handle) = place(&reply.payload)?;
    let kind = wire::find_text(reply.payload.get(HEADER_BYTES..)?, TCA_KIND)?;
    let may_be_ours = kind == "bpf" && priority == TcFilter::PRIORITY;
    (!may_be_ours || handle != 0 && !TcFilter::HANDLES.contains(&handle)).then_some(kind)
}

/// Priority and handle. The upper half of `tcm_info` is the priority, the lower the protocol.
fn place(payload: &[u8]) -> Option<(u16, u32)> {
    let priority = u16::try_from(wire::u32_at(payload, 16)? >> 16).ok()?;
    Some((priority, wire::u32_at(payload, 8)?))
}

fn program(payload: &[u8], side: ClsactSide) -> Option<TcFilter> {
    let (priority, handle) = place(payload)?;
    let options = wire::find(payload.get(HEADER_BYTES..)?, OPTIONS)?;
    let program = wire::find_u32(options, BPF_ID)?;
    Some(TcFilter { side, priority, handle, program })
}
