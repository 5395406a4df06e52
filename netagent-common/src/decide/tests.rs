//! The decision table of the design, row by row.

use core::mem::{offset_of, size_of};

use super::*;
use crate::policy::{BRIDGE_STRIPS, PortMac, PortRef, TRUNK};

const IPV4: u16 = 0x0800;

fn port(flags: u32, pvid: u16, vids: &[u16]) -> Policy {
    let mut policy = Policy { flags, pvid, ..Policy::EMPTY };
    for vid in vids {
        policy.vids[usize::from(vid >> 6)] |= 1 << (vid & 63);
    }
    policy
}

fn access(vid: u16) -> Policy {
    port(ADMIT_UNTAGGED, vid, &[vid])
}

fn trunk(native: u16, vids: &[u16]) -> Policy {
    port(ADMIT_UNTAGGED | ADMIT_TAGGED | TRUNK, native, vids)
}

const UNTAGGED: Headers =
    Headers { tpid: 0, tci: 0, ethertype: IPV4, inner_tci: 0, link_local: false };

fn tagged(tci: u16) -> Headers {
    Headers { tpid: TPID_C, tci, ..UNTAGGED }
}

fn over(outer: Headers, ethertype: u16) -> Headers {
    Headers { ethertype, ..outer }
}

fn rx(policy: &Policy, headers: Headers) -> Verdict {
    decide(policy, policy.flags, headers, Direction::Receive)
}

fn tx(policy: &Policy, headers: Headers) -> Verdict {
    decide(policy, policy.flags, headers, Direction::Transmit)
}

#[test]
fn record_layout_has_no_padding() {
    assert_eq!(size_of::<Policy>(), 4 + 4 + 4 * 2 + 2 * 2 + 5 * 4 + 16 + 32 + 2 * 64 * 8 + 64 * 2);
    assert_eq!(offset_of!(Policy, vids) % 8, 0);
    assert_eq!(size_of::<PortRef>(), 8);
    assert_eq!(size_of::<PortMac>(), 8);
}

#[test]
fn access_port_takes_untagged_and_priority_frames_into_its_vlan() {
    let port = access(100);
    assert_eq!(rx(&port, UNTAGGED), Verdict::Pass(100, Tagging::Push(100)));
    assert_eq!(rx(&port, tagged(0xa000)), Verdict::Pass(100, Tagging::Replace(0xa064)));
    assert_eq!(rx(&port, tagged(0x1000)), Verdict::Pass(100, Tagging::Replace(0x1064)));
}

#[test]
fn access_port_refuses_tags() {
    let port = access(100);
    assert_eq!(rx(&port, tagged(100)), Verdict::Drop(100, Reason::TaggedOnAccess));
    assert_eq!(rx(&port, tagged(200)), Verdict::Drop(200, Reason::VlanNotAllowed));
    assert_eq!(rx(&port, tagged(1)), Verdict::Drop(1, Reason::VlanNotAllowed));
    assert_eq!(rx(&port, tagged(4095)), Verdict::Drop(4095, Reason::ReservedVid));
    assert_eq!(rx(&port, over(tagged(100), TPID_C)), Verdict::Drop(100, Reason::TaggedOnAccess));
}

#[test]
fn access_port_that_admits_all_takes_its_own_tag_only() {
    let port = port(ADMIT_UNTAGGED | ADMIT_TAGGED, 100, &[100]);
    assert_eq!(rx(&port, tagged(100)), Verdict::Pass(100, Tagging::Keep));
    assert_eq!(rx(&port, tagged(101)), Verdict::Drop(101, Reason::VlanNotAllowed));
}

#[test]
fn trunk_takes_its_vids_and_its_native_vlan() {
    let port = trunk(7, &[7, 200, 201]);
    assert_eq!(rx(&port, UNTAGGED), Verdict::Pass(7, Tagging::Push(7)));
    assert_eq!(rx(&port, tagged(0)), Verdict::Pass(7, Tagging::Replace(7)));
    assert_eq!(rx(&port, tagged(200)), Verdict::Pass(200, Tagging::Keep));
    assert_eq!(rx(&port, tagged(0xe0c9)), Verdict::Pass(201, Tagging::Keep));
    assert_eq!(rx(&port, tagged(202)), Verdict::Drop(202, Reason::VlanNotAllowed));
    assert_eq!(rx(&port, over(tagged(200), TPID_C)), Verdict::Pass(200, Tagging::Keep));
}

