//! Plain data: the desired state of the node and the observed one. The module knows neither netlink
//! nor aya nor files.

mod counters;
mod desired;
mod filter;
mod finding;
mod hidden_tags;
mod hook;
mod lease;
mod neighbour;
mod observed;
mod original;
mod outcome;
mod pod;
mod policy;
mod route;
mod rule;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
mod unit;

pub use self::{
    counters::{Count, Counters, DeviceDrops, DropKind, Forwarded, PortCounters, Traffic},
    desired::{
        Admit, Bond, Bridge, Desired, FastPath, Filtering, Host, Port, PriorityTags, RejectedPort,
        Role, Security, Storm,
    },
    filter::{ClsactSide, TcFilter, TcFilters},
    finding::{Code, Finding, Severity, State, Subject},
    hidden_tags::HiddenTags,
    hook::Hook,
    lease::{Dhcp, LEASED_METRIC, Lease, Lifetime},
    neighbour::Neighbour,
    observed::{
        BondState, BridgeState, Kernel, Kind, Link, Member, Observed, ObservedDatapath,
        ObservedPort, Order, PortFlag, Snooping, UnnamedLink, VlanFlags,
    },
    original::{Original, Originals},
    outcome::Outcome,
    pod::PodInterface,
    policy::{PortPolicy, checks},
    route::{Address, DHCP_PROTOCOL, MAIN_TABLE, PROTOCOL, Route},
    rule::{Place, Rule},
    unit::{Part, UnitId},
};

/// The ifalias of links that the agent created and may delete.
pub const OWNED: &str = "netagent";
