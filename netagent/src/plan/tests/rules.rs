//! Rules and programs of others on the devices of ports.

use netagent_common::policy::{FAST, FAST_XDP, PEER};

use super::*;
use crate::state::{FastPath, Hook, Order, Place, Rule};

/// The fast paths that tap7 has with a rule at this place, and what is said of it.
fn with_rule(place: Option<Place>) -> (u32, usize) {
    let (mut observed, mut datapath) = settled();
    datapath.counted_peers = true;
    let mut desired = desired(OOB);
    desired.ports.get_mut(&name("tap7")).unwrap().fast_path = FastPath::Xdp;
    let link = observed.links.get_mut(&name("tap7")).unwrap();
    (link.takes_xdp_frames, link.leads_elsewhere) = (true, true);
    link.rules.extend(place.map(|place| Rule::new(place, "filter u32")));
    let plan = planned(&desired, &observed, &datapath);
    let policy = changes(&plan).into_iter().find_map(|change| match change {
        Change::Datapath(DatapathChange::SetPolicy(_, policy)) => Some(*policy),
        _ => None,
    });
    let policy = policy.unwrap_or_else(|| datapath.ports[&name("tap7")].policy.clone());
    (policy.flags & (FAST | FAST_XDP | PEER), found(&plan, Code::RulesOfOthers).len())
}

#[test]
fn the_fast_path_leads_no_frame_past_a_rule() {
    for (place, expected) in [
        (None, (FAST | FAST_XDP | PEER, 0)),
        (Some(Place::Ingress), (0, 1)),
        (Some(Place::EgressHook), (0, 1)),
        (Some(Place::Bridge), (0, 1)),
        (Some(Place::Egress), (FAST, 1)),
        (Some(Place::Queue), (FAST, 1)),
    ] {
        assert_eq!(with_rule(place), expected, "{place:?}");
    }
}

#[test]
fn a_program_moves_before_those_of_others_unless_it_just_has() {
    for (programs, ours, is_contested, expected) in [
        (vec![7], Some(0), false, ""),
        (vec![7, 9], Some(0), false, "policy"),
        (vec![9, 7], Some(1), false, "move port_in before the other programs of tap7"),
        (vec![9, 7], Some(1), true, ""),
        (vec![9], None, false, "policy"),
    ] {
        let (observed, mut datapath) = settled();
        let order = Order { programs, ours, is_contested };
        let case = format!("{order:?}");
        datapath.ports.get_mut(&name("tap7")).unwrap().orders.insert(Hook::PortIn, order);
        let text = steps(&desired(OOB), &observed, &datapath);
        let first = text.lines().next().unwrap_or_default();
        assert!(
            if expected.is_empty() { first.is_empty() } else { first.starts_with(expected) },
            "{case}: {text}"
        );
    }
}
