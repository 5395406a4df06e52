//! What an agent remembers of its units from one apply to the next: which failed, and which were as
//! desired.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    names::IfName,
    plan::{Permission, Plan, Unit},
    state::{Code, Desired, Finding, Host, Part, Port, UnitId},
};

/// The delay before a failed unit is tried again; doubled with each failure.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest delay.
const LAST_RETRY: Duration = Duration::from_secs(16);

/// The memory of the agent.
#[derive(Default)]
pub struct Ledger {
    failures: BTreeMap<UnitId, Failure>,
    /// Units that were as desired: a later difference was made by somebody else.
    settled: BTreeSet<UnitId>,
    /// What may be done to links that carry the node.
    permission: Permission,
    /// Links that may be altered by any change.
    confirmed: BTreeSet<IfName>,
    /// Units that somebody waits for: they come first.
    pub urgent: BTreeSet<UnitId>,
}

/// A unit that failed.
struct Failure {
    /// The steps that it had: other steps are tried at once.
    steps: Vec<String>,
    finding: Finding,
    delay: Duration,
    retry_at: Instant,
}

impl Ledger {
    /// An empty memory. These links may be altered by any change.
    pub fn new(confirmed: BTreeSet<IfName>) -> Self {
        let permission = Permission { confirmed: confirmed.clone(), ..Permission::default() };
        Self { permission, confirmed, ..Self::default() }
    }

    /// What may be done to links that carry the node.
    pub fn permission(&self) -> &Permission {
        &self.permission
    }

    /// The operator confirms a change of these links, until it has been carried out.
    pub fn confirm(&mut self, links: impl IntoIterator<Item = IfName>) {
        self.permission.confirmed.extend(links);
    }

    /// Whether a unit is to be tried now.
    pub(super) fn may_try(&self, unit: &Unit) -> bool {
        self.failures.get(&unit.id).is_none_or(|failure| {
            failure.retry_at <= Instant::now() || failure.steps != steps(unit)
        })
    }

    /// Notes that the units of a plan that need no confirmation are being carried out.
    pub(super) fn begin(&mut self, plan: &Plan) {
        let begun = plan.units.iter().filter(|unit| unit.is_runnable());
        self.permission.allowed.extend(begun.map(|unit| unit.id.clone()));
    }

    /// Notes that a unit failed.
    pub(super) fn failed(&mut self, unit: &Unit, code: Code, text: String) {
        let before = self.failures.get(&unit.id).map(|failure| failure.delay * 2);
        let delay = before.unwrap_or(FIRST_RETRY).min(LAST_RETRY);
        let finding = Finding::new(unit.subject.clone(), code, text, "");
        let retry_at = Instant::now() + delay;
        self.failures
            .insert(unit.id.clone(), Failure { steps: steps(unit), finding, delay, retry_at });
    }

    /// Compares the memory with the plan for what is left after an apply.
    pub(super) fn settle(&mut self, desired: &Desired, plan: &Plan) {
        let left = |id: &UnitId| plan.units.iter().find(|unit| unit.id == *id);
        let has_steps = |id: &UnitId| left(id).is_some_and(|unit| !unit.steps.is_empty());
        self.failures.retain(|id, _| has_steps(id));
        self.urgent.retain(has_steps);
        let absent = |id: &UnitId| left(id).is_some_and(|unit| unit.findings.iter().any(is_absent));
        let (absent, present): (Vec<_>, Vec<_>) = units(desired).partition(absent);
        for id in absent {
            self.settled.remove(&id);
            self.permission.allowed.remove(&id);
        }
        let settled = present.into_iter().filter(|id| !has_steps(id));
        self.settled.extend(settled);
        self.permission.allowed.extend(self.settled.iter().cloned());
    }

    /// Ends the confirmations of changes that have been carried out. `plan` is what is left without
    /// them.
    pub(super) fn end_confirmations(&mut self, plan: &Plan) {
        let open = plan.unconfirmed();
        let always = &self.confirmed;
        self.permission.confirmed.retain(|link| always.contains(link) || open.contains(link));
    }

