//! Programs of others that the tests call, or are called by: the tests of the CNI bridge plugin and
//! the plugin itself, IPAM plugins, containerd, and small callers of our own. They are built from
//! Go modules (tests/peers) below target/, and built again only when a file in tests/peers changes.
//! netagent itself needs no Go.

mod go;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use self::go::Go;
use crate::command::{output, run};
use crate::unpacked;

/// What is built. The names of programs are the last parts of these paths.
const PACKAGES: [&str; 11] = [
    "./image",
    "./libcni",
    "./pause",
    "github.com/containerd/containerd/v2/cmd/containerd",
    "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
    "github.com/containerd/containerd/v2/cmd/ctr",
    "github.com/containernetworking/plugins/plugins/ipam/host-local",
    "github.com/containernetworking/plugins/plugins/ipam/static",
    "github.com/containernetworking/plugins/plugins/main/bridge",
    "github.com/containernetworking/plugins/plugins/main/loopback",
    "sigs.k8s.io/cri-tools/cmd/crictl",
];

/// The directory of the programs in a virtual machine.
pub const GUEST: &str = "/peers";

/// The beginnings of the names of the tests that need them.
const TESTS: [&str; 4] = ["cni::beside_bridge::", CONTAINERD, "cni::libcni::", "cni::peer_suite::"];
const CONTAINERD: &str = "cni::containerd::";
/// The beginnings of the names of files that only containerd needs.
const OF_CONTAINERD: [&str; 4] = ["containerd", "crictl", "ctr", "runc"];

/// Whether a test needs the programs.
pub fn needs(test: &str) -> bool {
    TESTS.iter().any(|beginning| test.starts_with(beginning))
}

/// The directory of the programs.
pub fn root() -> PathBuf {
    store().join("bin")
}

/// The files that some tests need, with their paths in a virtual machine, whose memory they take.
pub fn files(tests: &[String]) -> Result<Vec<(PathBuf, PathBuf)>> {
    let has_containerd = tests.iter().any(|test| test.starts_with(CONTAINERD));
    let mut files = Vec::new();
    let mut dirs = vec![root()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_of_containerd =
                OF_CONTAINERD.iter().any(|beginning| name.starts_with(beginning));
            if path.is_dir() {
                dirs.push(path);
            } else if has_containerd || !is_of_containerd {
                let guest = Path::new(GUEST).join(path.strip_prefix(root())?);
                files.push((path, guest));
            }
        }
    }
    Ok(files)
}

/// Builds the programs, if they are not there.
pub fn all() -> Result<()> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("tests").join("peers");
    let (wanted, stamp) = (inputs(&sources)?, store().join("inputs"));
    if root().exists() && fs::read(&stamp).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    println!("setup: build the bridge plugin's tests and containerd with Go (minutes, once)");
    let go = Go::find(&sources)?;
    let partial = root().with_extension("partial");
    for old in [&partial, &root()] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("remove {}", old.display()))?;
        }
    }
    fs::create_dir_all(&partial).with_context(|| format!("create {}", partial.display()))?;
    let built = go
        .build(&sources, &partial)
        .and_then(|()| go.build_suite(&sources, &partial.join("bridge-suite")))
        .and_then(|()| debian(&partial))
        .and_then(|()| {
            let image = partial.join("pause.tar");
            let mut command = Command::new(partial.join("image"));
            run(command.arg(partial.join("pause")).arg("localhost/pause:1").arg(image))
        });
    built.context("build the programs of tests/peers with Go")?;
    fs::write(&stamp, wanted).with_context(|| format!("write {}", stamp.display()))?;
    // Renamed at the end: if the directory exists, it is complete.
    fs::rename(&partial, root()).context("rename the directory of the programs")
}

fn store() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join("go-peers")
}

/// All that decides what is built: the contents of the Go and module files, and of these files.
fn inputs(sources: &Path) -> Result<Vec<u8>> {
    let mut files = vec![sources.join("go.mod"), sources.join("go.sum")];
    for entry in fs::read_dir(sources).with_context(|| format!("list {}", sources.display()))? {
        let dir = entry?.path();
        if dir.is_dir() {
            for entry in fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))? {
                files.push(entry?.path());
            }
        }
    }
    files.retain(|path| {
        path.extension().is_some_and(|of| ["go", "mod", "sum"].iter().any(|it| of == *it))
    });
    files.sort();
    let mut all = [&include_bytes!("peers.rs")[..], include_bytes!("peers/go.rs")].concat();
    for file in files {
        all.extend(fs::read(&file).with_context(|| format!("read {}", file.display()))?);
    }
    Ok(all)
}

/// Adds Debian's runc and iptables, with the libraries that not every machine has.
fn debian(into: &Path) -> Result<()> {
    let usr = unpacked::root().join("usr");
    let libraries = unpacked::libraries()?;
    let extensions = libraries.join("xtables");
    run(Command::new("cp").arg("-r").arg(&extensions).arg(into.join("xtables")))?;
    let lib = into.join("lib");
    fs::create_dir(&lib).with_context(|| format!("create {}", lib.display()))?;
    let iptables = "xtables-nft-multi";
    for (program, name) in [
        ("runc", "runc"),
        (iptables, "iptables"),
        (iptables, "ip6tables"),
        (iptables, "ip6tables-save"),
    ] {
        let program = usr.join("sbin").join(program);
        fs::copy(&program, into.join(name))
            .with_context(|| format!("copy {}", program.display()))?;
        let ldd = output(Command::new("ldd").env("LD_LIBRARY_PATH", &libraries).arg(&program))?;
        // libmnl.so.0 => /lib/.../libmnl.so.0 (0x...)
        for path in ldd.lines().filter_map(|line| line.split_once("=> ")?.1.split(' ').next()) {
            let name = Path::new(path).file_name().unwrap_or_default();
            // The C library is that of the shell.
            if name != "libc.so.6" {
                fs::copy(path, lib.join(name)).with_context(|| format!("copy {path}"))?;
            }
        }
    }
    Ok(())
}
