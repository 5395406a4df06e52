//! The DHCPv4 client (RFC 2131) of the node's own interfaces. It knows no netlink: it reads and
//! sends frames on an interface, and tells the daemon of its leases.
//!
//! `machine` decides, without clocks and sockets; `message` and `frame` have the
//! formats, `socket` the sockets, and `task` connects them.

mod frame;
mod lease;
mod machine;
mod message;
mod socket;
mod task;

pub use self::{
    lease::Lease,
    machine::{Event, Start},
    socket::check_rights,
    task::{Interface, Told, run},
};
