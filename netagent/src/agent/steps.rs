//! Carries out the steps of a unit.

use std::{
    collections::BTreeSet,
    time::{Instant, SystemTime},
};

use anyhow::{Context as _, Error, Result, bail};

use super::Agent;
use crate::{
    change::{Change, DatapathChange, Optional},
    datapath::{Datapath, programs},
    names::IfName,
    plan::{Step, Unit},
    state::Outcome,
};

impl Agent {
    /// Takes the steps of a unit, and looks again at what they changed. `tell` hears the outcome of
    /// each. Returns how many steps were taken, and the error that stopped the unit.
    pub(super) async fn carry_out(
        &mut self,
        unit: &Unit,
        repair: bool,
        mut tell: impl FnMut(Outcome),
    ) -> (usize, Option<Error>) {
        let mut without: BTreeSet<Optional> = BTreeSet::new();
        let mut devices: BTreeSet<IfName> = BTreeSet::new();
        let (mut taken, mut stopped, mut without_member) = (0, None, None);
        let noted = self.trials.noted();
        for Step { change, before } in &unit.steps {
            let optional = change.optional();
            if optional.as_ref().is_some_and(|optional| without.contains(optional)) {
                taken += 1;
                continue;
            }
            devices.extend(change.devices().into_iter().cloned());
            if let Some(Optional::Xdp(uplink)) = &optional {
                devices.extend(self.seen.links.ports_of(uplink).map(|(nic, _)| nic.clone()));
            }
            let (at, started) = (SystemTime::now(), Instant::now());
            let result = match self.trials.note(unit, before) {
                Ok(()) => self.take(change).await,
                // What cannot be undone is not done.
                Err(error) => Err(error),
            };
            let result = result.with_context(|| format!("at `{change}`"));
            tell(Outcome {
                unit: unit.id.clone(),
                step: change.to_string(),
                kind: change.kind(),
                repair,
                error: result.as_ref().err().map(|error| format!("{error:#}")),
                optional: optional.is_some(),
                at,
                took: started.elapsed(),
            });
            match (result, optional) {
                (Ok(()), _) => {}
                (Err(error), Some(optional)) => {
                    match &optional {
                        // It is seen at the next look, and tried again when that is gone.
                        Optional::Xdp(_) if is_taken(&error) => {}
                        Optional::Xdp(uplink) => stopped = self.datapath.refuse_xdp(uplink).err(),
                        // The unit is not as desired, though its other steps are taken.
                        Optional::Member(_) => without_member = Some(error),
                    }
                    without.insert(optional);
                }
                (Err(error), None) => stopped = Some(error),
            }
            if stopped.is_some() {
                break;
            }
            taken += 1;
        }
        if let Some(error) = stopped.take() {
            stopped = Some(if unit.is_whole {
                self.roll_back(&unit.steps[..=taken], noted, error).await
            } else {
                error
            });
        }
        let routes = unit.steps.iter().any(|step| step.change.alters_routes());
        if let Err(error) = self.look_at(&devices, routes).await {
            stopped.get_or_insert(error);
        }
        (taken, stopped.or(without_member))
    }

    /// Carries out a change.
    pub(super) async fn take(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::Link(change) => {
                let index = change.plugs_in().and_then(|port| self.datapath.index(port));
                self.netlink.apply(change, index).await?;
                self.note_mac(change);
                Ok(())
            }
            Change::Datapath(change) if programs::tcx() => self.datapath.apply(change),
            Change::Datapath(change) => self.take_by_clsact(change).await,
        }
    }

    /// Carries out a change of the datapath on a kernel where clsact holds the programs.
    async fn take_by_clsact(&mut self, change: &DatapathChange) -> Result<()> {
        if let DatapathChange::Attach(name, ..) = change
            && let Some(index) = Datapath::index_now(name)
            && self.netlink.has_ingress(index).await?
        {
            bail!(
                "{name} has an ingress qdisc, and before Linux 6.6 the programs need clsact in its \
                 place: tc qdisc del dev {name} ingress, and add its filters to clsact"
            );
        }
        self.datapath.apply(change)?;
        if let DatapathChange::Forget(name) = change
            && let Some(index) = Datapath::index_now(name)
        {
            self.netlink.remove_empty_clsact(index).await?;
        }
        Ok(())
    }
}

/// Whether a program was refused because there is another one: on the device, or, beneath a bond,
/// on a NIC.
fn is_taken(error: &Error) -> bool {
    let errno = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error)
    };
    error.chain().filter_map(errno).any(|errno| errno == libc::EBUSY || errno == libc::EEXIST)
}
