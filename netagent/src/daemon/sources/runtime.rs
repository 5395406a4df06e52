//! Ports that come at run time: those that were added through the control socket, and the
//! interfaces of pods. One that is rejected is not kept.

use netagent_cni::Attachment;

use super::{super::attachments, Sources};
use crate::{
    intent::{Item, Origin, PortIntent, Rejected},
    names::{IfName, Mac},
    pattern::DevicePattern,
    request::Refusal,
    state::Observed,
};

impl Sources {
    /// Adds a port, for the device with this interface index if there is one. One that is rejected
    /// is not added.
    pub fn add_port(&mut self, port: PortIntent, index: Option<u32>) -> Result<(), Refusal> {
        let device = port.device.clone();
        if DevicePattern::is_meant(device.as_str()) {
            return Err(Refusal::Conflict(format!(
                "port {device}: patterns belong in the file (`device: \"{device}\"`); name one \
                 device here"
            )));
        }
        let before = self.ports.clone();
        self.ports.insert(port, index);
        let is_its = |rejected: &Rejected| {
            rejected.item == Item::Port(device.clone()) && rejected.origin == Origin::Socket
        };
        let result = self.put_in_force(&device, is_its, |sources| sources.ports.save());
        if result.is_err() {
            self.ports = before;
        }
        result
    }

    /// The port that was added for a device.
    pub fn added_port(&self, device: &IfName) -> Option<&PortIntent> {
        self.ports.iter().find(|port| port.device == *device)
    }

    /// The interface of a pod with this device.
    pub fn attachment_of(&self, device: &IfName) -> Option<&Attachment> {
        self.attachments.all().iter().find(|it| it.device == device.as_str())
    }

    /// Puts a change for a device in force, unless one of its own items is rejected, the device has
    /// no port all the same, or the change cannot be saved.
    fn put_in_force(
        &mut self,
        device: &IfName,
        is_its: impl Fn(&Rejected) -> bool,
        save: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> Result<(), Refusal> {
        let compiled = self.compile();
        if let Some(Rejected { item, problem, .. }) = compiled.rejected.iter().find(|it| is_its(it))
        {
            return Err(Refusal::Conflict(format!("{item}: {problem}")));
        }
        if !compiled.desired.ports.contains_key(device) {
            return Err(Refusal::Conflict(format!(
                "port {device}: it or its cluster network is released: see `netagent release --undo`"
            )));
        }
        save(self).map_err(|error| Refusal::Failed(format!("{error:#}")))?;
        self.compiled = compiled;
        Ok(())
    }

    /// Deletes a port that was added.
    pub fn delete_port(&mut self, device: &IfName) -> Result<(), Refusal> {
        let before = self.ports.clone();
        if !self.ports.remove(device) {
            return Err(match self.compiled.desired.ports.get(device) {
                Some(port) if self.attachment_of(device).is_some() => Refusal::Conflict(format!(
                    "port {device} comes from {}: it goes with its pod",
                    port.origin
                )),
                Some(port) => Refusal::Conflict(format!(
                    "port {device} comes from {}: remove it there, then `netagent reload`",
                    port.origin
                )),
                None => Refusal::no_port(device),
            });
        }
        if let Err(error) = self.ports.save() {
            self.ports = before;
            return Err(Refusal::Failed(format!("{error:#}")));
        }
        self.recompile();
        Ok(())
    }

    /// All attachments.
    pub fn attachments(&self) -> &[Attachment] {
        self.attachments.all()
    }

    /// Plugs the interface of a pod in. One that is rejected is not plugged in.
    pub fn attach(&mut self, attachment: Attachment, links: &Observed) -> Result<(), Refusal> {
        let bridge = attachment.bridge.parse().map_err(Refusal::Conflict)?;
        let own = attachments::origin(&attachment);
        let of_bridge = Origin::Containers(bridge);
        let has_gateways = !attachment.gateways.is_empty();
        let device: IfName = attachment.device.parse().map_err(Refusal::Conflict)?;
        let before = self.attachments.clone();
        let inserted = self.attachments.insert(attachment, links).map_err(Refusal::Conflict);
        // Of what all attachments of a bridge share, the bridge itself, and the gateways if it has.
        let is_its = |rejected: &Rejected| {
            let is_shared = match rejected.item {
                Item::Segment(_) => true,
                Item::Host { .. } => has_gateways,
                _ => false,
            };
            rejected.origin == own || is_shared && rejected.origin == of_bridge
        };
        let result = inserted.and_then(|()| {
            self.put_in_force(&device, is_its, |sources| sources.attachments.save())
        });
        if result.is_err() {
            self.attachments = before;
        }
        result
    }

    /// The bridge of an attachment, if its MAC address is to be made its own.
    pub fn to_pin(&self, attachment: &Attachment, links: &Observed) -> Option<(IfName, Mac)> {
        self.attachments.to_pin(attachment, links)
    }

    /// The MAC address of a bridge is its own now.
    pub fn pinned(&mut self, bridge: &IfName) -> anyhow::Result<()> {
        self.attachments.pinned(bridge);
        self.attachments.save()
    }

    /// Unplugs the interface of a pod, and returns it; `None`: it is not known.
    pub fn detach(
        &mut self,
        container_id: &str,
        ifname: &str,
    ) -> Result<Option<Attachment>, Refusal> {
        let before = self.attachments.clone();
        let removed = self.attachments.remove(container_id, ifname);
        if removed.is_some() {
            if let Err(error) = self.attachments.save() {
                self.attachments = before;
                return Err(Refusal::Failed(format!("{error:#}")));
            }
            self.recompile();
        }
        Ok(removed)
    }
}
