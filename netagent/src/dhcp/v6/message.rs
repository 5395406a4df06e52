//! DHCPv6 messages between client and server (RFC 8415 section 8): what the client asks, and what
//! servers answer.

use std::{net::Ipv6Addr, time::Duration};

use super::{
    duid::Duid,
    lease::Lease,
    option::{self, Options},
};

/// The longest time of a lease in seconds. An address without an end would be no lease.
const LONGEST: u32 = i32::MAX as u32;
/// The limits of option SOL_MAX_RT in seconds (RFC 8415 section 21.24).
const SOLICIT_MAX: std::ops::RangeInclusive<u32> = 60..=86_400;

/// What the client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The type of message.
    pub kind: Ask,
    /// The transaction: 24 bits.
    pub xid: u32,
    /// The time since the exchange began.
    pub elapsed: Duration,
    /// The server that is meant.
    pub server: Option<Duid>,
    /// The address that the client has or wants.
    pub address: Option<Ipv6Addr>,
}

/// The types of messages that the client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Solicit
    Solicit = 1,
    /// Request
    Request = 3,
    /// Confirm
    Confirm = 4,
    /// Renew
    Renew = 5,
    /// Rebind
    Rebind = 6,
    /// Release
    Release = 8,
    /// Decline
    Decline = 9,
}

/// The types of messages that a client takes from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Advertise
    Advertise,
    /// Reply
    Reply,
}

/// A status code (RFC 8415 section 21.13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Success, or none.
    #[default]
    Success,
    /// The server has no address for the client.
    NoAddress,
    /// The server does not know the lease.
    NoBinding,
    /// The address does not fit the link.
    NotOnLink,
    /// Any other.
    Failed(u16),
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The type of message.
    pub kind: Answer,
    /// The transaction.
    pub xid: u32,
    /// The client.
    pub client: Duid,
    /// The server.
    pub server: Duid,
    /// The preference of the server.
    pub preference: u8,
    /// The status of the message.
    pub status: Status,
    /// The longest wait between two Solicits.
    pub solicit_max: Option<Duration>,
    /// The addresses of the client's interface, with T1 and T2 in seconds.
    pub association: Option<Association>,
}

/// What a server says of the client's interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Association {
    t1: u32,
    t2: u32,
    /// The status.
    pub status: Status,
    /// The addresses.
    pub addresses: Vec<Granted>,
}

/// An address, and for how many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The address.
    pub address: Ipv6Addr,
    preferred: u32,
    valid: u32,
}

impl Question {
    /// The message of this client, for the interface with this number.
    pub fn bytes(&self, client: &Duid, interface: u32) -> Vec<u8> {
        let [_, xid @ ..] = self.xid.to_be_bytes();
        let mut bytes = vec![self.kind as u8];
        bytes.extend(xid);
        option::push(&mut bytes, option::CLIENT, client.bytes());
        if let Some(server) = &self.server {
            option::push(&mut bytes, option::SERVER, server.bytes());
        }
        // In hundredths of a second.
        let elapsed = u16::try_from(self.elapsed.as_millis() / 10).unwrap_or(u16::MAX);
        option::push(&mut bytes, option::ELAPSED, &elapsed.to_be_bytes());
        if matches!(self.kind, Ask::Solicit | Ask::Request | Ask::Renew | Ask::Rebind) {
            option::push(&mut bytes, option::REQUESTED, &option::SOLICIT_MAX.to_be_bytes());
        }
        // The server decides T1, T2 and the lifetimes: zeros.
        let mut association = [&interface.to_be_bytes()[..], &[0; 8]].concat();
        if let Some(address) = self.address {
            let data = [&address.octets()[..], &[0; 8]].concat();
            option::push(&mut association, option::ADDRESS, &data);
        }
        option::push(&mut bytes, option::ASSOCIATION, &association);
        bytes
    }
}

impl Reply {
    /// Reads a message. `None`: it is malformed, or no answer of a server. Of interfaces, only the
    /// one with this number is read.
    pub fn read(bytes: &[u8], interface: u32) -> Option<Self> {
        let ([kind, xid @ ..], rest) = bytes.split_first_chunk::<4>()?;
        let kind = match kind {
            2 => Answer::Advertise,
            7 => Answer::Reply,
            _ => return None,
        };
        let [one, two, three] = *xid;
        let options = Options::read(rest)?;
        let one_of = |code| options.one(code).ok();
        let solicit_max = one_of(option::SOLICIT_MAX)?.and_then(option::number);
        let solicit_max = solicit_max.map(|(seconds, _)| seconds);
        let solicit_max = solicit_max.filter(|seconds| SOLICIT_MAX.contains(seconds));
        let mut associations = options
            .all(option::ASSOCIATION)
            .filter(|data| data.starts_with(&interface.to_be_bytes()));
        let association = match (associations.next(), associations.next()) {
            (Some(data), None) => Some(Association::read(data)?),
            (None, _) => None,
            (Some(_), Some(_)) => return None,
        };
        Some(Self {
            kind,
            xid: u32::from_be_bytes([0, one, two, three]),
            client: Duid::read(one_of(option::CLIENT)??)?,
            server: Duid::read(one_of(option::SERVER)??)?,
            preference: one_of(option::PREFERENCE)?
                .and_then(|data| data.first().copied())
                .unwrap_or(0),
            status: status(&options)?,
            solicit_max: solicit_max.map(|seconds| Duration::from_secs(seconds.into())),
            association,
        })
    }

