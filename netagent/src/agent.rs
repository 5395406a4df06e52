//! Brings the parts together: looks at the node, plans, and carries out units.

mod apply;
mod behind_bonds;
mod course;
mod kept_macs;
mod ledger;
mod on_trial;
mod originals;
mod pin_mac;
mod roll_back;
mod silent;
mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context as _, Result};
use netagent_common::{forward::FdbEntry, policy::UPLINK};
use tracing::warn;

pub use self::{
    apply::{Applied, Progress},
    ledger::Ledger,
    roll_back::Undone,
};
use self::{
    kept_macs::KeptMacs,
    on_trial::OnTrial,
    originals::{OriginalsFile, first_changed},
};
use crate::{
    datapath::{Datapath, fdb::Stations, glance::Glance, log, pins::Pins, programs, rights},
    fdb::Bridges,
    names::IfName,
    netlink::{Changes, Netlink},
    plan::{Permission, Plan, Unit, plan, waits_for_its_bridge},
    snapshot::Snapshot,
    state::{Desired, DeviceDrops, Finding, Hook, Observed, ObservedDatapath, Subject, TcFilters},
};

/// An agent on this node.
pub struct Agent {
    netlink: Netlink,
    datapath: Datapath,
    /// The node as it was seen last.
    seen: Seen,
    /// A look failed: what was seen may not be the whole truth.
    stale: bool,
    /// The devices as they were found. `None`: nothing is changed, or nothing is given back.
    originals: Option<OriginalsFile>,
    /// The MAC addresses of the agent's bonds.
    kept_macs: KeptMacs,
    /// Whether changes are on trial.
    trials: OnTrial,
    /// What the devices had dropped when somebody asked last.
    device_drops: BTreeMap<u32, DeviceDrops>,
}

/// The node as netlink and the datapath show it.
#[derive(Default)]
struct Seen {
    links: Observed,
    datapath: ObservedDatapath,
}

impl Agent {
    /// Opens netlink in this network namespace, and the pins. Looks at nothing yet.
    pub fn open(pins: &Path) -> Result<Self> {
        Ok(Self {
            netlink: Netlink::open()?,
            datapath: Datapath::open(&Pins::new(pins))?,
            seen: Seen::default(),
            stale: true,
            originals: None,
            kept_macs: KeptMacs::default(),
            trials: OnTrial::default(),
            device_drops: BTreeMap::new(),
        })
    }

    /// Remembers devices as they were found, in the state directory.
    pub fn remember_in(&mut self, directory: &Path) -> Result<()> {
        let mut file = OriginalsFile::read(directory)?;
        if self.datapath.is_in_charge() {
            file.set_aside();
        }
        self.originals = Some(file);
        self.trials.directory = Some(directory.to_owned());
        self.recall();
        Ok(())
    }

    fn recall(&mut self) {
        if let Some(file) = &self.originals {
            self.seen.links.originals.clone_from(file.devices());
            self.seen.links.originals_lost = file.are_incomplete();
        }
    }

    /// What an operator should know about the memory of devices as they were found.
    pub fn findings(&self) -> Vec<Finding> {
        self.originals.as_ref().map(OriginalsFile::findings).unwrap_or_default()
    }

    /// Remembers the devices that a plan changes for the first time.
    fn remember(&mut self, plan: &Plan) -> Result<()> {
        let Some(file) = &mut self.originals else { return Ok(()) };
        file.add(first_changed(plan, &self.seen.links, &self.seen.datapath))?;
        file.note_mtus(plan)?;
        self.recall();
        Ok(())
    }

    /// Drops the devices that are gone, or that `plan`, for what is left, has given back.
    fn forget_given_back(&mut self, desired: &Desired, plan: &Plan) {
        let Some(file) = &mut self.originals else { return };
        let links = &self.seen.links;
        // It may have been renamed, and be renamed back.
        let exists = |index| links.links.values().any(|link| link.index == index);
        let is_left = |name: &IfName| {
            let of_device = |unit: &Unit| unit.id.device == *name && !unit.steps.is_empty();
            desired.mentions(name) || plan.units.iter().any(of_device)
        };
        let result = file.retain(|name, original| match &original.vlan {
            // A takeover has deleted it. It is made again when its NIC is given back.
            Some((nic, _)) if !exists(original.index) => is_left(nic),
            _ => {
                let waits = waits_for_its_bridge(desired, links, original);
                exists(original.index) && (is_left(name) || waits)
            }
        });
        // A failure is a finding of the file as long as it lasts.
        let _lasts = result;
        self.recall();
    }

