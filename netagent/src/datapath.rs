//! The datapath: programs, maps and counters of one pin directory. Uses aya and the kernel's BPF,
//! not netlink.

mod allowed;
mod attach;
mod batch;
pub mod clock;
mod counters;
pub mod fdb;
mod front;
pub mod glance;
mod grace;
mod index;
mod link;
pub mod log;
mod maps;
mod memory;
mod offload;
mod owner;
mod pairs;
pub mod pins;
pub mod programs;
mod queue;
pub mod rights;
pub mod samples;
pub mod silence;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    os::unix::net::{UnixDatagram, UnixListener},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use netagent_common::{
    MAX_DROPS, MAX_PAIRS, MAX_PORTS, MAX_STATIONS,
    counters::ANY_PORT,
    policy::{UPLINK, XDP_REFUSED},
};
use rustix::net::netdevice::name_to_index;

use tracing::debug;

use self::{
    glance::Glance,
    maps::Maps,
    pins::Pins,
    programs::Programs,
    silence::Silences,
    table::{Device, PortEntry, Table},
};
use crate::{
    change::DatapathChange,
    names::IfName,
    state::{
        ClsactSide, Counters, Hook, Observed, ObservedDatapath, ObservedPort, Order, TcFilters,
    },
};

/// The open datapath.
pub struct Datapath {
    pins: Pins,
    programs: Programs,
    /// `None` until the maps exist.
    open: Option<(Maps, Table)>,
    /// Exclusive lock on the pin directory.
    charge: Option<(File, Option<UnixListener>)>,
    /// Whether this process made the pin directory, and has loaded nothing yet.
    is_new: bool,
    /// IDs of the programs that were seen attached by our pins.
    known: BTreeSet<u32>,
    /// IDs of such programs since the pins are gone: their links are still there.
    lost: BTreeSet<u32>,
    /// When programs have moved before those of others.
    moved: BTreeMap<(IfName, Hook), Instant>,
}

/// How long a program that has moved before others does not move again: whoever comes before it
/// again may insist, and each move drops frames.
const CONTEST: Duration = Duration::from_secs(60);

impl Datapath {
    /// Opens the pinned maps, if they exist.
    pub fn open(pins: &Pins) -> Result<Self> {
        let mut datapath = Self::unread(pins);
        if maps::are_there(pins) {
            pins.check()?;
            let maps = Maps::open(pins)?;
            let table = Table::read(&maps)?;
            datapath.open = Some((maps, table));
        }
        Ok(datapath)
    }

    /// The datapath without its maps, for removing pins that this build cannot read.
    pub fn unread(pins: &Pins) -> Self {
        Self {
            pins: pins.clone(),
            programs: Programs::new(pins),
            open: None,
            charge: None,
            is_new: false,
            known: BTreeSet::new(),
            lost: BTreeSet::new(),
            moved: BTreeMap::new(),
        }
    }

    /// Sets the level at which the programs log; see [`log`].
    pub fn set_log_level(&mut self, level: u8) {
        self.programs.set_log_level(level);
    }

    /// Makes the pin directory and locks it: no other agent can change it.
    pub fn take_charge(&mut self) -> Result<()> {
        self.is_new = self.pins.create()?;
        self.charge = Some((self.pins.lock()?, owner::take()?));
        let Some((maps, table)) = &mut self.open else { return Ok(()) };
        // An agent that was killed may not have made these keys.
        maps.reserve_drops(ANY_PORT, 0)?;
        table.tidy(maps).context("clear what another agent has left")
    }

    /// Refuses a network namespace that has programs of another agent.
    pub fn check_owner(&self) -> Result<()> {
        owner::check(&self.pins)
    }

    /// Whether this process is the one that changes the pins.
    pub const fn is_in_charge(&self) -> bool {
        self.charge.is_some()
    }

    /// Closes maps whose pins were removed: programs that are loaded later have new maps.
    pub fn refresh(&mut self) {
        if self.open.as_ref().is_some_and(|(maps, _)| !maps.are_pinned(&self.pins)) {
            self.open = None;
            self.lost.extend(std::mem::take(&mut self.known));
        }
    }

    /// Reads the maps again: somebody may have changed them by hand.
    pub fn read_again(&mut self) -> Result<()> {
        if let Some((maps, table)) = &mut self.open {
            *table = Table::read(maps).context("read the policies")?;
        }
        Ok(())
    }

    /// Loads programs and maps, unless they are loaded: this kernel accepts them, and has memory
    /// for the maps. If not, nothing is left behind.
    pub fn load(&mut self) -> Result<()> {
        let result = self.load_all();
        if result.is_err() && self.is_new {
            let _the_first_error_counts = self.pins.remove_all();
        }
        self.is_new &= result.is_err();
        result
    }

    /// Loads a program with the code for some optional flags, unless it is loaded.
    pub fn load_with(&mut self, hook: Hook, flags: u32) -> Result<()> {
        self.load()?;
        self.programs.load_with(hook, flags)
    }

