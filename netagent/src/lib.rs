//! One agent for the network of a hypervisor node.
//!
//! Knowledge runs one way: sources ([`config`], the control socket) → [`intent`] → [`state`] ←
//! [`netlink`], [`datapath`]. [`plan`] and [`health`] know only [`state`]. [`agent`] carries plans
//! out, and [`daemon`] drives it. [`show`], [`metrics`], [`server`] and [`control`] read a
//! [`snapshot`]. See docs/architecture.md.

pub mod agent;
mod announce;
pub mod bond;
pub mod change;
pub mod checksum;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
pub mod datapath;
pub mod dhcp;
pub mod fdb;
pub mod health;
pub mod import;
mod input;
pub mod intent;
pub mod logging;
pub mod managers;
pub mod metrics;
pub mod monitor;
pub mod names;
pub mod netlink;
pub mod output;
pub mod pattern;
pub mod plan;
pub mod reason;
pub mod regular_file;
pub mod request;
#[cfg(test)]
mod rooms;
pub mod server;
pub mod show;
pub mod snapshot;
pub mod state;
pub mod state_file;
pub mod status;
pub mod trial;
pub mod vids;
mod worker;
