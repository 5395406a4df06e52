//! The chain of MTUs: NIC ≥ bond ≥ bridge ≥ host interface and VM port.
//!
//! A device of netagent has the MTU of the file, or that of the device beneath it. A device that
//! netagent did not create has the MTU of the file. Without one it keeps its own, or gets back the
//! one that it had before the file gave it another ([`crate::state::Original::mtu_set`]).
//!
//! The kernel lowers without being asked: a bridge to the lowest MTU of its ports, until the MTU of
//! the bridge has been changed by hand (`br_mtu_auto_adjust`, BROPT_MTU_SET_BY_USER), and VLAN
//! interfaces to the MTU of the device beneath them (`vlan_device_event`). It raises only the
//! former.

use super::{Unit, View};
use crate::{
    change::LinkChange,
    names::IfName,
    state::{Bond, Bridge, Code, Host, Kind, Link, Port, Role},
};

/// The MTU of a new bond or bridge in bytes (ETH_DATA_LEN).
const ETHERNET_MTU: u32 = 1500;

/// The length of a VLAN tag in bytes. The MTU of a QinQ network's uplink exceeds that of its ports
/// by one tag.
const TAG: u32 = 4;

impl View<'_> {
    /// The desired MTU of a bond; `None`: unchanged.
    pub fn bond_mtu(&self, name: &IfName, bond: &Bond) -> Option<u32> {
        bond.mtu.or_else(|| self.mtu_without_key(name, Some(ETHERNET_MTU)))
    }

    /// The desired MTU of a bridge; `None`: unchanged. A bridge without an uplink is left to the
    /// kernel.
    pub fn bridge_mtu(&self, name: &IfName, bridge: &Bridge) -> Option<u32> {
        let of_host = self.desired.hosts.get(name).and_then(|host| host.mtu);
        let of_file = of_host.or(bridge.mtu);
        of_file.or_else(|| self.mtu_without_key(name, self.uplink_mtu(name)))
    }

    /// The desired MTU of a VLAN interface on a bridge; `None`: unchanged. The kernel refuses one
    /// above that of the bridge.
    pub fn host_mtu(&self, name: &IfName, host: &Host) -> Option<u32> {
        let most = self.mtu_beneath(host);
        match host.mtu {
            Some(mtu) => Some(most.map_or(mtu, |most| most.min(mtu))),
            None => self.mtu_without_key(name, most),
        }
    }

    /// The desired MTU of a port that is not a bond; `None`: unchanged.
    pub fn port_mtu(&self, name: &IfName, port: &Port) -> Option<u32> {
        port.mtu.or_else(|| self.mtu_without_key(name, None))
    }

    /// The MTU of the bridge of an interface after the plan.
    fn mtu_beneath(&self, host: &Host) -> Option<u32> {
        let wanted = self.bridge_mtu(&host.bridge, self.desired.bridges.get(&host.bridge)?);
        wanted.or_else(|| Some(self.observed.link(&host.bridge)?.mtu))
    }

    /// The MTU of a bridge's uplink after the plan; `None`: there is no uplink, or it is missing.
    pub fn uplink_mtu(&self, bridge: &IfName) -> Option<u32> {
        let mut ports = self.desired.ports.iter().filter(|(_, port)| port.bridge == *bridge);
        let (name, port) = ports.find(|(_, port)| matches!(port.role, Role::Uplink { .. }))?;
        let wanted = match self.desired.bonds.get(name) {
            Some(bond) => self.bond_mtu(name, bond),
            None => self.port_mtu(name, port),
        };
        wanted.or_else(|| Some(self.observed.link(name)?.mtu))
    }

    /// The desired MTU of a device for which the file has none.
    fn mtu_without_key(&self, name: &IfName, of_ours: Option<u32>) -> Option<u32> {
        match self.observed.link(name) {
            Some(link) if !link.is_owned() => {
                let original = self.original(name)?;
                (original.mtu_set == Some(link.mtu)).then_some(original.mtu)
            }
            _ => of_ours,
        }
    }

    /// The MTU that a bridge must keep when a VM's port with this MTU joins it; `None`: the port
    /// does not change that of the bridge.
    fn mtu_at_risk(&self, name: &IfName, of_port: u32) -> Option<u32> {
        let bridge = self.desired.bridges.get(name)?;
        // The node's own interface on a segment without an uplink has the lowest MTU of the VMs.
        self.uplink_mtu(name)?;
        let wanted = self.bridge_mtu(name, bridge);
        let Some(link) = self.observed.link(name) else {
            // A change of the new bridge's MTU is an order of its own.
            return wanted.filter(|mtu| *mtu == ETHERNET_MTU && of_port < *mtu);
        };
        let changes = wanted.is_some_and(|mtu| mtu != link.mtu);
        let ports = self.observed.ports_of(name).map(|(_, port)| port.mtu);
        let follows = ports.min().unwrap_or(ETHERNET_MTU) == link.mtu;
        (follows && !changes && of_port < link.mtu).then_some(link.mtu)
    }
}

