//! The decision about a frame that crosses from one port to another without the bridge.

use crate::{
    counters::Direction,
    decide::{Headers, Tagging, Verdict, decide},
    policy::{ISOLATED, PEER, Policy, SERVICES, TUNNEL, UPLINK},
    vlan::TPID_C,
};

/// A change of the outer C-tag: the TCI before and after, `None` for no tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retag {
    /// The tag of the frame as it came in.
    pub before: Option<u16>,
    /// The tag of the frame as it leaves.
    pub after: Option<u16>,
}

/// Whether the port of an FDB entry is still a port of the ingress port's bridge. `to` is the
/// policy that the port index has for the interface index of the entry: if the index was reused,
/// the policy may belong to another device or another bridge.
#[inline(always)]
pub const fn is_reachable(from: &Policy, to: &Policy, ifindex: u32) -> bool {
    to.bridge == from.bridge && to.ifindex == ifindex
}

/// Whether frames may skip the egress hook of `to` (`bpf_redirect_peer`): [`crossing`] decides
/// everything that the hook would decide. QinQ and isolation between VMs are decided at the hook
/// only.
#[inline(always)]
pub const fn may_enter_peer(from: &Policy, to: &Policy) -> bool {
    to.flags & (PEER | TUNNEL) == PEER
        && from.flags & (TUNNEL | SERVICES) == 0
        && (from.flags & UPLINK != 0 || (from.flags | to.flags) & ISOLATED == 0)
}

/// The change of the C-tag of a frame that crosses to a port; `tagging` is the ingress port's
/// decision. `None`: the frame must pass the egress hook, because the port drops it there or its
/// tag is not a C-tag.
#[inline(always)]
pub fn crossing(to: &Policy, headers: Headers, tagging: Tagging) -> Option<Retag> {
    let before = match headers.tpid {
        0 => None,
        TPID_C => Some(headers.tci),
        _ => return None,
    };
    let inside = retag(before, tagging)?;
    let on_bridge = match inside {
        Some(tci) => Headers { tpid: TPID_C, tci, ..headers },
        None => Headers { tpid: 0, tci: 0, ..headers },
    };
    match decide(to, to.flags & !(TUNNEL | SERVICES), on_bridge, Direction::Transmit) {
        Verdict::Pass(_, tagging) => Some(Retag { before, after: retag(inside, tagging)? }),
        Verdict::Drop(..) => None,
    }
}

