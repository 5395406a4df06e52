//! Counters of the devices themselves (`ip -s link`), which no look at the node needs.

use std::collections::BTreeMap;

use super::{Failure, Netlink, request::Request, wire};
use crate::state::DeviceDrops;

/// `RTM_NEWSTATS`, `RTM_GETSTATS` (include/uapi/linux/rtnetlink.h, Linux 4.7), which libc lacks.
const RTM_NEWSTATS: u16 = 92;
const RTM_GETSTATS: u16 = 94;
/// `IFLA_STATS_LINK_64` (include/uapi/linux/if_link.h), and its bit in the filter of a request.
const LINK_64: u16 = 1;
const LINK_64_ONLY: u32 = 1;
/// `struct if_stats_msg`
const HEADER_BYTES: usize = 12;
const INDEX: usize = 4;
/// Fields of `struct rtnl_link_stats64`, each of 8 bytes.
const RX_DROPPED: usize = 6;
const TX_DROPPED: usize = 7;
const RX_MISSED_ERRORS: usize = 15;

impl Netlink {
    /// The drops of all devices, by interface index: one dump.
    pub async fn device_drops(&self) -> Result<BTreeMap<u32, DeviceDrops>, Failure> {
        let mut payload = vec![0; HEADER_BYTES];
        payload[8..].copy_from_slice(&LINK_64_ONLY.to_ne_bytes());
        let replies = self.socket.dump(Request::new(RTM_GETSTATS, payload)).await?;
        let payloads = replies.iter().filter_map(|reply| reply.of_kind(RTM_NEWSTATS));
        Ok(payloads.filter_map(read).collect())
    }
}

fn read(payload: &[u8]) -> Option<(u32, DeviceDrops)> {
    let counters = wire::find(payload.get(HEADER_BYTES..)?, LINK_64)?;
    let counter = |field: usize| wire::u64_at(counters, 8 * field).unwrap_or_default();
    // As in /proc/net/dev: a NIC without a free buffer has dropped a frame as well.
    let receive = counter(RX_DROPPED).saturating_add(counter(RX_MISSED_ERRORS));
    let drops = DeviceDrops { receive, transmit: counter(TX_DROPPED) };
    Some((wire::u32_at(payload, INDEX)?, drops))
}