#[test]
fn trunk_without_native_vlan_drops_what_has_no_vid() {
    let port = trunk(0, &[200]);
    assert_eq!(rx(&port, UNTAGGED), Verdict::Drop(0, Reason::Untagged));
    assert_eq!(rx(&port, tagged(0)), Verdict::Drop(0, Reason::Untagged));
    let s_tag = Headers { tpid: TPID_S, tci: 200, ..UNTAGGED };
    assert_eq!(rx(&port, s_tag), Verdict::Drop(0, Reason::Untagged));
}

#[test]
fn a_trunk_that_admits_tags_only_drops_what_has_no_vid() {
    let port = port(ADMIT_TAGGED | TRUNK, 7, &[7, 200]);
    assert_eq!(rx(&port, UNTAGGED), Verdict::Drop(0, Reason::Untagged));
    assert_eq!(rx(&port, tagged(0xe000)), Verdict::Drop(0, Reason::Untagged));
    assert_eq!(rx(&port, tagged(7)), Verdict::Pass(7, Tagging::Keep));
}

#[test]
fn an_s_tag_is_payload() {
    let s_tag = Headers { tpid: TPID_S, tci: 200, ..UNTAGGED };
    assert_eq!(rx(&access(100), s_tag), Verdict::Pass(100, Tagging::Push(100)));
    assert_eq!(rx(&trunk(7, &[7, 200]), s_tag), Verdict::Pass(7, Tagging::Push(7)));
}

#[test]
fn a_tag_beneath_a_priority_tag_goes_nowhere() {
    for inner in [TPID_C, TPID_S] {
        let stacked = over(tagged(0), inner);
        assert_eq!(rx(&access(100), stacked), Verdict::Drop(100, Reason::StackedTag));
        assert_eq!(rx(&trunk(7, &[7]), stacked), Verdict::Drop(7, Reason::StackedTag));
    }
}

#[test]
fn access_port_sends_its_vlan_untagged_and_nothing_else() {
    let port = access(100);
    assert_eq!(tx(&port, tagged(100)), Verdict::Pass(100, Tagging::Pop));
    assert_eq!(tx(&port, tagged(200)), Verdict::Drop(200, Reason::EgressFiltered));
    assert_eq!(tx(&port, UNTAGGED), Verdict::Drop(0, Reason::EgressFiltered));
    assert_eq!(tx(&port, over(tagged(100), TPID_C)), Verdict::Drop(100, Reason::StackedTag));
    assert_eq!(tx(&port, over(tagged(100), TPID_S)), Verdict::Drop(100, Reason::StackedTag));
}

#[test]
fn a_bridge_that_strips_the_pvid_is_believed_but_judged() {
    let mut port = access(100);
    port.flags |= BRIDGE_STRIPS;
    assert_eq!(tx(&port, UNTAGGED), Verdict::Pass(100, Tagging::Keep));
    assert_eq!(tx(&port, over(UNTAGGED, TPID_C)), Verdict::Drop(100, Reason::StackedTag));
    let s_tag = Headers { tpid: TPID_S, tci: 200, ..UNTAGGED };
    assert_eq!(tx(&port, s_tag), Verdict::Drop(100, Reason::StackedTag));
}

#[test]
fn trunk_sends_its_native_vlan_as_configured() {
    let mut port = trunk(7, &[7, 200]);
    assert_eq!(tx(&port, tagged(7)), Verdict::Pass(7, Tagging::Pop));
    assert_eq!(tx(&port, tagged(200)), Verdict::Pass(200, Tagging::Keep));
    assert_eq!(tx(&port, over(tagged(200), TPID_C)), Verdict::Pass(200, Tagging::Keep));
    port.flags |= PVID_TAGGED;
    assert_eq!(tx(&port, tagged(0x2000 | 7)), Verdict::Pass(7, Tagging::Keep));
}

#[test]
fn the_hosts_untagged_vlan_is_untagged_inside_an_unaware_bridge_only() {
    let mut uplink = trunk(1, &[1, 100]);
    uplink.bridge_pvid = 1;
    assert_eq!(rx(&uplink, UNTAGGED), Verdict::Pass(1, Tagging::Keep));
    assert_eq!(rx(&uplink, tagged(0x6000)), Verdict::Pass(1, Tagging::Keep));
    assert_eq!(rx(&uplink, tagged(0x6000 | 1)), Verdict::Pass(1, Tagging::Replace(0x6000)));
    assert_eq!(tx(&uplink, UNTAGGED), Verdict::Pass(1, Tagging::Keep));
    let mut trunk = trunk(0, &[1, 100]);
    trunk.bridge_pvid = 1;
    assert_eq!(tx(&trunk, UNTAGGED), Verdict::Pass(1, Tagging::Push(1)));
    assert_eq!(tx(&trunk, tagged(0x6000)), Verdict::Pass(1, Tagging::Replace(0x6001)));
    let mut other = access(100);
    other.bridge_pvid = 1;
    assert_eq!(tx(&other, UNTAGGED), Verdict::Drop(1, Reason::EgressFiltered));
}

