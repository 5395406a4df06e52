//! Names and numbers that persist, and what can happen where.

extern crate std;

use core::mem::size_of;
use std::{collections::BTreeSet, format, string::String};

use super::*;

#[test]
fn layouts_have_no_padding() {
    assert_eq!(size_of::<VlanStats>(), 4 + 2 + 2 + 4 * 8);
    assert_eq!(size_of::<RawDropKey>(), 8);
    assert_eq!(size_of::<DropKey<Direction, Reason>>(), size_of::<RawDropKey>());
    assert_eq!(size_of::<DropStats>(), 16);
    assert_eq!(size_of::<RawDropSlots>(), SLOTS * 24);
    assert_eq!(size_of::<DropSlots<Direction, Reason>>(), size_of::<RawDropSlots>());
}

#[test]
#[expect(unsafe_code, reason = "the slots are the test's own")]
fn the_first_keys_have_slots_and_keep_them() {
    let mut slots = RawDropSlots::default();
    // The first key is all zero, like the key of a free slot.
    let key = |vid| RawDropKey { port: 0, vid, direction: 0, reason: 0 };
    for (vid, fits) in [(0, true), (0, true), (5, true), (7, false), (0, true), (5, true)] {
        // SAFETY: a variable of this test.
        assert_eq!(unsafe { count_in_slot(&raw mut slots, key(vid), 7, 500) }, fits);
    }
    let slot =
        |vid, packets: u64| DropSlot { key: key(vid), packets: 7 * packets, bytes: 500 * packets };
    assert_eq!(slots, [slot(0, 3), slot(5, 2)]);
}

#[test]
fn discriminants_are_positions() {
    for (position, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, position);
        assert_eq!(Reason::from_u16(reason as u16), Some(reason));
    }
    assert_eq!(Reason::from_u16(26), None);
}

#[test]
fn a_name_is_that_of_the_variant() {
    let names: BTreeSet<_> = Reason::ALL.map(Reason::name).into();
    assert_eq!(names.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        let mut name = String::new();
        for letter in format!("{reason:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        assert_eq!(reason.name(), name);
    }
}

/// The reasons of a flag: a port drops for none of them without it. All others need none.
const OF_FLAGS: [(u32, &[Reason]); 9] = [
    (policy::MAC_GUARD, &[Reason::MacSpoofed, Reason::ArpSpoofed, Reason::NdSpoofed]),
    (policy::MAC_LIMIT, &[Reason::MacLimit]),
    (policy::DHCP_GUARD, &[Reason::DhcpServer]),
    (policy::RA_GUARD, &[Reason::RouterAdvertisement]),
    (policy::QUERIER_GUARD, &[Reason::MulticastQuery]),
    (policy::IP_GUARD, &[Reason::IpSpoofed, Reason::ArpIpSpoofed, Reason::NdIpSpoofed]),
    (policy::ISOLATION, &[Reason::Isolated]),
    (policy::STORM, &[Reason::BroadcastStorm, Reason::MulticastStorm, Reason::UnknownStorm]),
    (policy::SILENT, &[Reason::Silent]),
];

/// Those of frames to the VM or the wire only, and those of both directions; the others are of
/// frames from them.
const TRANSMIT: [Reason; 3] = [Reason::EgressFiltered, Reason::Isolated, Reason::TooLong];
const BOTH: [Reason; 5] =
    [Reason::Malformed, Reason::LinkLocal, Reason::StackedTag, Reason::NoPolicy, Reason::TagFailed];

#[test]
fn a_port_drops_for_the_reasons_of_its_flags_in_their_directions() {
    for reason in Reason::ALL {
        let of_flag = OF_FLAGS.iter().find(|(_, reasons)| reasons.contains(&reason));
        let flag = of_flag.map_or(0, |(flag, _)| *flag);
        assert_eq!(reason.flag(), flag, "{reason:?}");
        let transmit = TRANSMIT.contains(&reason);
        let both = BOTH.contains(&reason);
        for (direction, applies) in
            [(Direction::Receive, both || !transmit), (Direction::Transmit, both || transmit)]
        {
            assert_eq!(reason.applies_to(direction), applies, "{reason:?} {direction:?}");
            // A device without a policy is not a port.
            let occurs = |flags| reason.occurs(flags, direction);
            let applies = applies && reason != Reason::NoPolicy;
            assert_eq!(occurs(u32::MAX), applies, "{reason:?} {direction:?}");
            assert_eq!(occurs(flag), applies, "{reason:?} {direction:?}");
            assert_eq!(occurs(!flag), applies && flag == 0, "{reason:?} {direction:?}");
        }
    }
}
