//! Options of DHCPv6 messages (RFC 8415 section 21.1): a code, a length, and as many octets.

use std::net::Ipv6Addr;

pub const CLIENT: u16 = 1;
pub const SERVER: u16 = 2;
pub const ASSOCIATION: u16 = 3;
pub const ADDRESS: u16 = 5;
pub const REQUESTED: u16 = 6;
pub const PREFERENCE: u16 = 7;
pub const ELAPSED: u16 = 8;
pub const STATUS: u16 = 13;
pub const SOLICIT_MAX: u16 = 82;

/// All options of a message or of another option.
pub struct Options<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Options<'a> {
    /// Reads them. `None`: a length says more than there is, or octets are left over.
    pub fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let mut options = Vec::new();
        while !bytes.is_empty() {
            let (code, rest) = bytes.split_first_chunk::<2>()?;
            let (length, rest) = rest.split_first_chunk::<2>()?;
            let (data, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
            options.push((u16::from_be_bytes(*code), data));
            bytes = rest;
        }
        Some(Self(options))
    }

    /// All options of a code.
    pub fn all(&self, code: u16) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(other, _)| *other == code).map(|(_, data)| *data)
    }

    /// The option of a code. `Err`: there are several, and only one can be meant.
    pub fn one(&self, code: u16) -> Result<Option<&'a [u8]>, Ambiguous> {
        let mut all = self.all(code);
        match (all.next(), all.next()) {
            (_, Some(_)) => Err(Ambiguous),
            (found, None) => Ok(found),
        }
    }
}

/// An option is there more than once.
pub struct Ambiguous;

/// Writes an option.
pub fn push(bytes: &mut Vec<u8>, code: u16, data: &[u8]) {
    // No option that the client sends is longer than a DUID.
    let length = u16::try_from(data.len()).unwrap_or_default();
    bytes.extend(code.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(data);
}

/// Splits a 32-bit number off.
pub fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), rest))
}

/// Splits an address off.
pub fn address(bytes: &[u8]) -> Option<(Ipv6Addr, &[u8])> {
    let (octets, rest) = bytes.split_first_chunk::<16>()?;
    Some((Ipv6Addr::from(*octets), rest))
}
