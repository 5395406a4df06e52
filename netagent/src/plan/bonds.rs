//! Bonds: created, changed in place (never recreated), their members.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::{Plan, View};
use crate::{
    bond::{BondOption, Changeable, XmitHashPolicy},
    change::{DatapathChange, LinkChange},
    names::IfName,
    state::{Bond, BondState, Hook, Kind, Link},
};

pub fn plan(view: &View<'_>, plan: &mut Plan) -> Result<()> {
    // All releases first: a NIC may move from one bond to another.
    for (name, bond) in &view.desired.bonds {
        release(view, name, bond, plan);
    }
    for (name, bond) in &view.desired.bonds {
        match view.observed.link(name) {
            None => create(view, name, bond, plan)?,
            Some(link) => match &link.kind {
                Kind::Bond(state) => change(view, name, bond, link, state, plan)?,
                _ => bail!("{name} exists and is no bond: rename or delete it"),
            },
        }
    }
    Ok(())
}

/// Members of the bond that the file does not name.
fn release(view: &View<'_>, name: &IfName, bond: &Bond, plan: &mut Plan) {
    for (nic, _) in view.observed.ports_of(name).filter(|(nic, _)| !bond.members.contains(*nic)) {
        plan.link(LinkChange::Release(nic.clone()));
    }
}

fn create(view: &View<'_>, name: &IfName, bond: &Bond, plan: &mut Plan) -> Result<()> {
    if !view.observed.kernel.bonding {
        bail!(
            "{name}: this kernel has no bonding (CONFIG_BONDING): load it, or use one NIC without \
             a bond (`bond: {{ mode: none }}`)"
        );
    }
    let (late, early): (Vec<_>, Vec<_>) =
        bond.options.iter().cloned().partition(|option| matches!(option, BondOption::Primary(_)));
    plan.link(LinkChange::AddBond(name.clone(), early));
    if let Some(mac) = bond.mac {
        plan.link(LinkChange::SetMac(name.clone(), mac));
    }
    attributes(name, bond, None, plan);
    add_members(view, name, bond, &BTreeSet::new(), plan)?;
    for option in late {
        set_option(view, name, option, plan);
    }
    plan.link(LinkChange::SetUp(name.clone()));
    Ok(())
}

fn change(
    view: &View<'_>,
    name: &IfName,
    bond: &Bond,
    link: &Link,
    state: &BondState,
    plan: &mut Plan,
) -> Result<()> {
    let options = differing(bond, link, state);
    let needs = options.iter().map(BondOption::changeable).max().unwrap_or(Changeable::Live);
    let members: BTreeSet<IfName> = view
        .observed
        .ports_of(name)
        .map(|(nic, _)| nic.clone())
        .filter(|nic| bond.members.contains(nic))
        .collect();
    impact(view, name, state, &options, members.len(), plan);
    let has_xdp =
        view.datapath.ports.get(name).is_some_and(|port| port.attached.contains(&Hook::UplinkXdp));
    if has_xdp && options.iter().any(against_xdp) {
        // The driver refuses the change while a program is attached.
        plan.datapath(DatapathChange::Detach(name.clone(), Hook::UplinkXdp));
    }
    let remaining = match needs {
        Changeable::Live => members,
        Changeable::BondDown => {
            plan.link(LinkChange::SetDown(name.clone()));
            members
        }
        Changeable::NoMembers => {
            for nic in members {
                plan.link(LinkChange::Release(nic));
            }
            plan.link(LinkChange::SetDown(name.clone()));
            BTreeSet::new()
        }
    };
    let (late, early): (Vec<_>, Vec<_>) =
        options.into_iter().partition(|option| matches!(option, BondOption::Primary(_)));
    for option in early {
        plan.link(LinkChange::SetBondOption(name.clone(), option));
    }
    if let Some(mac) = bond.mac.filter(|mac| *mac != link.mac) {
        plan.link(LinkChange::SetMac(name.clone(), mac));
    }
    attributes(name, bond, Some(link), plan);
    add_members(view, name, bond, &remaining, plan)?;
    for option in late {
        set_option(view, name, option, plan);
    }
    if needs != Changeable::Live || !link.up {
        plan.link(LinkChange::SetUp(name.clone()));
    }
    Ok(())
}

