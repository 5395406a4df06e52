//! The pin directory: its location, its content, and the checks of its owner.
//!
//! ```text
//! /sys/fs/bpf/netagent/v1/maps/VLAN_STATS
//!                         programs/<build>/port_in
//!                         links/<device>/port_in
//! ```

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use netagent_common::LAYOUT;
use rustix::{
    fs::{FsWord, StatVfsMountFlags, statfs, statvfs},
    process::geteuid,
};

use crate::{names::IfName, state::Hook};

/// The default pin directory.
pub const DEFAULT: &str = "/sys/fs/bpf/netagent";

/// `BPF_FS_MAGIC` (include/uapi/linux/magic.h).
const BPF_FS_MAGIC: FsWord = 0xcafe_4a11;

/// A pin directory.
#[derive(Clone, Debug)]
pub struct Pins {
    base: PathBuf,
    root: PathBuf,
}

impl Pins {
    /// The pins in a directory, which need not exist yet.
    pub fn new(base: &Path) -> Self {
        Self { base: base.to_owned(), root: base.join(format!("v{LAYOUT}")) }
    }

    /// Refuses pins that another user could have made: `/sys/fs/bpf` may be world-writable.
    pub fn check(&self) -> Result<()> {
        check(&self.base)?;
        check(&self.root)
    }

    /// Makes the directories, with mode 0700. Returns whether there was nothing before.
    pub fn create(&self) -> Result<bool> {
        let parent = self.base.parent().unwrap_or(Path::new("/"));
        if !is_bpffs(parent) {
            bail!(
                "{} is not on a BPF file system: mount -t bpf bpf /sys/fs/bpf",
                self.base.display()
            );
        }
        let is_new = !fs::exists(&self.base).unwrap_or(false);
        // Nothing is made in a directory of another user.
        make(&self.base)?;
        check(&self.base)?;
        check_writable(&self.base)?;
        for directory in [&self.root, &self.maps(), &self.programs(), &self.root.join("links")] {
            make(directory)?;
        }
        self.check()?;
        Ok(is_new)
    }

    /// Refuses pins of a version with another layout: its programs are still attached.
    pub fn check_layout(&self) -> Result<()> {
        let layouts = self.layouts().with_context(|| format!("read {}", self.base.display()))?;
        match layouts.iter().find(|layout| **layout != self.root) {
            Some(other) => bail!(
                "{} belongs to another version of netagent, whose programs may be attached: \
                 `netagent detach` removes it",
                other.display()
            ),
            None => Ok(()),
        }
    }

    /// The directories of all versions, `v` and a number.
    fn layouts(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.base) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let is_layout = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            let number = name.and_then(|name| name.strip_prefix('v'));
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        };
        Ok(entries.flatten().map(|entry| entry.path()).filter(is_layout).collect())
    }

    /// Takes the exclusive lock on the pin directory, which is held until the result is dropped.
    /// The kernel releases it when the process ends.
    pub fn lock(&self) -> Result<fs::File> {
        let directory =
            fs::File::open(&self.base).with_context(|| format!("open {}", self.base.display()))?;
        match directory.try_lock() {
            Ok(()) => Ok(directory),
            Err(fs::TryLockError::WouldBlock) => bail!(
                "another netagent is in charge of {}: wait until it is done; if it is `netagent run`, change its \
                 file and send it SIGHUP, or stop it first",
                self.base.display()
            ),
            Err(fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("lock {}", self.base.display()))
            }
        }
    }

    /// Directory of the maps.
    pub fn maps(&self) -> PathBuf {
        self.root.join("maps")
    }

    /// Directory of the programs of all builds.
    pub fn programs(&self) -> PathBuf {
        self.root.join("programs")
    }

    /// Directory of a device's links. bpffs refuses names with a '.' (`bpf_lookup` in
    /// kernel/bpf/inode.c).
    pub fn device(&self, device: &IfName) -> PathBuf {
        self.root.join("links").join(device.as_str().replace('%', "%25").replace('.', "%2e"))
    }

    /// Pin of a device's link to a program.
    pub fn link(&self, device: &IfName, hook: Hook) -> PathBuf {
        self.device(device).join(hook.program())
    }

    /// The pins of all links. A device that was renamed has its pins by its old name.
    pub fn links(&self) -> Vec<PathBuf> {
        let entries = |directory: PathBuf| fs::read_dir(directory).into_iter().flatten().flatten();
        let devices = entries(self.root.join("links"));
        devices.flat_map(|device| entries(device.path())).map(|pin| pin.path()).collect()
    }

    /// Makes the directory for a device's links.
    pub fn create_device(&self, device: &IfName) -> Result<()> {
        make(&self.device(device))
    }

    /// Removes everything: that detaches the programs that links hold. Continues after an error.
    pub fn remove_all(&self) -> Result<()> {
        let mut failed = Vec::new();
        for layout in self.layouts().unwrap_or_default() {
            remove(&layout, &mut failed);
        }
        let _foreign_pins_may_be_there = fs::remove_dir(&self.base);
        if failed.is_empty() { Ok(()) } else { bail!("remove pins: {}", failed.join("; ")) }
    }
}

/// Refuses a directory that other users can write to.
fn check(directory: &Path) -> Result<()> {
    let meta = fs::symlink_metadata(directory)
        .with_context(|| format!("look at {}", directory.display()))?;
    let me = geteuid().as_raw();
    if !meta.is_dir() || meta.uid() != me || meta.mode() & 0o022 != 0 {
        bail!(
            "{} is not a directory that only uid {me} can write to: remove it, or choose another with \
             --pins",
            directory.display()
        );
    }
    Ok(())
}

/// Refuses a file system that is mounted read-only: what is pinned there already can be used, and
/// nothing else.
fn check_writable(directory: &Path) -> Result<()> {
    let stat = statvfs(directory).with_context(|| format!("look at {}", directory.display()))?;
    if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        bail!("{}: {READ_ONLY}", directory.display());
    }
    Ok(())
}

/// Why a BPF file system is read-only, and what to do.
const READ_ONLY: &str = "the BPF file system is mounted read-only: mount -o remount,rw \
                         /sys/fs/bpf; in a systemd unit, ProtectKernelTunables=no";

/// Makes a directory with mode 0700, if it does not exist.
pub fn make(directory: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            bail!("create {}: {READ_ONLY}", directory.display())
        }
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("create {}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a directory tree. `remove_dir_all` stops at the first error, and a remaining pin keeps a
/// program attached.
pub fn remove(path: &Path, failed: &mut Vec<String>) {
    let result = match fs::read_dir(path) {
        Ok(entries) => {
            entries.flatten().for_each(|entry| remove(&entry.path(), failed));
            fs::remove_dir(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            failed.push(format!("{}: {error}", path.display()));
        }
        _ => {}
    }
}

fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| stat.f_type == BPF_FS_MAGIC)
}
