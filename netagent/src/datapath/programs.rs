//! The programs: loaded once per build, log level and set of optional flags, pinned, and attached
//! to devices by links that outlive the agent.
//!
//! TCX links (kernel 6.6, commit e420bed02507) are pinned and updated in place (BPF_LINK_UPDATE).
//! Before 6.6 clsact filters with a fixed priority and handle are replaced in place. XDP is
//! attached in native mode only: generic XDP would cost more than it saves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io, mem,
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, ProgramInfo, SchedClassifier, Xdp, tc},
    util::KernelVersion,
};
use aya_obj::programs::XdpAttachType;
use netagent_common::fnv;

use super::{
    attach::{attach_clsact, attach_tcx, attach_type, attach_xdp, detach_lost, stale},
    front, link, log, maps,
    pins::Pins,
    rights,
};
use crate::{
    names::IfName,
    state::{Hook, TcFilter},
};

/// The object that build.rs made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netagent-ebpf"));

/// The object. With debug assertions, the environment can name another one: `cargo xtask mutate`
/// breaks the programs on purpose, many times, and does not build the agent each time.
fn object() -> &'static [u8] {
    #[cfg(debug_assertions)]
    {
        use std::sync::LazyLock;
        static OTHER: LazyLock<Option<Vec<u8>>> =
            LazyLock::new(|| fs::read(std::env::var_os("NETAGENT_OBJECT")?).ok());
        if let Some(other) = &*OTHER {
            return other;
        }
    }
    OBJECT
}

/// Whether TC programs are attached by TCX links; otherwise by clsact filters.
pub fn tcx() -> bool {
    kernel_is(6, 6)
}

/// Whether programs can push a tag over another one (commit 938863727076).
pub fn stacked_tags() -> bool {
    kernel_is(6, 12)
}

/// Whether a device counts the frames that `bpf_redirect_peer` delivers to it (commit
/// 024ee930cb3c).
pub fn counted_peers() -> bool {
    kernel_is(6, 7)
}

fn kernel_is(major: u8, minor: u8) -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(major, minor, 0))
}

/// The name of this build in the pin directory.
fn build() -> String {
    format!("{:016x}", fnv::hash(object().iter().copied()))
}

/// Loads the object, with its maps from the pin directory. The programs are not loaded.
pub fn open_object(pins: &Pins, flags: u32, log_level: u8) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    for name in maps::names() {
        loader.map_pin_path(name, pins.maps().join(name));
    }
    loader.map_max_entries("AYA_LOGS", log::RING_BYTES);
    // See netagent-ebpf/src/packet.rs.
    let can_stack_tags = u8::from(stacked_tags());
    loader.override_global("CAN_STACK_TAGS", &can_stack_tags, true);
    // See netagent-ebpf/src/main.rs.
    loader.override_global("FLAGS", &flags, true);
    // See netagent-ebpf/src/log.rs.
    loader.override_global(aya_log::LEVEL, &log_level, true);
    let object = loader.load(object()).context(
        "create the BPF maps (needs root or CAP_BPF and CAP_NET_ADMIN, and kernel 6.1 or later)",
    )?;
    maps::check_devices(pins)?;
    Ok(object)
}

/// Whether a filter is the one that holds the program of a hook, by its place.
pub fn is_ours(filter: &TcFilter, hook: Hook) -> bool {
    filter.is_ours() && hook.side() == Some(filter.side)
}

/// The programs of this build and a log level.
pub struct Programs {
    pins: Pins,
    log_level: u8,
    directory: PathBuf,
}

impl Programs {
    /// The programs beneath a pin directory; they need not be loaded yet. The log level is that of
    /// the pinned programs of this build; 0 if there are none.
    pub fn new(pins: &Pins) -> Self {
        let mut programs = Self { pins: pins.clone(), log_level: 0, directory: PathBuf::new() };
        let pinned = |level: &u8| directory(pins, *level).is_dir();
        programs.set_log_level((0..=log::TRACE).find(pinned).unwrap_or(0));
        programs
    }

    /// Sets the log level of the programs that are loaded and attached from now on.
    pub fn set_log_level(&mut self, level: u8) {
        self.log_level = level;
        self.directory = directory(&self.pins, level);
    }