    /// Lets the programs log if the agent logs debug messages; see [`log`].
    pub fn log_programs(&mut self, pins: &Path) -> Result<()> {
        let level = log::level();
        self.datapath.set_log_level(level);
        if level > 0 { log::spawn(&Pins::new(pins)) } else { Ok(()) }
    }

    /// Opens this node to change it, as its only agent. Fails with nothing changed where the rights
    /// or the pin directory do not allow it, and where there is another agent.
    pub fn in_charge(pins: &Path) -> Result<Self> {
        rights::check()?;
        Pins::new(pins).check_layout()?;
        let mut agent = Self::open(pins)?;
        agent.datapath.take_charge()?;
        agent.datapath.check_owner()?;
        Ok(agent)
    }

    /// Loads the programs and maps that a desired state needs whatever the node is like, before
    /// anything is changed.
    pub fn prepare(&mut self, desired: &Desired) -> Result<()> {
        if desired.ports.is_empty() {
            return Ok(());
        }
        self.datapath.load().context("nothing was done")
    }

    /// Loads the other programs that a plan needs. Returns why a part of the node cannot have its
    /// own.
    fn prepare_plan(&mut self, plan: &Plan) -> BTreeMap<Subject, String> {
        let mut results: BTreeMap<(Hook, u32), Option<String>> = BTreeMap::new();
        let mut unfit = BTreeMap::new();
        for unit in &plan.units {
            for (hook, flags) in unit.steps.iter().filter_map(|step| step.change.program()) {
                let result = results.entry((hook, flags)).or_insert_with(|| {
                    let error = self.datapath.load_with(hook, flags).err()?;
                    Some(format!("{error:#}"))
                });
                if let Some(error) = result {
                    unfit.entry(unit.subject.clone()).or_insert_with(|| error.clone());
                }
            }
        }
        unfit
    }

    /// Looks at the whole node.
    pub async fn look(&mut self) -> Result<()> {
        self.datapath.refresh();
        self.datapath.read_again()?;
        let links = self.netlink.observe().await?;
        let filters = self.filters(&links, None).await?;
        let datapath = self.datapath.observe(&links, &filters)?;
        self.seen = Seen { links, datapath };
        self.recall();
        self.recall_macs();
        self.stale = false;
        Ok(())
    }

    /// Whether the whole node must be looked at again, as a look has failed.
    pub const fn is_stale(&self) -> bool {
        self.stale
    }

    /// Looks again at the parts that have changed.
    pub async fn look_again(&mut self, changes: &Changes) -> Result<()> {
        self.look_again_at(changes, BTreeSet::new()).await
    }

    /// Looks again at what has changed, and at these devices, which may not exist any more.
    async fn look_again_at(
        &mut self,
        changes: &Changes,
        mut devices: BTreeSet<IfName>,
    ) -> Result<()> {
        if changes.everything || self.stale {
            return self.look().await;
        }
        // Until this look has come to its end.
        self.stale = true;
        self.datapath.refresh();
        let mut links = std::mem::take(&mut self.seen.links);
        devices.extend(names(&links, &changes.links));
        let enough = self.again(&mut links, changes).await;
        devices.extend(names(&links, &changes.links));
        self.seen.links = links;
        if !enough? {
            return self.look().await;
        }
        self.recall_macs();
        let filters = self.filters(&self.seen.links, Some(&devices)).await?;
        let Seen { links, datapath } = &mut self.seen;
        self.datapath.observe_again(datapath, links, &filters, &devices)?;
        self.stale = false;
        Ok(())
    }

    async fn again(&self, links: &mut Observed, changes: &Changes) -> Result<bool> {
        if !self.netlink.observe_again(links, &changes.links).await? {
            return Ok(false);
        }
        if changes.routes {
            self.netlink.observe_routes(links).await?;
        }
        Ok(true)
    }

    /// Looks again at these devices, which are there or have just gone, and at the routes if they
    /// may have changed.
    async fn look_at(&mut self, devices: &BTreeSet<IfName>, routes: bool) -> Result<()> {
        let links = self.indexes(devices);
        self.look_again_at(&Changes { links, routes, ..Changes::default() }, devices.clone()).await
    }

    /// The interface indexes that these devices had at the last look, and those that they have now.
    pub fn indexes(&self, devices: &BTreeSet<IfName>) -> BTreeSet<u32> {
        let known = devices.iter().filter_map(|name| Some(self.seen.links.link(name)?.index));
        known.chain(devices.iter().filter_map(Datapath::index_now)).collect()
    }

    /// The interface index that a device had at the last look; `None` if that failed, too.
    pub fn index(&self, device: &IfName) -> Option<u32> {
        self.seen.links.link(device).filter(|_| !self.stale).map(|link| link.index)
    }

