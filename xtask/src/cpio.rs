//! Writes cpio archives of the "newc" kind, which is what the kernel unpacks.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

// A file's type and permissions.
pub const DIRECTORY: u32 = 0o040_755;
pub const FILE: u32 = 0o100_755;
pub const SYMLINK: u32 = 0o120_777;

/// A cpio archive in which a path that was added before stays as it was.
pub struct Archive {
    out: BufWriter<File>,
    paths: HashSet<String>,
}

impl Archive {
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { out: BufWriter::new(file), paths: HashSet::new() })
    }

    /// Adds a file as it is on this machine.
    pub fn copy(&mut self, host: &Path, guest: &str) -> Result<()> {
        let context = || format!("read {}", host.display());
        let mode = host.metadata().with_context(context)?.permissions().mode();
        self.add(guest, mode, &fs::read(host).with_context(context)?)
    }

    /// Adds a file, its parents first.
    pub fn add(&mut self, path: &str, mode: u32, data: &[u8]) -> Result<()> {
        let path = path.trim_matches('/');
        if !self.paths.insert(path.to_owned()) {
            return Ok(());
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.add(parent, DIRECTORY, b"")?;
        }
        let size = u32::try_from(data.len()).with_context(|| format!("add all of {path}"))?;
        let path_size = u32::try_from(path.len() + 1)?;
        // Inode, mode, owner, group, links, time, size, four device numbers, path size, checksum.
        let fields = [0, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, path_size, 0];
        let fields = fields.map(|field| format!("{field:08x}")).concat();
        let header = format!("070701{fields}{path}\0");
        for part in [header.as_bytes(), data] {
            self.out.write_all(part)?;
            let padding = part.len().next_multiple_of(4) - part.len();
            self.out.write_all(&[0; 3][..padding])?;
        }
        Ok(())
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Result<()> {
        self.add("TRAILER!!!", 0, b"")?;
        self.out.flush().context("write the initramfs")
    }
}