    /// Ids of the loaded programs by hook and by the optional flags that they have code for.
    pub fn ids(&self) -> Result<BTreeMap<(Hook, u32), u32>> {
        let failed = || format!("read the programs in {}", self.directory.display());
        let pinned = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            pinned => pinned.with_context(failed)?,
        };
        let mut ids = BTreeMap::new();
        for pin in pinned {
            let pin = pin.with_context(failed)?;
            let Some(program) = pinned_as(&pin.file_name().to_string_lossy()) else { continue };
            match ProgramInfo::from_pin(pin.path()).map_err(anyhow::Error::new) {
                Ok(info) => drop(ids.insert(program, info.id())),
                Err(error) if is_shortage(&error) => return Err(error).with_context(failed),
                // It is no program.
                Err(_) => {}
            }
        }
        Ok(ids)
    }

    /// Where a program is pinned: `port_in`, or `port_in-6000` if it has code for flags 0x6000.
    fn pin(&self, hook: Hook, flags: u32) -> PathBuf {
        let name = hook.program();
        self.directory.join(if flags == 0 { name.to_owned() } else { format!("{name}-{flags:x}") })
    }

    /// Loads the programs without optional flags and pins them and their maps, unless they are
    /// pinned.
    pub fn load(&self) -> Result<()> {
        let ids = self.ids()?;
        // Programs whose maps are not pinned any more write to maps that nobody can read.
        let loaded = Hook::ALL.iter().all(|hook| ids.contains_key(&(*hook, 0)));
        if loaded && maps::are_there(&self.pins) {
            return Ok(());
        }
        let mut failed = Vec::new();
        super::pins::remove(&self.directory, &mut failed);
        super::pins::make(&self.directory)?;
        self.load_some(&Hook::ALL, 0)
    }

    /// Loads a program with the code for some optional flags and pins it, unless it is pinned.
    pub fn load_with(&self, hook: Hook, flags: u32) -> Result<()> {
        let there = fs::exists(self.pin(hook, flags))?;
        if there { Ok(()) } else { self.load_some(&[hook], flags) }
    }

    /// Loads programs with the code for some optional flags, and pins them.
    fn load_some(&self, hooks: &[Hook], flags: u32) -> Result<()> {
        maps::check(&self.pins)?;
        let mut object = open_object(&self.pins, flags, self.log_level)?;
        for hook in hooks {
            let name = hook.program();
            let path = self.pin(*hook, flags);
            let refused = || format!("load {name}{}", rights::remark());
            let program = object.program_mut(name).with_context(|| format!("find {name}"))?;
            match program {
                Program::SchedClassifier(program) => {
                    program.load().with_context(refused)?;
                    program.pin(&path)
                }
                Program::Xdp(program) => {
                    program.load().with_context(refused)?;
                    program.pin(&path)
                }
                _ => bail!("{name} is of an unexpected type"),
            }
            .with_context(|| format!("pin {name}"))?;
        }
        Ok(())
    }

    /// Attaches a program with the code for some optional flags to a device, or replaces the
    /// attached program.
    ///
    /// `lost` are IDs of programs whose pins somebody has taken away: their links are replaced.
    pub fn attach(
        &self,
        device: &IfName,
        ifindex: u32,
        hook: Hook,
        flags: u32,
        lost: &BTreeSet<u32>,
    ) -> Result<()> {
        self.load_with(hook, flags)?;
        let path = self.pin(hook, flags);
        self.pins.create_device(device)?;
        let pin = self.pins.link(device, hook);
        let held = link::read(&pin).with_context(|| format!("open {}", pin.display()))?;
        if held.is_some_and(|held| held.ifindex != ifindex) {
            // Its device is gone; another device has the name.
            fs::remove_file(&pin).with_context(|| format!("remove {}", pin.display()))?;
        }
        let replace = held.is_some_and(|held| held.ifindex == ifindex);
        let result = match attach_type(hook) {
            None => {
                let program = Xdp::from_pin(&path, XdpAttachType::Interface)?;
                if !replace {
                    detach_lost(lost)?;
                }
                attach_xdp(program, ifindex, &pin, replace)
            }
            Some(side) if tcx() => {
                let mut program = SchedClassifier::from_pin(&path)?;
                match stale(ifindex, hook, lost)? {
                    none if none.is_empty() || replace => {
                        let attached = attach_tcx(program, ifindex, side, &pin, replace);
                        attached.and_then(|()| front::reopen(&pin))
                    }
                    stale => self.take_first_place(&mut program, device, ifindex, hook, &stale),
                }
            }
            Some(side) => {
                let program = SchedClassifier::from_pin(&path)?;
                attach_clsact(program, ifindex, side)
            }
        };
        result.with_context(|| format!("{device}: attach {}", hook.program()))
    }

    /// Moves a program with the code for some optional flags before all others on its side of a
    /// device, where it is attached.
    pub fn move_to_front(
        &self,
        device: &IfName,
        ifindex: u32,
        hook: Hook,
        flags: u32,
    ) -> Result<()> {
        self.load_with(hook, flags)?;
        let Some(side) = attach_type(hook) else { return Ok(()) };
        let mut program = SchedClassifier::from_pin(self.pin(hook, flags))?;
        let result = if tcx() {
            self.take_first_place(&mut program, device, ifindex, hook, &[])
        } else {
            // Dropping the link would detach the filter.
            front::add_before(&mut program, ifindex, side).map(mem::forget)
        };
        result.with_context(|| format!("{device}: move {} to the front", hook.program()))
    }

    fn take_first_place(
        &self,
        program: &mut SchedClassifier,
        device: &IfName,
        ifindex: u32,
        hook: Hook,
        stale: &[u32],
    ) -> Result<()> {
        let Some(side) = attach_type(hook) else { return Ok(()) };
        let mut object = open_object(&self.pins, 0, self.log_level)?;
        let closed: &mut SchedClassifier =
            object.program_mut("closed").context("find closed")?.try_into()?;
        closed.load().context("load closed")?;
        front::take_first_place(
            program,
            closed,
            ifindex,
            side,
            &self.pins.link(device, hook),
            stale,
        )
    }

    /// Detaches a program from a device, if it is attached, and returns when it does not run any
    /// more: the policy may go next.
    pub fn detach(&self, device: &IfName, ifindex: Option<u32>, hook: Hook) -> Result<()> {
        link::detach(&self.pins.link(device, hook))
            .with_context(|| format!("{device}: detach {}", hook.program()))?;
        self.unpin(device, ifindex, hook)
    }

    /// Removes the pin of a link, or a filter.
    fn unpin(&self, device: &IfName, ifindex: Option<u32>, hook: Hook) -> Result<()> {
        let pin = self.pins.link(device, hook);
        if fs::exists(&pin)? {
            fs::remove_file(&pin).with_context(|| format!("{device}: unpin {}", hook.program()))?;
        }
        if let (Some(side), Some(ifindex), false) = (attach_type(hook), ifindex, tcx()) {
            // An error means that no such filter is attached.
            let _not_attached = tc::qdisc_detach_program(ifindex, side.into(), hook.program());
        }
        Ok(())
    }

    /// Detaches the programs of a device, and returns when they do not run any more.
    pub fn stop(&self, device: &IfName) -> Result<()> {
        Hook::ALL.into_iter().try_for_each(|hook| {
            link::detach(&self.pins.link(device, hook))
                .with_context(|| format!("{device}: detach {}", hook.program()))
        })
    }

    /// Removes the pinned links of a device: that detaches them.
    pub fn forget(&self, device: &IfName, ifindex: Option<u32>) -> Result<()> {
        for hook in Hook::ALL {
            self.unpin(device, ifindex, hook)?;
        }
        let mut failed = Vec::new();
        super::pins::remove(&self.pins.device(device), &mut failed);
        if failed.is_empty() { Ok(()) } else { bail!("remove pins: {}", failed.join("; ")) }
    }

    /// Removes the programs of other builds and log levels, which no link holds any more.
    pub fn retire_others(&self) {
        let Ok(builds) = fs::read_dir(self.pins.programs()) else { return };
        for build in builds.flatten().map(|entry| entry.path()) {
            if build != self.directory {
                let mut failed = Vec::new();
                super::pins::remove(&build, &mut failed);
            }
        }
    }
}

/// Whether something failed for lack of memory or of file descriptors.
fn is_shortage(error: &anyhow::Error) -> bool {
    let errors = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    errors.filter_map(io::Error::raw_os_error).any(|errno| {
        [libc::ENOMEM, libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::EAGAIN].contains(&errno)
    })
}

/// The program and its optional flags by the name of its pin.
fn pinned_as(name: &str) -> Option<(Hook, u32)> {
    let (program, flags) = match name.split_once('-') {
        Some((program, flags)) => (program, u32::from_str_radix(flags, 16).ok()?),
        None => (name, 0),
    };
    let hook = Hook::ALL.into_iter().find(|hook| hook.program() == program)?;
    Some((hook, flags))
}

/// Where the programs of this build and a log level are pinned.
fn directory(pins: &Pins, log_level: u8) -> PathBuf {
    let name = match log_level {
        0 => build(),
        level => format!("{}-{level}", build()),
    };
    pins.programs().join(name)
}
