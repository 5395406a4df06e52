//! What is behind each bond, as its announcement after a failover needs it.

use std::time::Duration;

use netagent_common::{policy::UPLINK, vlan::Vid};

use super::Agent;
use crate::{
    announce::{BondUplink, Interface},
    bond::BondOption,
    names::IfName,
    state::{BondState, Kind, Link, Observed, ObservedDatapath, PortPolicy},
};

/// The shortest time between the beginnings of two rounds.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

impl Agent {
    /// The bonds that are uplinks, and what is behind them.
    pub fn behind_bonds(&self) -> Vec<BondUplink> {
        behind_bonds(&self.seen.links, &self.seen.datapath)
    }
}

fn behind_bonds(links: &Observed, datapath: &ObservedDatapath) -> Vec<BondUplink> {
    let uplink = |(name, link, state): (&IfName, &Link, &BondState)| {
        let port = datapath.ports.get(name).filter(|port| port.policy.has(UPLINK))?;
        let bridge = link.controller.as_ref()?;
        let of_bridge = |policy: &PortPolicy| policy.bridge.as_ref() == Some(bridge);
        let ports = datapath.ports.values().filter(|port| of_bridge(&port.policy));
        Some(BondUplink {
            name: name.clone(),
            ifindex: link.index,
            bridge: links.link(bridge)?.index,
            native: port.policy.pvid.map(Vid::get),
            rounds: rounds(state),
            interval: interval(state),
            vlans: ports.map(|port| (port.ifindex, vids(&port.policy))).collect(),
            interfaces: interfaces(links, bridge),
        })
    };
    links.bonds().filter_map(uplink).collect()
}

/// The VLANs in which a port's stations can be.
fn vids(policy: &PortPolicy) -> Vec<u16> {
    policy.bridge_vids().iter().map(Vid::get).collect()
}

/// The bridge and the interfaces above it that are up.
fn interfaces(links: &Observed, bridge: &IfName) -> Vec<Interface> {
    let names = links.above(bridge).into_iter().chain([bridge]);
    let links = names.filter_map(|name| Some((name, links.link(name)?)));
    let interface = |(name, link): (&IfName, &Link)| Interface {
        ifindex: link.index,
        mac: link.mac,
        is_station: name != bridge && !matches!(link.kind, Kind::Vlan { .. }),
    };
    links.filter(|(_, link)| link.up).map(interface).collect()
}

/// How often the kernel would announce: as often as the option says, which every mode has.
fn rounds(state: &BondState) -> u8 {
    let given = state.options.iter().find_map(|option| match option {
        BondOption::NumGratArp(rounds) => Some(*rounds),
        _ => None,
    });
    given.unwrap_or(1)
}

/// How often the bond looks at its members: the kernel repeats its notifications as often.
fn interval(state: &BondState) -> Duration {
    let intervals = state.options.iter().filter_map(|option| match option {
        BondOption::Miimon(ms) | BondOption::ArpInterval(ms) => Some(*ms),
        _ => None,
    });
    let longest = intervals.max().unwrap_or_default();
    Duration::from_millis(longest.into()).max(SHORTEST_INTERVAL)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use netagent_common::policy::TRUNK;

    use super::*;
    use crate::{
        names::Mac,
        state::{ObservedPort, sample::link},
        vids::VidSet,
    };

    fn name(text: &str) -> IfName {
        text.parse().unwrap()
    }

    fn port(ifindex: u32, flags: u32, pvid: Option<u16>, vids: &[u16]) -> ObservedPort {
        let allowed: VidSet = vids.iter().filter_map(|vid| Vid::new(*vid)).collect();
        let pvid = pvid.and_then(Vid::new);
        let policy =
            PortPolicy { bridge: Some(name("oob-br")), flags, pvid, allowed, ..<_>::default() };
        ObservedPort { ifindex, policy, ..<_>::default() }
    }

    /// A bond with a bridge, an interface of the node in VLAN 10, a macvtap, an access port and a
    /// trunk.
    fn node(options: Vec<BondOption>) -> (Observed, ObservedDatapath) {
        let bond = Kind::Bond(BondState { options, ..<_>::default() });
        let parent = Some(name("oob-br"));
        let vlan = Kind::Vlan { parent: parent.clone(), vid: Vid::new(10).unwrap() };
        let other = |kind: &str| Kind::Other(kind.to_owned());
        let on_bridge = |link: Link| Link { lower: parent.clone(), ..link };
        let links = [
            ("oob-bo", Link { controller: parent.clone(), ..link(2, bond) }),
            ("oob-br", link(3, Kind::Bridge(<_>::default()))),
            ("oob-br.10", on_bridge(link(4, vlan))),
            ("macvtap0", on_bridge(link(5, other("macvtap")))),
            ("down", Link { up: false, ..on_bridge(link(8, other("macvlan"))) }),
            ("eth9", link(9, other(""))),
        ];
        let links = links.into_iter().map(|(text, link)| (name(text), link)).collect();
        let ports = [
            ("oob-bo", port(2, UPLINK, Some(1), &[1, 10, 100])),
            ("tap7", port(6, 0, Some(100), &[100])),
            ("tap8", port(7, TRUNK, Some(1), &[1, 10])),
        ];
        let ports = ports.into_iter().map(|(text, port)| (name(text), port)).collect();
        let observed = Observed { links, ..Observed::default() };
        (observed, ObservedDatapath { ports, ..ObservedDatapath::default() })
    }

    #[test]
    fn behind_a_bond_are_its_bridge_and_what_is_above() {
        let (links, datapath) = node(vec![BondOption::NumGratArp(3), BondOption::Miimon(250)]);
        let interface =
            |ifindex, is_station| Interface { ifindex, mac: Mac([2, 0, 0, 0, 0, 1]), is_station };
        let expected = BondUplink {
            name: name("oob-bo"),
            ifindex: 2,
            bridge: 3,
            native: Some(1),
            rounds: 3,
            interval: Duration::from_millis(250),
            vlans: BTreeMap::from([(2, vec![1, 10, 100]), (6, vec![100]), (7, vec![1, 10])]),
            interfaces: vec![interface(5, true), interface(4, false), interface(3, false)],
        };
        assert_eq!(behind_bonds(&links, &datapath), [expected]);
    }

    #[test]
    fn rounds_are_those_of_the_option_and_follow_the_monitor() {
        let of = |options| {
            let (links, datapath) = node(options);
            let [found] = &behind_bonds(&links, &datapath)[..] else { panic!("one bond") };
            (found.rounds, found.interval.as_millis())
        };
        assert_eq!(of(vec![]), (1, 100));
        let options = vec![BondOption::NumGratArp(0), BondOption::Miimon(20)];
        assert_eq!(of(options), (0, 100));
        let options = vec![BondOption::Miimon(0), BondOption::ArpInterval(1000)];
        assert_eq!(of(options), (1, 1000));
    }

    #[test]
    fn a_bond_without_its_bridge_or_its_programs_is_none() {
        let (mut links, mut datapath) = node(vec![]);
        datapath.ports.remove(&name("oob-bo"));
        assert_eq!(behind_bonds(&links, &datapath), []);
        let (_, datapath) = node(vec![]);
        links.links.get_mut(&name("oob-bo")).unwrap().controller = None;
        assert_eq!(behind_bonds(&links, &datapath), []);
    }
}
