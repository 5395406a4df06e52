//! Runs all tests, those that fail fastest first: the fast checks, tests without privileges, tests
//! on this machine's kernel in network namespaces, tests on every kernel of the matrix in virtual
//! machines.
//!
//! A test prints `skipped: NAME: why` on a kernel that cannot run it. A test that no kernel has run
//! is a failure. A test whose result does not depend on the kernel prints `once: NAME` and runs on
//! one kernel. The kernel that is no gate runs what this machine's kernel cannot: a newer kernel
//! than those of the gates has run the others.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::kernel::Kernel;
use crate::tally::{Digest, Tally};
use crate::{build, check, fuzz, kernel, libvirt, mutate, parts, peers, setup, unpacked, vm};

/// Programs that the tests call in a virtual machine.
const TOOLS: [&str; 16] = [
    "bpftool", "bridge", "curl", "dnsmasq", "ethtool", "find", "ip", "nsenter", "ping", "setpriv",
    "strace", "sysctl", "tc", "tcpdump", "timeout", "unshare",
];

/// Not on the PATH.
const NETWORKD: &str = "/lib/systemd/systemd-networkd";

/// Environment variables of the oracle: seed and numbers of policies and frames.
const VARIABLES: [&str; 3] = ["NETAGENT_SEED", "NETAGENT_POLICIES", "NETAGENT_FRAMES"];
/// Modules for the programs that Go has built: containers, and rules of masquerading.
const PEERS_MODULES: [&str; 9] = [
    "nf_tables",
    "nft_chain_nat",
    "nft_compat",
    "nft_ct",
    "nft_masq",
    "nft_meta_bridge",
    "overlay",
    "xt_MASQUERADE",
    "xt_comment",
];
/// What these programs take of a guest's memory, in MiB.
const PEERS_MEMORY: u32 = 1024;
/// Environment variable for tests in full length.
const SOAK: &str = "NETAGENT_SOAK";
/// Environment variable of the directory with unpacked programs, on this machine.
pub const UNPACKED: &str = "NETAGENT_UNPACKED";
/// Environment variable of the directory with the guest of libvirt and QEMU.
const GUEST: &str = "NETAGENT_GUEST";
/// Environment variable of the directory with programs that Go has built.
const PEERS: &str = "NETAGENT_PEERS";
/// The kernel of the matrix that runs a `once` test if this machine's kernel cannot run it.
const ONE: &str = "6.12";
/// Tests at a time on this machine's kernel. They wait for grace periods and timers most of the
/// time: two processors are not busy with four.
pub const HERE: &str = "4";
/// Options of every test executable. `--report-time` is unstable in libtest and needs
/// RUSTC_BOOTSTRAP.
const LIBTEST: [&str; 4] =
    ["--show-output", "-Zunstable-options", "--report-time", "--format=pretty"];

/// What to run.
#[derive(clap::Args)]
pub struct Options {
    /// Only this kernel of the matrix, or `host`; can be repeated
    #[arg(long)]
    on: Vec<String>,
    /// Run the long tests in full, and every test on every kernel
    #[arg(long)]
    soak: bool,
    /// Only tests whose name contains this
    #[arg(default_value = "")]
    filter: String,
}