/// The options to set, in the order in which the file's are to be set.
fn differing(bond: &Bond, link: &Link, state: &BondState) -> Vec<BondOption> {
    let differs = |option: &&BondOption| !state.options.contains(option);
    let mode = bond.options.iter().find(|option| matches!(option, BondOption::Mode(_)));
    // A change of mode resets options: all are set again.
    let all = mode.as_ref().is_some_and(differs);
    let mut options: Vec<BondOption> =
        bond.options.iter().filter(|option| all || differs(option)).cloned().collect();
    // What an operator has taken out of the file goes back to the kernel's default, on our own bonds.
    if let (Some(BondOption::Mode(mode)), true) = (mode, link.is_owned()) {
        let unsaid = BondOption::defaults(*mode).into_iter().filter(|default| {
            !bond.options.iter().any(|option| option.same_option(default))
                && state.options.iter().any(|option| option.same_option(default))
        });
        let unsaid = unsaid.filter(|default| !state.options.contains(default));
        // Behind the mode, which decides what there is, but before what takes the link check away, without which no
        // delay can be set.
        options.splice(usize::from(all)..usize::from(all), unsaid.collect::<Vec<_>>());
    }
    options
}

/// Whether setting this option needs XDP off.
fn against_xdp(option: &BondOption) -> bool {
    matches!(option, BondOption::Mode(_) | BondOption::XmitHashPolicy(XmitHashPolicy::VlanSrcmac))
}

/// A primary can be set only to a member, so not to a NIC that is not there yet.
fn set_option(view: &View<'_>, name: &IfName, option: BondOption, plan: &mut Plan) {
    if let BondOption::Primary(Some(nic)) = &option
        && view.observed.link(nic).is_none()
    {
        return;
    }
    plan.link(LinkChange::SetBondOption(name.clone(), option));
}

fn attributes(name: &IfName, bond: &Bond, link: Option<&Link>, plan: &mut Plan) {
    if let Some(mtu) = bond.mtu.filter(|mtu| link.is_none_or(|link| link.mtu != *mtu)) {
        plan.link(LinkChange::SetMtu(name.clone(), mtu));
    }
    if let Some(txqlen) =
        bond.txqlen.filter(|txqlen| link.is_none_or(|link| link.txqlen != *txqlen))
    {
        plan.link(LinkChange::SetTxqlen(name.clone(), txqlen));
    }
}

fn add_members(
    view: &View<'_>,
    name: &IfName,
    bond: &Bond,
    present: &BTreeSet<IfName>,
    plan: &mut Plan,
) -> Result<()> {
    for nic in bond.members.difference(present) {
        let Some(link) = view.observed.link(nic) else {
            plan.waiting.insert(nic.clone());
            continue;
        };
        if let Some(controller) = &link.controller
            && controller != name
            && !view.gives_up(controller, nic)
        {
            bail!("{nic} belongs to {controller}, not {name}: ip link set {nic} nomaster");
        }
        plan.link(LinkChange::AddMember(nic.clone(), name.clone()));
    }
    Ok(())
}

impl View<'_> {
    /// Whether this plan takes a NIC out of the link that it belongs to.
    fn gives_up(&self, controller: &IfName, nic: &IfName) -> bool {
        match self.desired.bonds.get(controller) {
            Some(bond) => !bond.members.contains(nic),
            None => self.observed.link(controller).is_some_and(Link::is_owned),
        }
    }
}

/// Says what a change of options costs.
fn impact(
    view: &View<'_>,
    name: &IfName,
    state: &BondState,
    options: &[BondOption],
    members: usize,
    plan: &mut Plan,
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
        plan.impact.push(format!(
            "bond {name}: {name_of} {from} → {to}: {cost}; ports without uplink meanwhile: {ports}"
        ));
    }
}
