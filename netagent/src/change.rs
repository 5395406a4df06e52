//! The changes of which a plan consists.

pub mod before;
mod text;

use std::net::IpAddr;

use netagent_common::{policy::TAGS_IN_BYTES, vlan::Vid};
use serde::{Deserialize, Serialize};

use crate::{
    bond::BondOption,
    names::{Cidr, IfName, Mac},
    state::{
        Address, HiddenTags, Hook, Lifetime, Neighbour, PortFlag, PortPolicy, Route, Snooping,
        VlanFlags,
    },
};

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A change of links, carried out by netlink.
    Link(LinkChange),
    /// A change of programs and policy, carried out by the datapath.
    Datapath(DatapathChange),
}

/// A change of links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkChange {
    /// Creates a bond with these options, down, without members.
    AddBond(IfName, Vec<BondOption>),
    /// Creates a bridge, up. `filtering` is `None` where the kernel has no VLAN filter.
    AddBridge(IfName, Option<bool>),
    /// Creates a VLAN interface: name, parent, VID.
    AddVlan(IfName, IfName, Vid),
    /// Deletes a link.
    Delete(IfName),
    /// Sets one option of a bond.
    SetBondOption(IfName, BondOption),
    /// Sets the MTU in bytes.
    SetMtu(IfName, u32),
    /// Sets the MTU of a bridge in bytes, so that its ports do not change it any more: a change is
    /// an order (BROPT_MTU_SET_BY_USER), the same value is none.
    HoldMtu(IfName, u32),
    /// Sets the length of the transmit queue in packets.
    SetTxqlen(IfName, u32),
    /// Sets `net.ipv6.conf.<name>.accept_ra`.
    SetAcceptRa(IfName, u32),
    /// Sets the MAC address.
    SetMac(IfName, Mac),
    /// Sets the MAC address to the current one of another link.
    CopyMac(IfName, IfName),
    /// Sets the alias, by which the agent knows its own links; empty: none.
    SetAlias(IfName, String),
    /// Sets a link up.
    SetUp(IfName),
    /// Sets a link down.
    SetDown(IfName),
    /// Makes a NIC a member of a bond: sets it down, then its controller; the bond sets it up
    /// again.
    AddMember(IfName, IfName),
    /// Releases a link from its bond, and leaves it up; or from its bridge, and leaves it as it is.
    Release(IfName),
    /// Makes a link a port of a bridge: port, bridge.
    AddPort(IfName, IfName),
    /// Makes a link promiscuous, or ends that.
    SetPromiscuous(IfName, bool),
    /// Sets or clears a flag of a bridge port.
    SetPortFlag(IfName, PortFlag, bool),
    /// Sets the link-local groups that the bridge forwards from a port, a bit each.
    SetGroupForward(IfName, u16),
    /// Switches the VLAN filter of a bridge on or off.
    SetFiltering(IfName, bool),
    /// Sets the PVID that a bridge gives to new ports; 0: none.
    SetDefaultPvid(IfName, u16),
    /// Sets IGMP and MLD snooping of a bridge.
    SetSnooping(IfName, Snooping),
    /// Adds VIDs (first, last) to a bridge port.
    AddVids(IfName, Vid, Vid, VlanFlags),
    /// Removes VIDs (first, last) from a bridge port.
    RemoveVids(IfName, Vid, Vid),
    /// Adds a VID to the bridge itself.
    AddSelfVid(IfName, Vid, VlanFlags),
    /// Removes a VID from the bridge itself.
    RemoveSelfVid(IfName, Vid),
    /// Adds an address that the agent owns.
    AddAddress(IfName, Cidr),
    /// Adds an address again, with everything that was known of it.
    RestoreAddress(IfName, Cidr, Address),
    /// Adds an address of a link, with its lifetime, to another link: from, to.
    CopyAddress(IfName, IfName, Cidr),
    /// Adds an address of a DHCP lease, or changes its lifetime.
    Lease(IfName, Cidr, Lifetime),
    /// Removes an address.
    RemoveAddress(IfName, Cidr),
    /// Adds a route, behind other routes with this destination and metric.
    AddRoute(Route),
    /// Removes a route.
    RemoveRoute(Route),
    /// Adds a permanent neighbour.
    AddNeighbour(Neighbour),
    /// Removes a permanent neighbour.
    RemoveNeighbour(Neighbour),
    /// Waits until a link has a carrier, for a limited time.
    AwaitCarrier(IfName),
    /// Asks for the MAC address of a neighbour, so that the network learns where the node is.
    Resolve(IfName, IpAddr),
}