/// Runs the tests.
pub fn run(options: &Options) -> Result<ExitCode> {
    heading("set-up, checks, compilers");
    setup::all()?;
    let Options { on, soak, filter } = options;
    let whole = on.is_empty() && filter.is_empty();
    if whole {
        check::fast()?;
    }
    let wanted = |place: &str| on.is_empty() || on.iter().any(|name| name == place);
    // The network is idle while this machine compiles and runs its own tests.
    let of_guest = |name: &str| wanted("host") && name == libvirt::KERNEL;
    let sources = kernel::SOURCES.iter();
    let sources: Vec<_> =
        sources.filter(|source| wanted(source.name) || of_guest(source.name)).collect();
    let fetching = thread::spawn(move || {
        let kernels = sources.into_iter().filter_map(|source| kernel::fetch(source).transpose());
        kernels.collect::<Result<Vec<_>>>()
    });
    let building_peers = whole.then(|| thread::spawn(peers::all));
    let mut tally = Tally::default();
    let netagent = build::netagent()?;
    let cni = build::cni()?;
    let tests = Tests {
        unit: build::tests("netagent")?,
        real: build::tests("netagent-tests")?,
        netagent,
        cni,
        soak: *soak,
    };
    let mut kernels =
        fetching.join().map_err(|_| anyhow!("the thread that fetches kernels panicked"))??;
    if let Some(building) = building_peers {
        building.join().map_err(|_| anyhow!("the thread that builds with Go panicked"))??;
    } else if parts::list(&tests.real, filter, &[])?.iter().any(|test| peers::needs(test)) {
        peers::all()?;
    }
    if wanted("host") {
        let guest = libvirt::make_guest(&kernels)?;
        heading("tests without privileges");
        let cni = build::tests("netagent-cni")?;
        for unit in [&tests.unit, &cni, &build::tests("netagent-common")?, &build::own_tests()?] {
            let mut unit = Command::new(unit);
            unit.arg(filter).args(LIBTEST);
            here(&mut unit, "without privileges", &mut tally)?;
        }
        heading("tests on this machine's kernel");
        let mut real = Command::new(&tests.real);
        real.env("NETAGENT", &tests.netagent).env("NETAGENT_CNI", &tests.cni);
        real.env(UNPACKED, unpacked::root()).env(GUEST, guest).env(PEERS, peers::root());
        if *soak {
            real.env(SOAK, "1");
        }
        real.arg(filter).args(LIBTEST).args(["--test-threads", HERE]);
        // These tests leave a processor free most of the time.
        thread::scope(|scope| {
            let fuzz = filter.is_empty().then(|| scope.spawn(|| fuzz::run(fuzz::RUNS)));
            here(&mut real, "this machine's kernel", &mut tally)?;
            let fuzz = fuzz.map(|fuzz| fuzz.join().map_err(|_| anyhow!("the fuzzer panicked")));
            fuzz.unwrap_or(Ok(Ok(())))?
        })?;
    }
    if whole && tally.is_good() {
        heading("mutations: what would these tests notice?");
        tally.fail(mutate::after_tests(*soak)?);
    }
    kernels.retain(|kernel| wanted(kernel.name));
    let guests = guests(&tests, &kernels, filter, &tally)?;
    for (kernel, outcome) in side_by_side(&guests, &tests)? {
        let place = format!("kernel {}", kernel.release);
        let outcome = outcome?;
        tally.count(&place, outcome.status == 0, outcome.lines.iter().map(String::as_str));
    }
    let (text, well) = tally.report(whole);
    println!("\n{text}");
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tests that run in one virtual machine.
struct Guest<'a> {
    kernel: &'a Kernel,
    /// Tests of the agent's netlink code.
    unit: Vec<String>,
    real: Vec<String>,
}

/// The guests of all kernels in starting order. They do not run a `once` test that this machine's
/// kernel has run. If this machine's kernel cannot run the test, one kernel of the matrix does. A
/// kernel that is no gate runs only what this machine's kernel cannot, if that is newer than the
/// gates.
fn guests<'a>(
    tests: &Tests,
    kernels: &'a [Kernel],
    filter: &str,
    tally: &Tally,
) -> Result<Vec<Guest<'a>>> {
    let unit = parts::list(&tests.unit, filter, &["--ignored"])?;
    let unit: Vec<_> = unit.into_iter().filter(|name| name.starts_with("netlink::")).collect();
    let real = parts::list(&tests.real, filter, &[])?;
    let one = kernels.iter().find(|kernel| kernel.name == ONE).or(kernels.first());
    let one = one.map(|kernel| kernel.name);
    let gates = kernels.iter().filter(|kernel| kernel.gate);
    let newest = gates.map(|kernel| kernel::version(&kernel.release)).max();
    let is_newer = newest.is_some_and(|newest| newest < kernel::version(&release()));
    let mut guests = Vec::new();
    for kernel in kernels {
        let runs = |test: &&String| {
            if tests.soak {
                true
            } else if tally.is_once(test) {
                !tally.is_done(test) && one == Some(kernel.name)
            } else {
                kernel.gate || !is_newer || !tally.has_run(test)
            }
        };
        let real: Vec<_> = real.iter().filter(runs).cloned().collect();
        let mut parts = parts::split(&real);
        if parts.is_empty() && !unit.is_empty() {
            parts.push(Vec::new());
        }
        for (number, real) in parts.into_iter().enumerate() {
            let unit = if number == 0 { unit.clone() } else { Vec::new() };
            guests.push((number, Guest { kernel, unit, real }));
        }
    }
    // All kernels progress together.
    guests.sort_by_key(|(number, _)| *number);
    Ok(guests.into_iter().map(|(_, guest)| guest).collect())
}

/// Runs the guests, at most one per processor. On less than a processor a guest misses its timers,
/// and LACP partners lose each other.
fn side_by_side<'a>(
    guests: &'a [Guest<'a>],
    tests: &Tests,
) -> Result<Vec<(&'a Kernel, Result<vm::Outcome>)>> {
    let processors = thread::available_parallelism().context("count the processors")?;
    let (queue, outcomes) = (Mutex::new(guests.iter()), Mutex::new(Vec::new()));
    let next = || queue.lock().ok()?.next();
    thread::scope(|scope| {
        for _ in 0..processors.get().min(guests.len()) {
            scope.spawn(|| {
                while let Some(guest) = next() {
                    let count = guest.unit.len() + guest.real.len();
                    let release = &guest.kernel.release;
                    heading(&format!("{count} tests on kernel {release} in a virtual machine"));
                    let outcome = tests.spec(guest).and_then(|spec| vm::run(guest.kernel, &spec));
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push((guest.kernel, outcome));
                    }
                }
            });
        }
    });
    outcomes.into_inner().map_err(|_| anyhow!("a thread that ran a guest panicked"))
}

