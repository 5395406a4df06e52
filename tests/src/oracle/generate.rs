//! Random policies, and random frames of which enough are forwarded.

use super::{
    policy::{Admit, Native, PORTS, Policy, Port, UPLINK, Vm},
    rule::{self, Around, is_link_local},
    sent::{C, Content, Q, S, Sent},
};
use crate::rng::Rng;

/// Few VIDs, so that ports share them: both ends of the range, neighbours, both sides of a word of
/// the allow-list.
const VIDS: [u16; 8] = [1, 2, 63, 64, 100, 101, 4093, 4094];
/// Stations of a VLAN: few, so that the bridges know most of them, and see them move.
const STATIONS: u16 = 3;
/// All lengths of a frame that is not a jumbo frame.
const LENGTHS: u32 = 1518 - 14 + 1;
/// The longest frame at an MTU of 9000.
const JUMBO: u16 = 9014;

pub fn policy(rng: &mut Rng) -> Policy {
    let pool: Vec<_> = (0..5).map(|_| rng.pick(&VIDS)).collect();
    let native = native(rng, &pool);
    let vms = 0..4 + rng.below(u16::try_from(PORTS).unwrap() - 4);
    let vms = vms.map(|_| vm(rng, &pool, native)).collect();
    Policy { xdp: rng.percent(50), native, vms: keep(vms) }
}

fn native(rng: &mut Rng, pool: &[u16]) -> Native {
    match rng.below(6) {
        0 | 1 => Native::Untagged(1),
        2 => Native::None,
        3 => Native::Tagged(rng.pick(pool)),
        _ => Native::Untagged(rng.pick(pool)),
    }
}

fn vm(rng: &mut Rng, pool: &[u16], uplink: Native) -> Vm {
    let admit = rng.pick(&[Admit::Untagged, Admit::Untagged, Admit::All]);
    match rng.below(6) {
        0 | 1 => Vm::Access { vid: rng.pick(pool), admit },
        2 if uplink != Native::None => Vm::Plain { admit },
        _ => {
            let vids = (0..=rng.below(4)).map(|_| rng.pick(pool)).collect();
            let native = native(rng, pool);
            let admit = rng.pick(&[Admit::All, Admit::All, Admit::Tagged, Admit::Untagged]);
            // netagent refuses such a port, which admits no frame.
            let shut = admit == Admit::Untagged && native == Native::None;
            Vm::Trunk { vids: keep(vids), native, admit: if shut { Admit::All } else { admit } }
        }
    }
}

/// The n-th frame of a run.
pub fn frame(rng: &mut Rng, policy: &Policy, around: Around, n: u32) -> Sent {
    let ports = policy.ports();
    let from = if rng.percent(35) {
        UPLINK
    } else {
        usize::from(rng.below(u16::try_from(ports.len()).unwrap()))
    };
    let port = &ports[from];
    let tags = tags(rng, port);
    let mut sent = Sent {
        from,
        hidden: rng.percent(25),
        destination: [0xff; 6],
        source: [0; 6],
        tags,
        content: content(rng, tags, n),
    };
    let vlan = rule::vlan(port, &Sent { source: station(1, 0), ..sent });
    sent.destination = destination(rng, vlan);
    sent.source = match rng.below(40) {
        0 => [0; 6],
        1 => [0x01, 0x00, 0x5e, 0, 0, 1],
        // From frames that only the kernel's bridge admits, only that bridge learns: no frame goes
        // to this address.
        _ if rule::on_entry(policy, port, &sent, around).is_some() => [0x02, 0xee, 0, 0, 0, 1],
        // From a frame that no bridge admits, no bridge may learn.
        _ => station(vlan.unwrap_or_else(|| rng.pick(&VIDS)), rng.below(STATIONS)),
    };
    sent
}

/// An address that is used in one VLAN only.
pub fn station(vid: u16, number: u16) -> [u8; 6] {
    let [[a, b], [c, d]] = [vid, number].map(u16::to_be_bytes);
    [0x02, 0x10, a, b, c, d]
}

