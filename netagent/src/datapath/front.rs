//! Moves a program of the agent before the programs of others on its side of a device: one that
//! runs before could let frames pass unfiltered (TC_ACT_OK ends the run).
//!
//! The kernel moves no link, and runs no program twice on one side. So a program that drops every
//! frame takes the first place, the old link goes, and the new link gets the old one's program in
//! place. Each step leaves the device filtered or closed, whenever the process ends.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use aya::programs::{
    LinkOrder, SchedClassifier, TcAttach, TcAttachType,
    links::{FdLink, PinnedLink},
    tc::{NlOptions, SchedClassifierLink, TcHandle},
};

use super::link;
use crate::state::TcFilter;

/// Where the new link is pinned until the old one is gone.
fn unfinished(pin: &Path) -> PathBuf {
    let name = pin.file_name().unwrap_or_default().to_string_lossy();
    pin.with_file_name(format!("{name}-first"))
}

/// Opens a device that a process which ended in the middle has left closed. It may be a former
/// device of this name.
pub fn reopen(pin: &Path) -> Result<()> {
    let new = unfinished(pin);
    link::detach(&new)?;
    remove(&new)
}

/// Gives a TCX program the first place on a side of a device. `closed` is the program that drops
/// every frame, `pin` the pin of the old link, and then of the new one. `stale` are the IDs of
/// links of the agent whose pins are lost: they go as well.
pub fn take_first_place(
    program: &mut SchedClassifier,
    closed: &mut SchedClassifier,
    ifindex: u32,
    attach_type: TcAttachType,
    pin: &Path,
    stale: &[u32],
) -> Result<()> {
    reopen(pin)?;
    let new = unfinished(pin);
    let order = LinkOrder::first();
    let id = closed.attach(ifindex, TcAttach::Tcx { attach_type, order })?;
    let first: FdLink = closed.take_link(id)?.try_into()?;
    first.pin(&new)?;
    link::detach(pin)?;
    remove(pin)?;
    for id in stale {
        link::detach_by_id(*id).context("detach a program whose pin is lost")?;
    }
    fs::rename(&new, pin).with_context(|| format!("rename {}", new.display()))?;
    let first = FdLink::from(PinnedLink::from_pin(pin)?);
    program.attach_to_link(first.try_into()?)?;
    Ok(())
}

/// Puts a clsact filter before all others: the kernel runs the newest of a priority first
/// (`cls_bpf_change`). The old one goes then; meanwhile both run, and drop what they do not know.
pub fn add_before(
    program: &mut SchedClassifier,
    ifindex: u32,
    parent: TcAttachType,
) -> Result<SchedClassifierLink> {
    let [first, second] = TcFilter::HANDLES;
    let add = |program: &mut SchedClassifier, handle| {
        let handle = TcHandle::from(handle);
        let options = NlOptions { priority: TcFilter::PRIORITY, handle, classid: None };
        let parent = TcHandle::from(parent);
        program.attach(ifindex, TcAttach::Netlink { parent, options })
    };
    let (id, old) = match add(program, second) {
        Ok(id) => (id, first),
        Err(_) => (add(program, first)?, second),
    };
    let old = TcHandle::from(old);
    let old = SchedClassifierLink::attached(
        ifindex,
        TcHandle::from(parent),
        TcFilter::PRIORITY,
        old,
        None,
    )?;
    aya::programs::links::Link::detach(old)?;
    Ok(program.take_link(id)?)
}

fn remove(pin: &Path) -> Result<()> {
    match fs::remove_file(pin) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", pin.display()))
        }
        _ => Ok(()),
    }
}
