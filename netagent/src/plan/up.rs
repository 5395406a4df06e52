//! Whether the device of a port is up.

use super::{Unit, View};
use crate::{
    change::LinkChange,
    names::IfName,
    state::{Code, Link, Port, Role},
};

/// Sets a device up. That of a VM once, before it joins its bridge: `virsh domif-setlink` and
/// others set a tap down to unplug the guest's cable.
pub fn plan(view: &View<'_>, name: &IfName, port: &Port, link: Option<&Link>, unit: &mut Unit) {
    // A bond is set up together with its members.
    let Some(link) = link.filter(|link| !link.up && !view.desired.bonds.contains_key(name)) else {
        return;
    };
    let known = view.datapath.ports.get(name);
    let was_plugged_in =
        known.is_some_and(|known| known.ifindex == link.index) && link.controller.is_some();
    if was_plugged_in && !matches!(port.role, Role::Uplink { .. }) {
        unit.finding(
            Code::PortDown,
            format!("{name}: was set down after it was plugged in, and stays down"),
            format!("ip link set {name} up"),
        );
    } else {
        unit.link(view, LinkChange::SetUp(name.clone()));
    }
}
