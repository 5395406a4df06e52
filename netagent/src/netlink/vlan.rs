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

use super::{message, socket::Request, wire};
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

/// `RTM_NEWVLAN` and its relatives (include/uapi/linux/rtnetlink.h), which libc lacks.
pub(super) const RTM_NEWVLAN: u16 = 112;
pub(super) const RTM_DELVLAN: u16 = 113;
const RTM_GETVLAN: u16 = 114;
/// `struct br_vlan_msg`
const HEADER_BYTES: usize = 8;
/// `BRIDGE_VLANDB_ENTRY`
const ENTRY: u16 = 1;
/// `BRIDGE_VLANDB_ENTRY_INFO`: `struct bridge_vlan_info`
const ENTRY_INFO: u16 = 1;
/// `BRIDGE_VLANDB_ENTRY_RANGE`: the last VID of a range
const ENTRY_RANGE: u16 = 2;

/// VLANs of a bridge port, or of a bridge itself.
pub(super) type Vlans = BTreeMap<Vid, VlanFlags>;

/// Asks for the VLANs of one device. rtnetlink has no such message.
pub(super) fn request(index: u32) -> Request {
    let family = u8::try_from(libc::AF_BRIDGE).unwrap_or_default();
    let payload = [&[family, 0, 0, 0][..], &index.to_ne_bytes()].concat();
    Request { kind: RTM_GETVLAN, payload }
}

/// The VLANs in a reply to that.
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
    Some(vids.map(move |vid| (vid, flags)))
}

fn flags(bits: BridgeVlanInfoFlags) -> VlanFlags {
    VlanFlags {
        pvid: bits.contains(BridgeVlanInfoFlags::Pvid),
        untagged: bits.contains(BridgeVlanInfoFlags::Untagged),
    }
}

/// The VLANs that a link's bridge message lists. `None`: the message is not from a bridge but from
/// a NIC with a switch of its own, which answers to the same request for its own VLANs.
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
