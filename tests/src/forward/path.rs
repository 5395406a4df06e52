//! The ways from one port to another.

use crate::{
    Feature,
    lab::{Netns, kernel_has, kernel_is_at_least},
    soak,
};

/// How a frame for a known station crosses a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Through the bridge.
    Bridge,
    /// By a redirect to the egress hook: the ports have queues.
    Tc,
    /// By a redirect to the other end of a VM's veth pair.
    Peer,
    /// From the uplink by XDP, and from a VM as `Peer`.
    Xdp,
}

impl Path {
    /// The paths that bypass the bridge.
    pub const FAST: [Self; 3] = [Self::Tc, Self::Peer, Self::Xdp];
    pub const ALL: [Self; 4] = [Self::Bridge, Self::Tc, Self::Peer, Self::Xdp];

    /// The paths to try around a kind of bridge. Where the kernel has both kinds and tests are cut
    /// short, those that few nodes have are tried around the aware one only.
    pub fn around(filtering: &str) -> &'static [Self] {
        let both = filtering == "off" && kernel_has(Feature::VlanFiltering);
        if both && !soak() { &[Self::Bridge, Self::Peer] } else { &Self::ALL }
    }

    /// Replaces `PATH` and `XDP` in a configuration.
    pub fn fill_in(self, yaml: &str) -> String {
        let (path, xdp) = match self {
            Self::Bridge => ("off", "off"),
            Self::Tc | Self::Peer => ("tc", "off"),
            Self::Xdp => ("xdp", "auto"),
        };
        yaml.replace("PATH", path).replace("XDP", xdp)
    }

    /// Gives the devices of VMs what the path needs.
    pub fn prepare(self, node: &Netns, others: &Netns, devices: &[&str]) {
        for device in devices {
            match self {
                Self::Bridge | Self::Peer => {}
                // A device with a queue keeps its own egress path.
                Self::Tc => drop(node.sh(&format!("tc qdisc add dev {device} root pfifo"))),
                // A veth supports `XDP_REDIRECT` if its peer uses NAPI.
                Self::Xdp => drop(others.sh(&format!("ethtool -K {device} gro on"))),
            }
        }
    }

    /// The path by which frames from a port are counted.
    pub fn counted(self, from: &str) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            // A kernel before 6.3 does not report which devices support `XDP_REDIRECT`.
            Self::Xdp if from == "eth2" && kernel_is_at_least(6, 3) => "xdp",
            Self::Tc | Self::Peer | Self::Xdp => "tc",
        }
    }

    /// A port whose frames take the path to the VMs of its VLAN: the uplink if XDP forwards.
    pub fn sender(self) -> &'static str {
        if self == Self::Xdp { "eth2" } else { "vm-b" }
    }
}
