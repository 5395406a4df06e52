//! Bonds: create them, change them in place (a bond is never recreated), add and release members.

use std::collections::BTreeSet;

use super::{Plan, Unit, View, bond_warnings, missing, mtu};
use crate::{
    bond::{BondOption, Changeable, FailOverMac, XmitHashPolicy},
    change::{DatapathChange, LinkChange},
    names::{IfName, Mac},
    state::{Bond, BondState, Code, Hook, Kind, Link, Part, Subject, UnitId},
};

pub fn plan(view: &View<'_>, plan: &mut Plan) {
    // Releases come first: a NIC may move from one bond to another.
    for (name, bond) in &view.desired.bonds {
        release(view, name, bond, plan);
    }
    for (name, bond) in &view.desired.bonds {
        let mut unit = Unit::new(UnitId::new(Part::Bond, name), view.segment_of_bond(name));
        match view.observed.link(name) {
            None => create(view, name, bond, &mut unit),
            Some(link) => match &link.kind {
                Kind::Bond(state) => change(view, name, bond, link, state, &mut unit),
                _ => unit.refuse(
                    format!("{name} exists and is not a bond"),
                    format!("rename it, or ip link delete {name}"),
                ),
            },
        }
        bond_warnings::add(view, name, bond, &mut unit);
        plan.push(unit);
    }
}

/// Releases the members of the bond that are not desired.
fn release(view: &View<'_>, name: &IfName, bond: &Bond, plan: &mut Plan) {
    for (nic, _) in view.observed.ports_of(name).filter(|(nic, _)| !bond.members.contains(*nic)) {
        let id = UnitId::new(Part::FormerMember, nic);
        let mut unit = Unit::new(id, view.segment_of_bond(name));
        unit.link(view, LinkChange::Release(nic.clone()));
        plan.push(unit);
    }
}

fn create(view: &View<'_>, name: &IfName, bond: &Bond, unit: &mut Unit) {
    if let Some(device) = view.observed.of_altname(name) {
        return unit.refuse_altname(name, device);
    }
    if !view.observed.kernel.bonding {
        unit.refuse(
            format!("{name}: this kernel has no bonding (CONFIG_BONDING)"),
            "load the module, or use one NIC without a bond (`bond: { mode: none }`)",
        );
        return;
    }
    let (late, early): (Vec<_>, Vec<_>) =
        bond.options.iter().cloned().partition(|option| matches!(option, BondOption::Primary(_)));
    unit.link(view, LinkChange::AddBond(name.clone(), early));
    match bond.mac {
        Some(mac) => unit.link(view, LinkChange::SetMac(name.clone(), mac)),
        None => first_mac(view, name, bond, unit),
    }
    attributes(view, name, bond, None, unit);
    add_members(view, name, bond, &BTreeSet::new(), unit);
    for option in late {
        set_option(view, name, option, unit);
    }
    unit.link(view, LinkChange::SetUp(name.clone()));
}

pub fn change(
    view: &View<'_>,
    name: &IfName,
    bond: &Bond,
    link: &Link,
    state: &BondState,
    unit: &mut Unit,
) {
    let options = differing(bond, link, state);
    let needs = options.iter().map(BondOption::changeable).max().unwrap_or(Changeable::Live);
    let members: BTreeSet<IfName> = view
        .observed
        .ports_of(name)
        .map(|(nic, _)| nic.clone())
        .filter(|nic| bond.members.contains(nic))
        .collect();
    impact(view, name, state, &options, members.len(), unit);
    if view.detaches_xdp(name) {
        // The driver refuses the change while an XDP program is attached.
        unit.datapath(view, DatapathChange::Detach(name.clone(), Hook::UplinkXdp));
    }
    // The bond sets a member up when it joins, and never again.
    let down = members.iter().filter(|nic| view.observed.link(nic).is_some_and(|nic| !nic.up));
    if needs != Changeable::NoMembers {
        for nic in down {
            unit.link(view, LinkChange::SetUp(nic.clone()));
        }
    }
    let remaining = match needs {
        Changeable::Live => members,
        Changeable::BondDown => {
            unit.link(view, LinkChange::SetDown(name.clone()));
            members
        }
        Changeable::NoMembers => {
            for nic in members {
                unit.link(view, LinkChange::Release(nic));
            }
            unit.link(view, LinkChange::SetDown(name.clone()));
            BTreeSet::new()
        }
    };
    let (late, early): (Vec<_>, Vec<_>) =
        options.into_iter().partition(|option| matches!(option, BondOption::Primary(_)));
    for option in early {
        unit.link(view, LinkChange::SetBondOption(name.clone(), option));
    }
    // A bond without members gets a random one (`__bond_release_one` in bond_main.c).
    let loses_mac = needs == Changeable::NoMembers;
    let mac = bond.mac.or_else(|| kept_mac(view, name, bond, link));
    if let Some(mac) = mac.filter(|mac| *mac != link.mac || loses_mac) {
        unit.link(view, LinkChange::SetMac(name.clone(), mac));
    }
    attributes(view, name, bond, Some(link), unit);
    add_members(view, name, bond, &remaining, unit);
    for option in late {
        set_option(view, name, option, unit);
    }
    if needs != Changeable::Live || !link.up {
        unit.link(view, LinkChange::SetUp(name.clone()));
    }
}

