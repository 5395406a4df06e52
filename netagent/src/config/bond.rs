//! A bond's options: which exist in its mode, which go together, and the order in which the kernel wants them
//! (Documentation/networking/bonding.rst; the `unsuppmodes` of `bond_options.c`).

use std::net::Ipv4Addr;

use super::{
    at::{At, List},
    error::{Fault, Place},
    raw::Bond,
    time::Millis,
    value::BondMode,
};
use crate::{
    bond::{BondOption, FailOverMac, Mode},
    names::IfName,
};

/// The link check where the file says nothing; the kernel's own default is none.
const MIIMON_MS: u32 = 100;
/// `BOND_MAX_ARP_TARGETS` in include/net/bonding.h.
const MAX_ARP_TARGETS: usize = 16;

const PRIMARY_MODES: &[Mode] = &[Mode::ActiveBackup, Mode::BalanceTlb, Mode::BalanceAlb];
const ARP_MODES: &[Mode] =
    &[Mode::BalanceRr, Mode::ActiveBackup, Mode::BalanceXor, Mode::Broadcast];
const HASH_MODES: &[Mode] = &[Mode::BalanceXor, Mode::Lacp, Mode::BalanceTlb];

/// A bond's options, the mode first; `None`: no bond.
pub fn bonding(raw: Bond, nics: &List<IfName>) -> Result<Option<Vec<BondOption>>, Fault> {
    let mode = match &raw.mode {
        None => Mode::ActiveBackup,
        Some(At { value: BondMode(Some(mode)), .. }) => *mode,
        Some(At { value: BondMode(None), .. }) => {
            no_bond(&raw, nics)?;
            return Ok(None);
        }
    };
    let mut options = vec![BondOption::Mode(mode)];
    monitoring(&raw, mode, &mut options)?;

    let Bond {
        primary,
        fail_over_mac,
        xmit_hash_policy,
        num_grat_arp,
        min_links,
        lacp_rate,
        ad_select,
        ..
    } = raw;
    if let Some(primary) = primary {
        only_in(PRIMARY_MODES, mode, primary.place)?;
        if !nics.items.iter().any(|nic| nic.value == primary.value) {
            return Err(primary.fault(format!("\"{}\" is none of the bond's nics", primary.value)));
        }
        options.push(BondOption::Primary(Some(primary.value)));
    }
    if let Some(fail_over_mac) = fail_over_mac {
        only_in(&[Mode::ActiveBackup], mode, fail_over_mac.place)?;
        options.push(BondOption::FailOverMac(fail_over_mac.value));
    }
    if let Some(policy) = xmit_hash_policy {
        only_in(HASH_MODES, mode, policy.place)?;
        options.push(BondOption::XmitHashPolicy(policy.value));
    }
    if let Some(announcements) = num_grat_arp {
        only_in(&[Mode::ActiveBackup], mode, announcements.place)?;
        options.push(BondOption::NumGratArp(announcements.value.0));
    }
    if let Some(links) = min_links {
        only_in(&[Mode::Lacp], mode, links.place)?;
        if links.value.0 as usize > nics.items.len() {
            let (links_wanted, nics) = (links.value.0, nics.items.len());
            return Err(
                links.fault(format!("{links_wanted} links of {nics} NICs never come up; lower it"))
            );
        }
        options.push(BondOption::MinLinks(links.value.0));
    }
    if let Some(rate) = lacp_rate {
        only_in(&[Mode::Lacp], mode, rate.place)?;
        options.push(BondOption::LacpRate(rate.value));
    }
    if let Some(select) = ad_select {
        only_in(&[Mode::Lacp], mode, select.place)?;
        options.push(BondOption::AdSelect(select.value));
    }
    Ok(Some(options))
}

/// Whether the bond's address follows the NIC in use, so that none can be fixed.
pub fn address_moves(options: &[BondOption]) -> bool {
    options.contains(&BondOption::FailOverMac(FailOverMac::Active))
}

