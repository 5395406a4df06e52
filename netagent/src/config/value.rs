//! The scalars of the file: their text, and their JSON schema.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use netagent_common::vlan::Vid;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{
    bond::{AdSelect, ArpValidate, FailOverMac, LacpRate, Mode, XmitHashPolicy},
    intent::{MAC_LIMIT, MTU, Native, RATE, Tpid},
    names::{Addresses, Cidr, Family, IfName, Mac, Subnet},
    pattern::DevicePattern,
    state::{Admit, FastPath, Filtering, PriorityTags, Snooping},
    vids::{VidSet, parse_vid},
};

/// A scalar.
pub trait Value: Sized {
    /// Reads the text in the file, or says what is wrong with it.
    fn read(text: &str) -> Result<Self, String>;

    /// The JSON schema.
    fn schema() -> Schema;
}

/// Names and addresses, whose schema for JSON is the same.
macro_rules! from_json {
    ($($type:ty),+) => { $(
        impl Value for $type {
            fn read(text: &str) -> Result<Self, String> {
                text.parse()
            }

            fn schema() -> Schema {
                <$type>::json_schema(&mut SchemaGenerator::default())
            }
        }
    )+ };
}

from_json!(IfName, Mac, Addresses);

/// Scalars whose text is that of `FromStr`, and their schemas.
macro_rules! from_str {
    ($($type:ty: $schema:tt,)+) => { $(
        impl Value for $type {
            fn read(text: &str) -> Result<Self, String> {
                text.parse()
            }

            fn schema() -> Schema {
                json_schema!($schema)
            }
        }
    )+ };
}

/// Scalars that are one of several words.
macro_rules! words {
    ($($type:ty { $($text:literal => $value:expr,)+ })+) => { $(
        impl Value for $type {
            fn read(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok($value),)+
                    _ => Err(format!("{text:?} is not one of {}", [$($text),+].join(", "))),
                }
            }

            fn schema() -> Schema {
                json_schema!({ "enum": [$($text),+] })
            }
        }
    )+ };
}

/// Numbers with a range.
macro_rules! numbers {
    ($($type:ident($inner:ty) $range:expr, $unit:literal;)+) => { $(
        /// A number within its range.
        #[derive(Clone, Copy, Debug)]
        pub struct $type(pub $inner);

        impl Value for $type {
            fn read(text: &str) -> Result<Self, String> {
                let (first, last) = $range.into_inner();
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                let number = text.parse().ok();
                let number = number.filter(|number| digits && (first..=last).contains(number));
                number.map(Self).ok_or_else(|| {
                    format!("{text:?} is not {} from {first} to {last}", $unit)
                })
            }

            fn schema() -> Schema {
                let (first, last) = $range.into_inner();
                json_schema!({ "type": "integer", "minimum": first, "maximum": last })
            }
        }
    )+ };
}

from_str! {
    Cidr: { "type": "string", "pattern": "^[0-9A-Fa-f:.]+/[0-9]{1,3}$" },
    Subnet: { "type": "string", "pattern": "^[0-9A-Fa-f:.]+/[0-9]{1,3}$" },
    VidSet: { "anyOf": [
        { "type": "integer", "minimum": 1, "maximum": 4094 },
        { "type": "string", "pattern": "^ *[0-9]+ *(- *[0-9]+ *)?(, *[0-9]+ *(- *[0-9]+ *)?)*$" },
    ] },
    XmitHashPolicy: { "enum": XmitHashPolicy::NAMES },
    LacpRate: { "enum": LacpRate::NAMES },
    AdSelect: { "enum": AdSelect::NAMES },
    ArpValidate: { "enum": ArpValidate::NAMES },
    FailOverMac: { "enum": FailOverMac::NAMES },
}

words! {
    FastPath { "tc" => Self::Tc, "xdp" => Self::Xdp, "off" => Self::Off, }
    Snooping { "off" => Self::Off, "vlan" => Self::Vlan, "bridge" => Self::Bridge, }
    Filtering { "auto" => Self::Auto, "on" => Self::On, "off" => Self::Off, }
    Admit {
        "all" => Self::All,
        "tagged" => Self::Tagged,
        "untagged-and-priority" => Self::UntaggedAndPriority,
    }
    Xdp { "auto" => Self::Auto, "off" => Self::Off, }
    Tpid { "802.1ad" => Self::STag, "802.1Q" => Self::CTag, }
    PriorityTags {
        "never" => Self::Never,
        "if-nonzero" => Self::IfNonzero,
        "always" => Self::Always,
    }
}