/// Gives a new bond the MAC address of its first member before that joins. The kernel would do so
/// too, unless somebody sets another first: udev does (MACAddressPolicy=persistent).
fn first_mac(view: &View<'_>, name: &IfName, bond: &Bond, unit: &mut Unit) {
    let is_there =
        |nic: &&IfName| view.observed.link(nic).is_some() && view.in_use(nic, name).is_none();
    let (later, now): (Vec<_>, Vec<_>) =
        bond.members.iter().filter(is_there).partition(|nic| view.is_taken_over(nic, name));
    // One that the node lives on lends its address when it joins, unless it is the only one.
    let later = later.first().filter(|_| bond.members.len() == 1);
    if let Some(nic) = now.first().or(later).filter(|_| !address_moves(bond)) {
        unit.link(view, LinkChange::CopyMac(name.clone(), (*nic).clone()));
    }
}

/// The address that a bond of the agent has had, as long as it has members.
fn kept_mac(view: &View<'_>, name: &IfName, bond: &Bond, link: &Link) -> Option<Mac> {
    let kept = view.observed.kept_macs.get(name).copied();
    kept.filter(|_| link.is_owned() && !address_moves(bond))
}

/// Whether the bond's MAC address changes with the active NIC.
fn address_moves(bond: &Bond) -> bool {
    bond.options.contains(&BondOption::FailOverMac(FailOverMac::Active))
}

/// The options to set, in the order of `bond.options`.
fn differing(bond: &Bond, link: &Link, state: &BondState) -> Vec<BondOption> {
    let differs = |option: &&BondOption| !state.options.contains(option);
    let mode = bond.options.iter().find(|option| matches!(option, BondOption::Mode(_)));
    // A change of the mode resets the other options: set all of them again.
    let all = mode.as_ref().is_some_and(differs);
    let mut options: Vec<BondOption> =
        bond.options.iter().filter(|option| all || differs(option)).cloned().collect();
    // Options that the file no longer has return to the kernel's default, on bonds of the agent.
    if let (Some(BondOption::Mode(mode)), true) = (mode, link.is_owned()) {
        let unsaid = BondOption::defaults(*mode).into_iter().filter(|default| {
            !bond.options.iter().any(|option| option.same_option(default))
                && state.options.iter().any(|option| option.same_option(default))
        });
        let unsaid = unsaid.filter(|default| !state.options.contains(default));
        // After the mode, which decides which options exist. Before the options that disable the
        // link check: without it the kernel accepts no delay.
        options.splice(usize::from(all)..usize::from(all), unsaid.collect::<Vec<_>>());
    }
    options
}

/// Whether the driver refuses to set this option while XDP is attached.
fn against_xdp(option: &BondOption) -> bool {
    matches!(option, BondOption::Mode(_) | BondOption::XmitHashPolicy(XmitHashPolicy::VlanSrcmac))
}

/// Sets an option. The primary must be a member: it is not set to a NIC that cannot become one.
fn set_option(view: &View<'_>, name: &IfName, option: BondOption, unit: &mut Unit) {
    if let BondOption::Primary(Some(nic)) = &option
        && (view.observed.link(nic).is_none()
            || view.in_use(nic, name).is_some()
            || view.is_taken_over(nic, name))
    {
        return;
    }
    unit.link(view, LinkChange::SetBondOption(name.clone(), option));
}

