//! Debian packages that tests run without installing them: DHCP servers and managers of networks
//! would start with the machine. They are unpacked below target/, once, and again when the list
//! changes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    command::{output, run},
    setup,
};

const PACKAGES: [&str; 13] = [
    "bridge-utils",
    "dbus-daemon",
    "ifenslave",
    "ifupdown",
    "iptables",
    "kea-dhcp4-server",
    "kea-dhcp6-server",
    "libvirt-clients",
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "network-manager",
    "runc",
    "systemd",
];

/// The file with the list of the packages that are unpacked.
const LIST: &str = "packages";

/// The directory that has usr/sbin and usr/lib of the packages.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join("debian")
}

/// Downloads and unpacks the packages, and what they need and this machine has not installed.
pub fn all() -> Result<()> {
    let root = root();
    let list = PACKAGES.join("\n");
    if fs::read_to_string(root.join(LIST)).is_ok_and(|unpacked| unpacked == list) {
        return Ok(());
    }
    setup::apt_update()?;
    println!("setup: unpack {}", PACKAGES.join(", "));
    // Renamed at the end: if the directory exists, it is complete.
    let partial = root.with_extension("partial");
    for earlier in [&root, &partial] {
        fs::remove_dir_all(earlier).ok();
    }
    let debs = partial.join("debs");
    fs::create_dir_all(&debs).with_context(|| format!("create {}", debs.display()))?;
    let simulated = output(
        Command::new("apt-get")
            .args(["-qq", "--simulate", "--no-install-recommends", "install"])
            .args(PACKAGES),
    )?;
    // `Inst NAME (VERSION …`: a new package. `Inst NAME [VERSION] (…`: a newer version of one that
    // is installed, which does as it is.
    let new = simulated.lines().filter_map(|line| {
        let mut words = line.strip_prefix("Inst ")?.split(' ');
        let name = words.next()?;
        words.next()?.starts_with('(').then_some(name)
    });
    output(Command::new("apt-get").args(["-q", "download"]).args(new).current_dir(&debs))
        .context("download Debian packages")?;
    for deb in fs::read_dir(&debs).with_context(|| format!("list {}", debs.display()))? {
        run(Command::new("dpkg-deb").arg("-x").arg(deb?.path()).arg(&partial))?;
    }
    // As on a machine, where these are links into /usr.
    for name in ["bin", "lib", "sbin"] {
        let (from, to) = (partial.join(name), partial.join("usr").join(name));
        if from.exists() {
            run(Command::new("cp").arg("-aT").arg(&from).arg(to))?;
            fs::remove_dir_all(from).context("remove what was copied")?;
        }
    }
    fs::remove_dir_all(&debs).context("remove the packages")?;
    fs::write(partial.join(LIST), list).context("write the list of packages")?;
    fs::rename(&partial, &root).context("rename the unpacked packages")
}

/// The directory of the libraries: `usr/lib/x86_64-linux-gnu`, or that of another machine.
pub fn libraries() -> Result<PathBuf> {
    let all = root().join("usr/lib");
    let entries = fs::read_dir(&all).with_context(|| format!("list {}", all.display()))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let found = paths.find(|path| path.to_string_lossy().ends_with("-linux-gnu"));
    found.with_context(|| format!("find the libraries in {}", all.display()))
}
