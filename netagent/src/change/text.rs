//! Changes as text: the equivalent `ip`, `bridge` or `ethtool` command, if there is one.

use std::fmt;

use netagent_common::vlan::Vid;

use super::{Change, DatapathChange, LinkChange, detour};
use crate::state::{Snooping, checks};

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
            Self::HoldMtu(name, mtu) => {
                let other = detour(*mtu);
                write!(f, "ip link set {name} mtu {other} && ip link set {name} mtu {mtu}")
            }
            Self::SetTxqlen(name, packets) => write!(f, "ip link set {name} txqueuelen {packets}"),
            Self::SetAcceptRa(name, value) => {
                write!(f, "sysctl -w net/ipv6/conf/{name}/accept_ra={value}")
            }
            Self::SetMac(name, mac) => write!(f, "ip link set {name} address {mac}"),
            Self::CopyMac(name, from) => write!(f, "ip link set {name} address <that of {from}>"),
            Self::SetAlias(name, alias) => write!(f, "ip link set {name} alias '{alias}'"),
            Self::SetUp(name) => write!(f, "ip link set {name} up"),
            Self::SetDown(name) => write!(f, "ip link set {name} down"),
            Self::AddMember(nic, bond) => write!(f, "ip link set {nic} down master {bond}"),
            Self::Release(name) => write!(f, "ip link set {name} nomaster up"),
            Self::AddPort(port, bridge) => write!(f, "ip link set {port} master {bridge}"),
            Self::SetPromiscuous(name, on) => {
                write!(f, "ip link set {name} promisc {}", if *on { "on" } else { "off" })
            }
            Self::SetPortFlag(name, flag, on) => {
                let value = if *on { "on" } else { "off" };
                write!(f, "bridge link set dev {name} {} {value}", flag.name())
            }
            Self::SetGroupForward(name, mask) => {
                write!(f, "ip link set {name} type bridge_slave group_fwd_mask {mask:#x}")
            }
            Self::SetFiltering(name, on) => {
                write!(f, "ip link set {name} type bridge vlan_filtering {}", u8::from(*on))
            }
            Self::SetDefaultPvid(name, pvid) => {
                write!(f, "ip link set {name} type bridge vlan_default_pvid {pvid}")
            }
            Self::SetSnooping(name, snooping) => {
                let options = match snooping {
                    Snooping::Off => "mcast_snooping 0",
                    Snooping::Vlan => "mcast_snooping 1 mcast_vlan_snooping 1",
                    Snooping::Bridge => "mcast_snooping 1 mcast_vlan_snooping 0",
                };
                write!(f, "ip link set {name} type bridge {options}")
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
            Self::AddAddress(name, address) | Self::RestoreAddress(name, address, _) => {
                write!(f, "ip address add {address} dev {name}")
            }
            Self::CopyAddress(from, to, address) => {
                write!(f, "ip address add {address} dev {to} <as on {from}>")
            }
            Self::Lease(name, address, _) => {
                write!(f, "ip address replace {address} dev {name} <until the lease ends>")
            }
            Self::RemoveAddress(name, address) => {
                write!(f, "ip address del {address} dev {name}")
            }
            Self::AddRoute(route) => write!(f, "ip route append {route}"),
            Self::RemoveRoute(route) => write!(f, "ip route del {route}"),
            Self::AddNeighbour(neighbour) => {
                write!(f, "ip neigh replace {neighbour} nud permanent")
            }
            Self::RemoveNeighbour(neighbour) => {
                write!(f, "ip neigh del {} dev {}", neighbour.address, neighbour.device)
            }
            Self::AwaitCarrier(name) => write!(f, "wait for the carrier of {name}"),
            Self::Resolve(name, neighbour) => {
                write!(f, "ip neigh replace {neighbour} dev {name} use")
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
            Self::MoveToFront(name, hook, _) => {
                write!(f, "move {} before the other programs of {name}", hook.program())
            }
            Self::Detach(name, hook) => write!(f, "detach {} from {name}", hook.program()),
            Self::RxVlanOn(nic, tags) => write!(f, "ethtool -K {nic}{}", tags.option("on")),
            Self::RxVlanOff(_, nic, tags) => write!(f, "ethtool -K {nic}{}", tags.option("off")),
        }
    }
}
