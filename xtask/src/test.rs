//! All tests, in the order in which they fail fastest: without privileges, on this machine's kernel in
//! namespaces of their own, then on every kernel of the matrix in a virtual machine.
//!
//! A test that a kernel cannot run prints `skipped: NAME: why`. One that no kernel has run is a failure.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::kernel::Kernel;
use crate::tally::{Digest, Tally};
use crate::{build, fuzz, kernel, setup, vm};

/// What the tests call in a virtual machine.
const TOOLS: [&str; 13] = [
    "bpftool", "bridge", "curl", "dnsmasq", "ethtool", "find", "ip", "nsenter", "ping", "sysctl",
    "tc", "tcpdump", "timeout",
];

/// What the tests read from the environment: how much the oracle tries.
const VARIABLES: [&str; 3] = ["NETAGENT_SEED", "NETAGENT_POLICIES", "NETAGENT_FRAMES"];

/// Runs them. `on`: only there; `filter`: only tests of that name.
pub fn run(on: &[String], filter: Option<&str>) -> Result<ExitCode> {
    setup::all()?;
    let wanted = |place: &str| on.is_empty() || on.iter().any(|name| name == place);
    let mut tally = Tally::default();
    let netagent = build::netagent()?;
    let tests = Tests {
        unit: build::tests("netagent")?,
        real: build::tests("netagent-tests")?,
        netagent,
        filter: filter.unwrap_or_default(),
    };
    if wanted("host") {
        heading("without privileges");
        for unit in [&tests.unit, &build::tests("netagent-common")?, &build::own_tests()?] {
            let mut unit = Command::new(unit);
            unit.args([tests.filter, "--show-output"]);
            here(&mut unit, "without privileges", &mut tally)?;
        }
        if filter.is_none() {
            fuzz::run(fuzz::RUNS)?;
        }
        heading("on this machine's kernel");
        let mut real = Command::new(&tests.real);
        real.env("NETAGENT", &tests.netagent);
        real.args([tests.filter, "--show-output", "--test-threads", "2"]);
        here(&mut real, "this machine's kernel", &mut tally)?;
    }
    let kernels = kernel::SOURCES.iter().filter(|source| wanted(source.name));
    let kernels: Vec<_> =
        kernels.filter_map(|source| kernel::fetch(source).transpose()).collect::<Result<_>>()?;
    for (kernel, outcome) in side_by_side(&kernels, &tests)? {
        let place = format!("kernel {}", kernel.release);
        let outcome = outcome?;
        tally.count(&place, outcome.status == 0, outcome.lines.iter().map(String::as_str));
    }
    let whole = on.is_empty() && filter.is_none();
    let (text, well) = tally.report(whole);
    println!("\n{text}");
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the tests on the kernels, one guest to a processor: one that gets less than it asks for falls behind its own timers,
/// and LACP's partners lose each other.
fn side_by_side<'a>(
    kernels: &'a [Kernel],
    tests: &Tests<'_>,
) -> Result<Vec<(&'a Kernel, Result<vm::Outcome>)>> {
    let processors = thread::available_parallelism().context("count the processors")?;
    let (queue, outcomes) = (Mutex::new(kernels.iter()), Mutex::new(Vec::new()));
    let next = || queue.lock().ok()?.next();
    thread::scope(|scope| {
        for _ in 0..processors.get().min(kernels.len()) {
            scope.spawn(|| {
                while let Some(kernel) = next() {
                    heading(&format!("on kernel {} in a virtual machine", kernel.release));
                    let outcome = vm::run(kernel, &tests.guest(kernel));
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push((kernel, outcome));
                    }
                }
            });
        }
    });
    outcomes.into_inner().map_err(|_| anyhow!("a thread that ran a guest panicked"))
}

/// The executables.
struct Tests<'a> {
    netagent: PathBuf,
    /// Unit tests of the agent; those of its netlink code want a kernel, and root.
    unit: PathBuf,
    /// Tests with real links and frames.
    real: PathBuf,
    filter: &'a str,
}

impl Tests<'_> {
    /// A virtual machine that runs all that needs a kernel.
    fn guest(&self, kernel: &Kernel) -> vm::Spec {
        let name =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (unit, real) = (name(&self.unit), name(&self.real));
        let variables: String = VARIABLES
            .iter()
            .filter_map(|name| Some(format!("{name}={} ", env::var(name).ok()?)))
            .collect();
        let options = format!("{} --show-output --test-threads 1", self.filter);
        let script = format!(
            "export NETAGENT=/bin/netagent {variables}; failed=0
             # What agents log would come between the words of a line that tells a result.
             {unit} netlink::tests {options} --ignored 2>>/log || failed=1
             {real} {options} 2>>/log || failed=1
             [ $failed = 0 ] || {{ echo 'failures: the last that was logged:'; tail -n 100 /log; }}
             exit $failed"
        );
        let binaries = [&self.netagent, &self.unit, &self.real].map(PathBuf::as_path);
        guest(script, &binaries, format!("[{}] ", kernel.name))
    }
}

/// A virtual machine with all that the tests need.
pub fn guest(script: String, executables: &[&Path], label: String) -> vm::Spec {
    let mut binaries: Vec<PathBuf> = TOOLS.map(PathBuf::from).to_vec();
    binaries.extend(executables.iter().map(|path| path.to_path_buf()));
    let files = ["oob.yaml", "mgmt.yaml", "full.yaml", "qinq.yaml"]
        .map(|file| Path::new("examples").join(file))
        .map(|file| (root().join(&file), Path::new("/").join(file)))
        .to_vec();
    let timeout = Duration::from_mins(40);
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

/// The workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned()
}

fn heading(place: &str) {
    println!("\n== tests {place}");
}

/// Runs a test executable here, shows what it prints, and counts.
fn here(command: &mut Command, place: &str, tally: &mut Tally) -> Result<()> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("start {command:?}"))?;
    let stdout = child.stdout.take().context("read what the tests print")?;
    let (mut lines, mut digest) = (Vec::new(), Digest::default());
    for line in BufReader::new(stdout).lines() {
        let line = line.context("read what the tests print")?;
        if digest.shows(&line) {
            println!("{line}");
        }
        lines.push(line);
    }
    let status = child.wait().context("wait for the tests")?;
    tally.count(place, status.success(), lines.iter().map(String::as_str));
    Ok(())
}
