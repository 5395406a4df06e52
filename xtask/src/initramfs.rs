//! Builds the root file system of a virtual machine: busybox, the programs of a test with their
//! shared libraries, the kernel modules of networking tests, and an init that runs one script. The
//! cpio archive is not compressed: unpacking is slow in an emulator.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::output;
use crate::cpio::{Archive, DIRECTORY, FILE, SYMLINK};
use crate::kernel::Kernel;
use crate::vm::{BEGIN, EXIT, Spec};

/// The modules that every guest loads, with their parameters. Modules that a kernel has built in
/// are skipped.
const MODULES: [&str; 17] = [
    "8021q",
    "act_bpf",
    "act_gact",
    "act_mirred",
    "act_police",
    "act_vlan",
    "bonding max_bonds=0",
    "bridge",
    "cls_bpf",
    "cls_matchall",
    "dummy numdummies=0",
    "pktgen",
    "sch_ingress",
    "tun",
    "veth",
    "virtio_console",
    "virtio_pci",
];

/// Users that dnsmasq and tcpdump switch to.
const PASSWD: &str = "\
root:x:0:0::/root:/bin/sh
dnsmasq:x:101:65534::/:/bin/false
tcpdump:x:102:65534::/:/bin/false
systemd-network:x:103:65534::/:/bin/false
nobody:x:65534:65534::/:/bin/false
";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\ntcpdump:x:102:\n";

/// Writes the archive to `path`.
pub fn build(path: &Path, kernel: &Kernel, spec: &Spec) -> Result<()> {
    let mut archive = Archive::create(path)?;
    for dir in ["bin", "dev", "proc", "root", "run", "sys", "usr", "var/lib/misc"] {
        archive.add(dir, DIRECTORY, b"")?;
    }
    // Neither /tmp nor /run is a mount: all of / is memory, and a mount would hide our files.
    archive.add("tmp", DIRECTORY | 0o1777, b"")?;
    // One directory for all programs, under all names that a test expects.
    for (link, target) in [("sbin", "bin"), ("usr/bin", "../bin"), ("usr/sbin", "../bin")] {
        archive.add(link, SYMLINK, target.as_bytes())?;
    }
    archive.add("var/run", SYMLINK, b"../run")?;
    archive.add("etc/passwd", FILE, PASSWD.as_bytes())?;
    archive.add("etc/group", FILE, GROUP.as_bytes())?;

    // The real programs come before the applets: busybox has a small `ip` as well. The shell is not
    // busybox's, which prefers its own applets to the PATH.
    for binary in spec.binaries.iter().chain(&["sh", "busybox"].map(PathBuf::from)) {
        let binary = find(binary)?;
        let name = binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
        archive.copy(&binary, &format!("bin/{name}"))?;
        for library in libraries(&binary)? {
            archive.copy(Path::new(&library), &library)?;
        }
    }
    for applet in output(Command::new("busybox").arg("--list"))?.lines() {
        archive.add(&format!("bin/{applet}"), SYMLINK, b"busybox")?;
    }
    for (host, guest) in &spec.files {
        archive.copy(host, &guest.to_string_lossy())?;
    }

    let mut load = Vec::new();
    for module in modules(kernel, &spec.modules)? {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.copy(&module, &format!("modules/{name}"))?;
        let stem = name.trim_end_matches(".ko");
        let parameters =
            MODULES.iter().find_map(|wanted| wanted.strip_prefix(stem)?.strip_prefix(' '));
        load.push(format!("insmod /modules/{name} {}", parameters.unwrap_or_default()));
    }
    archive.add("script", FILE, spec.script.as_bytes())?;
    archive.add("init", FILE, init(&load.join("\n")).as_bytes())?;
    archive.finish()
}

fn init(load: &str) -> String {
    format!(
        "#!/bin/sh
export PATH=/bin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo 1 > /proc/sys/kernel/printk
busybox ifconfig lo up
{load}
# Not the serial port, which the emulator loses bytes of under load. The node is there before the device answers.
until (: > /dev/hvc0) 2> /dev/null; do sleep 0.05; done
exec > /dev/hvc0 2>&1
echo '{BEGIN}'
sh /script < /dev/null
echo \"{EXIT}$?\"
poweroff -f
"
    )
}

/// The program at this path or, without a slash, with this name on the PATH.
fn find(binary: &Path) -> Result<PathBuf> {
    if binary.components().count() > 1 {
        return Ok(binary.to_owned());
    }
    // iproute2 and others are in the sbin directories, which are not on every user's PATH.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let mut candidates = std::env::split_paths(&path).map(|dir| dir.join(binary));
    let found = candidates.find(|candidate| candidate.is_file());
    found.with_context(|| format!("find the program {}", binary.display()))
}

/// The shared libraries of a program, and its loader.
fn libraries(binary: &Path) -> Result<Vec<String>> {
    let ldd = Command::new("ldd").arg(binary).output().context("start ldd")?;
    // ldd fails for static programs and scripts, which need no libraries.
    let text = String::from_utf8_lossy(&ldd.stdout);
    if let Some(line) = text.lines().find(|line| line.contains("not found")) {
        bail!("{} lacks a library: {}", binary.display(), line.trim());
    }
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect())
}

/// The files of `MODULES` and of `more` in load order.
fn modules(kernel: &Kernel, more: &[&str]) -> Result<Vec<PathBuf>> {
    let path = kernel.modules.join("modules.dep");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let needs: HashMap<_, _> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(path, needs)| Some((Path::new(path).file_stem()?.to_str()?, (path, needs))))
        .collect();

    let mut order: Vec<PathBuf> = Vec::new();
    for wanted in MODULES.iter().chain(more) {
        let name = wanted.split(' ').next().unwrap_or_default();
        let Some((path, needs)) = needs.get(name) else { continue };
        // modules.dep lists all dependencies of a module, the innermost last.
        for file in needs.split_whitespace().rev().chain([*path]) {
            let file = kernel.modules.join(file);
            if !order.contains(&file) {
                order.push(file);
            }
        }
    }
    Ok(order)
}