    fn load_all(&mut self) -> Result<()> {
        self.pins.create()?;
        self.programs.load()?;
        if self.open.is_none() {
            let mut maps = Maps::open(&self.pins)?;
            maps.reserve_drops(ANY_PORT, 0)?;
            let table = Table::read(&maps)?;
            self.open = Some((maps, table));
        }
        Ok(())
    }

    /// The ports and programs. `links` gives the devices, `filters` the clsact filters on them.
    pub fn observe(&mut self, links: &Observed, filters: &TcFilters) -> Result<ObservedDatapath> {
        let mut observed = ObservedDatapath {
            counted_peers: programs::counted_peers(),
            stacked_tags: programs::stacked_tags(),
            ..ObservedDatapath::default()
        };
        let known = self.open.iter().flat_map(|(_, table)| table.ports.keys());
        let devices = links.links.keys().chain(known).cloned().collect();
        self.observe_again(&mut observed, links, filters, &devices)?;
        Ok(observed)
    }

    /// Reads these devices again. The number of system calls does not depend on the other devices.
    pub fn observe_again(
        &mut self,
        observed: &mut ObservedDatapath,
        links: &Observed,
        filters: &TcFilters,
        devices: &BTreeSet<IfName>,
    ) -> Result<()> {
        let ids = self.programs.ids()?;
        self.known.extend(ids.values());
        for device in devices {
            let table = self.open.as_ref().map(|(_, table)| table);
            match table.and_then(|table| Some((table, table.ports.get(device)?))) {
                Some((table, entry)) => {
                    let port = self.port(device, entry, table, &ids, links, filters)?;
                    self.known.extend(port.attached.iter().chain(&port.outdated).filter_map(
                        |hook| {
                            let order = port.orders.get(hook)?;
                            order.ours.map(|ours| order.programs[ours])
                        },
                    ));
                    observed.ports.insert(device.clone(), port);
                }
                None => drop(observed.ports.remove(device)),
            }
            if links.links.contains_key(device) {
                // A device that cannot be asked has no such offload.
                let hidden = offload::hidden_tags(device).unwrap_or_default();
                observed.rx_vlan.insert(device.clone(), hidden);
            } else {
                observed.rx_vlan.remove(device);
            }
        }
        Ok(())
    }

    fn port(
        &self,
        device: &IfName,
        entry: &PortEntry,
        table: &Table,
        ids: &BTreeMap<(Hook, u32), u32>,
        links: &Observed,
        filters: &TcFilters,
    ) -> Result<ObservedPort> {
        let policy = &entry.policy;
        let (mut attached, mut outdated) = (BTreeSet::new(), BTreeSet::new());
        let mut orders = BTreeMap::new();
        for hook in Hook::ALL {
            let pin = self.pins.link(device, hook);
            let held = link::read(&pin).with_context(|| format!("read {}", pin.display()))?;
            let by_link = held.filter(|held| held.ifindex == policy.ifindex);
            // A filter shows its side only: the other role has another program there.
            let of_role = hook.is_of_uplink() == (policy.flags & UPLINK != 0);
            let by_filter = || {
                let of_device = filters.get(&policy.ifindex).filter(|_| of_role)?;
                of_device.iter().find(|filter| programs::is_ours(filter, hook))
            };
            let by_link = by_link.map(|held| held.program);
            let program = by_link.or_else(|| by_filter().map(|filter| filter.program));
            if let Some(side) = hook.side().filter(|_| of_role) {
                let programs = side_of(policy.ifindex, side, filters)
                    .with_context(|| format!("{device}: read its programs"))?;
                let ours = programs.iter().position(|id| Some(*id) == program);
                let moved = self.moved.get(&(device.clone(), hook));
                let is_contested = moved.is_some_and(|at| at.elapsed() < CONTEST);
                orders.insert(hook, Order { programs, ours, is_contested });
            }
            match program {
                Some(program)
                    if ids.get(&(hook, hook.optional(policy.flags))) == Some(&program) =>
                {
                    attached.insert(hook)
                }
                Some(_) => outdated.insert(hook),
                None => false,
            };
        }
        Ok(ObservedPort {
            ifindex: policy.ifindex,
            number: policy.port,
            policy: table.policy(entry, links),
            attached,
            outdated,
            orders,
            xdp_refused: policy.flags & XDP_REFUSED != 0,
        })
    }

    /// What was seen of the programs, to compare it later.
    pub fn glance(&self, observed: &ObservedDatapath) -> Glance {
        let map = self.open.as_ref().and_then(|(maps, _)| maps.policy_id());
        Glance::new(&self.pins, map, observed)
    }

