//! The MAC addresses of the agent's bonds. A bond without a fixed address in the file gets that of
//! its first member when it is created, and keeps it. The kernel would give it that address only as
//! long as nobody has set another (NET_ADDR_RANDOM in bond_enslave): udev sets one between the
//! creation and the first member (MACAddressPolicy=persistent in systemd.link).

use std::collections::BTreeMap;

use super::Agent;
use crate::{
    change::LinkChange,
    names::{IfName, Mac},
    state::{Link, Observed},
};

/// What the addresses were when the agent set them, or saw the bonds for the first time.
#[derive(Default)]
pub struct KeptMacs(BTreeMap<IfName, Mac>);

impl KeptMacs {
    /// Notes a change that the agent has carried out.
    fn note(&mut self, change: &LinkChange, links: &Observed) {
        match change {
            LinkChange::AddBond(name, _) | LinkChange::Delete(name) => drop(self.0.remove(name)),
            LinkChange::SetMac(name, mac) => drop(self.0.insert(name.clone(), *mac)),
            LinkChange::CopyMac(name, from) => {
                let mac = links.link(from).map(|link| link.mac);
                self.0.extend(mac.map(|mac| (name.clone(), mac)));
            }
            _ => {}
        }
    }

    /// Notes the bonds as they are. The kernel gives a bond another address when its last member
    /// leaves.
    fn see(&mut self, links: &Observed) {
        let has_members = |name: &IfName| links.ports_of(name).next().is_some();
        let is_ours = |name: &IfName, link: &Link| link.is_owned() && has_members(name);
        let ours = links.bonds().filter(|(name, link, _)| is_ours(name, link));
        let ours: BTreeMap<_, _> = ours.map(|(name, link, _)| (name, link.mac)).collect();
        self.0.retain(|name, _| ours.contains_key(name));
        for (name, mac) in ours {
            self.0.entry(name.clone()).or_insert(mac);
        }
    }
}

impl Agent {
    /// Notes a change that was carried out.
    pub(super) fn note_mac(&mut self, change: &LinkChange) {
        self.kept_macs.note(change, &self.seen.links);
    }

    /// Adds what the addresses are to be to the links that were seen.
    pub(super) fn recall_macs(&mut self) {
        self.kept_macs.see(&self.seen.links);
        self.seen.links.kept_macs.clone_from(&self.kept_macs.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{BondState, Kind, OWNED, sample::link};

    const FIRST: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn name(text: &str) -> IfName {
        text.parse().unwrap()
    }

    /// A bond of the agent with this address, and its one NIC.
    fn links(mac: Mac, is_member: bool) -> Observed {
        let bond = link(2, Kind::Bond(BondState::default()));
        let bond = Link { mac, alias: Some(OWNED.to_owned()), ..bond };
        let controller = is_member.then(|| name("oob-bo"));
        let nic = Link { mac: FIRST, controller, ..link(3, Kind::Other(String::new())) };
        let links = [(name("oob-bo"), bond), (name("eth2"), nic)];
        Observed { links: links.into(), ..Observed::default() }
    }

    fn kept(macs: &KeptMacs) -> Option<Mac> {
        macs.0.get(&name("oob-bo")).copied()
    }

    #[test]
    fn address_that_the_agent_has_set_is_kept_whatever_it_becomes() {
        let mut macs = KeptMacs::default();
        let before = links(OTHER, false);
        macs.note(&LinkChange::AddBond(name("oob-bo"), vec![]), &before);
        macs.note(&LinkChange::CopyMac(name("oob-bo"), name("eth2")), &before);
        // udev has set another meanwhile.
        macs.see(&links(OTHER, true));
        assert_eq!(kept(&macs), Some(FIRST));
        macs.note(&LinkChange::SetMac(name("oob-bo"), OTHER), &links(OTHER, true));
        assert_eq!(kept(&macs), Some(OTHER));
    }

    #[test]
    fn bond_that_is_there_keeps_the_address_that_it_has() {
        let mut macs = KeptMacs::default();
        macs.see(&links(OTHER, true));
        macs.see(&links(FIRST, true));
        assert_eq!(kept(&macs), Some(OTHER));
        let mut foreign = links(OTHER, true);
        foreign.links.get_mut(&name("oob-bo")).unwrap().alias = None;
        let mut macs = KeptMacs::default();
        macs.see(&foreign);
        assert_eq!(kept(&macs), None);
    }

    #[test]
    fn bond_without_members_has_no_address_to_keep() {
        let mut macs = KeptMacs::default();
        macs.see(&links(OTHER, true));
        macs.see(&links(OTHER, false));
        assert_eq!(kept(&macs), None);
        macs.see(&links(FIRST, true));
        assert_eq!(kept(&macs), Some(FIRST));
    }
}
