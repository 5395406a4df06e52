//! Where an item comes from, and how messages name it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::names::IfName;

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
    /// The control socket.
    Socket,
    /// The DHCP server of an interface.
    Lease(IfName),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Socket => f.write_str("control socket"),
            Self::Lease(interface) => write!(f, "lease of {interface}"),
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
    /// An interface of the node itself.
    Host {
        /// Its cluster network.
        segment: String,
        /// Its position in the list of the cluster network; `None`: it is not in a list.
        index: Option<usize>,
    },
    /// The DHCP lease of an interface of the node.
    Lease(IfName),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(name) => write!(f, "cluster network {name}"),
            Self::Network(name) => write!(f, "network {name}"),
            Self::Port(device) => write!(f, "port {device}"),
            Self::Lease(interface) => write!(f, "DHCP lease of {interface}"),
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
