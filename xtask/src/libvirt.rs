//! The virtual machine that tests start by libvirt and QEMU: a kernel of the matrix, and a root
//! file system whose script gets an address by DHCP and says what it reaches.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::initramfs;
use crate::kernel::{self, Kernel};
use crate::vm::Spec;

/// The name of its kernel.
pub const KERNEL: &str = "6.1";

/// Makes `vmlinuz` and `initramfs.cpio`, and returns their directory.
pub fn make_guest(kernels: &[Kernel]) -> Result<PathBuf> {
    let kernel = kernels.iter().find(|kernel| kernel.name == KERNEL);
    let kernel = kernel.with_context(|| format!("find kernel {KERNEL} for the guest"))?;
    let directory = kernel::store().join("guest");
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let image = directory.join("vmlinuz");
    // It may be of an earlier kernel.
    fs::remove_file(&image).ok();
    symlink(&kernel.vmlinuz, &image).context("link the kernel of the guest")?;
    let spec = Spec {
        script: include_str!("../../tests/src/libvirt/guest.sh").to_owned(),
        modules: vec!["virtio_net"],
        ..Spec::default()
    };
    // A guest of another run may have it open.
    let partial = directory.join("partial");
    initramfs::build(&partial, kernel, &spec).context("build the initramfs of the guest")?;
    fs::rename(partial, directory.join("initramfs.cpio")).context("rename the initramfs")?;
    Ok(directory)
}
