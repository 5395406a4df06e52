//! What the steps of a plan mean for leases.

use super::file::Key;
use crate::{
    change::{Change, LinkChange},
    dhcp::Lease,
    plan::{Plan, Step, Unit},
    state::{Desired, Host, Part},
};

/// Whether a unit removes the address of a lease.
pub fn removes(unit: &Unit, Key(name, _): &Key, lease: &Lease) -> bool {
    unit.steps.iter().any(|step| match &step.change {
        Change::Link(LinkChange::RemoveAddress(link, cidr)) => {
            link == name && *cidr == lease.address()
        }
        Change::Link(LinkChange::Delete(link)) => link == name,
        _ => false,
    })
}

/// Whether a plan gives the address of a lease to another link: the node still uses it.
pub fn moves(plan: &Plan, lease: &Lease) -> bool {
    let mut steps = plan.units.iter().flat_map(|unit| &unit.steps);
    steps.any(|step| {
        matches!(&step.change, Change::Link(LinkChange::CopyAddress(_, _, cidr)) if *cidr == lease.address())
    })
}

/// Whether the NIC that has the node's address is still to join the segment of a host: its address
/// comes along.
pub fn is_taken_over(desired: &Desired, plan: &Plan, host: &Host) -> bool {
    let subject = desired.segment_of(&host.bridge);
    let joins = |step: &Step| {
        matches!(step.change, Change::Link(LinkChange::AddMember(..) | LinkChange::AddPort(..)))
    };
    plan.units.iter().any(|unit| {
        matches!(unit.id.part, Part::Takeover | Part::Port)
            && unit.subject == subject
            && unit.steps.iter().any(joins)
    })
}
