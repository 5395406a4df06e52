//! Attaches programs to devices, by links that outlive the agent.

use std::{collections::BTreeSet, mem, path::Path};

use anyhow::{Context as _, Result};
use aya::programs::{
    LinkOrder, SchedClassifier, TcAttach, TcAttachType, Xdp, XdpMode,
    links::{FdLink, LinkType, PinnedLink},
    loaded_links,
    tc::{self, NlOptions, SchedClassifierLink, TcHandle},
};

use super::{link, queue};
use crate::state::{ClsactSide, Hook, TcFilter};

/// The side of the device on which a TC program runs; `None` for XDP.
pub fn attach_type(hook: Hook) -> Option<TcAttachType> {
    hook.side().map(|side| match side {
        ClsactSide::Ingress => TcAttachType::Ingress,
        ClsactSide::Egress => TcAttachType::Egress,
    })
}

/// The links by which lost programs are attached to a side of a device.
pub fn stale(ifindex: u32, hook: Hook, lost: &BTreeSet<u32>) -> Result<Vec<u32>> {
    let Some(side) = hook.side().filter(|_| !lost.is_empty()) else { return Ok(Vec::new()) };
    let links = queue::links(ifindex, side).context("read the programs of the device")?;
    Ok(links.into_iter().filter(|(id, _)| lost.contains(id)).map(|(_, link)| link).collect())
}

/// Detaches lost XDP programs, wherever they are.
pub fn detach_lost(lost: &BTreeSet<u32>) -> Result<()> {
    if lost.is_empty() {
        return Ok(());
    }
    let links = loaded_links().flatten().filter(|link| lost.contains(&link.program_id()));
    for link in links.filter(|link| matches!(link.link_type(), Ok(LinkType::Xdp))) {
        link::detach_by_id(link.id()).context("detach an XDP program whose pin is lost")?;
    }
    Ok(())
}

/// `bpftool net attach xdpdrv`, with a link.
pub fn attach_xdp(mut program: Xdp, ifindex: u32, pin: &Path, replace: bool) -> Result<()> {
    if replace {
        let link = FdLink::from(PinnedLink::from_pin(pin)?);
        program.attach_to_link(link.try_into()?)?;
        return Ok(());
    }
    let id = program.attach(ifindex, XdpMode::Driver)?;
    // An attachment without a link fails to convert, and is detached when it is dropped.
    let link: FdLink = program.take_link(id)?.try_into()?;
    link.pin(pin)?;
    Ok(())
}

/// A TCX link before all others, or the program of the pinned link in its place.
pub fn attach_tcx(
    mut program: SchedClassifier,
    ifindex: u32,
    attach_type: TcAttachType,
    pin: &Path,
    replace: bool,
) -> Result<()> {
    if replace {
        let link = FdLink::from(PinnedLink::from_pin(pin)?);
        program.attach_to_link(link.try_into()?)?;
        return Ok(());
    }
    let order = LinkOrder::first();
    let id = program.attach(ifindex, TcAttach::Tcx { attach_type, order })?;
    let link: FdLink = program.take_link(id)?.try_into()?;
    link.pin(pin)?;
    Ok(())
}

/// `tc filter replace dev DEV ingress prio 1 handle 0x6e61 bpf direct-action ...`
pub fn attach_clsact(
    mut program: SchedClassifier,
    ifindex: u32,
    attach_type: TcAttachType,
) -> Result<()> {
    // Fails if the device has one. The agent has refused a device with an ingress qdisc.
    let _exists = tc::qdisc_add_clsact(ifindex);
    let parent = TcHandle::from(attach_type);
    let mut replaced = None;
    // A move to the front that ended half way has left both. What is not replaced goes: dropping
    // the link detaches the filter.
    for handle in TcFilter::HANDLES.map(TcHandle::from) {
        let priority = TcFilter::PRIORITY;
        let there = SchedClassifierLink::attached(ifindex, parent, priority, handle, None)?;
        // Replaces the filter; the kernel refuses if there is none.
        replaced = replaced.or_else(|| program.attach_to_link(there).ok());
    }
    let id = if let Some(id) = replaced {
        id
    } else {
        let handle = TcHandle::from(TcFilter::HANDLES[0]);
        let options = NlOptions { priority: TcFilter::PRIORITY, handle, classid: None };
        program.attach(ifindex, TcAttach::Netlink { parent, options })?
    };
    // Dropping the link would detach the filter, which must outlive this process.
    mem::forget(program.take_link(id)?);
    Ok(())
}
