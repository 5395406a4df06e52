//! Network namespaces.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    thread,
};

use anyhow::{Context as _, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// `NSFS_MAGIC` (include/uapi/linux/magic.h)
const NSFS: i64 = 0x6e73_6673;

/// A network namespace.
pub struct Netns {
    file: File,
    /// The path by which it was opened.
    pub path: String,
}

/// Why a path is not a namespace.
#[derive(Debug)]
pub enum Opened {
    /// The namespace.
    Netns(Netns),
    /// The path does not exist, or is not a namespace: the namespace is gone.
    Gone(String),
}

impl std::fmt::Debug for Netns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path)
    }
}

impl Netns {
    /// Opens a namespace.
    pub fn open(path: &str) -> Result<Opened> {
        let gone = |why: String| Ok(Opened::Gone(format!("failed to open netns {path:?}: {why}")));
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return gone(error.to_string());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("failed to open netns {path:?}"));
            }
        };
        let kind = rustix::fs::fstatfs(&file).context("statfs of the netns")?.f_type;
        if kind != NSFS {
            // With broken mount propagation, the mount point of a namespace is an empty file.
            return gone(format!("unknown FS magic on {path:?}: {kind:x}"));
        }
        Ok(Opened::Netns(Self { file, path: path.to_owned() }))
    }

    /// Opens the namespace of this process.
    pub fn own() -> Result<Self> {
        match Self::open("/proc/thread-self/ns/net")? {
            Opened::Netns(netns) => Ok(netns),
            Opened::Gone(why) => bail!("{why}"),
        }
    }

    /// Calls a function in the namespace, on a thread of its own.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let enter = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.file.as_fd(), kind)
                .with_context(|| format!("enter netns {}", self.path))?;
            Ok(work())
        };
        thread::scope(|scope| scope.spawn(enter).join().unwrap_or_else(|_| bail!("panicked")))
    }

    /// The namespace for a request.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
