//! The programs' copy of the FDB, as a test reads and alters it: entries that are out of date, at a
//! moment that the test chooses.

use netagent_common::{
    forward::{self, WAYS, who},
    mac,
};

use super::Address;
use crate::{
    lab::{bpftool_bytes, seen, wait_for},
    node::Node,
};

/// Offsets of the fields in an entry.
const BRIDGE: usize = 8;
pub const IFINDEX: usize = 12;
pub const EPOCH: usize = 20;
const LENGTH: usize = 24;

/// Changes a field of the entry of a station. `vid` is 0 on a bridge that does not filter.
pub fn alter(
    node: &Node,
    (bridge, vid, mac): (&str, u16, Address),
    field: usize,
    change: impl FnOnce(u32) -> u32,
) {
    let seed = u64::from_ne_bytes(look_up(node, "FDB_FRESH", 0)[8..].try_into().unwrap());
    let who = who(mac::number(mac), vid);
    let number = forward::bucket(who, seed);
    let mut bucket = look_up(node, "FDB", number);
    let place = (0..WAYS).map(|way| way * LENGTH).find(|at| {
        let word = |offset: usize| bucket[at + offset..][..4].try_into().unwrap();
        bucket[*at..][..8] == who.to_ne_bytes()
            && u32::from_ne_bytes(word(BRIDGE)) == node.netns.ifindex(bridge)
    });
    let at = place.expect("the station has an entry") + field;
    let old = u32::from_ne_bytes(bucket[at..at + 4].try_into().unwrap());
    bucket[at..at + 4].copy_from_slice(&change(old).to_ne_bytes());
    let (pin, key, value) =
        (node.pin("maps/FDB"), bpftool_bytes(&number.to_ne_bytes()), bpftool_bytes(&bucket));
    node.netns.sh(&format!("bpftool map update pinned {pin} key hex {key} value hex {value}"));
}

/// Declares that the copy lacks changes, as an agent does that has lost notifications.
pub fn doubt(node: &Node) {
    let mut fresh = look_up(node, "FDB_FRESH", 0);
    fresh[..8].copy_from_slice(&now().to_ne_bytes());
    let (pin, value) = (node.pin("maps/FDB_FRESH"), bpftool_bytes(&fresh));
    node.netns.sh(&format!("bpftool map update pinned {pin} key hex 0 0 0 0 value hex {value}"));
}

/// Waits until the copy is out of date, as it is without an agent, for the fast path and for
/// limits.
pub fn wait_until_out_of_date(node: &Node) {
    wait_for("the copy of the FDB is out of date", || {
        let until = u64::from_ne_bytes(look_up(node, "FDB_FRESH", 0)[..8].try_into().unwrap());
        seen((now(), until), !forward::says_who_is_known(until, now()))
    });
}

/// The time of the programs, in nanoseconds.
fn now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives here.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap()
}

fn look_up(node: &Node, map: &str, number: u32) -> Vec<u8> {
    let (pin, key) = (node.pin(&format!("maps/{map}")), bpftool_bytes(&number.to_ne_bytes()));
    let found = node.netns.json(&format!("bpftool -j map lookup pinned {pin} key hex {key}"));
    let bytes = found["value"].as_array().unwrap().iter();
    bytes.map(|byte| u8::from_str_radix(&byte.as_str().unwrap()[2..], 16).unwrap()).collect()
}