#[test]
fn link_local_groups_survive_on_the_uplink_and_die_at_a_vm() {
    let lacp = Headers { link_local: true, ..UNTAGGED };
    let mut uplink = trunk(0, &[100]);
    uplink.flags |= LINK_LOCAL_BYPASS;
    for direction in [Direction::Receive, Direction::Transmit] {
        assert_eq!(decide(&uplink, uplink.flags, lacp, direction), Verdict::Pass(0, Tagging::Keep));
        let at_vm = decide(&access(100), ADMIT_UNTAGGED, lacp, direction);
        assert_eq!(at_vm, Verdict::Drop(0, Reason::LinkLocal));
    }
}

/// Over every TCI, tag type and inner Ethertype: what passes is in the allow-list, and what leaves
/// without a tag of ours shows no other tag.
#[test]
fn nothing_passes_that_is_not_allowed() {
    let mut stripping = trunk(7, &[7, 63, 64, 4094]);
    stripping.flags |= BRIDGE_STRIPS;
    let mut hosted = trunk(0, &[7, 63]);
    hosted.bridge_pvid = 7;
    let ports = [Policy::EMPTY, access(1), access(4094), stripping, hosted];
    for port in &ports {
        for tpid in [0, TPID_C, TPID_S, 0x9100] {
            for tci in 0..=u16::MAX {
                for ethertype in [IPV4, TPID_C, TPID_S] {
                    let headers = Headers { tpid, tci, ethertype, inner_tci: 0, link_local: false };
                    if let Verdict::Pass(vid, _) = rx(port, headers) {
                        assert!(port.allows(vid), "{headers:?}");
                        assert!(tpid != TPID_C || tci & VID_MASK == vid || tci & VID_MASK == 0);
                    }
                    if let Verdict::Pass(vid, tagging) = tx(port, headers) {
                        assert!(port.allows(vid), "{headers:?}");
                        let bare =
                            tagging == Tagging::Pop || tagging == Tagging::Keep && tpid != TPID_C;
                        assert!(!bare || !is_tpid(ethertype) && vid == port.pvid, "{headers:?}");
                    }
                }
            }
        }
    }
}

fn tunnel(service: u16, customers: &[u16]) -> Policy {
    port(TUNNEL | ADMIT_UNTAGGED | ADMIT_TAGGED, service, customers)
}

#[test]
fn a_tunnel_puts_the_service_tag_over_whatever_the_customer_sends() {
    let port = tunnel(3000, &[10]);
    let service = |priority: u16| Verdict::Pass(3000, Tagging::Push(priority + 3000));
    assert_eq!(rx(&port, UNTAGGED), service(0));
    assert_eq!(rx(&port, tagged(10)), service(0));
    assert_eq!(rx(&port, tagged(0xb00a)), service(0xb000));
    assert_eq!(rx(&port, tagged(0x6000)), service(0x6000));
    assert_eq!(rx(&port, Headers { tpid: TPID_S, tci: 0x600a, ..UNTAGGED }), service(0));
    assert_eq!(rx(&port, over(tagged(10), TPID_C)), service(0));
    assert_eq!(rx(&port, tagged(11)), Verdict::Drop(11, Reason::VlanNotAllowed));
    assert_eq!(rx(&port, tagged(3000)), Verdict::Drop(3000, Reason::VlanNotAllowed));
    assert_eq!(rx(&port, tagged(4095)), Verdict::Drop(4095, Reason::ReservedVid));
}

#[test]
fn a_tunnel_admits_what_its_customer_may_send() {
    for (admits, untagged, its_tag) in [
        (ADMIT_UNTAGGED, None, Some(Verdict::Drop(10, Reason::TaggedOnAccess))),
        (ADMIT_TAGGED, Some(Verdict::Drop(0, Reason::Untagged)), None),
        (ADMIT_UNTAGGED | ADMIT_TAGGED, None, None),
    ] {
        let port = port(TUNNEL | admits, 3000, &[10]);
        let passes = Verdict::Pass(3000, Tagging::Push(3000));
        assert_eq!(rx(&port, UNTAGGED), untagged.unwrap_or(passes));
        assert_eq!(rx(&port, tagged(0)), untagged.unwrap_or(passes));
        assert_eq!(rx(&port, tagged(10)), its_tag.unwrap_or(passes));
        // Without a service VLAN the customer has no network.
        let none = Policy { pvid: 0, ..port };
        assert_eq!(rx(&none, tagged(10)), Verdict::Drop(10, Reason::VlanNotAllowed));
        assert_eq!(tx(&none, UNTAGGED), Verdict::Drop(0, Reason::EgressFiltered));
    }
}

