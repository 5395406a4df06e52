//! Attachments: the interfaces of pods that the CNI plugin has plugged in. They survive a restart
//! of the agent in a file on `/run`, and end with their device.

mod compile;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use netagent_cni::Attachment;
use serde::{Deserialize, Serialize};

pub use self::compile::origin;
use crate::{
    intent::{self, Compiled, Devices, Intent},
    names::{Cidr, IfName, Mac},
    state::{Finding, Observed, Port},
    state_file::StateFile,
};

/// The attachments in the order in which they came, and what stays when they are gone.
#[derive(Clone, Debug, Default)]
pub struct Attachments {
    file: StateFile,
    kept: Kept,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    attachments: Vec<Attachment>,
    /// The bridges that no other source names, with what the attachments asked of them. As with the
    /// bridge plugin, they stay when the last pod goes.
    bridges: BTreeMap<IfName, Bridge>,
}

/// What attachments asked of a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Bridge {
    /// Whether it did not exist before.
    created: bool,
    /// Whether the first attachment named VLANs. As with the bridge plugin, a bridge without any
    /// has no VLAN filter.
    aware: bool,
    /// Whether its MAC address is its own, and not that of a port.
    pinned: bool,
    promiscuous: bool,
    /// Whether its gateways replace other addresses.
    forced: bool,
    /// The gateways, by VLAN; 0: untagged.
    gateways: BTreeMap<u16, BTreeSet<Cidr>>,
}

impl Attachments {
    /// Reads the file.
    pub fn read(path: PathBuf) -> Self {
        let (file, kept) = StateFile::read(path);
        Self { file, kept }
    }

    /// Sets the file aside if it cannot be read.
    pub fn set_aside(&mut self) {
        self.file.try_to_set_aside();
    }

    /// Whether there may be attachments that are not known, as the file was damaged.
    pub fn are_incomplete(&self) -> bool {
        self.file.is_damaged()
    }

    /// A finding for each file that could not be read.
    pub fn findings(&self) -> Vec<Finding> {
        self.file.findings(
            "it had the interfaces of pods: ports that no source names stay plugged in",
            "delete the pods, or correct the file, restore its name, and restart netagent",
        )
    }

    /// All attachments.
    pub fn all(&self) -> &[Attachment] {
        &self.kept.attachments
    }

    /// Adds an attachment, or replaces it. `links` has the addresses of the bridge.
    pub fn insert(&mut self, attachment: Attachment, links: &Observed) -> Result<(), String> {
        let extra = compile::extra(&attachment)?;
        // A network of the file has its bridge.
        if extra.network.is_none() {
            self.insert_bridge(&attachment, links)?;
        }
        let same = |old: &Attachment| is(old, &attachment.container_id, &attachment.ifname);
        match self.kept.attachments.iter_mut().find(|old| same(old)) {
            Some(old) => *old = attachment,
            None => self.kept.attachments.push(attachment),
        }
        Ok(())
    }

    fn insert_bridge(&mut self, attachment: &Attachment, links: &Observed) -> Result<(), String> {
        let name: IfName = attachment.bridge.parse()?;
        let bridge = self.kept.bridges.entry(name.clone()).or_insert_with(|| Bridge {
            created: links.link(&name).is_none(),
            aware: attachment.vlan != 0 || !attachment.trunk.is_empty(),
            ..Bridge::default()
        });
        bridge.promiscuous |= attachment.promiscuous;
        if attachment.gateways.is_empty() {
            return Ok(());
        }
        compile::add_gateways(bridge, &name, attachment, links)
    }

    /// The bridge of an attachment, if its MAC address is to be made its own: a bridge that
    /// others made has the lowest of its ports', which changes when pods come and go.
    pub fn to_pin(&self, attachment: &Attachment, links: &Observed) -> Option<(IfName, Mac)> {
        let name: IfName = attachment.bridge.parse().ok()?;
        let link = links.link(&name).filter(|link| !link.is_owned())?;
        let bridge = self.kept.bridges.get(&name).filter(|bridge| !bridge.pinned);
        bridge.map(|_| (name, link.mac))
    }

    /// The MAC address of a bridge is its own now.
    pub fn pinned(&mut self, bridge: &IfName) {
        if let Some(bridge) = self.kept.bridges.get_mut(bridge) {
            bridge.pinned = true;
        }
    }

    /// Removes an attachment, and returns it.
    pub fn remove(&mut self, container_id: &str, ifname: &str) -> Option<Attachment> {
        let attachments = &mut self.kept.attachments;
        let position = attachments.iter().position(|it| is(it, container_id, ifname))?;
        Some(attachments.remove(position))
    }

    /// Forgets the attachments whose device is gone, here and in the file.
    pub fn forget_gone(&mut self, links: &Observed) -> Vec<String> {
        let gone = self.keep_present(links);
        if !gone.is_empty() {
            // A failure is a finding of the file as long as it lasts.
            let _lasts = self.save();
        }
        gone
    }

    /// Forgets the attachments whose device is gone. Its name may be that of another device now.
    pub fn keep_present(&mut self, links: &Observed) -> Vec<String> {
        let mut gone = Vec::new();
        self.kept.attachments.retain(|attachment| {
            let link = attachment.device.parse().ok().and_then(|name| links.link(&name));
            let is_there = link.is_some_and(|link| link.index == attachment.ifindex);
            if !is_there {
                gone.push(attachment.device.clone());
            }
            is_there
        });
        gone
    }

    /// Writes the file, in one step.
    pub fn save(&mut self) -> Result<()> {
        self.file
            .save(&self.kept)
            .with_context(|| format!("{}: keep the interfaces of pods", self.file.path().display()))
    }

    /// What the attachments ask for, beside what the file asks for.
    pub fn intent(&self, file: Option<&Intent>) -> Intent {
        compile::intent(&self.kept, file)
    }
}

/// The interface of a pod in another network of the file. Its CNI network is that of its ADD, by
/// which the runtime knows it.
pub fn in_network(mut attachment: Attachment, network: &str) -> Attachment {
    attachment.vlan = 0;
    attachment.trunk.clear();
    // What the old network had of its own does not apply to another one.
    attachment.extra.retain(|key, _| ["security", "silent"].contains(&key.as_str()));
    attachment.extra.insert("network".to_owned(), network.into());
    attachment
}

/// The port that an attachment would be, beside what the file asks for.
pub fn preview(attachment: Attachment, file: Option<&Intent>) -> Result<Port, String> {
    let device: IfName = attachment.device.parse()?;
    let mut attachments = Attachments::default();
    attachments.insert(attachment, &Observed::default())?;
    let intents: Vec<Intent> =
        file.into_iter().cloned().chain([attachments.intent(file)]).collect();
    let Compiled { mut desired, rejected, .. } = intent::compile(&intents, &Devices::default());
    desired.ports.remove(&device).ok_or_else(|| {
        let reasons: Vec<_> =
            rejected.iter().map(|it| format!("{}: {}", it.item, it.problem)).collect();
        reasons.join("; ")
    })
}

fn is(attachment: &Attachment, container_id: &str, ifname: &str) -> bool {
    attachment.container_id == container_id && attachment.ifname == ifname
}
