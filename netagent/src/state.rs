//! Plain data: what the node should look like, and what it looks like. Knows no netlink, no aya and no file.

mod counters;
mod desired;
mod hook;
mod observed;
mod policy;

pub use self::{
    counters::{Count, Counters, DropKind, Forwarded, PortCounters, Traffic},
    desired::{
        Admit, Bond, Bridge, Desired, FastPath, Filtering, Host, Port, PriorityTags, Role,
        Security, Storm,
    },
    hook::Hook,
    observed::{
        BondState, BridgeState, Kernel, Kind, Link, Member, Observed, ObservedDatapath,
        ObservedPort, VlanFlags,
    },
    policy::{PortPolicy, checks},
};

/// The ifalias of what the agent created, and so may delete.
pub const OWNED: &str = "netagent";
