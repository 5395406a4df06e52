//! Packages of a Debian suite that this machine does not use, from the archive that it is
//! configured for. They are downloaded, and never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::output;
use crate::setup;

/// All keys of Debian's archive on this machine.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A suite whose package lists are there.
pub struct Suite {
    /// The directory of its lists.
    apt: PathBuf,
}

impl Suite {
    /// Gets the package lists of a suite, such as "sid", into a directory of their own.
    pub fn update(name: &str, apt: &Path) -> Result<Self> {
        for dir in [apt.join("lists/partial"), apt.join("cache/archives/partial")] {
            fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        }
        let suite = Self { apt: apt.to_owned() };
        let archive = archive()?;
        let update = |trust: &str| {
            // sid's lists are not signed again while nothing changes.
            let options = format!("lang=none target=Packages check-valid-until=no {trust}");
            let line = format!("deb [{options}] {archive} {name} main\n");
            fs::write(suite.sources(), line).context("write sources.list")?;
            output(suite.tool("apt-get").args(["-q", "update"]))
        };
        if let Err(error) = update(&format!("signed-by={KEYRING}")) {
            let text = format!("{error:#}");
            // The messages of gpgv and, since Debian 13, of sqv.
            if !text.contains("NO_PUBKEY") && !text.contains("Missing key") {
                return Err(error);
            }
            println!("setup: no key in {KEYRING} verifies Debian {name}: taking it unverified");
            update("trusted=yes")?;
        }
        Ok(suite)
    }

    /// A program of apt that sees this suite only.
    pub fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        for (option, value) in [
            ("Dir::Etc::sourcelist", self.sources()),
            ("Dir::Etc::sourceparts", "/dev/null".into()),
            ("Dir::State::lists", self.apt.join("lists")),
            ("Dir::State::status", "/dev/null".into()),
            ("Dir::Cache", self.apt.join("cache")),
            ("APT::Architecture", "amd64".into()),
            // The user `_apt` cannot write here.
            ("APT::Sandbox::User", "root".into()),
            // By default, an update succeeds even if all downloads failed.
            ("APT::Update::Error-Mode", "any".into()),
        ] {
            command.arg("-o").arg(format!("{option}={}", value.display()));
        }
        command
    }

    /// Downloads packages into a directory.
    pub fn download(&self, packages: &[&str], into: &Path) -> Result<()> {
        let mut download = self.tool("apt-get");
        output(download.arg("download").args(packages).current_dir(into))?;
        Ok(())
    }

    fn sources(&self) -> PathBuf {
        self.apt.join("sources.list")
    }
}

/// The main Debian archive of this machine's apt configuration, as apt itself reads it.
fn archive() -> Result<String> {
    let query = || {
        let filter = ["Origin: Debian", "Label: Debian", "Component: main", "Created-By: Packages"];
        let targets = ["indextargets", "--format", "$(REPO_URI)"];
        output(Command::new("apt-get").args(targets).args(filter))
    };
    let mut targets = query()?;
    if targets.is_empty() {
        // The archive's lists say whether it is Debian's.
        setup::apt_update()?;
        targets = query()?;
    }
    let archive = targets.lines().next();
    archive.map(str::to_owned).context("find a Debian archive in the configuration of apt")
}
