//! The VLANs of bridge ports and of bridges themselves (`bridge vlan`).

use std::collections::BTreeMap;

use libc::IFLA_AF_SPEC;
use netagent_common::vlan::Vid;
use rtnetlink::{
    packet_core::Parseable,
    packet_route::{
        AddressFamily,
        link::{
            AfSpecBridge, BridgeFlag, BridgeVlanInfo, BridgeVlanInfoFlags, LinkAttribute,
            LinkMessage,
        },
    },
};

use super::{message, wire};
use crate::state::VlanFlags;

/// Whose VLANs.
#[derive(Clone, Copy)]
pub(super) enum Side {
    /// Those of a port, kept by its bridge.
    Port,
    /// Those of the bridge itself (`self`).
    Own,
}

/// A message about a range of a link's VLANs: one entry, or the two ends of a range.
pub(super) fn range(
    index: u32,
    side: Side,
    (first, last): (Vid, Vid),
    flags: VlanFlags,
) -> LinkMessage {
    let mut bits = BridgeVlanInfoFlags::empty();
    bits.set(BridgeVlanInfoFlags::Pvid, flags.pvid);
    bits.set(BridgeVlanInfoFlags::Untagged, flags.untagged);
    let entry = |vid: Vid, end: BridgeVlanInfoFlags| {
        AfSpecBridge::VlanInfo(BridgeVlanInfo { flags: bits | end, vid: vid.get() })
    };
    let mut spec = Vec::new();
    match side {
        // Without flags the kernel takes the request to the controller.
        Side::Port => {}
        Side::Own => spec.push(AfSpecBridge::Flags(BridgeFlag::LowerDev)),
    }
    if first == last {
        spec.push(entry(first, BridgeVlanInfoFlags::empty()));
    } else {
        spec.push(entry(first, BridgeVlanInfoFlags::RangeBegin));
        spec.push(entry(last, BridgeVlanInfoFlags::RangeEnd));
    }
    let mut message = message(index, vec![LinkAttribute::AfSpecBridge(spec)]);
    message.header.interface_family = AddressFamily::Bridge;
    message
}

/// The VLANs that a link's bridge message lists. `None`: the message is not from a bridge but from
/// a NIC with a switch of its own, which answers to the same request for its own VLANs.
pub(super) fn read(attributes: &[u8]) -> Option<BTreeMap<Vid, VlanFlags>> {
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
                let flags = VlanFlags {
                    pvid: flags.contains(BridgeVlanInfoFlags::Pvid),
                    untagged: flags.contains(BridgeVlanInfoFlags::Untagged),
                };
                vlans.extend((first..=vid).filter_map(Vid::new).map(|vid| (vid, flags)));
            }
            Ok(_) | Err(_) => {}
        }
    }
    Some(vlans)
}
