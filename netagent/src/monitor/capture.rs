//! The file for Wireshark: made new, whole blocks only.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{event::Event, pcapng};

/// An open file.
pub struct Capture {
    path: PathBuf,
    file: File,
    /// What is in it.
    length: u64,
    interfaces: Vec<String>,
}

impl Capture {
    /// Makes it, and begins it. For the user alone: it will have what VMs say.
    pub fn create(path: &Path) -> Result<Self> {
        let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!("{} is there already: remove it, or choose another name", path.display())
            }
            result => result.with_context(|| format!("create {}", path.display()))?,
        };
        let mut capture = Self { path: path.to_owned(), file, length: 0, interfaces: Vec::new() };
        capture.write(&pcapng::section())?;
        Ok(capture)
    }

    /// Adds a frame, and its device if that is new.
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

    /// All or nothing: a disk that is full leaves a file that can be read.
    fn write(&mut self, blocks: &[u8]) -> Result<()> {
        if let Err(error) = self.file.write_all(blocks) {
            // If this fails too, the reader sees a block that is cut off.
            let _ = self.file.set_len(self.length);
            return Err(error).with_context(|| format!("write {}", self.path.display()));
        }
        self.length += blocks.len() as u64;
        Ok(())
    }
}