    /// Whether confirmations of single changes are in force.
    pub(super) fn has_confirmations(&self) -> bool {
        self.permission.confirmed.len() > self.confirmed.len()
    }

    /// What may be done without the confirmations of single changes.
    pub(super) fn lasting_permission(&self) -> Permission {
        Permission { confirmed: self.confirmed.clone(), ..self.permission.clone() }
    }

    /// Something else is desired: forgets what was known of the units that differ.
    pub fn desire(&mut self, old: &Desired, new: &Desired) {
        self.settled.retain(|id| wants_the_same(old, new, id));
        self.permission.allowed.retain(|id| wants_the_same(old, new, id));
    }

    /// Somebody asks for the units for which `is_asked` holds: one that failed is tried now.
    pub fn try_again(&mut self, is_asked: impl Fn(&UnitId) -> bool) {
        let asked = self.failures.iter_mut().filter(|(id, _)| is_asked(id));
        asked.for_each(|(_, failure)| failure.retry_at = Instant::now());
    }

    /// When the next failed unit is to be tried again.
    pub fn next_retry(&self) -> Option<Instant> {
        self.failures.values().map(|failure| failure.retry_at).min()
    }

    /// A finding for each unit that failed.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.failures.values().map(|failure| &failure.finding)
    }

    /// A finding for each unit that failed and has something left to do.
    pub fn findings_left<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = &'a Finding> {
        let is_left =
            |id: &UnitId| plan.units.iter().any(|unit| unit.id == *id && !unit.steps.is_empty());
        let failures = self.failures.iter().filter(move |(id, _)| is_left(id));
        failures.map(|(_, failure)| &failure.finding)
    }

    /// Whether a unit was as desired before.
    pub(super) fn is_settled(&self, id: &UnitId) -> bool {
        self.settled.contains(id)
    }
}

/// Whether a finding says that the unit is not as desired though it has no steps.
fn is_absent(finding: &Finding) -> bool {
    matches!(
        finding.code,
        Code::DeviceMissing | Code::AlternativeName | Code::Refused | Code::ConfirmationNeeded
    )
}

fn steps(unit: &Unit) -> Vec<String> {
    unit.steps.iter().map(|step| step.change.to_string()).collect()
}

/// The units of a desired state.
fn units(desired: &Desired) -> impl Iterator<Item = UnitId> {
    let bonds = desired.bonds.keys().map(|name| UnitId::new(Part::Bond, name));
    let bridges = desired.bridges.keys().flat_map(|name| {
        [Part::Bridge, Part::OwnVlans, Part::Filtering].map(|part| UnitId::new(part, name))
    });
    let ports = desired.ports.keys().map(|name| UnitId::new(Part::Port, name));
    let hosts = desired.hosts.keys().map(|name| UnitId::new(Part::Host, name));
    bonds.chain(bridges).chain(ports).chain(hosts)
}

/// Whether both desired states want the same for a unit.
fn wants_the_same(old: &Desired, new: &Desired, id: &UnitId) -> bool {
    let name = &id.device;
    let hosts = |desired: &Desired| {
        let on_bridge = desired.hosts.iter().filter(|(_, host)| host.bridge == *name);
        on_bridge.map(|(_, host)| (host.vid, host.tagged)).collect::<Vec<_>>()
    };
    // The same port may be named in another line of the file.
    let port = |desired: &Desired| {
        let port = desired.ports.get(name)?.clone();
        Some(Port { origin: String::new(), ..port })
    };
    // A lease has a unit of its own.
    let host =
        |desired: &Desired| Some(Host { dhcp: <_>::default(), ..desired.hosts.get(name)?.clone() });
    match id.part {
        Part::Bond => old.bonds.get(name) == new.bonds.get(name),
        Part::Bridge | Part::Filtering => old.bridges.get(name) == new.bridges.get(name),
        Part::OwnVlans | Part::FormerVlans => hosts(old) == hosts(new),
        Part::Port => port(old) == port(new),
        Part::Host => host(old) == host(new),
        Part::FormerBridge
        | Part::FormerPort
        | Part::FormerLink
        | Part::FormerMember
        | Part::GivenBack
        | Part::Lease(_)
        | Part::Takeover => false,
    }
}
