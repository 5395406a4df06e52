//! Silent ports: what their announcement needs, and whether they are silent now.

use std::collections::BTreeMap;

use anyhow::Result;
use netagent_common::{
    policy::{PER_VLAN, SILENT, UPLINK},
    vlan::Vid,
};

use super::Agent;
use crate::{
    announce::SilentPort,
    names::IfName,
    state::{ObservedPort, PortPolicy},
};

impl Agent {
    /// The silent ports.
    pub fn silent_ports(&self) -> Vec<SilentPort> {
        let ports = || self.seen.datapath.ports.iter();
        if !ports().any(|(_, port)| port.policy.has(SILENT)) {
            return Vec::new();
        }
        let uplinks = ports().map(|(_, port)| port).filter(|port| port.policy.has(UPLINK));
        let uplinks: BTreeMap<&IfName, u32> =
            uplinks.filter_map(|port| Some((port.policy.bridge.as_ref()?, port.ifindex))).collect();
        let silent = ports().filter(|(_, port)| port.policy.has(SILENT));
        let silent_port = |(device, port): (&IfName, &ObservedPort)| {
            let PortPolicy { pvid, allowed, bridge, macs, .. } = &port.policy;
            SilentPort {
                number: port.number,
                device: device.clone(),
                ifindex: port.ifindex,
                per_vlan: port.policy.has(PER_VLAN),
                uplink: bridge.as_ref().and_then(|bridge| uplinks.get(bridge).copied()),
                vids: match pvid {
                    Some(vid) => vec![vid.get()],
                    None => allowed.iter().map(Vid::get).collect(),
                },
                macs: macs.clone(),
            }
        };
        silent.map(silent_port).collect()
    }

    /// Those that are silent now.
    pub fn ports_in_silence(&self) -> Result<Vec<IfName>> {
        let ports = self.silent_ports();
        let Some(silences) = self.datapath.silences().filter(|_| !ports.is_empty()) else {
            return Ok(Vec::new());
        };
        let states = silences.all()?;
        let is_silent =
            |port: &SilentPort| states.get(&port.number).is_some_and(|state| !state.is_over());
        Ok(ports.into_iter().filter(is_silent).map(|port| port.device).collect())
    }

    /// Ends the silence of a port. Whether it is a silent port.
    pub fn end_silence(&mut self, device: &IfName) -> Result<bool> {
        let port = self.seen.datapath.ports.get(device);
        let number = port.filter(|port| port.policy.has(SILENT)).map(|port| port.number);
        match (number, self.datapath.silences_mut()) {
            (Some(number), Some(silences)) => silences.tell(number).map(|()| true),
            _ => Ok(false),
        }
    }
}
