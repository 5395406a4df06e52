//! Removals that are too large to be meant without a confirmation: a file that a template left
//! empty, most of the ports at once, a segment with running VMs.

use super::{Unit, View};
use crate::{
    names::IfName,
    state::{Kind, Part},
};

impl View<'_> {
    /// The bridge whose name confirms the removal that a unit is part of; `None` if it needs no
    /// confirmation.
    pub fn torn_down(&self, unit: &Unit) -> Option<IfName> {
        let name = &unit.id.device;
        match unit.id.part {
            Part::FormerLink | Part::FormerBridge | Part::GivenBack => {
                let bridge = self.bridge_over(name)?;
                self.is_whole_segment(bridge).then(|| bridge.clone())
            }
            Part::FormerPort => {
                let (device, link) = self.device_of(name)?;
                let bridge = link.controller.as_ref()?;
                let is_vm = !self.is_uplink(name) && !self.desired.ports.contains_key(device);
                let goes = self.is_whole_segment(bridge) || is_vm && self.loses_most_ports();
                goes.then(|| bridge.clone())
            }
            _ => None,
        }
    }

    /// The bridge that a link is a part of: a NIC by its bond.
    pub fn bridge_over<'a>(&'a self, name: &'a IfName) -> Option<&'a IfName> {
        let link = self.observed.link(name)?;
        match &link.kind {
            Kind::Bridge(_) => Some(name),
            Kind::Vlan { parent, .. } => parent.as_ref(),
            Kind::Bond(_) | Kind::Other(_) => self.bridge_over(link.controller.as_ref()?),
        }
    }

    /// Whether the segment of a bridge goes while VMs are on it, or because nothing at all is
    /// desired.
    fn is_whole_segment(&self, bridge: &IfName) -> bool {
        let is_emptied = self.desired.bridges.is_empty() && self.desired.ports.is_empty();
        is_emptied || !self.desired.bridges.contains_key(bridge) && self.has_vms(bridge)
    }

    /// Whether a bridge has a port that is not its uplink, and that stays without a segment.
    fn has_vms(&self, bridge: &IfName) -> bool {
        self.observed
            .ports_of(bridge)
            .any(|(name, _)| !self.is_uplink(name) && !self.desired.ports.contains_key(name))
    }

    /// Whether more than half of the ports of VMs go, and more than one.
    fn loses_most_ports(&self) -> bool {
        let vms = self
            .datapath
            .ports
            .keys()
            .filter(|name| !self.is_uplink(name) && self.device_of(name).is_some());
        let (gone, left): (Vec<_>, Vec<_>) =
            vms.partition(|name| !self.desired.ports.contains_key(*name));
        gone.len() > 1 && gone.len() > left.len()
    }
}
