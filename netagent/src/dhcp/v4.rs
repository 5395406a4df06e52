//! The DHCPv4 client (RFC 2131).

mod frame;
mod lease;
mod machine;
mod message;
mod socket;
mod task;

pub use self::{
    lease::Lease,
    machine::Start,
    socket::{Outlet, check_rights},
    task::run,
};
