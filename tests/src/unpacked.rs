//! Programs of Debian packages that are unpacked, not installed (xtask/src/unpacked.rs).

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::lab;

/// The directory of the packages. If it is not there, prints so, and the test must return.
pub fn unpacked() -> Option<Unpacked> {
    let root = std::env::var_os("NETAGENT_UNPACKED").map(PathBuf::from);
    let root = root.filter(|root| root.exists());
    if root.is_none() {
        let release = lab::kernel_release();
        println!("skipped: {}: no unpacked packages on kernel {release}", crate::test());
    }
    root.map(Unpacked)
}

/// The directory of the packages.
pub struct Unpacked(PathBuf);

impl Unpacked {
    /// A program with its libraries, as the beginning of a shell line.
    pub fn program(&self, path: &str) -> String {
        format!("env LD_LIBRARY_PATH={} {}", self.libraries().display(), self.path(path).display())
    }

    /// The path of a file.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// `usr/lib/x86_64-linux-gnu`, or that of another machine.
    pub fn libraries(&self) -> PathBuf {
        let all = fs::read_dir(self.path("usr/lib")).unwrap();
        let mut all = all.map(|entry| entry.unwrap().path());
        let is_of_machine = |path: &PathBuf| path.to_string_lossy().ends_with("-linux-gnu");
        all.find(is_of_machine).unwrap_or_else(|| Path::new("/nowhere").to_owned())
    }
}
