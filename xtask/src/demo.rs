//! The lab of examples/lab.sh, on this machine where its kernel can do it, else in a virtual
//! machine.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::{build, kernel, setup, vm};

/// What stands in when this machine's kernel cannot.
const KERNEL: &str = "6.12";

const LAB: &str = "examples/lab.sh";

/// What the lab calls besides busybox.
const TOOLS: [&str; 14] = [
    "bpftool", "bridge", "curl", "dnsmasq", "ethtool", "ip", "mount", "nsenter", "ping", "sysctl",
    "tail", "taskset", "timeout", "unshare",
];

/// What the lab asks of a kernel: what it is, the module it may be in, and a shell line that works
/// where it is. Loading bonding makes a bond0 unless it is told not to.
const FEATURES: [(&str, &str, &str); 3] = [
    ("bonding", "bonding max_bonds=0", "ip link add name probe type bond mode 802.3ad"),
    (
        "VLAN interfaces",
        "8021q",
        "ip link add name a type veth && ip link add link a name a.5 type vlan id 5",
    ),
    (
        "bridge VLAN filtering",
        "bridge",
        "ip link add name probe type bridge vlan_filtering 1 && bridge vlan add dev probe vid 5 self",
    ),
];

/// Runs it. `on`: in a virtual machine with this kernel, whatever this machine can do.
pub fn run(on: Option<&str>) -> Result<ExitCode> {
    setup::all()?;
    let netagent = build::netagent()?;
    let kernel = match (on, obstacle()?) {
        (Some(name), _) => {
            println!("demo: in a virtual machine, as asked");
            name
        }
        (None, Some(obstacle)) => {
            println!("demo: {obstacle}:");
            println!(
                "demo: the lab runs in a virtual machine instead, with Debian's kernel {KERNEL}"
            );
            KERNEL
        }
        (None, None) => {
            println!(
                "demo: this kernel has all that it takes: the lab runs here, in namespaces of its own"
            );
            return here(&netagent);
        }
    };
    let kernel = kernel::named(kernel)?;
    println!("demo: booting {}", kernel.release);
    let started = Instant::now();
    let status = vm::run(&kernel, &guest(netagent))?.status;
    println!("\ndemo: the virtual machine ran for {} s", started.elapsed().as_secs());
    Ok(ExitCode::from(u8::try_from(status)?))
}

/// Why the lab cannot run on this machine.
fn obstacle() -> Result<Option<String>> {
    // In a network namespace, which goes away with whatever the line made.
    let works = |line: &str| -> Result<bool> {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", line]);
        Ok(command.output().context("start unshare")?.status.success())
    };
    if !works("true")? {
        return Ok(Some("this user may not make network namespaces".to_owned()));
    }
    let mut missing = Vec::new();
    for (feature, module, line) in FEATURES {
        // It fails where the feature is built in as well.
        let _ = Command::new("modprobe").args(module.split(' ')).output();
        if !works(line)? {
            missing.push(feature);
        }
    }
    let missing = missing.join(", no ");
    Ok((!missing.is_empty()).then(|| format!("this machine's kernel has no {missing}")))
}

fn here(netagent: &Path) -> Result<ExitCode> {
    let path = env::var("PATH").unwrap_or_default();
    let directory = netagent.parent().unwrap_or(Path::new("/")).display();
    let status = Command::new(root().join(LAB))
        .env("PATH", format!("{directory}:{path}"))
        .status()
        .with_context(|| format!("start {LAB}"))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn guest(netagent: PathBuf) -> vm::Spec {
    let mut binaries = TOOLS.map(PathBuf::from).to_vec();
    binaries.push(netagent);
    let files =
        [LAB, "examples/oob.yaml"].map(|file| (root().join(file), Path::new("/").join(file)));
    vm::Spec {
        script: format!("sh /{LAB}"),
        binaries,
        files: files.to_vec(),
        timeout: Duration::from_secs(300),
        ..vm::Spec::default()
    }
}

/// The workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned()
}
