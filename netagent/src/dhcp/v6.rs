//! The DHCPv6 client (RFC 8415): one non-temporary address for an interface.
//!
//! The client does not say that it accepts Reconfigure messages, and ignores them. Routes and the
//! prefix of the link come from router advertisements, which are the kernel's.

mod duid;
mod lease;
mod machine;
mod message;
mod option;
mod retry;
mod socket;
mod task;

pub use self::{duid::Duid, lease::Lease, machine::Start, socket::check_rights, task::run};
