//! Names and addresses of links, validated when they are parsed.

use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The name of a network interface, as the kernel accepts it: 1 to 15 bytes, without '/', ':' and
/// white space, and neither "." nor ".." (`dev_valid_name` in net/core/dev.c).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName(String);

/// IFNAMSIZ without the terminating NUL.
pub const IFNAME_MAX: usize = 15;

impl IfName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IfName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let complaint = if name.is_empty() {
            "is empty"
        } else if name.len() > IFNAME_MAX {
            "is longer than 15 characters"
        } else if name == "." || name == ".." {
            "is reserved"
        } else if !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':')
        {
            "has a character other than printable ASCII without '/', ':' and white space"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(format!("interface name {name:?} {complaint}"))
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A MAC address, written with colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            *byte = parts
                .next()
                .filter(|part| part.len() == 2)
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| format!("{text:?} is not a MAC address (02:00:00:00:00:01)"))?;
        }
        if parts.next().is_some() {
            return Err(format!("{text:?} is longer than a MAC address"));
        }
        if mac[0] & 1 == 1 {
            return Err(format!("{text:?} is a group address; a device needs an individual one"));
        }
        Ok(Self(mac))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            let colon = if position == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

/// An IP address of an interface with its prefix length, such as 10.0.0.5/24 or fd00::5/64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cidr {
    /// The address.
    pub address: IpAddr,
    /// The prefix length in bits.
    pub prefix: u8,
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let complaint = || format!("{text:?} is not an address with prefix length (10.0.0.5/24)");
        let (address, prefix) = text.split_once('/').ok_or_else(complaint)?;
        let address: IpAddr = address.parse().map_err(|_| complaint())?;
        let prefix: u8 = prefix.parse().map_err(|_| complaint())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        if prefix > bits || prefix == 0 {
            return Err(format!("{text:?} has a prefix length outside 1 to {bits}"));
        }
        if address.is_multicast() || address.is_unspecified() {
            return Err(format!("{text:?} is not an address that an interface can have"));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Cidr {
    /// The family.
    pub const fn family(&self) -> Family {
        Family::of(self.address)
    }

    /// Whether an address is in the subnet.
    pub fn contains(&self, other: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= prefix,
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= prefix,
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// A family of addresses, as `dhcp` in the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The protocol that leases its addresses.
    pub const fn dhcp(self) -> &'static str {
        match self {
            Self::V4 => "DHCP",
            Self::V6 => "DHCPv6",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        })
    }
}

/// The destination of a route, such as 10.1.0.0/16. The bits behind the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet(pub Cidr);

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cidr: Cidr = text.parse().map_err(|error| {
            if text.ends_with("/0") {
                format!("{text:?} is the destination of a default route: use `gateway`")
            } else {
                error
            }
        })?;
        let zeros = match cidr.address {
            IpAddr::V4(address) => {
                address.to_bits().trailing_zeros() + u32::from(cidr.prefix) >= 32
            }
            IpAddr::V6(address) => {
                address.to_bits().trailing_zeros() + u32::from(cidr.prefix) >= 128
            }
        };
        if zeros { Ok(Self(cidr)) } else { Err(format!("{text:?} has bits behind its prefix")) }
    }
}

/// IP addresses that a VM may use: one, or all of a prefix, such as 10.0.0.5, 10.1.0.0/16 or
/// fe80::/10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addresses(pub Cidr);

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let complaint =
            |_| format!("{text:?} is not an IP address or prefix (10.0.0.5, fd00::/64)");
        if text.ends_with("/0") {
            return Err(format!("{text:?} is every address: remove the list to allow them"));
        }
        if text.contains('/') {
            let Subnet(cidr) = text.parse()?;
            return Ok(Self(cidr));
        }
        let address: IpAddr = text.parse().map_err(complaint)?;
        let cidr = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
        cidr.parse().map(Self)
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Serializes types as text in JSON, and gives the schema of the text.
macro_rules! text {
    ($($type:ident: $schema:tt,)+) => { $(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )+ };
}

text! {
    IfName: { "type": "string", "minLength": 1, "maxLength": 15, "pattern": "^[!-.0-9;-~]+$" },
    Mac: { "type": "string", "pattern": "^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$" },
    Addresses: { "type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$" },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr_contains(cidr: &str, address: &str) -> bool {
        cidr.parse::<Cidr>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn interface_names_follow_the_kernels_rules() {
        assert!("oob-br.4094".parse::<IfName>().is_ok());
        for bad in ["", ".", "..", "a/b", "a b", "a:b", "sixteen-letters-", "tap\u{e9}", "a\0"] {
            assert!(bad.parse::<IfName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn addresses_are_printed_as_they_are_parsed() {
        for text in ["10.0.0.5/24", "fd00::5/64"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        for bad in ["10.0.0.5", "10.0.0.5/33", "10.0.0.5/0", "fd00::5/129", "224.0.0.1/24", "x/8"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
        assert!("10.1.0.0/16".parse::<Subnet>().is_ok());
        for bad in ["10.1.0.1/16", "0.0.0.0/0", "::/0", "fd00::1/64", "10.1.0.0"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
        assert!(
            cidr_contains("10.0.0.5/24", "10.0.0.255") && cidr_contains("fd00::5/64", "fd00::1")
        );
        assert!(!cidr_contains("10.0.0.5/24", "10.0.1.1") && !cidr_contains("10.0.0.5/24", "::1"));
        assert_eq!("02:00:00:00:00:0A".parse::<Mac>().unwrap().to_string(), "02:00:00:00:00:0a");
        for bad in
            ["", "02:00:00:00:00", "02:00:00:00:00:00:00", "01:00:00:00:00:00", "+2:0:0:0:0:0"]
        {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
