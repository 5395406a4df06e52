//! The control socket: HTTP/1.1 with JSON on a Unix socket, for the command line and for programs
//! on the node.
//!
//! `docs/control.md` has examples for `curl`; `GET /v1/openapi.json` describes every path.

mod api;
pub mod client;
mod openapi;
mod reports;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::Path,
};

use anyhow::{Context as _, Result, bail};

pub use self::{
    api::{busy, router},
    reports::{Confirmation, Move, PlanReport, Release, Reload},
};

/// Where the socket is, unless configured otherwise.
pub const DEFAULT: &str = "/run/netagent/netagent.sock";

/// Listens on the socket: mode 0600, in a directory that only this user can write to. A socket that
/// a killed agent has left is replaced.
pub fn listen(path: &Path) -> Result<UnixListener> {
    let named = || format!("control socket {}", path.display());
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("create {}", directory.display()))?;
    let meta = fs::metadata(directory).with_context(named)?;
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me || meta.mode() & 0o022 != 0 {
        bail!(
            "{}: {} is not a directory that only uid {me} can write to: choose another with --socket",
            named(),
            directory.display()
        );
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(named),
        Ok(meta) if !meta.file_type().is_socket() => {
            bail!("{} exists and is not a socket: choose another with --socket", named())
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            bail!("{}: another netagent is listening: choose another with --socket", named())
        }
        Ok(_) => fs::remove_file(path).with_context(named)?,
    }
    let listener = UnixListener::bind(path).with_context(named)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).with_context(named)?;
    listener.set_nonblocking(true).with_context(named)?;
    Ok(listener)
}