/// Sets the MTU of a device, if it is to have another one.
pub fn set(view: &View<'_>, name: &IfName, wanted: Option<u32>, unit: &mut Unit) {
    let Some(wanted) = wanted else { return };
    let found = view.observed.link(name).map(|link| link.mtu);
    if found == Some(wanted) {
        return;
    }
    unit.link(view, LinkChange::SetMtu(name.clone(), wanted));
    for (vlan, link) in view.observed.links.iter().filter(|(_, link)| link.mtu > wanted) {
        let is_above =
            matches!(&link.kind, Kind::Vlan { parent, .. } if parent.as_ref() == Some(name));
        if is_above && !view.desired.mentions(vlan) {
            unit.impact.push(format!(
                "VLAN interface {vlan}: MTU {} → {wanted}: the kernel lowers it with {name}, and \
                 does not raise it again",
                link.mtu
            ));
        }
    }
}

/// Sets the MTU of a new bridge. If it is the one that the kernel gives to a bridge, the first port
/// with a lower one needs [`before_port`].
pub fn of_new_bridge(view: &View<'_>, name: &IfName, bridge: &Bridge, unit: &mut Unit) {
    match view.bridge_mtu(name, bridge) {
        None => {}
        Some(ETHERNET_MTU) if view.uplink_mtu(name) == Some(ETHERNET_MTU) => {}
        Some(ETHERNET_MTU) => unit.link(view, LinkChange::HoldMtu(name.clone(), ETHERNET_MTU)),
        Some(mtu) => unit.link(view, LinkChange::SetMtu(name.clone(), mtu)),
    }
}

/// Sets the MTU of a port, and keeps the kernel from lowering that of its bridge.
pub fn of_port(
    view: &View<'_>,
    name: &IfName,
    port: &Port,
    link: Option<&Link>,
    moves: bool,
    unit: &mut Unit,
) {
    // A bond has a unit of its own.
    let Some(link) = link.filter(|_| !view.desired.bonds.contains_key(name)) else { return };
    let wanted = view.port_mtu(name, port);
    let after = wanted.unwrap_or(link.mtu);
    let is_uplink = matches!(port.role, Role::Uplink { .. });
    if (moves || after != link.mtu)
        && !is_uplink
        && let Some(mtu) = view.mtu_at_risk(&port.bridge, after)
    {
        unit.link(view, LinkChange::HoldMtu(port.bridge.clone(), mtu));
    }
    set(view, name, wanted, unit);
    if !is_uplink {
        report(view, name, port, after, unit);
    }
}

/// Warns if a VM cannot receive the largest frames of its network, or is told to send larger ones.
fn report(view: &View<'_>, name: &IfName, port: &Port, own: u32, unit: &mut Unit) {
    let Some(of_network) = view.uplink_mtu(&port.bridge) else { return };
    let is_customer = port.role == Role::Tunnel;
    let on_the_wire = if is_customer { own + TAG } else { own };
    if (port.mtu.is_some() || is_customer) && on_the_wire > of_network {
        let with_tag = if is_customer { " and the customer's tag exceed" } else { " exceeds" };
        unit.finding(
            Code::MtuHigh,
            format!(
                "{name}: MTU {own}{with_tag} the {of_network} of its cluster network: longer \
                 frames to the wire are dropped"
            ),
            format!(
                "set `mtu: {on_the_wire}` on the uplink, or `mtu: {}` on the port",
                of_network + own - on_the_wire
            ),
        );
    }
    if own + TAG < of_network {
        unit.finding(
            Code::MtuLow,
            format!(
                "{name}: MTU {own} is below the {of_network} of its cluster network: longer frames \
                 to it are dropped"
            ),
            format!("set `mtu: {of_network}` on the port and in the VM"),
        );
    }
}

/// Sets the MTU of a VLAN interface on a bridge, and warns if the bridge's is lower.
pub fn of_host(view: &View<'_>, name: &IfName, host: &Host, unit: &mut Unit) {
    let wanted = view.host_mtu(name, host);
    // A new interface has the MTU of its bridge.
    let is_new = view.observed.link(name).is_none();
    let inherited = wanted == view.mtu_beneath(host);
    set(view, name, wanted.filter(|_| !is_new || !inherited), unit);
    if let (Some(asked), Some(mtu)) = (host.mtu, wanted)
        && mtu < asked
    {
        unit.finding(
            Code::MtuHigh,
            format!("{name}: MTU {asked} exceeds the {mtu} of its bridge {}", host.bridge),
            format!("set `mtu: {asked}` on the uplink, or `mtu: {mtu}` on the host"),
        );
    }
}
