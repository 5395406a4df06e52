//! Programs of others on a device.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use crate::{Feature, lab::Netns, lab::kernel_has};

/// The side of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Ingress,
    Egress,
}

/// A program on a device, as long as this lives.
pub struct Foreign<'a> {
    /// A TCX link.
    link: Option<OwnedFd>,
    /// What removes a clsact filter.
    remove: Option<(&'a Netns, String)>,
}

/// BPF_F_BEFORE (include/uapi/linux/bpf.h).
const BEFORE: u32 = 1 << 3;
const TC_ACT_OK: i32 = 0;
const TC_ACT_SHOT: i32 = 2;

impl<'a> Foreign<'a> {
    /// Behind ours.
    pub fn drop_all(netns: &'a Netns, device: &str, place: Place) -> Self {
        Self::link(netns, device, place, TC_ACT_SHOT, 0)
    }

    /// Before ours.
    pub fn accept_all(netns: &'a Netns, device: &str, place: Place) -> Self {
        if kernel_has(Feature::Tcx) {
            return Self::link(netns, device, place, TC_ACT_OK, BEFORE);
        }
        // The kernel runs the newest filter of a priority first.
        let side = if place == Place::Ingress { "ingress" } else { "egress" };
        let filter = Filter::new(netns, TC_ACT_OK);
        netns.sh(&format!("tc filter add dev {device} {side} pref 1 {}", filter.text()));
        let remove = format!("tc filter del dev {device} {side} pref 1 handle 1 bpf");
        Self { link: None, remove: Some((netns, remove)) }
    }

    /// Pins the link, which then stays.
    pub fn pin(self, path: &str) {
        let path = CString::new(path).unwrap();
        let link = self.link.as_ref().unwrap();
        bpf(6, &[path.as_ptr() as u64, u64::from(link.as_raw_fd().cast_unsigned())]);
    }

    fn link(netns: &Netns, device: &str, place: Place, returns: i32, flags: u32) -> Self {
        let program = load(returns);
        let ifindex = netns.ifindex(device);
        let attach_type = if place == Place::Ingress { 46 } else { 47 };
        let fd = program.as_raw_fd().cast_unsigned();
        let link = netns.inside(|| {
            let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
            bpf(28, &[pair(fd, ifindex), pair(attach_type, flags), 0, 0])
        });
        Self { link: Some(descriptor(link)), remove: None }
    }
}

/// A filter that `tc filter add` can add as often as needed.
pub struct Filter(String);

impl Filter {
    /// Drops every frame.
    pub fn drop_all(netns: &Netns) -> Self {
        Self::new(netns, TC_ACT_SHOT)
    }

    fn new(netns: &Netns, returns: i32) -> Self {
        let pin = format!("/sys/fs/bpf/{}-{returns}", netns.name);
        let path = CString::new(pin.as_str()).unwrap();
        bpf(6, &[path.as_ptr() as u64, u64::from(load(returns).as_raw_fd().cast_unsigned())]);
        Self(pin)
    }

    /// The arguments of `tc filter add`.
    pub fn text(&self) -> String {
        format!("bpf direct-action object-pinned {}", self.0)
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

impl Drop for Foreign<'_> {
    fn drop(&mut self) {
        if let Some((netns, line)) = &self.remove {
            netns.sh(line);
        }
    }
}

/// A program that does nothing and returns this.
fn load(returns: i32) -> OwnedFd {
    // r0 = returns; exit
    let code: [u64; 2] = [0xb7 | u64::from(returns.cast_unsigned()) << 32, 0x95];
    let licence = c"GPL";
    let kind_and_count = 3 | 2_u64 << 32;
    descriptor(bpf(5, &[kind_and_count, code.as_ptr() as u64, licence.as_ptr() as u64, 0, 0, 0]))
}

#[expect(unsafe_code, reason = "the descriptor is new")]
fn descriptor(fd: i64) -> OwnedFd {
    // SAFETY: the kernel has just created the descriptor for this process.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap()) }
}

#[expect(unsafe_code, reason = "the kernel's interface")]
fn bpf(command: i64, attributes: &[u64]) -> i64 {
    let size = size_of_val(attributes);
    // SAFETY: the attributes, and what they refer to, outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size) };
    assert!(result >= 0, "command {command}: {}", io::Error::last_os_error());
    result
}