    /// Looks again at the bonds and their members: LACP tells nobody of its progress.
    pub async fn look_at_bonds(&mut self) -> Result<()> {
        let links = &self.seen.links;
        let bonds: BTreeSet<IfName> = links.bonds().map(|(name, ..)| name.clone()).collect();
        let members =
            bonds.iter().flat_map(|bond| links.ports_of(bond)).map(|(nic, _)| nic.clone());
        let devices: BTreeSet<IfName> = members.chain(bonds.iter().cloned()).collect();
        if devices.is_empty() { Ok(()) } else { self.look_at(&devices, false).await }
    }

    /// The programs and pins, as they were seen last.
    pub fn glance(&self) -> Glance {
        self.datapath.glance(&self.seen.datapath)
    }

    /// Reads what the devices drop themselves, for somebody who asks.
    pub async fn look_at_drops(&mut self) -> Result<()> {
        let drops = self.netlink.device_drops().await;
        self.device_drops = drops.context("read the drops of the devices")?;
        Ok(())
    }

    /// The links, as they were seen last.
    pub fn links(&self) -> &Observed {
        &self.seen.links
    }

    /// The ports and programs, as they were seen last.
    pub fn ports(&self) -> &ObservedDatapath {
        &self.seen.datapath
    }

    /// The bridges of the ports that have a policy, for the FDB mirror.
    pub fn bridges(&self) -> Bridges {
        bridges(&self.seen.links, &self.seen.datapath)
    }

    /// Programs that clsact holds, on kernels without TCX: on these devices, or on all.
    async fn filters(
        &self,
        links: &Observed,
        devices: Option<&BTreeSet<IfName>>,
    ) -> Result<TcFilters> {
        let mut filters = TcFilters::new();
        if programs::tcx() {
            return Ok(filters);
        }
        for (name, index) in self.datapath.devices() {
            let looked_at = devices.is_none_or(|devices| devices.contains(&name));
            if !looked_at || links.link(&name).is_none_or(|link| link.index != index) {
                continue;
            }
            let found = self.netlink.filters(index).await;
            filters.insert(index, found.with_context(|| format!("{name}: list filters"))?);
        }
        Ok(filters)
    }

    /// The plan for the node as it was seen last.
    pub fn plan(&self, desired: &Desired, permission: &Permission) -> Plan {
        plan(desired, &self.seen.links, &self.seen.datapath, permission)
    }

    /// Asks the drivers again that have refused XDP programs, at the next apply.
    pub fn ask_for_xdp_again(&mut self) {
        if let Err(error) = self.datapath.ask_for_xdp_again() {
            warn!("ask for XDP again: {error:#}");
        }
    }

    /// The node as it was seen last, with its counters as they are now.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let mut counters = self.datapath.counters()?;
        let usage = self.datapath.usage(&counters)?;
        let Seen { links, datapath } = &self.seen;
        let indexes =
            datapath.ports.values().flat_map(|port| port.policy.nics.iter().chain([&port.ifindex]));
        let indexes: BTreeSet<u32> = indexes.copied().collect();
        let devices = links.links.iter().filter(|(_, link)| indexes.contains(&link.index));
        let drops = devices
            .filter_map(|(name, link)| Some((name.clone(), *self.device_drops.get(&link.index)?)));
        counters.devices = drops.collect();
        Ok(Snapshot {
            links: links.clone(),
            datapath: datapath.clone(),
            counters,
            usage,
            ..Snapshot::default()
        })
    }

    /// The stations that programs know.
    pub fn stations(pins: &Path) -> Result<Vec<FdbEntry>> {
        let stations = Stations::open(&Pins::new(pins))?;
        Ok(stations.as_ref().map(Stations::entries).unwrap_or_default())
    }

    /// Takes programs and pins away, even such as this build cannot read.
    pub async fn detach(pins: &Path) -> Result<()> {
        rights::check()?;
        let mut datapath = Datapath::unread(&Pins::new(pins));
        datapath.take_charge()?;
        let netlink = Netlink::open()?;
        let links = netlink.observe().await?;
        let ours = links.links.iter().filter(|(name, _)| datapath.has_pins(name));
        let ours: Vec<u32> = ours.map(|(_, link)| link.index).collect();
        datapath.remove(&links)?;
        for index in ours.into_iter().filter(|_| !programs::tcx()) {
            netlink.remove_empty_clsact(index).await?;
        }
        Ok(())
    }
}

/// The names of the links with these indexes.
fn names(links: &Observed, indexes: &BTreeSet<u32>) -> BTreeSet<IfName> {
    let of = links.links.iter().filter(|(_, link)| indexes.contains(&link.index));
    of.map(|(name, _)| name.clone()).collect()
}

/// The bridges whose ports have a policy that asks for the FDB.
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
