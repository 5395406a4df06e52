//! Bond options: those of each mode, those that exclude each other, and their order for the kernel
//! (Documentation/networking/bonding.rst; the `unsuppmodes` of `bond_options.c`).

use std::fmt::Display;

use super::{items::BondIntent, problem::Problem};
use crate::{
    bond::{
        ARP_MODES, ArpValidate, BondOption, FailOverMac, HASH_MODES, Mode, PRIMARY_MODES,
        REWRITING_MODES,
    },
    names::IfName,
};

/// The interval of the link check without a given one. The kernel's default is no check.
const MIIMON_MS: u32 = 100;
/// `BOND_MAX_ARP_TARGETS`, `BOND_MAX_NS_TARGETS` in include/net/bonding.h.
const MAX_TARGETS: usize = 16;

/// A bond's options, the mode first; `None`: no bond.
pub fn options(bond: &BondIntent, nics: &[IfName]) -> Result<Option<Vec<BondOption>>, Problem> {
    let Some(mode) = bond.mode else {
        check_no_bond(bond, nics)?;
        return Ok(None);
    };
    let mut options = vec![BondOption::Mode(mode)];
    if bond.arp_interval.is_some() {
        add_arp_check(bond, mode, &mut options)?;
    } else {
        add_link_check(bond, &mut options)?;
    }
    if let Some(primary) = &bond.primary {
        only_in(PRIMARY_MODES, mode, "primary")?;
        if !nics.contains(primary) {
            return Err(problem("primary", format!("\"{primary}\" is not one of the bond's nics")));
        }
        options.push(BondOption::Primary(Some(primary.clone())));
    }
    if let Some(fail_over_mac) = bond.fail_over_mac {
        only_in(&[Mode::ActiveBackup], mode, "failOverMac")?;
        options.push(BondOption::FailOverMac(fail_over_mac));
    }
    if let Some(policy) = bond.xmit_hash_policy {
        only_in(HASH_MODES, mode, "xmitHashPolicy")?;
        options.push(BondOption::XmitHashPolicy(policy));
    }
    if let Some(announcements) = bond.num_grat_arp {
        only_in(&[Mode::ActiveBackup], mode, "numGratArp")?;
        options.push(BondOption::NumGratArp(announcements));
    }
    if let Some(links) = bond.min_links {
        only_in(&[Mode::Lacp], mode, "minLinks")?;
        if links as usize > nics.len() {
            let text = format!("{links} links of {} NICs never come up; lower it", nics.len());
            return Err(problem("minLinks", text));
        }
        options.push(BondOption::MinLinks(links));
    }
    if let Some(rate) = bond.lacp_rate {
        only_in(&[Mode::Lacp], mode, "lacpRate")?;
        options.push(BondOption::LacpRate(rate));
    }
    if let Some(select) = bond.ad_select {
        only_in(&[Mode::Lacp], mode, "adSelect")?;
        options.push(BondOption::AdSelect(select));
    }
    if bond.allow_mac_rewrite.is_some() {
        only_in(REWRITING_MODES, mode, "allowMacRewrite")?;
    }
    Ok(Some(options))
}

/// The mode of a bond that replaces the source MAC address of VMs' frames, if the file does not
/// allow it.
pub fn rewrites_macs(bond: &BondIntent) -> Option<Mode> {
    let is_allowed = bond.allow_mac_rewrite.unwrap_or_default();
    bond.mode.filter(|mode| REWRITING_MODES.contains(mode) && !is_allowed)
}

/// Whether the bond's MAC address changes with the active NIC, so that it cannot be fixed.
pub fn address_moves(options: &[BondOption]) -> bool {
    options.contains(&BondOption::FailOverMac(FailOverMac::Active))
}

/// Failed NICs are detected by ARP requests.
fn add_arp_check(
    bond: &BondIntent,
    mode: Mode,
    options: &mut Vec<BondOption>,
) -> Result<(), Problem> {
    only_in(ARP_MODES, mode, "arpInterval")?;
    let interval = bond.arp_interval.unwrap_or_default();
    if interval == 0 {
        return Err(problem("arpInterval", "must be at least 1ms; remove it to have no ARP check"));
    }
    // The kernel's own 0, for no link check, may be given.
    if bond.miimon.is_some_and(|miimon| miimon > 0) {
        return Err(problem("miimon", "the kernel has either miimon or arpInterval; remove one"));
    }
    for (key, delay) in [("updelay", bond.updelay), ("downdelay", bond.downdelay)] {
        if delay.is_some() {
            return Err(problem(
                key,
                "goes with miimon only; remove it, or use miimon in place of arpInterval",
            ));
        }
    }
    if bond.arp_targets.is_none() && bond.ns_targets.is_none() {
        let text = "needs arpTargets or nsTargets: the addresses to ask for";
        return Err(problem("arpInterval", text));
    }
    options.push(BondOption::ArpInterval(interval));
    if let Some(targets) = &bond.arp_targets {
        options.push(BondOption::ArpTargets(checked("arpTargets", targets)?));
    }
    if let Some(targets) = &bond.ns_targets {
        options.push(BondOption::NsTargets(checked("nsTargets", targets)?));
    }
    options.extend(bond.arp_validate.map(BondOption::ArpValidate));
    Ok(())
}