/// How the bond finds out that a NIC failed.
fn monitoring(raw: &Bond, mode: Mode, options: &mut Vec<BondOption>) -> Result<(), Fault> {
    let Bond { miimon, updelay, downdelay, arp_interval, arp_targets, .. } = raw;
    if let Some(interval) = arp_interval {
        only_in(ARP_MODES, mode, interval.place)?;
        if interval.value.0 == 0 {
            return Err(interval.fault("must be at least 1ms; remove it to have no ARP check"));
        }
        if let Some(miimon) = miimon.as_ref().filter(|miimon| miimon.value.0 > 0) {
            return Err(miimon.fault("the kernel has either miimon or arpInterval; remove one"));
        }
        if let Some(delay) = updelay.as_ref().or(downdelay.as_ref()) {
            return Err(delay
                .fault("goes with miimon only; remove it, or use miimon in place of arpInterval"));
        }
        let Some(targets) = arp_targets else {
            return Err(interval.fault("needs arpTargets: the addresses to ask for"));
        };
        options.push(BondOption::ArpInterval(interval.value.0));
        options.push(BondOption::ArpTargets(arp_ip_targets(targets)?));
        return Ok(());
    }
    if let Some(targets) = arp_targets {
        return Err(targets.fault("goes with arpInterval only; add that or remove this"));
    }
    let interval = miimon.as_ref().map_or(MIIMON_MS, |miimon| miimon.value.0);
    if let Some(miimon) = miimon.as_ref().filter(|miimon| miimon.value.0 == 0) {
        return Err(
            miimon.fault("0 leaves a failed NIC in use; give an interval (100ms), or arpInterval")
        );
    }
    options.push(BondOption::Miimon(interval));
    if let Some(delay) = updelay {
        options.push(BondOption::Updelay(multiple_of(delay, interval)?));
    }
    if let Some(delay) = downdelay {
        options.push(BondOption::Downdelay(multiple_of(delay, interval)?));
    }
    Ok(())
}

/// The kernel would round it down and warn in its log.
fn multiple_of(delay: &At<Millis>, miimon: u32) -> Result<u32, Fault> {
    let At { value: Millis(millis), .. } = *delay;
    if millis.is_multiple_of(miimon) {
        Ok(millis)
    } else {
        Err(delay.fault(format!("{millis}ms is no multiple of miimon, {miimon}ms")))
    }
}

fn arp_ip_targets(targets: &List<Ipv4Addr>) -> Result<Vec<Ipv4Addr>, Fault> {
    let mut addresses = Vec::new();
    for target in &targets.items {
        if addresses.contains(&target.value) {
            return Err(target.fault(format!("{} is in the list twice; remove one", target.value)));
        }
        addresses.push(target.value);
    }
    match addresses.len() {
        1..=MAX_ARP_TARGETS => Ok(addresses),
        count => {
            Err(targets
                .fault(format!("{count} addresses; the kernel takes 1 to {MAX_ARP_TARGETS}")))
        }
    }
}

/// Refuses what only a bond has.
fn no_bond(raw: &Bond, nics: &List<IfName>) -> Result<(), Fault> {
    if let Some(second) = nics.items.get(1) {
        return Err(second.fault("bond mode none takes one NIC; remove this one, or choose a mode"));
    }
    let Bond {
        mode: _,
        miimon,
        updelay,
        downdelay,
        arp_interval,
        arp_targets,
        primary,
        fail_over_mac,
        xmit_hash_policy,
        num_grat_arp,
        min_links,
        lacp_rate,
        ad_select,
    } = raw;
    let places = [
        place(miimon.as_ref()),
        place(updelay.as_ref()),
        place(downdelay.as_ref()),
        place(arp_interval.as_ref()),
        arp_targets.as_ref().map(|targets| targets.place),
        place(primary.as_ref()),
        place(fail_over_mac.as_ref()),
        place(xmit_hash_policy.as_ref()),
        place(num_grat_arp.as_ref()),
        place(min_links.as_ref()),
        place(lacp_rate.as_ref()),
        place(ad_select.as_ref()),
    ];
    match places.into_iter().flatten().min() {
        None => Ok(()),
        Some(place) => {
            Err(Fault::new(place, "bond mode none has no options; remove it, or choose a mode"))
        }
    }
}

fn place<T>(option: Option<&At<T>>) -> Option<Place> {
    option.map(|option| option.place)
}

fn only_in(modes: &[Mode], mode: Mode, place: Place) -> Result<(), Fault> {
    if modes.contains(&mode) {
        return Ok(());
    }
    let modes: Vec<_> = modes.iter().map(|mode| mode.name()).collect();
    Err(Fault::new(
        place,
        format!("mode {mode} does not have it, only {}; remove it", modes.join(", ")),
    ))
}