numbers! {
    Mtu(u32) MTU, "an MTU in bytes";
    QueueLength(u32) (0..=1_000_000), "a number of packets";
    Metric(u32) (1..=u32::MAX), "a metric";
    Links(u32) (1..=64), "a number of NICs";
    // IFLA_BOND_NUM_PEER_NOTIF is a u8.
    Announcements(u8) (0..=255), "a number of announcements";
    MacLimit(u16) MAC_LIMIT, "a number of addresses";
    Rate(u32) RATE, "a number of frames per second";
}

/// The device of a port, or a pattern of devices.
#[derive(Clone, Debug)]
pub enum PortDevice {
    /// The one of this name.
    Named(IfName),
    /// All that match.
    Matching(DevicePattern),
}

impl Value for PortDevice {
    fn read(text: &str) -> Result<Self, String> {
        if DevicePattern::is_meant(text) {
            text.parse().map(Self::Matching)
        } else {
            text.parse().map(Self::Named)
        }
    }

    // A pattern has the characters of a name.
    fn schema() -> Schema {
        IfName::schema()
    }
}

/// Whether an uplink gets an XDP program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Xdp {
    /// If the device supports it.
    Auto,
    /// No.
    Off,
}

/// The families of which an interface of the node gets an address by DHCP.
#[derive(Clone, Debug)]
pub struct DhcpFamilies(pub BTreeSet<Family>);

impl Value for DhcpFamilies {
    fn read(text: &str) -> Result<Self, String> {
        let families = match text {
            "v4" => vec![Family::V4],
            "v6" => vec![Family::V6],
            "both" => vec![Family::V4, Family::V6],
            _ => return Err(format!("{text:?} is not one of v4, v6, both")),
        };
        Ok(Self(families.into_iter().collect()))
    }

    fn schema() -> Schema {
        json_schema!({ "enum": ["v4", "v6", "both"] })
    }
}

impl Value for Vid {
    fn read(text: &str) -> Result<Self, String> {
        parse_vid(text)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": 4094 })
    }
}

impl Value for bool {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("{text:?} is neither true nor false"))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

impl Value for Native {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            _ => parse_vid(text)
                .map(|vid| Self(Some(vid)))
                .map_err(|error| format!("{error}, nor \"none\"")),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "anyOf": [Vid::schema(), { "const": "none" }] })
    }
}

/// A bond's mode; `None`: no bond.
#[derive(Clone, Copy, Debug)]
pub struct BondMode(pub Option<Mode>);

impl Value for BondMode {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|mode| Self(Some(mode)))
                .map_err(|error: String| format!("{error}, none")),
        }
    }

    fn schema() -> Schema {
        let names: Vec<_> = Mode::NAMES.iter().chain(&["none"]).collect();
        json_schema!({ "enum": names })
    }
}

impl Value for Ipv4Addr {
    fn read(text: &str) -> Result<Self, String> {
        // The kernel's check of arp_ip_target (bond_is_ip_target_ok in include/net/bonding.h).
        let address = text
            .parse()
            .ok()
            .filter(|address: &Self| !address.is_unspecified() && !address.is_broadcast());
        address.ok_or_else(|| format!("{text:?} is not an IPv4 address of a host (10.0.0.1)"))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "format": "ipv4" })
    }
}

impl Value for Ipv6Addr {
    fn read(text: &str) -> Result<Self, String> {
        // The kernel's check of ns_ip6_target (bond_option_ns_ip6_targets_set).
        let address = text.parse().ok().filter(|address: &Self| {
            !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
        });
        address.ok_or_else(|| format!("{text:?} is not an IPv6 address of a host (fd00::1)"))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "format": "ipv6" })
    }
}

impl Value for IpAddr {
    fn read(text: &str) -> Result<Self, String> {
        let address = text.parse().ok().filter(|address: &Self| {
            !address.is_unspecified() && !address.is_multicast() && !address.is_loopback()
        });
        address.ok_or_else(|| format!("{text:?} is not the address of a gateway (10.0.0.1)"))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+$" })
    }
}

/// The address of the metrics server; `None`: no server.
#[derive(Clone, Copy, Debug)]
pub struct Listen(pub Option<SocketAddr>);

impl Default for Listen {
    fn default() -> Self {
        Self(Some(SocketAddr::from(([127, 0, 0, 1], 9469))))
    }
}

impl Value for Listen {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            _ => text.parse().map(|address| Self(Some(address))).map_err(|_| {
                format!(
                    "{text:?} is neither an IP address with port (127.0.0.1:9469, [::]:9469) nor \
                     \"none\""
                )
            }),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(none|.+:[0-9]{1,5})$" })
    }
}
