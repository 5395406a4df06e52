//! Brings the parts together: look, plan, apply, look again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use netagent_common::{forward::FdbEntry, policy::UPLINK};
use tracing::warn;

use crate::{
    change::{Change, DatapathChange, LinkChange},
    datapath::{Datapath, Filters, fdb::Stations, log, pins::Pins, programs},
    fdb::Bridges,
    names::IfName,
    netlink::{Netlink, Side},
    plan::{Plan, plan},
    snapshot::Snapshot,
    state::{Desired, Hook, Observed, ObservedDatapath, Role},
};

/// How often a plan is carried out before what remains of it counts as a failure: what a step sets off (a bond that
/// takes its first member's address) may need another step.
const ROUNDS: usize = 4;

/// An agent on this node.
pub struct Agent {
    netlink: Netlink,
    datapath: Datapath,
    /// The bridges of the ports that had a policy at the last look.
    bridges: Bridges,
}

/// What the operator allows to be done to links that carry the node itself.
pub enum Permission {
    /// Only to these.
    Only(BTreeSet<IfName>),
    /// To all: the file has not changed, so what differs was changed behind the agent's back.
    Restore,
}

impl Agent {
    /// Opens netlink in this network namespace, and what is pinned.
    pub fn open(pins: &Path) -> Result<Self> {
        Ok(Self {
            netlink: Netlink::open()?,
            datapath: Datapath::open(&Pins::new(pins))?,
            bridges: Bridges::default(),
        })
    }

    /// Lets the programs log if the agent logs debug messages; see [`log`].
    pub fn log_programs(&mut self, pins: &Path) -> Result<()> {
        let level = log::level();
        self.datapath.set_log_level(level);
        if level > 0 { log::spawn(&Pins::new(pins)) } else { Ok(()) }
    }

    /// Whether there is anything to detach.
    pub fn has_pins(&self) -> bool {
        self.datapath.has_pins()
    }

    /// Makes this the one agent that changes the node; an error where there is another.
    pub fn take_charge(&mut self) -> Result<()> {
        self.datapath.take_charge()
    }

    /// What there is.
    pub async fn look(&mut self) -> Result<(Observed, ObservedDatapath)> {
        self.datapath.refresh();
        let links = self.netlink.observe().await?;
        let filters = self.filters(&links).await?;
        let datapath = self.datapath.observe(&links, &filters)?;
        self.bridges = bridges(&links, &datapath);
        Ok((links, datapath))
    }

    /// The bridges whose ports had a policy at the last look.
    pub fn bridges(&self) -> &Bridges {
        &self.bridges
    }

    /// Programs held by clsact, on kernels without TCX.
    async fn filters(&self, links: &Observed) -> Result<Filters> {
        let mut filters = Filters::new();
        if programs::tcx() {
            return Ok(filters);
        }
        for (name, index) in self.datapath.devices() {
            if links.link(&name).is_none_or(|link| link.index != index) {
                continue;
            }
            let found = self.netlink.filters(index).await;
            let found = found.with_context(|| format!("{name}: list filters"))?;
            let ours = found.into_iter().filter(|filter| {
                filter.priority == programs::FILTER_PRIORITY
                    && filter.handle == programs::FILTER_HANDLE
            });
            let held = filters.entry(index).or_default();
            for filter in ours {
                let on_side = match filter.side {
                    Side::Ingress => [Hook::UplinkIn, Hook::PortIn],
                    Side::Egress => [Hook::UplinkOut, Hook::PortOut],
                };
                held.extend(on_side.map(|hook| (hook, filter.program)));
            }
        }
        Ok(filters)
    }

    /// What would be done.
    pub async fn plan(&mut self, desired: &Desired) -> Result<Plan> {
        let (links, datapath) = self.look().await?;
        plan(desired, &links, &datapath)
    }

    /// Makes the node as desired, and verifies that it is. `tell` hears of each step before it is taken, and may
    /// look at the node. Returns the last plan, which has no steps left, but may have warnings.
    pub async fn apply(
        &mut self,
        desired: &Desired,
        permission: &Permission,
        mut tell: impl AsyncFnMut(&mut Self, &Change),
    ) -> Result<Plan> {
        for round in 0..ROUNDS {
            let plan = self.plan(desired).await?;
            if plan.is_empty() {
                self.datapath.retire_others();
                return Ok(plan);
            }
            // What follows from steps that were allowed must not be stopped half-way.
            if round == 0 {
                refuse_unconfirmed(&plan, permission)?;
            }
            if let Err((step, error)) = self.carry_out(&plan, &mut tell).await {
                // What a step was for may be gone by now: then it is not asked for any more.
                if self.plan(desired).await?.changes.contains(&step) {
                    return Err(error);
                }
            }
        }
        let rest = self.plan(desired).await?;
        if rest.is_empty() {
            return Ok(rest);
        }
        let steps: Vec<_> = rest.changes.iter().map(ToString::to_string).collect();
        bail!("applied, but this does not stay as it should: {}", steps.join("; "));
    }

