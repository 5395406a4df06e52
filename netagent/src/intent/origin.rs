//! Where an item comes from, and how messages name it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{
    names::{Family, IfName},
    pattern::DevicePattern,
    state::PodInterface,
};

/// Where an item comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A configuration file.
    File {
        /// The file's name, as messages print it.
        path: String,
        /// The item's line, from 1.
        line: u64,
        /// The item's column in characters, from 1.
        column: u64,
    },
    /// A pattern in a configuration file, for a device that matches.
    Pattern {
        /// The place of the pattern.
        place: Box<Origin>,
        /// The pattern.
        pattern: DevicePattern,
    },
    /// The control socket.
    Socket,
    /// The DHCP server of an interface.
    Lease(IfName, Family),
    /// A container runtime, for an interface of a pod.
    Pod(PodInterface),
    /// A container runtime, for an interface of a container without a pod.
    Container {
        /// The container's ID.
        id: String,
        /// The name of the interface when it was made.
        interface: String,
    },
    /// Container runtimes, for all interfaces at a bridge.
    Containers(IfName),
}

impl Origin {
    /// The pod, if it is one.
    pub const fn pod(&self) -> Option<&PodInterface> {
        match self {
            Self::Pod(pod) => Some(pod),
            _ => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Pattern { place, pattern } => write!(f, "{place} ({pattern})"),
            Self::Socket => f.write_str("control socket"),
            Self::Lease(interface, family) => {
                write!(f, "{} lease of {interface}", family.dhcp())
            }
            Self::Pod(interface) => write!(f, "CNI, {interface}"),
            Self::Container { id, interface } => write!(f, "CNI, container {id:.12} {interface}"),
            Self::Containers(bridge) => write!(f, "CNI, bridge {bridge}"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The name of an item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// A cluster network, by its name.
    Segment(String),
    /// A network, by its name.
    Network(String),
    /// A VM port, by its device.
    Port(IfName),
    /// The ports of all devices that match.
    Pattern(DevicePattern),
    /// An interface of the node itself.
    Host {
        /// Its cluster network.
        segment: String,
        /// Its position in the list of the cluster network; `None`: it is not in a list.
        index: Option<usize>,
    },
    /// The DHCP lease of an interface of the node.
    Lease(IfName, Family),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(name) => write!(f, "cluster network {name}"),
            Self::Network(name) => write!(f, "network {name}"),
            Self::Port(device) => write!(f, "port {device}"),
            Self::Pattern(pattern) => write!(f, "ports {pattern}"),
            Self::Lease(interface, family) => {
                write!(f, "{} lease of {interface}", family.dhcp())
            }
            Self::Host { segment, index: None } => write!(f, "host of cluster network {segment}"),
            Self::Host { segment, index: Some(index) } => {
                write!(f, "host[{index}] of cluster network {segment}")
            }
        }
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