fn destination(rng: &mut Rng, vlan: Option<u16>) -> [u8; 6] {
    let vid = vlan.unwrap_or(1);
    match rng.below(100) {
        0..25 => [0xff; 6],
        25..30 => rng.pick(&[
            [0x01, 0x00, 0x5e, 0, 0, 251],
            [0x33, 0x33, 0, 0, 0, 1],
            [0x03, 0, 0, 0, 0, 1],
        ]),
        30..32 => [0x01, 0x80, 0xc2, 0, 0, 0],
        32..36 => [0x01, 0x80, 0xc2, 0, 0, u8::try_from(rng.below(17)).unwrap()],
        36..80 => station(vid, rng.below(STATIONS)),
        80..90 => station(rng.pick(&VIDS), rng.below(STATIONS)),
        _ => [0x02, 0xdd, 0, 0, 0, 1],
    }
}

fn tags(rng: &mut Rng, port: &Port) -> &'static [(u16, u16)] {
    let depth = match rng.below(100) {
        0..25 => 0,
        25..70 => 1,
        70..92 => 2,
        _ => 3,
    };
    let tags = (0..depth).map(|_| {
        let tpid = match rng.below(100) {
            0..82 => C,
            82..94 => S,
            _ => Q,
        };
        let priority = if rng.percent(50) { rng.below(16) << 12 } else { 0 };
        (tpid, priority | vid(rng, port))
    });
    keep(tags.collect())
}

fn vid(rng: &mut Rng, port: &Port) -> u16 {
    let own: Vec<_> = port.vids.iter().copied().collect();
    match rng.below(100) {
        0..50 if !own.is_empty() => rng.pick(&own),
        50..64 => 0,
        64..68 => 4095,
        68..72 => rng.below(4096),
        _ => rng.pick(&VIDS),
    }
}

fn content(rng: &mut Rng, tags: &[(u16, u16)], n: u32) -> Content {
    let headers = 14 + 4 * u16::try_from(tags.len()).unwrap();
    let kind = rng.below(100);
    if kind < 2 && !tags.is_empty() {
        return Content::Cut(rng.below(4));
    }
    match kind {
        2..5 => Content::Tcp(rng.below(1400)),
        // The sending kernel cannot segment frames behind an unknown tag.
        5..8 if tags.iter().all(|(tpid, _)| *tpid != Q) => Content::Super(1001 + rng.below(6000)),
        8..10 => Content::Test(1500 + rng.below(JUMBO - headers - 1500 + 1)),
        // Most frames are short: the emulated processor takes longer for long ones.
        10..55 => Content::Test(rng.below(64)),
        // The step and the number of lengths have no common factor: each length gets its turn.
        _ => {
            let length = 14 + u16::try_from(u64::from(n) * 577 % u64::from(LENGTHS)).unwrap();
            Content::Test(length.saturating_sub(headers))
        }
    }
}

/// Leaks a few kilobytes for the run of a test.
pub fn keep<T>(items: Vec<T>) -> &'static [T] {
    items.leak()
}

/// Whether these frames can compare the bridges: each address is learned in one VLAN only (an
/// unaware bridge has one table for all VLANs), and no frame goes to an address that only the
/// kernel's bridge learns.
pub fn is_fair(policy: &Policy, frames: &[Sent], around: Around) -> bool {
    let ports = policy.ports();
    frames.iter().all(|sent| {
        let port = &ports[sent.from];
        let Some(vlan) = rule::vlan(port, sent) else { return true };
        if rule::on_entry(policy, port, sent, around).is_some() || is_link_local(sent.destination) {
            return frames.iter().all(|other| other.destination != sent.source);
        }
        !matches!(sent.source, [0x02, 0x10, ..]) || sent.source[2..4] == vlan.to_be_bytes()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn generated_frames_can_be_compared_and_meet_every_rule_on_entry() {
        crate::once();
        let mut rules = BTreeSet::new();
        for stacks_tags in [false, true] {
            let (mut rng, around) = (Rng(1), Around { stacks_tags });
            for _ in 0..50 {
                let policy = policy(&mut rng);
                let frames: Vec<_> =
                    (0..200).map(|n| frame(&mut rng, &policy, around, n)).collect();
                assert!(is_fair(&policy, &frames, around), "{policy:?} {frames:?}");
                let ports = policy.ports();
                rules.extend(
                    frames.iter().filter_map(|sent| {
                        rule::on_entry(&policy, &ports[sent.from], sent, around)
                    }),
                );
            }
        }
        // Two more rules apply on exit.
        assert_eq!(rules.len(), 6, "{rules:?}");
    }
}