    /// Applies a change.
    pub fn apply(&mut self, change: &DatapathChange) -> Result<()> {
        debug!("bpf: {change}");
        // Looked up now: another device may have the name since the plan was made.
        let index =
            |name: &IfName| index_of(name).with_context(|| format!("{name}: no such device"));
        match change {
            DatapathChange::SetPolicy(name, policy) => {
                self.load()?;
                let Some((maps, table)) = &mut self.open else { return Ok(()) };
                // The bridge is made before its ports.
                let bridge = policy.bridge.as_ref().map(index).transpose()?;
                let device = Device { name, index: index(name)?, bridge };
                table.set(maps, device, policy).with_context(|| format!("{name}: set the policy"))
            }
            DatapathChange::Forget(name) => {
                // A program that finds no policy drops the frame.
                self.programs.stop(name)?;
                self.programs.forget(name, index_of(name))?;
                self.moved.retain(|(moved, _), _| moved != name);
                let Some((maps, table)) = &mut self.open else { return Ok(()) };
                table.forget(maps, name).with_context(|| format!("{name}: remove the policy"))
            }
            DatapathChange::Attach(name, hook, flags) => {
                self.load()?;
                self.programs.attach(name, index(name)?, *hook, *flags, &self.lost)
            }
            DatapathChange::MoveToFront(name, hook, flags) => {
                self.moved.insert((name.clone(), *hook), Instant::now());
                self.programs.move_to_front(name, index(name)?, *hook, *flags)
            }
            DatapathChange::Detach(name, hook) => self.programs.detach(name, index_of(name), *hook),
            DatapathChange::RxVlanOff(_, nic, tags) => offload::set(nic, *tags, false),
            DatapathChange::RxVlanOn(nic, tags) => offload::set(nic, *tags, true),
        }
    }

    /// The devices that have a policy, with their interface indexes.
    pub fn devices(&self) -> impl Iterator<Item = (IfName, u32)> + '_ {
        let ports = self.open.iter().flat_map(|(_, table)| &table.ports);
        ports.map(|(device, entry)| (device.clone(), entry.policy.ifindex))
    }

    /// The interface index of a device, as it is at this moment.
    pub fn index_now(name: &IfName) -> Option<u32> {
        index_of(name)
    }

    /// The interface index of the device that has a port's policy.
    pub fn index(&self, name: &IfName) -> Option<u32> {
        let (_, table) = self.open.as_ref()?;
        Some(table.ports.get(name)?.policy.ifindex)
    }

    /// The states of silent ports; `None` until the maps exist.
    pub fn silences(&self) -> Option<&Silences> {
        self.open.as_ref().map(|(maps, _)| &maps.silence)
    }

    /// [`silences`](Self::silences), to change them.
    pub fn silences_mut(&mut self) -> Option<&mut Silences> {
        self.open.as_mut().map(|(maps, _)| &mut maps.silence)
    }

    /// Notes that a device has refused an XDP program.
    pub fn refuse_xdp(&mut self, device: &IfName) -> Result<()> {
        let Some((maps, table)) = &mut self.open else { return Ok(()) };
        table.refuse_xdp(maps, device, true)
    }

    /// Forgets which devices have refused an XDP program: they are asked again.
    pub fn ask_for_xdp_again(&mut self) -> Result<()> {
        let Some((maps, table)) = &mut self.open else { return Ok(()) };
        let devices: Vec<IfName> = table.ports.keys().cloned().collect();
        devices.iter().try_for_each(|device| table.refuse_xdp(maps, device, false))
    }

    /// Removes the programs of other builds, once all devices have the programs of this one.
    pub fn retire_others(&self) {
        self.programs.retire_others();
    }

    /// Reads the counters.
    pub fn counters(&self) -> Result<Counters> {
        match &self.open {
            Some((maps, table)) => counters::read(maps, table),
            None => Ok(Counters::default()),
        }
    }

    /// Name, entries in use and capacity of each map that can become full.
    pub fn usage(&self, counters: &Counters) -> Result<Vec<(&'static str, u32, u32)>> {
        let Some((maps, table)) = &self.open else { return Ok(Vec::new()) };
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(vec![
            ("VLAN_STATS", number(table.pairs()), MAX_PAIRS - 1),
            ("POLICY", number(table.ports.len()), MAX_PORTS),
            ("MORE_DROPS", number(counters.drop_keys), MAX_DROPS),
            ("FDB", number(maps.stations()?), MAX_STATIONS),
        ])
    }

    /// Whether a device has programs of ours, by its pins.
    pub fn has_pins(&self, name: &IfName) -> bool {
        self.pins.device(name).exists()
    }

    /// Detaches all programs and removes all pins. The links are not changed.
    pub fn remove(&mut self, links: &Observed) -> Result<()> {
        self.open = None;
        let mut failed = Vec::new();
        for (name, link) in &links.links {
            if self.has_pins(name) {
                failed.extend(self.programs.forget(name, Some(link.index)).err());
            }
        }
        failed.extend(self.pins.remove_all().err());
        let failed: Vec<_> = failed.iter().map(|error| format!("{error:#}")).collect();
        if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("; ")) }
    }
}

/// The programs on one side of a device, in the order in which they run.
fn side_of(ifindex: u32, side: ClsactSide, filters: &TcFilters) -> Result<Vec<u32>> {
    if programs::tcx() {
        return Ok(queue::programs(ifindex, side)?);
    }
    let filters = filters.get(&ifindex).into_iter().flatten();
    Ok(filters.filter(|filter| filter.side == side).map(|filter| filter.program).collect())
}

/// The interface index of a device, if it exists.
fn index_of(name: &IfName) -> Option<u32> {
    name_to_index(UnixDatagram::unbound().ok()?, name.as_str()).ok()
}