    /// Takes the steps of a plan; else the one that failed.
    async fn carry_out(
        &mut self,
        plan: &Plan,
        tell: &mut impl AsyncFnMut(&mut Self, &Change),
    ) -> Result<(), (Change, anyhow::Error)> {
        let mut without_xdp = BTreeSet::new();
        for change in &plan.changes {
            let result = match change {
                Change::Link(step) => {
                    tell(self, change).await;
                    self.change_link(step).await.with_context(|| format!("at `{step}`"))
                }
                Change::Datapath(step) => {
                    let uplink = xdp_step(step);
                    if uplink.is_some_and(|uplink| without_xdp.contains(uplink)) {
                        continue;
                    }
                    tell(self, change).await;
                    match (self.datapath.apply(step), uplink) {
                        // TC is the authority and is attached already: XDP is a gain, not a need.
                        (Err(error), Some(uplink)) => {
                            warn!("{uplink}: goes on without XDP: {error:#}");
                            without_xdp.insert(uplink.clone());
                            self.datapath.refuse_xdp(uplink)
                        }
                        (result, _) => result,
                    }
                }
            };
            result.map_err(|error| (change.clone(), error))?;
        }
        Ok(())
    }

    async fn change_link(&self, step: &LinkChange) -> Result<()> {
        match step {
            // Not by name: who has it by now may be another device, without programs.
            LinkChange::AddPort(name, bridge) if let Some(index) = self.datapath.index(name) => {
                self.netlink.add_port(name, index, bridge).await
            }
            _ => self.netlink.apply(step).await,
        }
    }

    /// Everything that is known.
    pub async fn snapshot(&mut self) -> Result<Snapshot> {
        let (links, datapath) = self.look().await?;
        let counters = self.datapath.counters()?;
        let usage = self.datapath.usage(&counters)?;
        Ok(Snapshot { links, datapath, counters, usage, daemon: None })
    }

    /// The stations that programs know, and the links that they are behind.
    pub async fn stations(&mut self, pins: &Path) -> Result<(Vec<FdbEntry>, Observed)> {
        let stations = Stations::open(&Pins::new(pins))?;
        let stations = stations.as_ref().map(Stations::entries).unwrap_or_default();
        Ok((stations, self.netlink.observe().await?))
    }

    /// Takes programs and pins away, even such as this build cannot read.
    pub async fn detach(pins: &Path) -> Result<()> {
        let mut datapath = Datapath::unread(&Pins::new(pins));
        datapath.take_charge()?;
        let links = Netlink::open()?.observe().await?;
        datapath.remove(&links)
    }
}

/// The bridges whose ports have a policy.
fn bridges(links: &Observed, datapath: &ObservedDatapath) -> Bridges {
    let mut bridges = Bridges::default();
    for port in datapath.ports.values() {
        let Some(link) = port.policy.bridge.as_ref().and_then(|bridge| links.link(bridge)) else {
            continue;
        };
        bridges.macs.insert(link.index, link.mac);
        if port.policy.has(UPLINK) {
            bridges.uplinks.insert(port.ifindex);
        }
    }
    bridges
}

/// Refuses a plan that would alter links which carry the node, unless the operator allows it.
pub fn refuse_unconfirmed(plan: &Plan, permission: &Permission) -> Result<()> {
    let Permission::Only(confirmed) = permission else { return Ok(()) };
    let unconfirmed: Vec<_> = plan.guarded.difference(confirmed).map(ToString::to_string).collect();
    if unconfirmed.is_empty() {
        return Ok(());
    }
    bail!(
        "nothing was changed: {} would be altered, which carries the node's own network; look at `netagent \
         plan`, and if that is meant, add {}",
        unconfirmed.join(" and "),
        unconfirmed.iter().map(|name| format!("--confirm {name}")).collect::<Vec<_>>().join(" ")
    );
}

/// The uplink, if this step is about XDP and the node is as well without it.
fn xdp_step(step: &DatapathChange) -> Option<&IfName> {
    match step {
        DatapathChange::Attach(uplink, Hook::UplinkXdp, _)
        | DatapathChange::RxVlanOff(uplink, _) => Some(uplink),
        DatapathChange::SetPolicy(uplink, policy)
            if policy.has(netagent_common::policy::TAGS_IN_BYTES) =>
        {
            Some(uplink)
        }
        DatapathChange::SetPolicy(..)
        | DatapathChange::Attach(..)
        | DatapathChange::Detach(..)
        | DatapathChange::Forget(_) => None,
    }
}

/// What keeps the node from being as desired: programs that are not attached where they should be.
pub fn not_ready(desired: &Desired, links: &Observed, datapath: &ObservedDatapath) -> Vec<String> {
    let mut missing = Vec::new();
    for (name, port) in &desired.ports {
        let Some(link) = links.link(name) else {
            if matches!(port.role, Role::Uplink { .. }) {
                missing.push(format!("{name}: no such device"));
            }
            continue;
        };
        let known = datapath.ports.get(name).filter(|known| known.ifindex == link.index);
        for hook in port.role.hooks() {
            if known.is_none_or(|known| !known.attached.contains(hook)) {
                missing.push(format!("{name}: {} is not attached", hook.program()));
            }
        }
        if link.controller.as_ref() != Some(&port.bridge) {
            missing.push(format!("{name}: is not a port of {}", port.bridge));
        }
    }
    missing
}

/// The steps of a plan by what they mend, for counting drift.
pub fn kinds(plan: &Plan) -> BTreeMap<&'static str, u64> {
    let mut kinds = BTreeMap::new();
    for change in &plan.changes {
        let kind = match change {
            Change::Link(step) => step.kind(),
            Change::Datapath(DatapathChange::SetPolicy(..) | DatapathChange::Forget(_)) => "policy",
            Change::Datapath(
                DatapathChange::Attach(..)
                | DatapathChange::Detach(..)
                | DatapathChange::RxVlanOff(..),
            ) => "program",
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}