/// A change of the datapath.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DatapathChange {
    /// Sets the policy of a port. The NICs of an uplink refer to its policy.
    SetPolicy(IfName, Box<PortPolicy>),
    /// Removes a port: detaches its programs, deletes its policy and counters.
    Forget(IfName),
    /// Attaches a program with these optional flags, or replaces it in place.
    Attach(IfName, Hook, u32),
    /// Moves a program with these optional flags before all others of its side.
    MoveToFront(IfName, Hook, u32),
    /// Detaches a program.
    Detach(IfName, Hook),
    /// Switches off VLAN receive offloads on an uplink's NIC, so that XDP sees these tags: uplink,
    /// NIC.
    RxVlanOff(IfName, IfName, HiddenTags),
    /// Switches VLAN receive offloads of a NIC on again.
    RxVlanOn(IfName, HiddenTags),
}

/// The MTU by which [`LinkChange::HoldMtu`] changes to an MTU that the bridge may have already. Not
/// a lower one, if possible: the VLAN interfaces would follow.
pub const fn detour(mtu: u32) -> u32 {
    /// ETH_MAX_MTU
    const MOST: u32 = 65_535;
    if mtu < MOST { mtu + 1 } else { mtu - 1 }
}

impl LinkChange {
    /// The kind of changed thing: a value of the label `kind`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::AddBond(..) | Self::AddBridge(..) | Self::AddVlan(..) | Self::Delete(_) => "link",
            Self::SetBondOption(..)
            | Self::SetMtu(..)
            | Self::HoldMtu(..)
            | Self::SetTxqlen(..)
            | Self::SetAcceptRa(..)
            | Self::SetMac(..)
            | Self::CopyMac(..)
            | Self::SetAlias(..)
            | Self::SetUp(_)
            | Self::SetDown(_)
            | Self::AwaitCarrier(_)
            | Self::SetPromiscuous(..)
            | Self::SetPortFlag(..)
            | Self::SetGroupForward(..)
            | Self::SetFiltering(..)
            | Self::SetDefaultPvid(..)
            | Self::SetSnooping(..) => "attribute",
            Self::AddMember(..) | Self::AddPort(..) | Self::Release(_) => "membership",
            Self::AddVids(..)
            | Self::RemoveVids(..)
            | Self::AddSelfVid(..)
            | Self::RemoveSelfVid(..) => "vlan",
            Self::AddAddress(..)
            | Self::RestoreAddress(..)
            | Self::CopyAddress(..)
            | Self::Lease(..)
            | Self::RemoveAddress(..) => "address",
            Self::AddRoute(_)
            | Self::RemoveRoute(_)
            | Self::AddNeighbour(_)
            | Self::RemoveNeighbour(_)
            | Self::Resolve(..) => "route",
        }
    }
}

impl LinkChange {
    /// The port, if the change plugs a device into a bridge: that must be the device with the
    /// port's programs, though another device may have its name now.
    pub const fn plugs_in(&self) -> Option<&IfName> {
        match self {
            Self::AddPort(port, _) => Some(port),
            _ => None,
        }
    }

    /// The devices that the change alters.
    fn devices(&self) -> Vec<&IfName> {
        match self {
            Self::AddMember(name, controller) | Self::AddPort(name, controller) => {
                vec![name, controller]
            }
            Self::AddVlan(name, parent, _) => vec![name, parent],
            Self::CopyAddress(from, to, _) => vec![from, to],
            Self::AddRoute(route) | Self::RemoveRoute(route) => vec![&route.device],
            Self::AddNeighbour(neighbour) | Self::RemoveNeighbour(neighbour) => {
                vec![&neighbour.device]
            }
            Self::AddBond(name, _)
            | Self::AddBridge(name, _)
            | Self::Delete(name)
            | Self::SetBondOption(name, _)
            | Self::SetMtu(name, _)
            | Self::HoldMtu(name, _)
            | Self::SetTxqlen(name, _)
            | Self::SetAcceptRa(name, _)
            | Self::SetMac(name, _)
            | Self::CopyMac(name, _)
            | Self::SetAlias(name, _)
            | Self::SetUp(name)
            | Self::SetDown(name)
            | Self::Release(name)
            | Self::SetPromiscuous(name, _)
            | Self::SetPortFlag(name, ..)
            | Self::SetGroupForward(name, _)
            | Self::SetFiltering(name, _)
            | Self::SetDefaultPvid(name, _)
            | Self::SetSnooping(name, _)
            | Self::AddVids(name, ..)
            | Self::RemoveVids(name, ..)
            | Self::AddSelfVid(name, ..)
            | Self::RemoveSelfVid(name, _)
            | Self::AddAddress(name, _)
            | Self::RestoreAddress(name, ..)
            | Self::Lease(name, ..)
            | Self::AwaitCarrier(name)
            | Self::Resolve(name, _)
            | Self::RemoveAddress(name, _) => vec![name],
        }
    }
}

