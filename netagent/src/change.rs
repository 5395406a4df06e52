//! The steps of a plan. Each prints as the `ip` or `bridge` command that it equals, where there is one.

use std::fmt;

use netagent_common::vlan::Vid;

use crate::{
    bond::BondOption,
    names::{Cidr, IfName, Mac},
    state::{Hook, PortPolicy, VlanFlags, checks},
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

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(change) => change.fmt(f),
            Self::Datapath(change) => change.fmt(f),
        }
    }
}

impl fmt::Display for LinkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddBond(name, options) => {
                write!(f, "ip link add {name} type bond")?;
                options.iter().try_for_each(|o| write!(f, " {} {}", o.name(), o.value()))
            }
            Self::AddBridge(name, None) => write!(f, "ip link add {name} type bridge"),
            Self::AddBridge(name, Some(on)) => {
                write!(f, "ip link add {name} type bridge vlan_filtering {}", u8::from(*on))?;
                f.write_str(" vlan_default_pvid 0")
            }
            Self::AddVlan(name, parent, vid) => {
                write!(f, "ip link add link {parent} name {name} type vlan id {vid}")
            }
            Self::Delete(name) => write!(f, "ip link delete {name}"),
            Self::SetBondOption(name, option) => {
                write!(f, "ip link set {name} type bond {} {}", option.name(), option.value())
            }
            Self::SetMtu(name, mtu) => write!(f, "ip link set {name} mtu {mtu}"),
            Self::SetTxqlen(name, packets) => write!(f, "ip link set {name} txqueuelen {packets}"),
            Self::SetMac(name, mac) => write!(f, "ip link set {name} address {mac}"),
            Self::CopyMac(name, from) => write!(f, "ip link set {name} address <that of {from}>"),
            Self::SetUp(name) => write!(f, "ip link set {name} up"),
            Self::SetDown(name) => write!(f, "ip link set {name} down"),
            Self::AddMember(nic, bond) => write!(f, "ip link set {nic} down master {bond}"),
            Self::Release(name) => write!(f, "ip link set {name} nomaster up"),
            Self::AddPort(port, bridge) => write!(f, "ip link set {port} master {bridge}"),
            Self::SetFiltering(name, on) => {
                write!(f, "ip link set {name} type bridge vlan_filtering {}", u8::from(*on))
            }
            Self::SetDefaultPvid(name, pvid) => {
                write!(f, "ip link set {name} type bridge vlan_default_pvid {pvid}")
            }
            Self::AddVids(port, first, last, flags) => {
                write!(f, "bridge vlan add dev {port} vid {}{flags}", Range(*first, *last))
            }
            Self::RemoveVids(port, first, last) => {
                write!(f, "bridge vlan del dev {port} vid {}", Range(*first, *last))
            }
            Self::AddSelfVid(bridge, vid, flags) => {
                write!(f, "bridge vlan add dev {bridge} vid {vid}{flags} self")
            }
            Self::RemoveSelfVid(bridge, vid) => {
                write!(f, "bridge vlan del dev {bridge} vid {vid} self")
            }
            Self::AddAddress(name, address) => write!(f, "ip address add {address} dev {name}"),
            Self::RemoveAddress(name, address) => {
                write!(f, "ip address del {address} dev {name}")
            }
        }
    }
}

struct Range(Vid, Vid);

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 { self.0.fmt(f) } else { write!(f, "{}-{}", self.0, self.1) }
    }
}

impl fmt::Display for DatapathChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetPolicy(name, policy) => write!(f, "policy {name}: {policy}"),
            Self::Forget(name) => write!(f, "policy {name}: remove, with its programs"),
            Self::Attach(name, hook, flags) => {
                write!(f, "attach {} to {name}", hook.program())?;
                match checks(*flags).collect::<Vec<_>>() {
                    none if none.is_empty() => Ok(()),
                    some => write!(f, " with {}", some.join(", ")),
                }
            }
            Self::Detach(name, hook) => write!(f, "detach {} from {name}", hook.program()),
            Self::RxVlanOff(_, nic) => write!(f, "ethtool -K {nic} rxvlan off"),
        }
    }
}