    /// An answer that grants these addresses for this number of seconds, T1 after 400 and T2 after
    /// 600.
    #[cfg(test)]
    pub fn for_tests(
        kind: Answer,
        xid: u32,
        ends: [&Duid; 2],
        granted: &[(Ipv6Addr, u32)],
    ) -> Self {
        let granted = granted.iter();
        let addresses = granted.map(|(address, valid)| Granted {
            address: *address,
            preferred: *valid,
            valid: *valid,
        });
        let association = Association {
            t1: 400,
            t2: 600,
            addresses: addresses.collect(),
            ..Association::default()
        };
        let [client, server] = ends.map(Clone::clone);
        Self {
            kind,
            xid,
            client,
            server,
            preference: 0,
            status: Status::Success,
            solicit_max: None,
            association: Some(association),
        }
    }

    /// The association, if neither the message nor it itself has another status than success.
    pub fn granted(&self) -> Option<&Association> {
        let association = self.association.as_ref()?;
        let ok = [self.status, association.status].iter().all(|status| *status == Status::Success);
        ok.then_some(association)
    }
}

impl Association {
    fn read(data: &[u8]) -> Option<Self> {
        let (_, rest) = option::number(data)?;
        let (t1, rest) = option::number(rest)?;
        let (t2, rest) = option::number(rest)?;
        let options = Options::read(rest)?;
        let granted = |data| Granted::read(data);
        let addresses: Option<Vec<Granted>> = options.all(option::ADDRESS).map(granted).collect();
        Some(Self { t1, t2, status: status(&options)?, addresses: addresses? })
    }

    /// The lease of an address that begins at this second. `None`: the address cannot be used.
    pub fn lease(&self, granted: Granted, server: &Duid, begin: u64) -> Option<Lease> {
        let Granted { address, preferred, valid } = granted;
        // Of a T1 behind T2, the whole association is invalid (section 21.4); of a preferred
        // lifetime behind the valid one, the address (section 21.6).
        let is_unusable = address.is_unspecified()
            || address.is_multicast()
            || address.is_loopback()
            || address.is_unicast_link_local();
        if valid == 0 || preferred > valid || is_unusable || self.t2 > 0 && self.t1 > self.t2 {
            return None;
        }
        let base = u64::from(if preferred == 0 { valid } else { preferred });
        let part = |tenths: u64| u32::try_from(base * tenths / 10).unwrap_or(LONGEST);
        // Zero: the client decides, and takes what section 21.4 recommends to servers.
        let chosen = |said: u32, own: u32| if said == 0 { own } else { said };
        let (t1, t2) = (chosen(self.t1, part(5)), chosen(self.t2, part(8)));
        let valid = valid.min(LONGEST);
        let (t1, t2) = (t1.min(valid), t2.max(t1).min(valid));
        let after = |seconds: u32| begin + u64::from(seconds);
        let preferred = preferred.min(valid);
        Some(Lease {
            address,
            server: server.clone(),
            // A server that always says zero is not asked all the time.
            renew: after(t1.max(1)),
            rebind: after(t2.max(1)),
            preferred: after(preferred),
            until: after(valid),
        })
    }
}

impl Granted {
    fn read(data: &[u8]) -> Option<Self> {
        let (address, rest) = option::address(data)?;
        let (preferred, rest) = option::number(rest)?;
        let (valid, rest) = option::number(rest)?;
        let status = status(&Options::read(rest)?)?;
        // An address that the server could not give has no time (section 18.2.10.1).
        let valid = if status == Status::Success { valid } else { 0 };
        Some(Self { address, preferred, valid })
    }

    /// Whether the server says that the address is no longer valid.
    pub const fn is_withdrawn(self) -> bool {
        self.valid == 0
    }
}

/// The status among options. `None`: it is malformed.
fn status(options: &Options<'_>) -> Option<Status> {
    let Some(data) = options.one(option::STATUS).ok()? else { return Some(Status::Success) };
    let (code, _text) = data.split_first_chunk::<2>()?;
    Some(match u16::from_be_bytes(*code) {
        0 => Status::Success,
        2 => Status::NoAddress,
        3 => Status::NoBinding,
        4 => Status::NotOnLink,
        code => Status::Failed(code),
    })
}

#[cfg(test)]
mod tests;
