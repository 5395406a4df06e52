//! Any policy, any frame: nothing panics or overflows, and a frame that passes obeys the rules,
//! which are stated independently of the code.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netagent_common::{
    counters::Direction,
    decide::{Headers, Tagging, Verdict, decide},
    guard::{self, Mac, Owner},
    limit::{MAC_SLOTS, MacSlot, admit_mac, admit_rate},
    policy::{self, Ip, Policy},
    silence,
};

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_first_chunk::<32>() else { return };
    let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let mut policy = Policy {
        flags: u32::from_be_bytes([head[0], head[1], head[2], head[3]]),
        pvid: word(4) % 4095,
        bridge_pvid: word(6) % 4095,
        mac_limit: word(8) % 33,
        ..Policy::EMPTY
    };
    for vid in [policy.pvid, word(10) % 4095, word(12) % 4095] {
        policy.vids[usize::from(vid / 64)] |= 1 << (vid % 64);
    }
    let service = word(14) % 4095;
    policy.services[usize::from(service / 64)] |= 1 << (service % 64);
    policy.vids[0] &= !1;
    decision(&policy, word(16), word(18), word(20), word(22));
    guards(policy.flags, rest);
    limits(&policy, rest);
});

fn decision(policy: &Policy, tpid: u16, tci: u16, ethertype: u16, inner_tci: u16) {
    // The TPIDs that matter, often.
    let tpid = [0, 0x8100, 0x88a8, tpid][usize::from(tpid % 4)];
    let ethertype = [ethertype, 0x8100, 0x88a8, 0x0800][usize::from(ethertype % 4)];
    let headers = Headers { tpid, tci, ethertype, inner_tci, link_local: false };
    let tunnel = policy.flags & policy::TUNNEL != 0;
    for direction in [Direction::Receive, Direction::Transmit] {
        let Verdict::Pass(vid, tagging) = decide(policy, policy.flags, headers, direction) else {
            continue;
        };
        assert!(vid != 0 && vid < 4095, "{headers:?}");
        if tunnel {
            assert_eq!(vid, policy.pvid, "a tunnel has one VLAN");
        } else {
            assert!(policy.allows(vid), "{headers:?}");
        }
        let shows_beneath = tagging == Tagging::Pop || tagging == Tagging::Keep && tpid == 0;
        if direction == Direction::Transmit && shows_beneath && !tunnel {
            assert!(!matches!(ethertype, 0x8100 | 0x88a8), "{headers:?} comes to light");
        }
        if let Tagging::Push(new) | Tagging::Replace(new) | Tagging::ReplaceByService(new) = tagging
        {
            assert!(matches!(new & 0xfff, 0) || new & 0xfff == vid, "{headers:?} gets {new:x}");
            // An outer C-tag's priority is never lost.
            assert!(tpid != 0x8100 || new >> 12 == tci >> 12, "{headers:?} gets {new:x}");
        }
    }
}

/// A VM with the MAC address OWN, and the IP addresses whose first byte is not zero.
#[derive(Clone, Copy)]
struct Vm;

impl Owner for Vm {
    fn has_mac(self, mac: Mac) -> bool {
        mac == OWN
    }

    fn has_ip(self, [first, ..]: Ip) -> bool {
        first & 0xff != 0
    }
}

fn guards(flags: u32, frame: &[u8]) {
    // RARP is for announcements only.
    if frame.len() > 60 && frame[12..14] == [0x80, 0x35] {
        assert!(silence::is_unprompted(frame));
    }
    let _no_panic = silence::is_unprompted(frame);
    if guard::check(flags, frame, Vm).is_err() || flags & policy::MAC_GUARD == 0 {
        return;
    }
    assert_eq!(frame[6..12], OWN);
    if matches!(frame[12..14], [8, 6] | [0x80, 0x35]) {
        assert_eq!(frame[22..28], OWN, "ARP of another");
    }
    // Words in network byte order, on a machine that is little-endian: an IPv4 address begins with
    // zero, and is not the VM's.
    if flags & policy::IP_GUARD != 0 && frame[12..14] == [8, 0] {
        assert_eq!(frame[26..30], [0; 4], "the IPv4 address of another");
    }
    // A router advertisement without extension headers.
    if flags & policy::RA_GUARD != 0 && frame[12..14] == [0x86, 0xdd] {
        assert!(!(frame[20] == 58 && frame[54] == 134), "a router advertisement passes");
    }
    // Queries without extension headers, and without options.
    if flags & policy::QUERIER_GUARD != 0 {
        let is_listener_query =
            frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && frame[54] == 130;
        let is_query = frame[12..15] == [8, 0, 0x45] && frame[23] == 2 && frame[34] == 0x11;
        assert!(!is_listener_query && !is_query, "a query passes");
    }
}

fn limits(policy: &Policy, frame: &[u8]) {
    let mut slots = [MacSlot::default(); MAC_SLOTS];
    let admitted: std::collections::BTreeSet<u64> = frame
        .iter()
        .map(|mac| u64::from(*mac))
        // SAFETY: a variable of this function.
        .filter(|mac| unsafe { admit_mac(&raw mut slots, policy, *mac, 1) })
        .collect();
    assert!(admitted.len() <= usize::from(policy.mac_limit));
    let (mut due, rate) = (0, u32::from(policy.mac_limit));
    let admitted = frame.iter().map_while(|_| {
        due = admit_rate(due, rate, 1, 1 << 40)?;
        Some(())
    });
    let passed = admitted.count();
    assert!(rate == 0 || passed <= rate as usize + 1);
}
