//! The changes that a plan is made of.

pub mod before;
mod text;

use netagent_common::{policy::TAGS_IN_BYTES, vlan::Vid};

use crate::{
    bond::BondOption,
    names::{Cidr, IfName, Mac},
    state::{Hook, PortPolicy, VlanFlags},
};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A change of links, for netlink.
    Link(LinkChange),
    /// A change of programs and policy, for the datapath.
    Datapath(DatapathChange),
}

/// A step that netlink carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Sets the length of the transmit queue in packets.
    SetTxqlen(IfName, u32),
    /// Sets the address.
    SetMac(IfName, Mac),
    /// Sets the address to that of another link, as it is at that moment.
    CopyMac(IfName, IfName),
    /// Sets a link up.
    SetUp(IfName),
    /// Sets a link down.
    SetDown(IfName),
    /// Makes a NIC a member of a bond: down, then controller; the bond sets it up.
    AddMember(IfName, IfName),
    /// Takes a link out of its bond or bridge and leaves it up.
    Release(IfName),
    /// Makes a link a port of a bridge: port, bridge.
    AddPort(IfName, IfName),
    /// Switches a bridge's VLAN filter.
    SetFiltering(IfName, bool),
    /// Sets the PVID that a bridge gives to new ports; 0: none.
    SetDefaultPvid(IfName, u16),
    /// Adds VIDs (first, last) to a bridge port.
    AddVids(IfName, Vid, Vid, VlanFlags),
    /// Removes VIDs (first, last) from a bridge port.
    RemoveVids(IfName, Vid, Vid),
    /// Adds a VID to the bridge itself.
    AddSelfVid(IfName, Vid, VlanFlags),
    /// Removes a VID from the bridge itself.
    RemoveSelfVid(IfName, Vid),
    /// Adds an address.
    AddAddress(IfName, Cidr),
    /// Removes an address.
    RemoveAddress(IfName, Cidr),
}

/// A step that the datapath carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatapathChange {
    /// Gives a port its policy; the NICs beneath an uplink lead to it too.
    SetPolicy(IfName, Box<PortPolicy>),
    /// Forgets a port: programs off, policy and counters away.
    Forget(IfName),
    /// Attaches a program with the code for these optional flags, or replaces it in place.
    Attach(IfName, Hook, u32),
    /// Detaches a program.
    Detach(IfName, Hook),
    /// Switches the VLAN receive offload of an uplink's NIC off, so that XDP sees tags: uplink, NIC.
    RxVlanOff(IfName, IfName),
}

impl LinkChange {
    /// What kind of thing is changed: a value of the label `kind`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::AddBond(..) | Self::AddBridge(..) | Self::AddVlan(..) | Self::Delete(_) => "link",
            Self::SetBondOption(..)
            | Self::SetMtu(..)
            | Self::SetTxqlen(..)
            | Self::SetMac(..)
            | Self::CopyMac(..)
            | Self::SetUp(_)
            | Self::SetDown(_)
            | Self::SetFiltering(..)
            | Self::SetDefaultPvid(..) => "attribute",
            Self::AddMember(..) | Self::AddPort(..) | Self::Release(_) => "membership",
            Self::AddVids(..)
            | Self::RemoveVids(..)
            | Self::AddSelfVid(..)
            | Self::RemoveSelfVid(..) => "vlan",
            Self::AddAddress(..) | Self::RemoveAddress(..) => "address",
        }
    }
}

impl LinkChange {
    /// The devices that are not the same after the change.
    fn devices(&self) -> Vec<&IfName> {
        match self {
            Self::AddMember(name, controller) | Self::AddPort(name, controller) => {
                vec![name, controller]
            }
            Self::AddVlan(name, parent, _) => vec![name, parent],
            Self::AddBond(name, _)
            | Self::AddBridge(name, _)
            | Self::Delete(name)
            | Self::SetBondOption(name, _)
            | Self::SetMtu(name, _)
            | Self::SetTxqlen(name, _)
            | Self::SetMac(name, _)
            | Self::CopyMac(name, _)
            | Self::SetUp(name)
            | Self::SetDown(name)
            | Self::Release(name)
            | Self::SetFiltering(name, _)
            | Self::SetDefaultPvid(name, _)
            | Self::AddVids(name, ..)
            | Self::RemoveVids(name, ..)
            | Self::AddSelfVid(name, ..)
            | Self::RemoveSelfVid(name, _)
            | Self::AddAddress(name, _)
            | Self::RemoveAddress(name, _) => vec![name],
        }
    }
}

/// Steps that a unit does without if one of them fails.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Optional {
    /// XDP on this uplink: TC is the authority and is attached already.
    Xdp(IfName),
    /// This NIC as a member of its bond: the bond works with the others.
    Member(IfName),
}

impl Change {
    /// The kind of thing that is changed: a value of the label `kind`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Link(change) => change.kind(),
            Self::Datapath(change) => change.kind(),
        }
    }

    /// The steps that fail together with this one, if the unit continues without them.
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

    /// The devices that are not the same after the change.
    pub fn devices(&self) -> Vec<&IfName> {
        match self {
            Self::Link(change) => change.devices(),
            Self::Datapath(change) => match change {
                DatapathChange::RxVlanOff(uplink, nic) => vec![uplink, nic],
                DatapathChange::SetPolicy(name, _)
                | DatapathChange::Forget(name)
                | DatapathChange::Attach(name, ..)
                | DatapathChange::Detach(name, _) => vec![name],
            },
        }
    }
}

impl DatapathChange {
    /// The kind of thing that is changed: a value of the label `kind`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SetPolicy(..) | Self::Forget(_) => "policy",
            Self::Attach(..) | Self::Detach(..) | Self::RxVlanOff(..) => "program",
        }
    }

    /// The uplink, if this change is about XDP and the node works without it.
    pub fn uplink_with_xdp(&self) -> Option<&IfName> {
        match self {
            Self::Attach(uplink, Hook::UplinkXdp, _) | Self::RxVlanOff(uplink, _) => Some(uplink),
            Self::SetPolicy(uplink, policy) if policy.has(TAGS_IN_BYTES) => Some(uplink),
            Self::SetPolicy(..) | Self::Attach(..) | Self::Detach(..) | Self::Forget(_) => None,
        }
    }
}
