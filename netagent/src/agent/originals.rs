//! The file of originals: written before the first change of a device, so that it can be given back
//! though the agent restarts. After a reboot the file is no longer valid.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{
    change::{Change, DatapathChange},
    names::IfName,
    plan::Plan,
    state::{Link, Observed, ObservedDatapath, Original, Originals},
    store,
};

/// The file.
pub struct OriginalsFile {
    path: PathBuf,
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
        Self::of_boot(directory, store::boot_id()?)
    }

    fn of_boot(directory: &Path, boot: String) -> Result<Self> {
        let path = directory.join("originals.json");
        let content = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "{}: the devices as they were found cannot be read: correct the file, or remove \
                     it to keep them as they are now",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let is_of_this_boot = content.boot == boot;
        let devices = if is_of_this_boot { content.devices } else { Originals::new() };
        Ok(Self { path, content: Content { boot, devices } })
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
        store::replace(&self.path, &content).with_context(|| {
            format!("{}: keep the devices as they were found (--state)", self.path.display())
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
        let rx_vlan = datapath.rx_vlan.get(name) == Some(&true);
        (!known && !is_ours && !is_managed(name, link)).then(|| Original::of(link, rx_vlan))
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
    use super::*;
    use crate::state::{Kind, sample::link};

    #[test]
    fn devices_are_remembered_until_they_are_dropped_or_the_node_boots() {
        let directory =
            std::env::temp_dir().join(format!("netagent-originals-{}", std::process::id()));
        let open = |boot: &str| OriginalsFile::of_boot(&directory, boot.to_owned()).unwrap();
        let device = |name: &str, index| {
            let link = link(index, Kind::Other("tun".to_owned()));
            (name.parse().unwrap(), Original::of(&link, false))
        };
        let mut file = open("one");
        assert!(file.devices().is_empty());
        file.add(Originals::from([device("tap7", 7), device("tap8", 8)])).unwrap();
        assert_eq!(open("one").devices(), file.devices());
        assert_eq!(open("two").devices(), &Originals::new());
        file.retain(|_, original| original.index == 8).unwrap();
        assert_eq!(open("one").devices(), &Originals::from([device("tap8", 8)]));
        fs::write(directory.join("originals.json"), "{").unwrap();
        let error = OriginalsFile::of_boot(&directory, "one".to_owned()).err().unwrap();
        assert!(error.to_string().contains("remove it to keep them"), "{error:#}");
        fs::remove_dir_all(&directory).unwrap();
    }
}
