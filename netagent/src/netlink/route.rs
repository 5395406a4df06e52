//! Default routes: the links that lead out of the node (`ip route show default`).

use libc::{RT_TABLE_MAIN, RTA_MULTIPATH, RTA_OIF, RTA_TABLE, RTN_UNICAST};

use super::wire;

/// `struct rtmsg`
const HEADER_BYTES: usize = 12;
/// `struct rtnexthop`
const HOP_BYTES: usize = 8;

/// The indexes of the devices of a default route in the main table; none for another route.
pub(super) fn devices(payload: &[u8]) -> Vec<u32> {
    let [_family, bits, _, _, table, _protocol, _scope, kind, ..] = *payload else { return vec![] };
    let attributes = payload.get(HEADER_BYTES..).unwrap_or_default();
    let table = wire::find_u32(attributes, RTA_TABLE).unwrap_or_else(|| table.into());
    if bits != 0 || kind != RTN_UNICAST || table != u32::from(RT_TABLE_MAIN) {
        return vec![];
    }
    let mut devices: Vec<u32> = wire::find_u32(attributes, RTA_OIF).into_iter().collect();
    // struct rtnexthop: length, flags, hops, interface; then attributes, and the next one.
    let mut hops = wire::find(attributes, RTA_MULTIPATH).unwrap_or_default();
    while let (Some(length), Some(index)) = (wire::u16_at(hops, 0), wire::u32_at(hops, 4)) {
        devices.push(index);
        let length = usize::from(length).max(HOP_BYTES).next_multiple_of(4);
        hops = hops.get(length..).unwrap_or_default();
    }
    devices
}
