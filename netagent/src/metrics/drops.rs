//! Drops by (device, VLAN, reason), with separate families for receive and transmit. Each reason
//! that applies to a port has a series at 0 before the first drop. The series has the VLAN of that
//! first drop if the reason and the port determine the VLAN.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use netagent_common::{
    counters::{Direction, Reason},
    vlan::{RESERVED_VID, Vid},
};

use super::family::{Families, Labels};
use crate::state::{Count, Counters, DropKind, ObservedDatapath};

/// Name and HELP of the drop counters of one direction.
struct Family {
    direction: Direction,
    packets: (&'static str, &'static str),
    bytes: (&'static str, &'static str),
}

const FAMILIES: [Family; 2] = [
    Family {
        direction: Direction::Receive,
        packets: (
            "netagent_receive_drop_packets",
            "Dropped frames from the VM or the wire; vlan is none for untagged frames",
        ),
        bytes: ("netagent_receive_drop_bytes", "Bytes of dropped frames from the VM or the wire"),
    },
    Family {
        direction: Direction::Transmit,
        packets: (
            "netagent_transmit_drop_packets",
            "Dropped frames to the VM or the wire; vlan is none for untagged frames",
        ),
        bytes: ("netagent_transmit_drop_bytes", "Bytes of dropped frames to the VM or the wire"),
    },
];

/// The device label of drops that belong to no port.
const ELSEWHERE: &str = "other";

/// Writes the drops.
pub fn encode(
    families: &mut Families<'_>,
    counters: &Counters,
    datapath: &ObservedDatapath,
) -> fmt::Result {
    let all = all(counters, datapath);
    for Family { direction, packets, bytes } in FAMILIES {
        let series = || {
            all.iter().filter(move |((_, kind), _)| kind.direction == direction).map(
                |((device, kind), count)| {
                    let labels: Labels<'_, 3> = [
                        ("device", Cow::Borrowed(*device)),
                        ("vlan", kind.vlan()),
                        ("reason", kind.reason.name().into()),
                    ];
                    (labels, *count)
                },
            )
        };
        let counts = series().map(|(labels, count)| (labels, count.packets));
        families.counters(packets.0, packets.1, counts)?;
        let counts = series().map(|(labels, count)| (labels, count.bytes));
        families.counters(bytes.0, bytes.1, counts)?;
    }
    Ok(())
}

/// Zeros for the drops that are possible, overwritten by the counted drops.
fn all<'a>(
    counters: &'a Counters,
    datapath: &'a ObservedDatapath,
) -> BTreeMap<(&'a str, DropKind), Count> {
    let mut all = BTreeMap::new();
    for (device, port) in &datapath.ports {
        for reason in Reason::ALL {
            for direction in [Direction::Receive, Direction::Transmit] {
                if reason.occurs(port.policy.flags, direction) {
                    let vid = first_vid(reason, port.policy.pvid);
                    let kind = DropKind { direction, reason, vid };
                    all.insert((device.as_str(), kind), Count::default());
                }
            }
        }
    }
    for (device, port) in &counters.ports {
        all.extend(port.drops.iter().map(|(kind, count)| ((device.as_str(), *kind), *count)));
    }
    // This map has every reason in both directions, including impossible combinations.
    let elsewhere = counters
        .elsewhere
        .iter()
        .filter(|(kind, count)| count.packets > 0 || kind.reason.applies_to(kind.direction));
    all.extend(elsewhere.map(|(kind, count)| ((ELSEWHERE, *kind), *count)));
    all
}

/// The VID that `decide` gives to a drop, if the reason and the port determine it. Otherwise
/// `None`, as for VIDs without a counter of their own.
fn first_vid(reason: Reason, pvid: Option<Vid>) -> Option<u16> {
    match reason {
        Reason::Untagged | Reason::Malformed | Reason::LinkLocal => Some(0),
        Reason::ReservedVid => Some(RESERVED_VID),
        Reason::TaggedOnAccess | Reason::StackedTag | Reason::TagFailed | Reason::TooLong => {
            pvid.map(Vid::get)
        }
        Reason::VlanNotAllowed
        | Reason::EgressFiltered
        | Reason::NoPolicy
        | Reason::MacSpoofed
        | Reason::ArpSpoofed
        | Reason::NdSpoofed
        | Reason::MacLimit
        | Reason::DhcpServer
        | Reason::RouterAdvertisement
        | Reason::Isolated
        | Reason::BroadcastStorm
        | Reason::MulticastStorm
        | Reason::UnknownStorm
        | Reason::Silent
        | Reason::MulticastQuery
        | Reason::IpSpoofed
        | Reason::ArpIpSpoofed
        | Reason::NdIpSpoofed => None,
    }
}
