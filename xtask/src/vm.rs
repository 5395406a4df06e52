//! Runs a script in a virtual machine, which is emulated: KVM may be missing. The console is the
//! only input and output. The script's output is shown at once.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::initramfs;
use crate::kernel::{self, Kernel};
use crate::tally::Digest;

/// The guest's init prints this before the script starts and, followed by the script's exit status,
/// after it has ended.
pub const BEGIN: &str = "netagent-vm-begin";
pub const EXIT: &str = "netagent-vm-exit: ";

/// Lines of the console in the error of a guest that died.
const LAST_LINES: usize = 40;

/// Options that make an emulated kernel several times faster. QEMU 7.2 translates a program again
/// for each address that it is mapped to: norandmaps maps each program to the same address.
const FASTER: &str = "norandmaps mitigations=off init_on_alloc=0 rcupdate.rcu_expedited=1";

/// Features of the processor that cost an emulator time, and that no test is about: five levels of
/// page tables, and protections from the kernel's own mistakes. A guest needs 12 % less time
/// without them.
const SIMPLER: &str = ",-la57,-smap,-smep,-umip,-pku";

/// What to run.
pub struct Spec {
    /// A shell script. Starts as root in /, without arguments or input.
    pub script: String,
    /// Paths on this machine, or names on its PATH. In the guest they are on the PATH.
    pub binaries: Vec<PathBuf>,
    /// Paths on this machine and in the guest.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// Kernel modules besides those that every guest loads.
    pub modules: Vec<&'static str>,
    /// Printed before each line, as several machines print at the same time.
    pub label: String,
    /// In MiB.
    pub memory: u32,
    pub timeout: Duration,
    /// Whether the script runs tests: only a part of their output is shown.
    pub digest: bool,
    /// Whether the guest's clock counts instructions, one per nanosecond. Then its measurements do
    /// not depend on this machine or its load.
    pub icount: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            script: String::new(),
            binaries: Vec::new(),
            files: Vec::new(),
            modules: Vec::new(),
            label: String::new(),
            memory: 1024,
            timeout: Duration::from_secs(300),
            digest: false,
            icount: false,
        }
    }
}

/// The result of a run.
pub struct Outcome {
    /// The script's exit status.
    pub status: i32,
    /// The lines that the guest has printed.
    pub lines: Vec<String>,
}

/// Boots the kernel and runs the script on it.
pub fn run(kernel: &Kernel, spec: &Spec) -> Result<Outcome> {
    // A unique name: QEMU maps the file, and other machines with this kernel may be starting.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("initramfs-{}-{}-{count}.cpio", kernel.name, process::id());
    let initramfs = kernel::store().join(name);
    let outcome = initramfs::build(&initramfs, kernel, spec)
        .context("build the initramfs")
        .and_then(|()| boot(kernel, spec, &initramfs))
        .with_context(|| format!("run in a virtual machine with kernel {}", kernel.release));
    // The file is missing if it could not be built. That error is reported.
    fs::remove_file(&initramfs).ok();
    outcome
}

fn boot(kernel: &Kernel, spec: &Spec, initramfs: &Path) -> Result<Outcome> {
    let log = initramfs.with_extension("log");
    // Measurements are made with the kernel's default options.
    let faster = if spec.icount { "" } else { FASTER };
    let cpu = format!("max,-cx16{}", if spec.icount { "" } else { SIMPLER });
    // setpriv: the guest ends with this process, however that ends.
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args(["-nodefaults", "-display", "none", "-no-reboot"])
        // The kernel's messages go to a file, the script's output to this process.
        .args(["-serial", &format!("file:{}", log.display())])
        .args(["-chardev", "stdio,id=script", "-device", "virtio-serial-pci"])
        .args(["-device", "virtconsole,chardev=script"])
        // QEMU 7.2 emulates cmpxchg16b wrongly: always with several processors, and in some boots
        // with one (double fault in __kmalloc). Kernels work without it.
        .args(["-accel", "tcg,thread=single", "-cpu", &cpu, "-smp", "1"])
        .args(["-m", &spec.memory.to_string()])
        .args(["-append", &format!("console=ttyS0 quiet oops=panic panic=-1 {faster}")])
        .arg("-kernel")
        .arg(&kernel.vmlinuz)
        .arg("-initrd")
        .arg(initramfs);
    if spec.icount {
        qemu.args(["-icount", "shift=0,sleep=off"]);
    }
    let mut qemu = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start qemu-system-x86_64")?;
    let outcome = console(&mut qemu).and_then(|lines| watch(&lines, spec));
    let outcome = outcome.with_context(|| said_last(&log));
    // The guest has nothing to save.
    qemu.kill().context("stop qemu-system-x86_64")?;
    qemu.wait().context("wait for qemu-system-x86_64")?;
    fs::remove_file(&log).ok();
    outcome
}

/// The kernel's last messages, with the place of a panic.
fn said_last(log: &Path) -> String {
    let log = fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log).replace('\r', "");
    let lines: Vec<_> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    format!("the kernel's last lines:\n{}\n", last.join("\n"))
}

/// The lines of the console. A thread reads them: a channel can be read with a deadline.
fn console(qemu: &mut Child) -> Result<Receiver<String>> {
    let mut stdout = BufReader::new(qemu.stdout.take().context("read the console")?);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = Vec::new();
        while stdout.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).replace(['\r', '\n'], "");
            if sender.send(text).is_err() {
                break;
            }
            line.clear();
        }
    });
    Ok(receiver)
}

/// Shows the guest's output until the script has ended.
fn watch(console: &Receiver<String>, spec: &Spec) -> Result<Outcome> {
    let Spec { label, timeout, .. } = spec;
    let deadline = Instant::now() + *timeout;
    let mut lines = Vec::new();
    let (mut begun, mut digest) = (false, Digest::default());
    let problem = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = match console.recv_timeout(left) {
            // A guest that never stops printing must end as well.
            Ok(line) if !left.is_zero() => line,
            Ok(_) | Err(RecvTimeoutError::Timeout) => break format!("it took over {timeout:?}"),
            Err(RecvTimeoutError::Disconnected) => break "it died".to_owned(),
        };
        if !begun {
            begun = line.contains(BEGIN);
            continue;
        }
        // The script's last line may have no line end.
        let (text, status) = match line.split_once(EXIT) {
            Some((text, status)) => (text, Some(status)),
            None => (line.as_str(), None),
        };
        if status.is_none() || !text.is_empty() {
            if !spec.digest || digest.shows(text) {
                println!("{label}{text}");
            }
            lines.push(text.to_owned());
        }
        if let Some(status) = status {
            let status = status.trim().parse().context("read the script's exit status")?;
            return Ok(Outcome { status, lines });
        }
    };
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    bail!("{problem}; the script's last lines:\n{}", last.join("\n"))
}
