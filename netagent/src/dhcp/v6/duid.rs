//! DHCP unique identifiers (RFC 8415 section 11): by these, clients and servers know each other.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::names::Mac;

/// The shortest one has a type and one octet more, the longest one 128 octets more.
const LENGTHS: std::ops::RangeInclusive<usize> = 3..=130;
/// DUID-LL: the hardware type and the link-layer address of an interface.
const LINK_LAYER: [u8; 2] = [0, 3];
const ETHERNET: [u8; 2] = [0, 1];
/// DUID-UUID (RFC 6355)
const UUID: [u8; 2] = [0, 4];
/// The bit of a MAC address that its vendor has not assigned.
const LOCAL: u8 = 2;

/// An identifier.
#[derive(Clone, PartialEq, Eq)]
pub struct Duid(Vec<u8>);

impl Duid {
    /// An identifier that a server has sent. `None`: its length is not that of one.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        LENGTHS.contains(&bytes.len()).then(|| Self(bytes.to_vec()))
    }

    /// A new identifier for a node: of the MAC address, which an operator can read on the NIC, or
    /// of random octets where no vendor has assigned the address.
    pub fn of_node(mac: Mac, random: [u8; 16]) -> Self {
        if mac.0[0] & LOCAL == 0 {
            Self([&LINK_LAYER[..], &ETHERNET, &mac.0].concat())
        } else {
            Self([&UUID[..], &random].concat())
        }
    }

    /// The octets.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// As servers print it.
impl fmt::Display for Duid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            let colon = if position == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Duid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Duid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Result<Vec<u8>, _> =
            text.split(':').map(|octet| u8::from_str_radix(octet, 16)).collect();
        let duid = bytes.ok().and_then(|bytes| Self::read(&bytes));
        duid.ok_or_else(|| format!("{text:?} is not a DHCP unique identifier"))
    }
}

impl Serialize for Duid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_its_nic_or_by_a_random_number() {
        let of = |mac| Duid::of_node(Mac(mac), [7; 16]).to_string();
        assert_eq!(of([0x52 & !LOCAL, 0x54, 0, 1, 2, 3]), "00:03:00:01:50:54:00:01:02:03");
        assert_eq!(of([0x52, 0x54, 0, 1, 2, 3]), format!("00:04{}", ":07".repeat(16)));
    }

    #[test]
    fn an_identifier_is_written_as_it_is_read() {
        let text = "\"00:03:00:01:50:54:00:01:02:03\"";
        let duid: Duid = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&duid).unwrap(), text);
        for bad in ["", "00:03", "00:03:zz", "00:03:100"] {
            assert!(bad.parse::<Duid>().is_err(), "{bad}");
        }
        assert!(Duid::read(&[0; 130]).is_some() && Duid::read(&[0; 131]).is_none());
    }
}
