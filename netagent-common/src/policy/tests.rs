//! Programs and agents of other versions read the same records: bits keep their meaning.

use super::*;

/// Every flag, from the lowest bit.
const FLAGS: [u32; 27] = [
    ADMIT_UNTAGGED,
    ADMIT_TAGGED,
    PVID_TAGGED,
    LINK_LOCAL_BYPASS,
    BRIDGE_STRIPS,
    TAGS_IN_BYTES,
    UPLINK,
    TRUNK,
    XDP_REFUSED,
    ISOLATED,
    ISOLATION,
    MAC_GUARD,
    MAC_LIMIT,
    DHCP_GUARD,
    RA_GUARD,
    STORM,
    TUNNEL,
    SERVICES,
    PRIORITY_IF_NONZERO,
    PRIORITY_ALWAYS,
    FAST,
    PER_VLAN,
    FAST_XDP,
    PEER,
    SILENT,
    QUERIER_GUARD,
    IP_GUARD,
];

#[test]
fn each_flag_has_a_bit_of_its_own_which_it_keeps() {
    for (bit, flag) in FLAGS.into_iter().enumerate() {
        assert_eq!(flag, 1 << bit);
    }
}

/// The others are flags of nearly all ports, or of the agent, or cost a program nothing.
#[test]
fn the_optional_flags_are_those_of_few_ports() {
    let few = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 22, 24, 25, 26];
    let optional = FLAGS.into_iter().filter(|flag| OPTIONAL & flag != 0);
    assert!(optional.eq(few.map(|bit| 1 << bit)), "{OPTIONAL:b}");
    assert_eq!(OPTIONAL.count_ones(), 14);
}

#[test]
fn a_port_has_flags_if_it_has_all_of_them() {
    let port = Policy { flags: FAST | PEER, ..Policy::EMPTY };
    for (flags, expected) in
        [(0, true), (FAST, true), (FAST | PEER, true), (UPLINK, false), (FAST | UPLINK, false)]
    {
        assert_eq!(port.has(flags), expected, "{flags:b}");
    }
}

#[test]
fn the_lists_have_a_bit_for_each_vid() {
    for vid in [0, 1, 62, 63, 64, 127, 128, 1000, 4031, 4032, 4094, 4095] {
        let mut port = Policy::EMPTY;
        port.vids[usize::from(vid / 64)] = 1 << (vid % 64);
        assert!((0..4096).all(|other| port.allows(other) == (other == vid)), "{vid}");
        assert!((0..4096).all(|other| !port.is_service(other)), "{vid}");
        (port.vids, port.services) = (Policy::EMPTY.vids, port.vids);
        assert!((0..4096).all(|other| port.is_service(other) == (other == vid)), "{vid}");
        assert!((0..4096).all(|other| !port.allows(other)), "{vid}");
    }
}

#[test]
fn a_number_that_the_verifier_does_not_know_is_that_number() {
    assert!([0, 1, 31, 32].map(|number| Policy::EMPTY.unknown(number)).eq(&[0, 1, 31, 32]));
}

#[test]
fn a_frame_without_a_tag_has_the_vlan_that_its_bridge_strips() {
    for (flags, expected) in
        [(BRIDGE_STRIPS, 100), (BRIDGE_STRIPS | TRUNK, 100), (TRUNK, 1), (0, 1)]
    {
        let port = Policy { flags, pvid: 100, bridge_pvid: 1, ..Policy::EMPTY };
        assert_eq!(port.untagged_on_bridge(), expected, "{flags:b}");
    }
}

#[test]
#[expect(unsafe_code, reason = "the word of an element")]
fn a_reference_is_read_from_one_word() {
    let reference = PortRef { ifindex: 0x0102_0304, record: 0x0506_0708 };
    // SAFETY: eight bytes without padding.
    let word: u64 = unsafe { core::mem::transmute(reference) };
    assert_eq!(PortRef::from_word(word), reference);
    assert_eq!(PortRef::from_word(0), PortRef::default());
}