fn attributes(view: &View<'_>, name: &IfName, bond: &Bond, link: Option<&Link>, unit: &mut Unit) {
    // A new bond has the default of the kernel.
    let wanted = if link.is_some() { view.bond_mtu(name, bond) } else { bond.mtu };
    mtu::set(view, name, wanted, unit);
    if let Some(txqlen) =
        bond.txqlen.filter(|txqlen| link.is_none_or(|link| link.txqlen != *txqlen))
    {
        unit.link(view, LinkChange::SetTxqlen(name.clone(), txqlen));
    }
}

fn add_members(
    view: &View<'_>,
    name: &IfName,
    bond: &Bond,
    present: &BTreeSet<IfName>,
    unit: &mut Unit,
) {
    for nic in bond.members.difference(present) {
        if view.observed.link(nic).is_none() {
            unit.findings.push(missing(view, unit.subject.clone(), Code::NicMissing, nic));
            continue;
        }
        if let Some(controller) = view.in_use(nic, name) {
            unit.finding(
                Code::NicInUse,
                format!("{nic} belongs to {controller}, not {name}"),
                format!("ip link set {nic} nomaster"),
            );
            continue;
        }
        // It joins after everything else of its segment: see `takeover`.
        if !view.is_taken_over(nic, name) {
            unit.link(view, LinkChange::AddMember(nic.clone(), name.clone()));
        }
    }
}

impl View<'_> {
    /// The cluster network of a bond.
    pub fn segment_of_bond(&self, name: &IfName) -> Subject {
        let port = self.desired.ports.get(name);
        port.map_or(Subject::Node, |port| self.desired.segment_of(&port.bridge))
    }

    /// The bond or bridge that a NIC belongs to, unless this plan releases the NIC from it.
    pub fn in_use(&self, nic: &IfName, bond: &IfName) -> Option<&IfName> {
        let controller = self.observed.link(nic)?.controller.as_ref()?;
        let gives_up = match self.desired.bonds.get(controller) {
            Some(other) => !other.members.contains(nic),
            None => self.observed.link(controller).is_some_and(Link::is_owned),
        };
        (controller != bond && !gives_up).then_some(controller)
    }

    /// Whether a change of the bond's options needs its XDP program detached.
    pub fn detaches_xdp(&self, name: &IfName) -> bool {
        let (Some(bond), Some(link)) = (self.desired.bonds.get(name), self.observed.link(name))
        else {
            return false;
        };
        let Kind::Bond(state) = &link.kind else { return false };
        let port = self.datapath.ports.get(name);
        port.is_some_and(|port| port.attached.contains(&Hook::UplinkXdp))
            && differing(bond, link, state).iter().any(against_xdp)
    }

    /// The reason why an uplink cannot join its bridge: its bond is refused.
    pub fn refuses_bond(&self, name: &IfName) -> Option<String> {
        self.desired.bonds.get(name)?;
        let refused = match self.observed.link(name) {
            None => !self.observed.kernel.bonding || self.observed.of_altname(name).is_some(),
            Some(link) => !matches!(link.kind, Kind::Bond(_)),
        };
        refused.then(|| "the bond is refused".to_owned())
    }
}

/// Adds the impact of changed options.
fn impact(
    view: &View<'_>,
    name: &IfName,
    state: &BondState,
    options: &[BondOption],
    members: usize,
    unit: &mut Unit,
) {
    let bridge = view.observed.link(name).and_then(|link| link.controller.as_ref());
    let ports = bridge.map_or(0, |bridge| {
        view.observed.ports_of(bridge).filter(|(port, _)| *port != name).count()
    });
    for option in options.iter().filter(|option| !state.options.contains(option)) {
        let from = state.options.iter().find(|old| old.same_option(option));
        let from = from.map_or_else(|| "none".to_owned(), BondOption::value);
        let (name_of, to) = (option.name(), option.value());
        let cost = match option.changeable() {
            Changeable::Live => continue,
            Changeable::BondDown => "needs the bond down".to_owned(),
            Changeable::NoMembers => format!("needs the bond down and its members ({members}) out"),
        };
        unit.impact.push(format!(
            "bond {name}: {name_of} {from} → {to}: {cost}; ports without uplink meanwhile: {ports}"
        ));
    }
}