/// Steps that fail together without failing their unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Optional {
    /// XDP on this uplink. TC is the authority and is already attached.
    Xdp(IfName),
    /// This NIC as a member of its bond. The bond works with the other members.
    Member(IfName),
}

impl Change {
    /// The kind of changed thing: a value of the label `kind`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Link(change) => change.kind(),
            Self::Datapath(change) => change.kind(),
        }
    }

    /// The group of optional steps to which this step belongs.
    pub fn optional(&self) -> Option<Optional> {
        match self {
            Self::Datapath(change) => change.uplink_with_xdp().cloned().map(Optional::Xdp),
            Self::Link(
                LinkChange::AddMember(nic, _)
                | LinkChange::SetBondOption(_, BondOption::Primary(Some(nic))),
            ) => Some(Optional::Member(nic.clone())),
            Self::Link(_) => None,
        }
    }

    /// Whether the change adds or removes routes, or takes a link down that may have some.
    pub const fn alters_routes(&self) -> bool {
        matches!(
            self,
            Self::Link(
                LinkChange::AddRoute(_)
                    | LinkChange::RemoveRoute(_)
                    | LinkChange::AddNeighbour(_)
                    | LinkChange::RemoveNeighbour(_)
                    | LinkChange::AddMember(..)
                    | LinkChange::SetDown(_)
                    | LinkChange::Delete(_)
                    | LinkChange::RemoveAddress(..)
            )
        )
    }

    /// The program that the step needs, with its optional flags; none for a step that its unit can
    /// do without.
    pub fn program(&self) -> Option<(Hook, u32)> {
        match self {
            Self::Datapath(
                DatapathChange::Attach(_, hook, flags)
                | DatapathChange::MoveToFront(_, hook, flags),
            ) if self.optional().is_none() => Some((*hook, *flags)),
            Self::Datapath(_) | Self::Link(_) => None,
        }
    }

    /// The devices that the change alters.
    pub fn devices(&self) -> Vec<&IfName> {
        match self {
            Self::Link(change) => change.devices(),
            Self::Datapath(change) => match change {
                DatapathChange::RxVlanOff(uplink, nic, _) => vec![uplink, nic],
                DatapathChange::SetPolicy(name, _)
                | DatapathChange::Forget(name)
                | DatapathChange::Attach(name, ..)
                | DatapathChange::MoveToFront(name, ..)
                | DatapathChange::Detach(name, _)
                | DatapathChange::RxVlanOn(name, _) => vec![name],
            },
        }
    }
}

impl DatapathChange {
    /// The kind of changed thing: a value of the label `kind`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SetPolicy(..) | Self::Forget(_) => "policy",
            Self::Attach(..)
            | Self::MoveToFront(..)
            | Self::Detach(..)
            | Self::RxVlanOff(..)
            | Self::RxVlanOn(..) => "program",
        }
    }

    /// The uplink of a change that concerns XDP only: the node works without it.
    pub fn uplink_with_xdp(&self) -> Option<&IfName> {
        match self {
            Self::Attach(uplink, Hook::UplinkXdp, _) | Self::RxVlanOff(uplink, ..) => Some(uplink),
            Self::SetPolicy(uplink, policy) if policy.has(TAGS_IN_BYTES) => Some(uplink),
            Self::SetPolicy(..)
            | Self::Attach(..)
            | Self::MoveToFront(..)
            | Self::Detach(..)
            | Self::Forget(_)
            | Self::RxVlanOn(..) => None,
        }
    }
}
