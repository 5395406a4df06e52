//! Plain data: the desired state of the node and the observed one. The module knows neither netlink
//! nor aya nor files.

mod counters;
mod desired;
mod filter;
mod finding;
mod hook;
mod lease;
mod observed;
mod original;
mod outcome;
mod policy;
mod route;
#[cfg(test)]
pub(crate) mod sample;
mod unit;

pub use self::{
    counters::{Count, Counters, DropKind, Forwarded, PortCounters, Traffic},
    desired::{
        Admit, Bond, Bridge, Desired, FastPath, Filtering, Host, Port, PriorityTags, Role,
        Security, Storm,
    },
    filter::{ClsactSide, TcFilter, TcFilters},
    finding::{Code, Finding, Severity, State, Subject},
    hook::Hook,
    lease::{Dhcp, LEASED_METRIC, Lease},
    observed::{
        BondState, BridgeState, Kernel, Kind, Link, Member, Observed, ObservedDatapath,
        ObservedPort, VlanFlags,
    },
    original::{Original, Originals},
    outcome::Outcome,
    policy::{PortPolicy, checks},
    route::{Address, DHCP_PROTOCOL, MAIN_TABLE, PROTOCOL, Route},
    unit::{Part, UnitId},
};

/// The ifalias of links that the agent created and may delete.
pub const OWNED: &str = "netagent";
