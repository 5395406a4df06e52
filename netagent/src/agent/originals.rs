//! The file of originals: written before the first change of a device, so that it can be given back
//! though the agent restarts. After a reboot the file is no longer valid.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{
    change::{Change, DatapathChange, LinkChange},
    names::IfName,
    plan::Plan,
    state::{Finding, Link, Observed, ObservedDatapath, Original, Originals},
    state_file::{self, StateFile},
};

/// The file.
pub struct OriginalsFile {
    file: StateFile,
    content: Content,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Content {
    /// The boot in which the devices were found.
    boot: String,
    devices: Originals,
}

impl OriginalsFile {
    /// Reads the file of a state directory, which need not exist yet.
    pub fn read(directory: &Path) -> Result<Self> {
        Ok(Self::of_boot(directory, state_file::boot_id()?))
    }

    fn of_boot(directory: &Path, boot: String) -> Self {
        let (file, content) = StateFile::read::<Content>(directory.join("originals.json"));
        let is_of_this_boot = content.boot == boot;
        let devices = if is_of_this_boot { content.devices } else { Originals::new() };
        Self { file, content: Content { boot, devices } }
    }

    /// Sets the file aside if it cannot be read.
    pub fn set_aside(&mut self) {
        self.file.try_to_set_aside();
    }

    /// Whether there may be originals that are not known, as the file was damaged.
    pub fn are_incomplete(&self) -> bool {
        self.file.is_damaged()
    }

    /// A finding for each file that could not be read.
    pub fn findings(&self) -> Vec<Finding> {
        self.file.findings(
            "it had the devices as they were found: what would be given back is left as it is",
            "restore what you need by hand, or correct the file, restore its name, and restart \
             netagent",
        )
    }

    /// The originals.
    pub const fn devices(&self) -> &Originals {
        &self.content.devices
    }

    /// Adds devices, before their first change.
    pub fn add(&mut self, devices: Originals) -> Result<()> {
        if devices.is_empty() {
            return Ok(());
        }
        let mut content = self.content.clone();
        content.devices.extend(devices);
        self.replace(content)
    }

    /// Remembers which MTUs a plan sets, before it does: without the key, the device gets back the
    /// MTU with which it was found, unless somebody else has given it another one meanwhile.
    pub fn note_mtus(&mut self, plan: &Plan) -> Result<()> {
        let runnable = plan.units.iter().filter(|unit| unit.is_runnable());
        let set = runnable.flat_map(|unit| &unit.steps).filter_map(|step| match &step.change {
            Change::Link(LinkChange::SetMtu(name, mtu)) => Some((name, *mtu)),
            _ => None,
        });
        let set: BTreeMap<&IfName, u32> = set.collect();
        if set.is_empty() {
            return Ok(());
        }
        let mut content = self.content.clone();
        for (name, mtu) in set {
            if let Some(original) = content.devices.get_mut(name) {
                original.mtu_set = (mtu != original.mtu).then_some(mtu);
            }
        }
        if content.devices == self.content.devices { Ok(()) } else { self.replace(content) }
    }

    /// Drops devices that are gone or have been given back.
    pub fn retain(&mut self, keep: impl Fn(&IfName, &Original) -> bool) -> Result<()> {
        if self.content.devices.iter().all(|(name, original)| keep(name, original)) {
            return Ok(());
        }
        let mut content = self.content.clone();
        content.devices.retain(|name, original| keep(name, original));
        self.replace(content)
    }

    fn replace(&mut self, content: Content) -> Result<()> {
        self.file.save(&content).with_context(|| {
            let path = self.file.path().display();
            format!("{path}: keep the devices as they were found (--state)")
        })?;
        self.content = content;
        Ok(())
    }
}

/// The devices that a plan changes for the first time, as they are now. Not those that netagent
/// created, or that it manages already.
pub fn first_changed(plan: &Plan, links: &Observed, datapath: &ObservedDatapath) -> Originals {
    let runnable = plan.units.iter().filter(|unit| unit.is_runnable());
    let changes = runnable.flat_map(|unit| &unit.steps).map(|step| &step.change);
    let devices: BTreeSet<&IfName> = changes.flat_map(changed).collect();
    let is_owned = |name: &IfName| links.link(name).is_some_and(Link::is_owned);
    let is_managed = |name: &IfName, link: &Link| {
        let mut ports = datapath.ports.values();
        ports.any(|port| {
            let policy = &port.policy;
            port.ifindex == link.index
                || policy.nics.contains(&link.index)
                || policy.bridge.as_ref() == Some(name)
        })
    };
    let original = |name: &IfName| {
        let link = links.link(name)?;
        let known = links.originals.get(name).is_some_and(|known| known.index == link.index);
        let is_ours = link.is_owned() || link.controller.as_ref().is_some_and(is_owned);
        let hidden = datapath.rx_vlan.get(name).copied().unwrap_or_default();
        let routes = || links.routes_of(name).cloned().collect();
        (!known && !is_ours && !is_managed(name, link))
            .then(|| Original::of(link, hidden).with_routes(routes()))
    };
    let found = devices.into_iter().filter_map(|name| Some((name.clone(), original(name)?)));
    found.collect()
}

fn changed(change: &Change) -> Vec<&IfName> {
    let mut devices = change.devices();
    // The bridge is changed with its ports, perhaps later.
    if let Change::Datapath(DatapathChange::SetPolicy(_, policy)) = change {
        devices.extend(&policy.bridge);
    }
    devices
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::state::{HiddenTags, Kind, sample::link};

    #[test]
    fn devices_are_remembered_until_they_are_dropped_or_the_node_boots() {
        let directory =
            std::env::temp_dir().join(format!("netagent-originals-{}", std::process::id()));
        let open = |boot: &str| OriginalsFile::of_boot(&directory, boot.to_owned());
        let device = |name: &str, index| {
            let link = link(index, Kind::Other("tun".to_owned()));
            (name.parse().unwrap(), Original::of(&link, HiddenTags::NONE))
        };
        let mut file = open("one");
        assert!(file.devices().is_empty());
        file.add(Originals::from([device("tap7", 7), device("tap8", 8)])).unwrap();
        assert_eq!(open("one").devices(), file.devices());
        assert_eq!(open("two").devices(), &Originals::new());
        file.retain(|_, original| original.index == 8).unwrap();
        assert_eq!(open("one").devices(), &Originals::from([device("tap8", 8)]));
        fs::write(directory.join("originals.json"), "{").unwrap();
        let mut damaged = open("one");
        assert!(damaged.devices().is_empty() && damaged.are_incomplete());
        damaged.set_aside();
        assert!(open("one").are_incomplete());
        fs::remove_file(directory.join("originals.json.damaged")).unwrap();
        assert!(!open("one").are_incomplete());
        fs::remove_dir_all(&directory).unwrap();
    }
}
