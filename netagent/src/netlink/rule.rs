//! Policy rules that name a device (`ip rule add iif eth0 ...`).

use libc::RTM_GETRULE;

use super::{request::Request, wire};
use crate::names::IfName;

/// `struct fib_rule_hdr`
const HEADER_BYTES: usize = 12;
/// `FRA_IIFNAME`, `FRA_OIFNAME` (include/uapi/linux/fib_rules.h)
const DEVICES: [u16; 2] = [3, 17];

/// `ip rule show`, `ip -6 rule show`
pub(super) fn all() -> Request {
    // Of all families (AF_UNSPEC).
    Request::new(RTM_GETRULE, vec![0; HEADER_BYTES])
}

/// The devices that a rule names.
pub(super) fn devices(payload: &[u8]) -> Vec<IfName> {
    let attributes = payload.get(HEADER_BYTES..).unwrap_or_default();
    let name = |kind: &u16| wire::find_text(attributes, *kind)?.parse().ok();
    DEVICES.iter().filter_map(name).collect()
}
