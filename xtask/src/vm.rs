//! Runs a script in a virtual machine: an emulated one, as there is no KVM where this has to work.
//! The console is the only way in or out; what the script prints there is shown as it comes.

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

/// What the guest's init prints before it starts and, followed by the script's exit status, when it
/// is done.
pub const BEGIN: &str = "netagent-vm-begin";
pub const EXIT: &str = "netagent-vm-exit: ";

/// How much of the console goes with the report of a guest that died.
const LAST_LINES: usize = 40;

/// Options of the guest's kernel that make it faster where it is emulated, several times. QEMU 7.2
/// translates a program's code anew wherever it is mapped elsewhere: norandmaps puts each at its
/// place.
const FASTER: &str = "norandmaps mitigations=off init_on_alloc=0 rcupdate.rcu_expedited=1";

/// What to run.
pub struct Spec {
    /// Of the shell. Starts as root in /, without arguments or input.
    pub script: String,
    /// Paths on this machine, or names on its PATH; in the guest they are on the PATH.
    pub binaries: Vec<PathBuf>,
    /// Paths on this machine and in the guest.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// The kernel's, besides those that every guest has.
    pub modules: Vec<&'static str>,
    /// Put before each line that is shown, where several machines print at once.
    pub label: String,
    /// In MiB.
    pub memory: u32,
    pub timeout: Duration,
    /// The script runs tests: only what is worth it of their output is shown.
    pub digest: bool,
    /// Whether the guest's clock counts instructions, one to the nanosecond, rather than time: then
    /// what the guest measures does not depend on this machine or its load.
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

/// How it went.
pub struct Outcome {
    /// The script's exit status.
    pub status: i32,
    /// What the guest printed.
    pub lines: Vec<String>,
}

/// Boots the kernel and runs the script on it.
pub fn run(kernel: &Kernel, spec: &Spec) -> Result<Outcome> {
    // A unique name: QEMU maps the file, and other machines may be starting, with this kernel as
    // well.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("initramfs-{}-{}-{count}.cpio", kernel.name, process::id());
    let initramfs = kernel::store().join(name);
    let outcome = initramfs::build(&initramfs, kernel, spec)
        .context("build the initramfs")
        .and_then(|()| boot(kernel, spec, &initramfs))
        .with_context(|| format!("run in a virtual machine with kernel {}", kernel.release));
    // It is not there when it could not be built, and then that is what to report.
    fs::remove_file(&initramfs).ok();
    outcome
}

fn boot(kernel: &Kernel, spec: &Spec, initramfs: &Path) -> Result<Outcome> {
    let log = initramfs.with_extension("log");
    // What is measured is what a node's kernel does by default.
    let faster = if spec.icount { "" } else { FASTER };
    // setpriv: no guest outlives us, however we end.
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args(["-nodefaults", "-display", "none", "-no-reboot"])
        // What the kernel says goes to a file, what the script says to us.
        .args(["-serial", &format!("file:{}", log.display())])
        .args(["-chardev", "stdio,id=script", "-device", "virtio-serial-pci"])
        .args(["-device", "virtconsole,chardev=script"])
        // QEMU 7.2 emulates cmpxchg16b wrongly: always with several processors, and with one still
        // in a boot out of a few (double fault in __kmalloc). Kernels do without it.
        .args(["-accel", "tcg,thread=single", "-cpu", "max,-cx16", "-smp", "1"])
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
    // Whatever became of it, it has nothing to save.
    qemu.kill().context("stop qemu-system-x86_64")?;
    qemu.wait().context("wait for qemu-system-x86_64")?;
    fs::remove_file(&log).ok();
    outcome
}

/// The end of what the kernel said: the place of a panic.
fn said_last(log: &Path) -> String {
    let log = fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log).replace('\r', "");
    let lines: Vec<_> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    format!("the kernel's last lines:\n{}\n", last.join("\n"))
}

/// The lines of the console, read by a thread as only a channel can be waited on with a deadline.
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

/// Shows what the guest prints until it is done.
fn watch(console: &Receiver<String>, spec: &Spec) -> Result<Outcome> {
    let Spec { label, timeout, .. } = spec;
    let deadline = Instant::now() + *timeout;
    let mut lines = Vec::new();
    let (mut begun, mut digest) = (false, Digest::default());
    let problem = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = match console.recv_timeout(left) {
            // A guest that never stops printing must come to an end as well.
            Ok(line) if !left.is_zero() => line,
            Ok(_) | Err(RecvTimeoutError::Timeout) => break format!("it took over {timeout:?}"),
            Err(RecvTimeoutError::Disconnected) => break "it died".to_owned(),
        };
        if !begun {
            begun = line.contains(BEGIN);
            continue;
        }
        // The script's last line may have had no end.
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