/// The C-tag of a frame after a change; `None`: the change needs an S-tag or a second tag.
#[inline(always)]
pub const fn retag(tag: Option<u16>, tagging: Tagging) -> Option<Option<u16>> {
    match tagging {
        Tagging::Keep => Some(tag),
        Tagging::Push(tci) if tag.is_none() => Some(Some(tci)),
        Tagging::Replace(tci) => Some(Some(tci)),
        Tagging::Pop => Some(None),
        Tagging::Push(_) | Tagging::ReplaceByService(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        policy::{ADMIT_TAGGED, ADMIT_UNTAGGED, BRIDGE_STRIPS, FAST, PVID_TAGGED},
        vlan::TPID_S,
    };

    const UNTAGGED: Headers =
        Headers { tpid: 0, tci: 0, ethertype: 0x0800, inner_tci: 0, link_local: false };

    fn tagged(tci: u16) -> Headers {
        Headers { tpid: TPID_C, tci, ..UNTAGGED }
    }

    /// A port of bridge 2 with a PVID (0: none) and an allow-list.
    fn port(ifindex: u32, pvid: u16, vids: &[u16]) -> Policy {
        let flags = FAST | PEER | ADMIT_UNTAGGED | ADMIT_TAGGED | BRIDGE_STRIPS;
        let mut policy = Policy { ifindex, flags, pvid, bridge: 2, ..Policy::EMPTY };
        for vid in vids {
            policy.vids[usize::from(vid / 64)] |= 1 << (vid % 64);
        }
        policy
    }

    #[test]
    fn only_a_port_of_the_bridge_that_still_has_its_index_is_reachable() {
        let from = port(4, 100, &[100]);
        let to = port(5, 100, &[100]);
        assert!(is_reachable(&from, &to, 5));
        assert!(!is_reachable(&from, &to, 6), "the index has another device's policy");
        assert!(!is_reachable(&from, &Policy { bridge: 3, ..to }, 5));
    }

    #[test]
    fn a_frame_crosses_between_access_ports_untagged() {
        let to = port(5, 100, &[100]);
        let crossed = crossing(&to, UNTAGGED, Tagging::Push(100));
        assert_eq!(crossed, Some(Retag { before: None, after: None }));
    }

    #[test]
    fn a_frame_crosses_from_a_trunk_to_an_access_port_without_its_tag_and_back_with_it() {
        let (access, trunk) = (port(5, 100, &[100]), port(6, 0, &[100, 200]));
        assert_eq!(
            crossing(&access, tagged(0x6064), Tagging::Keep),
            Some(Retag { before: Some(0x6064), after: None })
        );
        assert_eq!(
            crossing(&trunk, UNTAGGED, Tagging::Push(100)),
            Some(Retag { before: None, after: Some(100) })
        );
    }

    /// All other flags are those of the egress hook; QinQ is decided there only.
    #[test]
    fn a_frame_crosses_as_the_flags_of_the_port_say_apart_from_qinq() {
        let tagged_100 = Some(Retag { before: Some(100), after: Some(100) });
        let to = port(5, 100, &[100, 200]);
        let with = |flags| Policy { flags: to.flags | flags, services: to.vids, ..to };
        assert_eq!(crossing(&with(PVID_TAGGED), tagged(100), Tagging::Keep), tagged_100);
        let tagged_200 = Some(Retag { before: Some(200), after: Some(200) });
        for flags in [0, TUNNEL, SERVICES] {
            assert_eq!(crossing(&with(flags), tagged(200), Tagging::Keep), tagged_200, "{flags}");
        }
    }

    #[test]
    fn a_frame_that_the_port_drops_or_with_an_s_tag_does_not_cross() {
        let to = port(5, 100, &[100]);
        assert_eq!(crossing(&to, tagged(200), Tagging::Keep), None, "not in the allow-list");
        let stacked = Headers { ethertype: TPID_C, ..tagged(100) };
        assert_eq!(crossing(&to, stacked, Tagging::Keep), None, "a second tag would be exposed");
        let service = Headers { tpid: TPID_S, ..tagged(100) };
        assert_eq!(crossing(&to, service, Tagging::Keep), None);
    }

    #[test]
    fn a_change_of_the_tag_is_supported_if_one_c_tag_can_express_it() {
        assert_eq!(retag(Some(7), Tagging::Keep), Some(Some(7)));
        assert_eq!(retag(None, Tagging::Push(7)), Some(Some(7)));
        assert_eq!(retag(Some(6), Tagging::Replace(7)), Some(Some(7)));
        assert_eq!(retag(Some(6), Tagging::Pop), Some(None));
        assert_eq!(retag(Some(6), Tagging::Push(7)), None, "two tags");
        assert_eq!(retag(Some(6), Tagging::ReplaceByService(7)), None);
    }

    #[test]
    fn a_peer_is_entered_only_if_the_egress_hook_would_decide_nothing_else() {
        let (from, to) = (port(4, 100, &[100]), port(5, 100, &[100]));
        let with = |policy: &Policy, flags| Policy { flags: policy.flags | flags, ..*policy };
        assert!(may_enter_peer(&from, &to));
        assert!(!may_enter_peer(&from, &Policy { flags: to.flags & !PEER, ..to }));
        assert!(!may_enter_peer(&from, &with(&to, TUNNEL)));
        assert!(!may_enter_peer(&with(&from, TUNNEL), &to));
        assert!(!may_enter_peer(&with(&from, SERVICES), &to));
        assert!(!may_enter_peer(&with(&from, ISOLATED), &to));
        assert!(!may_enter_peer(&from, &with(&to, ISOLATED)));
        assert!(!may_enter_peer(&with(&from, ISOLATED), &with(&to, ISOLATED)));
        assert!(may_enter_peer(&with(&from, UPLINK), &with(&to, ISOLATED)));
    }
}
