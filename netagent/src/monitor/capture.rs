//! The file for Wireshark. It is a new file, and it only ever holds whole blocks.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{event::Event, pcapng};

/// An open capture file.
pub struct Capture {
    path: PathBuf,
    file: File,
    /// Length of the whole blocks in the file.
    length: u64,
    interfaces: Vec<String>,
}

impl Capture {
    /// Creates the file and writes its header. Only the user may read the file: it holds payloads.
    pub fn create(path: &Path) -> Result<Self> {
        let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!("{} already exists: remove it, or choose another name", path.display())
            }
            result => result.with_context(|| format!("create {}", path.display()))?,
        };
        let mut capture = Self { path: path.to_owned(), file, length: 0, interfaces: Vec::new() };
        capture.write(&pcapng::section())?;
        Ok(capture)
    }

    /// Adds a frame, after its device if the device is new.
    pub fn add(&mut self, event: &Event) -> Result<()> {
        let known = self.interfaces.iter().position(|name| *name == event.device);
        let mut blocks = Vec::new();
        let number = known.unwrap_or_else(|| {
            blocks = pcapng::interface(&event.device);
            self.interfaces.push(event.device.clone());
            self.interfaces.len() - 1
        });
        blocks.extend(pcapng::packet(u32::try_from(number)?, event));
        self.write(&blocks)
    }

    /// Writes all blocks or none, so that the file stays readable on a full disk.
    fn write(&mut self, blocks: &[u8]) -> Result<()> {
        if let Err(error) = self.file.write_all(blocks) {
            // If this fails too, the last block of the file is truncated.
            let _ = self.file.set_len(self.length);
            return Err(error).with_context(|| format!("write {}", self.path.display()));
        }
        self.length += blocks.len() as u64;
        Ok(())
    }
}
