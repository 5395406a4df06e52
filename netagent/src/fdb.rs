//! The forwarding databases (FDB) of the bridges, mirrored into the map that the programs read.
//!
//! - `mirror`: a pure copy of the FDBs that decides which entries to write to the map.
//! - `follow`: the thread that feeds the mirror from netlink and writes the map.
//! - [`crate::datapath::fdb`]: the map itself. [`crate::netlink`]: the notifications and dumps.

mod follow;
mod mirror;

pub use self::{
    follow::{Fdb, spawn},
    mirror::{Bridges, Moves},
};
