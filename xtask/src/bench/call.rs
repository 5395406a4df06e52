//! Gives frames to a pinned program: BPF_PROG_TEST_RUN, without a process for each call.

use std::ffi::CString;
use std::io::Error;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};

/// Commands of bpf(2).
const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
const PROG_TEST_RUN: libc::c_int = 10;
const LINK_CREATE: libc::c_int = 28;

/// BPF_F_TEST_XDP_LIVE_FRAMES (since 5.18): what the program decides is done.
const LIVE_FRAMES: u32 = 1 << 1;

/// Frames that a driver hands on at once: a NAPI poll's.
const POLL: u32 = 64;

/// A device's TCX hooks (since 6.6), as BPF_LINK_CREATE numbers them.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Side {
    Ingress = 46,
    Egress = 47,
}

/// What BPF_LINK_CREATE is asked, of a TCX hook.
#[derive(Default)]
#[repr(C)]
struct Attach {
    program: u32,
    ifindex: u32,
    side: u32,
    flags: u32,
    relative: u32,
    unused: u32,
    revision: u64,
}

/// What BPF_OBJ_GET and BPF_OBJ_PIN are asked.
#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

/// What BPF_PROG_TEST_RUN is asked, and answers.
#[derive(Default)]
#[repr(C)]
struct Run {
    program: u32,
    returned: u32,
    data_in_size: u32,
    data_out_size: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_in_size: u32,
    context_out_size: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    unused: u32,
}

/// A program.
pub struct Program(OwnedFd);

impl Program {
    pub fn open(pin: &Path) -> Result<Self> {
        let path = CString::new(pin.to_string_lossy().as_bytes()).context("a path with NUL")?;
        let mut get = Pin { path: path.as_ptr() as u64, fd: 0, flags: 0 };
        let fd = bpf(OBJ_GET, &mut get).with_context(|| format!("open {}", pin.display()))?;
        // SAFETY: the kernel has just made it for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Attaches a TC program to a device of this thread's namespace, and pins the link.
    pub fn attach(&self, ifindex: u32, side: Side, pin: &Path) -> Result<()> {
        let program = u32::try_from(self.0.as_raw_fd())?;
        let mut attach = Attach { program, ifindex, side: side as u32, ..Attach::default() };
        let fd = bpf(LINK_CREATE, &mut attach).context("make a link")?;
        // SAFETY: the kernel has just made it for us.
        let link = unsafe { OwnedFd::from_raw_fd(fd) };
        let path = CString::new(pin.to_string_lossy().as_bytes()).context("a path with NUL")?;
        let fd = u32::try_from(link.as_raw_fd())?;
        let mut pin = Pin { path: path.as_ptr() as u64, fd, flags: 0 };
        bpf(OBJ_PIN, &mut pin).context("pin a link").map(drop)
    }

    /// Lets an XDP program have frames as a driver has them, and waits until they have gone their
    /// way.
    pub fn send(&self, frame: &[u8], count: u32) -> Result<()> {
        let mut run = Run {
            program: u32::try_from(self.0.as_raw_fd())?,
            data_in_size: u32::try_from(frame.len())?,
            data_in: frame.as_ptr() as u64,
            repeat: count,
            flags: LIVE_FRAMES,
            batch_size: POLL,
            ..Run::default()
        };
        bpf(PROG_TEST_RUN, &mut run).context("let a program have frames").map(drop)
    }
}

fn bpf<T>(command: libc::c_int, attributes: &mut T) -> Result<libc::c_int> {
    // SAFETY: the attributes are the command's own, and what they point at outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of_val(attributes))
    };
    if result < 0 {
        return Err(Error::last_os_error()).context("bpf(2)");
    }
    Ok(libc::c_int::try_from(result)?)
}

/// Lets this thread wait for whoever has frames to take: the kernel's threads, on the processor
/// where they come in. Frames that come faster than they are taken would be lost.
pub fn give_way() -> Result<()> {
    // SAFETY: plain data, of which zero is a value; a set has room for each number of a processor.
    let result = unsafe {
        let mut here = std::mem::zeroed::<libc::cpu_set_t>();
        libc::CPU_SET(usize::try_from(libc::sched_getcpu())?, &mut here);
        let idle = libc::sched_param { sched_priority: 0 };
        libc::sched_setaffinity(0, size_of_val(&here), &raw const here)
            | libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const idle)
    };
    if result != 0 {
        return Err(Error::last_os_error()).context("give way to the kernel's threads");
    }
    Ok(())
}

/// Moves this thread to a network namespace.
pub fn enter(netns: &Path) -> Result<()> {
    let file = std::fs::File::open(netns).with_context(|| format!("open {}", netns.display()))?;
    // SAFETY: takes a descriptor, which is open, and a kind.
    if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
        return Err(Error::last_os_error()).context("setns(2)");
    }
    Ok(())
}
