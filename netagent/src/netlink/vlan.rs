//! The VLANs of bridge ports and of bridges themselves (`bridge vlan`).

use std::collections::BTreeMap;

use libc::IFLA_AF_SPEC;
use netagent_common::vlan::Vid;
use rtnetlink::{
    LinkBridgeVlan,
    packet_core::Parseable,
    packet_route::link::{AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, LinkMessage},
};

use super::wire;
use crate::state::VlanFlags;

/// The owner of VLANs.
#[derive(Clone, Copy)]
pub(super) enum Side {
    /// A port of a bridge.
    Port,
    /// The bridge itself (`self`).
    Own,
}

/// A message about a range of VLANs of a link: one entry, or the two ends of the range.
pub(super) fn range(
    index: u32,
    side: Side,
    (first, last): (Vid, Vid),
    flags: VlanFlags,
) -> LinkMessage {
    let mut bits = BridgeVlanInfoFlags::empty();
    bits.set(BridgeVlanInfoFlags::Pvid, flags.pvid);
    bits.set(BridgeVlanInfoFlags::Untagged, flags.untagged);
    let vlans = match side {
        // Without a flag, the kernel passes the request on to the controller.
        Side::Port => LinkBridgeVlan::new(index),
        Side::Own => LinkBridgeVlan::new(index).bridge_self(),
    };
    let (first, last) = (first.get(), last.get());
    if first == last {
        vlans.vlan(first, bits).build()
    } else {
        vlans.vlan_range_start(first, bits).vlan_range_end(last, bits).build()
    }
}

/// `struct br_vlan_msg`
const HEADER_BYTES: usize = 8;
/// `BRIDGE_VLANDB_ENTRY`
const ENTRY: u16 = 1;
/// `BRIDGE_VLANDB_ENTRY_INFO`: `struct bridge_vlan_info`
const ENTRY_INFO: u16 = 1;
/// `BRIDGE_VLANDB_ENTRY_RANGE`: the last VID of a range
const ENTRY_RANGE: u16 = 2;

/// `BRIDGE_VLANDB_ENTRY_STATE`
const ENTRY_STATE: u16 = 3;
/// `BR_STATE_FORWARDING`
const FORWARDING: u8 = 3;

/// The link of an `RTM_NEWVLAN` message that does not forward in one of its VLANs: by the state of
/// the VLAN (`bridge vlan set ... state`), or of its instance of MSTP.
pub(super) fn blocked(payload: &[u8]) -> Option<u32> {
    let is_blocked = |attribute| {
        let state = wire::find(wire::value(attribute), ENTRY_STATE).and_then(|state| state.first());
        state.is_some_and(|state| *state != FORWARDING)
    };
    let mut entries = wire::attributes(payload.get(HEADER_BYTES..)?)
        .filter(|attribute| attribute.kind() == ENTRY);
    wire::u32_at(payload, 4).filter(|_| entries.any(is_blocked))
}

/// VLANs of a bridge port, or of a bridge itself.
pub(super) type Vlans = BTreeMap<Vid, VlanFlags>;

/// The VLANs in an `RTM_NEWVLAN` message.
pub(super) fn entries(payload: &[u8]) -> Vec<(Vid, VlanFlags)> {
    let attributes = payload.get(HEADER_BYTES..).unwrap_or_default();
    wire::attributes(attributes)
        .filter(|attribute| attribute.kind() == ENTRY)
        .filter_map(|attribute| entry(wire::value(attribute)))
        .flatten()
        .collect()
}

fn entry(attributes: &[u8]) -> Option<impl Iterator<Item = (Vid, VlanFlags)>> {
    let info = wire::find(attributes, ENTRY_INFO)?;
    let (bits, first) = (wire::u16_at(info, 0)?, wire::u16_at(info, 2)?);
    let last = wire::find(attributes, ENTRY_RANGE).and_then(|last| wire::u16_at(last, 0));
    let flags = flags(BridgeVlanInfoFlags::from_bits_retain(bits));
    let vids = (first..=last.unwrap_or(first)).filter_map(Vid::new);
    // A range may begin with the PVID, whose flag is not that of the others (br_vlan_dump_dev).
    Some(vids.map(move |vid| (vid, VlanFlags { pvid: flags.pvid && vid.get() == first, ..flags })))
}

fn flags(bits: BridgeVlanInfoFlags) -> VlanFlags {
    VlanFlags {
        pvid: bits.contains(BridgeVlanInfoFlags::Pvid),
        untagged: bits.contains(BridgeVlanInfoFlags::Untagged),
    }
}

/// The VLANs in a bridge's message about a link. `None` for a message from a NIC with an embedded
/// switch, which answers the request as well.
pub(super) fn read(attributes: &[u8]) -> Option<Vlans> {
    let mut vlans = BTreeMap::new();
    let mut begin = None;
    for attribute in wire::attributes(wire::find(attributes, IFLA_AF_SPEC)?) {
        match AfSpecBridge::parse(&attribute) {
            Ok(AfSpecBridge::Flags(_)) => return None,
            Ok(AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid })) => {
                if flags.contains(BridgeVlanInfoFlags::RangeBegin) {
                    begin = Some(vid);
                    continue;
                }
                let first = begin.take().unwrap_or(vid);
                let flags = self::flags(flags);
                vlans.extend((first..=vid).filter_map(Vid::new).map(|vid| (vid, flags)));
            }
            Ok(_) | Err(_) => {}
        }
    }
    Some(vlans)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An attribute with its padding.
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// What a kernel sends for `vid 4093 pvid` and `vid 4094`: one range with the flag of the PVID.
    #[test]
    fn the_flag_of_a_pvid_is_not_that_of_the_range_that_it_begins() {
        let pvid = BridgeVlanInfoFlags::Pvid.bits();
        let info = [pvid.to_ne_bytes(), 4093_u16.to_ne_bytes()].concat();
        let entry = [attribute(ENTRY_INFO, &info), attribute(ENTRY_RANGE, &4094_u16.to_ne_bytes())];
        let payload = [vec![0; HEADER_BYTES], attribute(ENTRY, &entry.concat())].concat();
        let found: Vec<_> =
            entries(&payload).into_iter().map(|(vid, flags)| (vid.get(), flags.pvid)).collect();
        assert_eq!(found, [(4093, true), (4094, false)]);
    }
}
