//! LLDP between a VM and the switch: the bridge keeps frames to 01:80:C2:00:00:0E (IEEE 802.1AB
//! clause 7.1) for the node unless the port that they come from has the bit of the group in its
//! `group_fwd_mask` (`br_handle_frame` in net/bridge/br_input.c, Linux 4.15, commit 5af48b59f35c).

use super::{Unit, View};
use crate::{
    change::LinkChange,
    names::IfName,
    state::{Code, Link, Original, Port, Role},
};

/// The bit of 01:80:C2:00:00:0E.
const LLDP: u16 = 1 << 0x0e;

/// Lets LLDP pass from a port, or ends that. `link` is the port, if it is one of this bridge
/// already: a port that joins forwards no such group.
pub fn plan(view: &View<'_>, name: &IfName, port: &Port, link: Option<&Link>, unit: &mut Unit) {
    let found = link.map_or(0, |link| link.group_fwd_mask);
    let wanted = if view.forwards_lldp(port) {
        found | LLDP
    } else if view.has_set_lldp(name, link) {
        found & !LLDP
    } else {
        found
    };
    if wanted != found {
        unit.link(view, LinkChange::SetGroupForward(name.clone(), wanted));
    }
    if is_asked_for(port) && view.keeps_lldp(port) {
        let vlan = port.pvid.map_or_else(|| "no VLAN".to_owned(), |vid| format!("VLAN {vid}"));
        unit.finding(
            Code::LinkLocalKept,
            format!(
                "{name}: its LLDP frames do not reach the wire: {} filters VLANs, and untagged \
                 frames of the port are in {vlan}",
                port.bridge
            ),
            "set `vlanFiltering: off` on the cluster network: eBPF alone then filters VLANs",
        );
    }
}

/// Whether a VM may speak LLDP with the switch.
fn is_asked_for(port: &Port) -> bool {
    port.security.allow_link_local && !matches!(port.role, Role::Uplink { .. })
}

impl View<'_> {
    /// Whether LLDP passes from a port. What comes from the wire leaves by ports that pass it: the
    /// programs of others drop it.
    fn forwards_lldp(&self, port: &Port) -> bool {
        let passes = |port: &Port| is_asked_for(port) && !self.keeps_lldp(port);
        match port.role {
            Role::Uplink { .. } => {
                let mut ports = self.desired.ports.values();
                ports.any(|other| other.bridge == port.bridge && passes(other))
            }
            Role::Access | Role::Trunk | Role::Tunnel => passes(port),
        }
    }

    /// Whether the bridge would forward the frames in a VLAN that is tagged on the wire.
    fn keeps_lldp(&self, port: &Port) -> bool {
        let bridge = &self.desired.bridges[&port.bridge];
        self.filtering(&port.bridge, bridge) == Some(true)
            && (port.pvid.is_none() || port.pvid != bridge.native)
    }

    /// Whether it was netagent that let LLDP pass from a port: the port was found without.
    fn has_set_lldp(&self, name: &IfName, link: Option<&Link>) -> bool {
        let found = self.original(name).map(|original| original.group_fwd_mask & LLDP);
        found == Some(0) || link.is_some_and(Link::is_owned)
    }
}

/// Gives back what a port had that stays on its bridge, or is on it again.
pub fn give_back(
    view: &View<'_>,
    device: &IfName,
    original: Option<&Original>,
    found: u16,
    unit: &mut Unit,
) {
    if let Some(mask) = original.map(|original| original.group_fwd_mask).filter(|it| *it != found) {
        unit.link(view, LinkChange::SetGroupForward(device.clone(), mask));
    }
}
