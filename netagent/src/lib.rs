//! One agent for the network of a hypervisor node.
//!
//! The pipeline, as plain data between the steps:
//! [`config`] (a file) → [`state::Desired`] ← diff → [`state::Observed`] ([`netlink`]);
//! [`plan`] knows only [`state`] and makes a list of changes; [`netlink`] and [`datapath`] carry them out;
//! only [`agent`] knows all.

pub mod agent;
pub mod bond;
pub mod change;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod datapath;
pub mod fdb;
pub mod metrics;
pub mod monitor;
pub mod names;
pub mod netlink;
pub mod plan;
pub mod reason;
pub mod server;
pub mod show;
pub mod snapshot;
pub mod state;
pub mod vids;