/// Failed NICs are detected by their link state.
fn add_link_check(bond: &BondIntent, options: &mut Vec<BondOption>) -> Result<(), Problem> {
    let only_arp = [
        ("arpTargets", bond.arp_targets.is_some()),
        ("nsTargets", bond.ns_targets.is_some()),
        // The kernel's own none may be given.
        ("arpValidate", bond.arp_validate.is_some_and(|which| which != ArpValidate::None)),
    ];
    if let Some((key, _)) = only_arp.into_iter().find(|(_, given)| *given) {
        return Err(problem(key, "goes with arpInterval only; add that or remove this"));
    }
    let miimon = bond.miimon.unwrap_or(MIIMON_MS);
    if miimon == 0 {
        return Err(problem(
            "miimon",
            "0 leaves a failed NIC in use; give an interval (100ms), or arpInterval",
        ));
    }
    // The kernel would round the delays down and log a warning.
    let multiple = |key, delay: u32| {
        if delay.is_multiple_of(miimon) {
            Ok(delay)
        } else {
            Err(problem(key, format!("{delay}ms is not a multiple of miimon, {miimon}ms")))
        }
    };
    options.push(BondOption::Miimon(miimon));
    if let Some(delay) = bond.updelay {
        options.push(BondOption::Updelay(multiple("updelay", delay)?));
    }
    if let Some(delay) = bond.downdelay {
        options.push(BondOption::Downdelay(multiple("downdelay", delay)?));
    }
    Ok(())
}

fn checked<T: Clone + PartialEq + Display>(key: &str, targets: &[T]) -> Result<Vec<T>, Problem> {
    for (index, target) in targets.iter().enumerate() {
        if targets[..index].contains(target) {
            return Err(problem(
                &format!("{key}[{index}]"),
                format!("{target} is in the list twice; remove one"),
            ));
        }
    }
    match targets.len() {
        1..=MAX_TARGETS => Ok(targets.to_vec()),
        count => {
            Err(problem(key, format!("{count} addresses; the kernel takes 1 to {MAX_TARGETS}")))
        }
    }
}

/// Without a bond there is one NIC and no option.
fn check_no_bond(bond: &BondIntent, nics: &[IfName]) -> Result<(), Problem> {
    if nics.len() > 1 {
        return Err(Problem::new(
            "uplink.nics[1]",
            "bond mode none takes one NIC; remove this one, or choose a mode",
        ));
    }
    let BondIntent {
        mode: _,
        name,
        miimon,
        updelay,
        downdelay,
        arp_interval,
        arp_targets,
        ns_targets,
        arp_validate,
        primary,
        fail_over_mac,
        xmit_hash_policy,
        num_grat_arp,
        min_links,
        lacp_rate,
        ad_select,
        allow_mac_rewrite,
    } = bond;
    let options = [
        ("name", name.is_some()),
        ("miimon", miimon.is_some()),
        ("updelay", updelay.is_some()),
        ("downdelay", downdelay.is_some()),
        ("arpInterval", arp_interval.is_some()),
        ("arpTargets", arp_targets.is_some()),
        ("nsTargets", ns_targets.is_some()),
        ("arpValidate", arp_validate.is_some()),
        ("primary", primary.is_some()),
        ("failOverMac", fail_over_mac.is_some()),
        ("xmitHashPolicy", xmit_hash_policy.is_some()),
        ("numGratArp", num_grat_arp.is_some()),
        ("minLinks", min_links.is_some()),
        ("lacpRate", lacp_rate.is_some()),
        ("adSelect", ad_select.is_some()),
        ("allowMacRewrite", allow_mac_rewrite.is_some()),
    ];
    match options.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((key, _)) => {
            Err(problem(key, "bond mode none has no options; remove it, or choose a mode"))
        }
    }
}

fn only_in(modes: &[Mode], mode: Mode, key: &str) -> Result<(), Problem> {
    if modes.contains(&mode) {
        return Ok(());
    }
    let modes: Vec<_> = modes.iter().map(|mode| mode.name()).collect();
    let text = format!("mode {mode} does not have it, only {}; remove it", modes.join(", "));
    Err(problem(key, text))
}

/// A problem of one of the bond's keys.
fn problem(key: &str, text: impl Into<String>) -> Problem {
    Problem::new(format!("uplink.bond.{key}"), text)
}
