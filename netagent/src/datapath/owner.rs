//! One agent for each network namespace: two would give a device two sets of programs, and the
//! second drops what the first has tagged.

use std::{
    collections::BTreeSet,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
};

use anyhow::{Context as _, Result, bail};
use aya::programs::loaded_programs;
use rustix::{net::sockopt::socket_peercred, process::geteuid};
use tracing::warn;

use super::{
    link::{self, LinkState},
    pins::Pins,
    programs, queue,
};
use crate::{
    names::IfName,
    state::{ClsactSide, Hook},
};

/// The name of the socket that the agent of a network namespace holds: abstract names belong to the
/// namespace (unix(7)).
const NAME: &str = "netagent";

/// Takes the place of the namespace's agent until the result is dropped. The kernel gives it back
/// when the process ends.
pub fn take() -> Result<Option<UnixListener>> {
    let address = SocketAddr::from_abstract_name(NAME).context("name the agent's socket")?;
    match UnixListener::bind_addr(&address) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let holder = UnixStream::connect_addr(&address);
            let holder = holder.and_then(|holder| Ok(socket_peercred(&holder)?));
            match holder {
                // Anybody can take the name.
                Ok(holder) if holder.uid != geteuid() => {
                    warn!(
                        "process {} of another user holds the name of the agent's socket (@{NAME})",
                        holder.pid
                    );
                    Ok(None)
                }
                Ok(holder) => bail!(
                    "another netagent is in charge of this network namespace (process {}), with \
                     other pins: wait until it is done, or stop it first",
                    holder.pid
                ),
                // It has ended meanwhile.
                Err(_) => UnixListener::bind_addr(&address).map(Some).context("be the only agent"),
            }
        }
        Err(error) => Err(error).context("be the only agent"),
    }
}

/// Refuses a namespace whose devices have programs of netagent that are not pinned here. Without
/// CAP_SYS_ADMIN the kernel does not tell names of programs.
pub fn check(pins: &Pins) -> Result<()> {
    if !programs::tcx() {
        return Ok(());
    }
    let held: BTreeSet<LinkState> =
        pins.links().iter().filter_map(|pin| link::read(pin).ok().flatten()).collect();
    let mut unknown: Vec<(u32, IfName)> = Vec::new();
    for (ifindex, device) in queue::devices().context("list devices")? {
        let is_held = |program| held.contains(&LinkState { ifindex, program });
        for side in [ClsactSide::Ingress, ClsactSide::Egress] {
            let there = queue::programs(ifindex, side).unwrap_or_default().into_iter();
            let others = there.filter(|id| !is_held(*id));
            unknown.extend(others.map(|id| (id, device.clone())));
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let name_of = |id: u32| {
        let info = loaded_programs().flatten().find(|info| info.id() == id)?;
        info.name_as_str().map(str::to_owned)
    };
    for (id, device) in unknown {
        let name = name_of(id).unwrap_or_default();
        let is_ours = Hook::ALL.iter().any(|hook| hook.side().is_some() && hook.program() == name);
        if is_ours {
            bail!(
                "nothing was done: {device} has a program of another netagent ({name}, ID {id}) that is \
                 not pinned here: use its --pins, or its `detach`; if something is mounted over \
                 /sys/fs/bpf, umount that"
            );
        }
    }
    Ok(())
}
