//! The DHCP clients of the node's own interfaces: DHCPv4 (RFC 2131) and DHCPv6 (RFC 8415). They
//! know no netlink: they read and send messages on an interface, and tell the daemon of their
//! leases.
//!
//! In both, `machine` decides, without clocks and sockets; `message` has the formats, `socket` the
//! sockets, and `task` connects them.

mod client;
mod lease;
mod random;
pub mod v4;
pub mod v6;

pub use self::{
    client::{Event, Interface, Line, Notice, Told},
    lease::Lease,
};

use crate::names::Family;

/// Refuses a process that cannot open the sockets for leases of a family.
pub fn check_rights(family: Family) -> anyhow::Result<()> {
    match family {
        Family::V4 => v4::check_rights(),
        Family::V6 => v6::check_rights(),
    }
}