#[test]
fn a_tunnel_shows_the_customer_its_own_vlans_only() {
    let mut port = tunnel(3000, &[10]);
    let beneath = |outer: Headers, inner_tci| Headers { ethertype: TPID_C, inner_tci, ..outer };
    assert_eq!(tx(&port, tagged(3000)), Verdict::Pass(3000, Tagging::Pop));
    assert_eq!(tx(&port, beneath(tagged(3000), 0x600a)), Verdict::Pass(3000, Tagging::Pop));
    assert_eq!(tx(&port, beneath(tagged(3000), 0)), Verdict::Pass(3000, Tagging::Pop));
    let foreign = Verdict::Drop(3000, Reason::EgressFiltered);
    assert_eq!(tx(&port, beneath(tagged(3000), 11)), foreign);
    assert_eq!(tx(&port, tagged(10)), Verdict::Drop(10, Reason::EgressFiltered));
    assert_eq!(tx(&port, UNTAGGED), Verdict::Drop(0, Reason::EgressFiltered));
    port.flags |= BRIDGE_STRIPS;
    assert_eq!(tx(&port, UNTAGGED), Verdict::Pass(3000, Tagging::Keep));
    assert_eq!(tx(&port, beneath(UNTAGGED, 10)), Verdict::Pass(3000, Tagging::Keep));
    assert_eq!(tx(&port, beneath(UNTAGGED, 11)), foreign);
}

#[test]
fn an_uplink_tells_a_service_vlan_by_its_s_tag() {
    let mut uplink = trunk(1, &[1, 100, 3000]);
    uplink.flags |= SERVICES;
    uplink.services[3000 / 64] |= 1 << (3000 % 64);
    let s_tag = |tci| Headers { tpid: TPID_S, tci, ..UNTAGGED };
    assert_eq!(rx(&uplink, s_tag(0x6bb8)), Verdict::Pass(3000, Tagging::Replace(0x6bb8)));
    assert_eq!(rx(&uplink, s_tag(100)), Verdict::Drop(100, Reason::VlanNotAllowed));
    assert_eq!(rx(&uplink, s_tag(0)), Verdict::Drop(0, Reason::VlanNotAllowed));
    assert_eq!(rx(&uplink, tagged(3000)), Verdict::Drop(3000, Reason::VlanNotAllowed));
    assert_eq!(rx(&uplink, tagged(100)), Verdict::Pass(100, Tagging::Keep));
    assert_eq!(tx(&uplink, tagged(0x6bb8)), Verdict::Pass(3000, Tagging::ReplaceByService(0x6bb8)));
    assert_eq!(tx(&uplink, tagged(100)), Verdict::Pass(100, Tagging::Keep));
    // A program that was loaded without the flag takes S-tags for payload.
    let without = decide(&uplink, uplink.flags & !SERVICES, s_tag(3000), Direction::Receive);
    assert_eq!(without, Verdict::Pass(1, Tagging::Push(1)));
    let flags = uplink.flags & !SERVICES;
    let without = decide(&uplink, flags, tagged(0x6bb8), Direction::Transmit);
    assert_eq!(without, Verdict::Pass(3000, Tagging::Keep));
}

#[test]
fn priority_tags_show_the_priority_and_hide_nothing() {
    let mut port = access(100);
    for (flag, plain) in
        [(PRIORITY_IF_NONZERO, Tagging::Pop), (PRIORITY_ALWAYS, Tagging::Replace(0))]
    {
        port.flags = ADMIT_UNTAGGED | flag;
        assert_eq!(tx(&port, tagged(0xa064)), Verdict::Pass(100, Tagging::Replace(0xa000)));
        assert_eq!(tx(&port, tagged(0x1064)), Verdict::Pass(100, Tagging::Replace(0x1000)));
        assert_eq!(tx(&port, tagged(100)), Verdict::Pass(100, plain));
        let stacked = tx(&port, over(tagged(0xa064), TPID_C));
        assert_eq!(stacked, Verdict::Drop(100, Reason::StackedTag));
    }
    port.flags |= BRIDGE_STRIPS;
    assert_eq!(tx(&port, UNTAGGED), Verdict::Pass(100, Tagging::Push(0)));
}
