//! Small files that must survive the agent: written in one step, and valid for one boot or for all.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// The identity of this boot.
pub fn boot_id() -> Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("read the boot id")?;
    Ok(id.trim_end().to_owned())
}

/// Writes a file as JSON in one step, for root only. After a crash of the node it has the old
/// content or the new one. The directory is created if need be.
pub fn replace(path: &Path, content: &impl Serialize) -> io::Result<()> {
    let directory = create_directory_of(path)?;
    let temporary = path.with_extension("new");
    let mut file =
        File::options().create(true).write(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(content)?)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync(directory)
}

/// Creates the directory of a file, for root only, and returns it.
pub fn create_directory_of(path: &Path) -> io::Result<&Path> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    Ok(directory)
}

/// Makes the names in a directory survive a crash of the node.
pub fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