/// The executables.
struct Tests {
    netagent: PathBuf,
    cni: PathBuf,
    /// Unit tests of the agent. The netlink tests need a kernel and root.
    unit: PathBuf,
    /// Tests with real links and frames.
    real: PathBuf,
    soak: bool,
}

impl Tests {
    /// A virtual machine that runs these tests.
    fn spec(&self, guest: &Guest<'_>) -> Result<vm::Spec> {
        let name =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut variables: String = VARIABLES
            .iter()
            .filter_map(|name| Some(format!("{name}={} ", env::var(name).ok()?)))
            .collect();
        if self.soak {
            variables.push_str(SOAK);
            variables.push_str("=1 ");
        }
        let options = LIBTEST.join(" ");
        let line = |tests: &Path, names: &[String], more: &str| {
            let (tests, names) = (name(tests), names.join(" "));
            // The agent's log would break the lines with results.
            let command = format!("{tests} {options} --exact --test-threads 1 {more} {names}");
            format!("{command} 2>>/log || failed=1\n")
        };
        let mut script = format!(
            "export NETAGENT=/bin/netagent NETAGENT_CNI=/bin/netagent-cni RUSTC_BOOTSTRAP=1 {variables}; failed=0\n"
        );
        if !guest.unit.is_empty() {
            script += &line(&self.unit, &guest.unit, "--ignored");
        }
        if !guest.real.is_empty() {
            script += &line(&self.real, &guest.real, "");
        }
        script +=
            "[ $failed = 0 ] || { echo 'failures: the end of the log:'; tail -n 100 /log; }\n";
        script += "exit $failed";
        let binaries = [&self.netagent, &self.cni, &self.unit, &self.real].map(PathBuf::as_path);
        let mut spec = self::guest(script, &binaries, format!("[{}] ", guest.kernel.name));
        if guest.real.iter().any(|test| peers::needs(test)) {
            // containerd gives pods copies of two files, nft reads its rules from the third.
            let files = "touch /etc/hosts /etc/resolv.conf; ln -s /proc/self/fd/0 /dev/stdin";
            spec.script = format!("export {PEERS}={}; {files}; {}", peers::GUEST, spec.script);
            spec.binaries.push("nft".into());
            spec.files.extend(peers::files(&guest.real)?);
            spec.modules.extend(PEERS_MODULES);
            spec.memory += PEERS_MEMORY;
        }
        Ok(spec)
    }
}

/// A virtual machine with all programs and files of the tests.
pub fn guest(script: String, executables: &[&Path], label: String) -> vm::Spec {
    let mut binaries: Vec<PathBuf> = TOOLS.map(PathBuf::from).to_vec();
    // On a machine without systemd, its tests do not run.
    binaries.extend(Some(PathBuf::from(NETWORKD)).filter(|path| path.exists()));
    binaries.extend(executables.iter().map(|path| path.to_path_buf()));
    let files = ["oob.yaml", "mgmt.yaml", "full.yaml", "qinq.yaml"]
        .map(|file| Path::new("examples").join(file))
        .map(|file| (root().join(&file), Path::new("/").join(file)))
        .to_vec();
    let timeout = Duration::from_mins(30);
    vm::Spec {
        script,
        binaries,
        files,
        label,
        memory: 2048,
        timeout,
        digest: true,
        ..vm::Spec::default()
    }
}

/// The directory of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned()
}

/// The output of `uname -r` on this machine.
fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()
}

/// Begins a part of the output, with the time that the run has taken so far.
fn heading(what: &str) {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let minutes = START.elapsed().as_secs_f64() / 60.0;
    println!("\n== {minutes:.1} min: {what}");
}

/// Runs a test executable on this machine, shows its output, and counts.
fn here(command: &mut Command, place: &str, tally: &mut Tally) -> Result<()> {
    command.env("RUSTC_BOOTSTRAP", "1").stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
    let stdout = child.stdout.take().context("read the output of the tests")?;
    let (mut lines, mut digest) = (Vec::new(), Digest::default());
    for line in BufReader::new(stdout).lines() {
        let line = line.context("read the output of the tests")?;
        if digest.shows(&line) {
            println!("{line}");
        }
        lines.push(line);
    }
    let status = child.wait().context("wait for the tests")?;
    tally.count(place, status.success(), lines.iter().map(String::as_str));
    Ok(())
}
