//! Runs a pinned program without a device by BPF_PROG_TEST_RUN (bpf(2), since kernel 4.12; with a
//! context since 5.10).

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_TEST_RUN: libc::c_long = 10;

/// `union bpf_attr` for BPF_OBJ_GET.
#[repr(C)]
#[derive(Default)]
struct Get {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `union bpf_attr` for BPF_PROG_TEST_RUN.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

pub struct Program {
    fd: OwnedFd,
    is_xdp: bool,
}

impl Program {
    /// Opens the program of this name in the only build of a directory of builds.
    pub fn open(builds: &str, name: &str) -> Self {
        let mut builds = fs::read_dir(builds).unwrap();
        let build = builds.next().unwrap().unwrap().path();
        assert!(builds.next().is_none(), "two builds in {}", build.display());
        let path = build.join(name);
        let pathname = CString::new(path.to_str().unwrap()).unwrap();
        let mut get = Get { pathname: pathname.as_ptr() as u64, ..Get::default() };
        let fd = bpf(BPF_OBJ_GET, &mut get).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        // SAFETY: the kernel has just created the descriptor for this process.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Self { fd, is_xdp: name.starts_with("uplink_xdp") }
    }

    /// Runs the program as for a frame that arrives at the device with this index; returns the
    /// program's result. The kernel refuses some frames with an error.
    pub fn run(&self, bytes: &[u8], ifindex: u32) -> io::Result<u32> {
        let length = u32::try_from(bytes.len()).unwrap();
        let context = if self.is_xdp {
            // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index,
            // egress_ifindex
            [0, length, 0, ifindex, 0, 0].map(u32::to_ne_bytes).concat()
        } else {
            // struct __sk_buff up to ifindex, its eleventh word
            let mut context = vec![0; 192];
            context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
            context
        };
        let mut run = TestRun {
            prog_fd: self.fd.as_raw_fd().cast_unsigned(),
            data_size_in: length,
            data_in: bytes.as_ptr() as u64,
            ctx_size_in: u32::try_from(context.len()).unwrap(),
            ctx_in: context.as_ptr() as u64,
            ..TestRun::default()
        };
        bpf(BPF_PROG_TEST_RUN, &mut run)?;
        Ok(run.retval)
    }
}

fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the structure is the one that the kernel expects for this command. The structure and
    // the memory that it refers to outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(i32::try_from(result).unwrap()) }
}
