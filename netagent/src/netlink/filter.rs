//! TC filters (`tc filter`), which hold the programs on kernels without TCX.

use super::{Failure, Netlink, request, wire};
use crate::state::{ClsactSide, TcFilter};

/// `struct tcmsg`
const HEADER_BYTES: usize = 20;
/// `TCA_OPTIONS`
const OPTIONS: u16 = 2;
/// `TCA_BPF_ID`, since 4.13
const BPF_ID: u16 = 11;
/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)` and `..._EGRESS`
const PARENTS: [(ClsactSide, u32); 2] =
    [(ClsactSide::Ingress, 0xffff_fff2), (ClsactSide::Egress, 0xffff_fff3)];

impl Netlink {
    /// `tc filter show dev DEV ingress` and `egress`, for the device with this index.
    pub async fn filters(&self, ifindex: u32) -> Result<Vec<TcFilter>, Failure> {
        let mut filters = Vec::new();
        for (side, parent) in PARENTS {
            let replies = match self.socket.dump(request::filters(ifindex, parent)).await {
                // The device has no clsact, or does not exist any more.
                Err(failure) if failure.is(libc::EINVAL) || failure.is(libc::ENODEV) => continue,
                replies => replies?,
            };
            let payloads = replies.iter().filter_map(|reply| reply.of_kind(libc::RTM_NEWTFILTER));
            filters.extend(payloads.filter_map(|payload| read(payload, side)));
        }
        Ok(filters)
    }
}

fn read(payload: &[u8], side: ClsactSide) -> Option<TcFilter> {
    let handle = wire::u32_at(payload, 8)?;
    // The upper half of `tcm_info` is the priority, the lower the protocol.
    let priority = u16::try_from(wire::u32_at(payload, 16)? >> 16).ok()?;
    let options = wire::find(payload.get(HEADER_BYTES..)?, OPTIONS)?;
    let program = wire::find_u32(options, BPF_ID)?;
    Some(TcFilter { side, priority, handle, program })
}
