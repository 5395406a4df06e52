//! Undoing: the steps of a unit that must not end half way, and a trial that nobody confirmed.

use std::{
    collections::BTreeMap,
    time::{Instant, SystemTime},
};

use anyhow::{Error, Result};
use tracing::{debug, info, warn};

use super::Agent;
use crate::{
    change::{Change, LinkChange},
    datapath::Datapath,
    names::{Cidr, IfName},
    plan::Step,
    state::{Outcome, Part, UnitId},
    trial::{Decided, Done, UndoLog},
};

/// How a trial ended that was to be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// Somebody had confirmed it.
    Confirmed,
    /// It was undone, except for these changes.
    Except(Vec<String>),
}

impl Agent {
    /// Undoes steps, the last one first, and returns the error that made it necessary: that of the
    /// last step, which may have been taken by half. A step that cannot be undone does not keep the
    /// others from being undone. `noted` is the length of the undo log before the steps.
    pub(super) async fn roll_back(&mut self, steps: &[Step], noted: usize, error: Error) -> Error {
        let mut failed = Vec::new();
        let (by_half, taken) =
            steps.split_last().map_or((None, steps), |(last, taken)| (Some(last), taken));
        for change in by_half.into_iter().flat_map(|step| &step.before) {
            match self.take(change).await {
                Ok(()) => info!("roll back: {change}"),
                // Most often, the step has changed nothing.
                Err(error) => debug!("roll back: {change}: {error:#}"),
            }
        }
        for change in taken.iter().rev().flat_map(|step| &step.before) {
            match self.take(change).await {
                Ok(()) => info!("roll back: {change}"),
                Err(error) => {
                    warn!("roll back: {change}: {error:#}");
                    failed.push(change.to_string());
                }
            }
        }
        match failed.as_slice() {
            [] => {
                if let Err(error) = self.trials.forget_after(noted) {
                    warn!("{error:#}");
                }
                error.context("rolled back")
            }
            failed => error.context(format!("rolled back, except for: {}", failed.join("; "))),
        }
    }

    /// Undoes a trial, the last step first. If the process ends meanwhile, the next one continues.
    pub async fn undo(
        &mut self,
        mut log: UndoLog,
        mut tell: impl FnMut(Outcome),
    ) -> Result<Undone> {
        if log.decide()? == Decided::Confirmed {
            return Ok(Undone::Confirmed);
        }
        let mut failed = Vec::new();
        if log.damaged() > 0 {
            failed.push(format!("{} steps whose lines in the undo log are damaged", log.damaged()));
        }
        let mut heirs = Heirs::default();
        while let Some(Done { unit, undo }) = log.last()? {
            for change in &undo {
                heirs.note(change);
                if let Some((name, heir)) = heirs.of_deleted(change) {
                    self.hand_over(name, heir).await;
                }
                let (at, started) = (SystemTime::now(), Instant::now());
                let result = self.take(change).await;
                let text = change.to_string();
                // What fails at first may be restored by the undo of an earlier step.
                failed.retain(|failed| *failed != text);
                if result.is_err() && !is_moot(&unit, change) {
                    failed.push(text);
                }
                tell(Outcome {
                    unit: unit.clone(),
                    step: format!("roll back: {change}"),
                    kind: change.kind(),
                    repair: false,
                    error: result.err().map(|error| format!("{error:#}")),
                    optional: true,
                    at,
                    took: started.elapsed(),
                });
            }
            log.truncate(log.steps() - 1)?;
        }
        log.remove()?;
        self.look().await?;
        Ok(Undone::Except(failed))
    }

    /// Gives the addresses that others have added to an interface meanwhile to the device that has
    /// the others of it again. The kernel adds those of advertisements by itself.
    async fn hand_over(&mut self, name: &IfName, heir: &IfName) {
        if let Err(error) = self.look().await {
            warn!("roll back: look at {name}: {error:#}");
        }
        let Some(link) = self.seen.links.link(name) else { return };
        let of_others = link
            .addresses
            .iter()
            .filter(|(cidr, known)| !known.owned && (cidr.address.is_ipv4() || !known.expires()));
        for (cidr, _) in of_others {
            let copy = LinkChange::CopyAddress(name.clone(), heir.clone(), *cidr);
            match self.netlink.apply(&copy, None).await {
                Ok(()) => info!("roll back: {copy}"),
                Err(error) => warn!("roll back: {copy}: {error:#}"),
            }
        }
    }
}

/// The devices that get their addresses back, by the interfaces that had taken these.
#[derive(Default)]
struct Heirs {
    restored: BTreeMap<Cidr, IfName>,
    of: BTreeMap<IfName, IfName>,
}

impl Heirs {
    fn note(&mut self, change: &Change) {
        match change {
            Change::Link(LinkChange::RestoreAddress(heir, cidr, _)) => {
                self.restored.insert(*cidr, heir.clone());
            }
            Change::Link(LinkChange::RemoveAddress(name, cidr)) => {
                if let Some(heir) = self.restored.get(cidr).filter(|heir| *heir != name) {
                    self.of.insert(name.clone(), heir.clone());
                }
            }
            Change::Link(_) | Change::Datapath(_) => {}
        }
    }

    /// The interface that a change deletes, and the device that had its addresses.
    fn of_deleted<'a>(&'a self, change: &'a Change) -> Option<(&'a IfName, &'a IfName)> {
        let Change::Link(LinkChange::Delete(name)) = change else { return None };
        Some((name, self.of.get(name)?))
    }
}

/// Whether a change is about the device of a VM that has gone meanwhile.
fn is_moot(unit: &UnitId, change: &Change) -> bool {
    matches!(unit.part, Part::Port | Part::FormerPort)
        && change.devices().contains(&&unit.device)
        && Datapath::index_now(&unit.device).is_none()
}
