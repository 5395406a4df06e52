//! Programs of others that xtask builds from Go modules (xtask/src/peers.rs).

use std::path::PathBuf;

use crate::lab;

/// The directory of the programs. If it is not there, prints so, and the test must return.
pub fn programs() -> Option<Programs> {
    let root = std::env::var_os("NETAGENT_PEERS").map(PathBuf::from);
    let root = root.filter(|root| root.exists());
    if root.is_none() {
        let release = lab::kernel_release();
        println!("skipped: {}: no programs of Go on kernel {release}", crate::test());
    }
    root.map(Programs)
}

/// The directory of the programs.
pub struct Programs(PathBuf);

impl Programs {
    /// The path of a program.
    pub fn path(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        assert!(path.exists(), "{} is not there", path.display());
        path
    }

    /// Variables by which the programs find each other, and their libraries.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        let path = std::env::var("PATH").unwrap_or_default();
        [
            ("PATH", format!("{}:{path}", self.0.display())),
            ("LD_LIBRARY_PATH", self.0.join("lib").display().to_string()),
            ("XTABLES_LIBDIR", self.0.join("xtables").display().to_string()),
        ]
    }
}
