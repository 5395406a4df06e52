//! The Debian cloud kernels for virtual machines. apt downloads them once, from the archive that
//! this machine is configured for. They are unpacked below target/vm and never installed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{output, run};
use crate::suite::Suite;

/// A kernel of Debian.
pub struct Source {
    pub name: &'static str,
    suite: &'static str,
    /// Whether the project must work on this kernel. Other kernels may be missing.
    pub gate: bool,
}

pub const SOURCES: [Source; 3] = [
    Source { name: "6.1", suite: "bookworm", gate: true },
    Source { name: "6.12", suite: "trixie", gate: true },
    Source { name: "sid", suite: "sid", gate: false },
];

/// A kernel on disk.
pub struct Kernel {
    pub name: &'static str,
    /// See [`Source::gate`].
    pub gate: bool,
    /// The output of `uname -r`.
    pub release: String,
    pub vmlinuz: PathBuf,
    /// Directory of modules.dep. The modules are not compressed.
    pub modules: PathBuf,
}

/// The directory of kernels and of other files of virtual machines.
pub fn store() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join("vm")
}

/// All kernels that are available.
pub fn all() -> Result<Vec<Kernel>> {
    SOURCES.iter().filter_map(|source| fetch(source).transpose()).collect()
}

/// The kernel with this name.
pub fn named(name: &str) -> Result<Kernel> {
    let source = SOURCES.iter().find(|source| source.name == name);
    let source = source.with_context(|| format!("find kernel {name} in the list of kernels"))?;
    fetch(source)?.with_context(|| format!("get kernel {name}"))
}

/// Major and minor version of a release, such as (6, 12) of "6.12.43+deb13-cloud-amd64".
pub fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The kernel, downloaded if it is not on disk. `None` if it is not available and not a gate.
pub fn fetch(source: &Source) -> Result<Option<Kernel>> {
    let dir = store().join(source.name);
    let root = dir.join("root");
    if !root.exists() {
        println!("kernel: fetching {} from Debian {}", source.name, source.suite);
        if dir.exists() {
            fs::remove_dir_all(&dir).context("remove a kernel that was only half fetched")?;
        }
        let fetched = download(source.suite, &dir)
            .and_then(|()| unpack(&dir, &root))
            .with_context(|| format!("fetch kernel {}", source.name));
        match fetched {
            Err(error) if !source.gate => {
                eprintln!("\nWARNING: there is NO kernel {}: {error:#}\n", source.name);
                return Ok(None);
            }
            fetched => fetched?,
        }
    }

    let modules = only_entry(&root.join("lib/modules"))?;
    let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // Since 7.0, Debian's kernels have the image in the directory of the modules.
    let places = [modules.join("vmlinuz"), root.join(format!("boot/vmlinuz-{release}"))];
    let vmlinuz = places.into_iter().find(|path| path.exists());
    let vmlinuz = vmlinuz.with_context(|| format!("find the image of kernel {release}"))?;
    Ok(Some(Kernel { name: source.name, gate: source.gate, release, vmlinuz, modules }))
}

/// Downloads the packages of the suite's cloud kernel into `dir`/debs.
fn download(name: &str, dir: &Path) -> Result<()> {
    let debs = dir.join("debs");
    fs::create_dir_all(&debs).with_context(|| format!("create {}", debs.display()))?;
    let suite = Suite::update(name, &dir.with_file_name(format!("apt-{name}")))?;
    let mut depends = suite.tool("apt-cache");
    depends.args(["depends", "--important", "--recurse", "linux-image-cloud-amd64"]);
    let depends = output(&mut depends)?;
    let packages: Vec<_> = depends.lines().filter(|name| holds_kernel(name)).collect();
    if packages.is_empty() {
        bail!("Debian {name} has no cloud kernel");
    }
    suite.download(&packages, &debs)
}

/// Whether a package contains a part of a kernel, and does not only depend on such packages. Since
/// 7.0 the image and the modules are separate packages.
fn holds_kernel(package: &str) -> bool {
    ["linux-image-", "linux-binary-", "linux-modules-"].iter().any(|prefix| {
        let version =
            package.strip_prefix(prefix).and_then(|rest| rest.strip_suffix("-cloud-amd64"));
        version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
    })
}

fn unpack(dir: &Path, root: &Path) -> Result<()> {
    // Renamed at the end: if the directory exists, it is complete.
    let partial = dir.join("root.partial");
    let debs = dir.join("debs");
    for deb in fs::read_dir(&debs).with_context(|| format!("list {}", debs.display()))? {
        run(Command::new("dpkg-deb").arg("-x").arg(deb?.path()).arg(&partial))?;
    }
    if !partial.join("lib").exists() {
        symlink("usr/lib", partial.join("lib")).context("link lib")?;
    }
    let modules = only_entry(&partial.join("lib/modules"))?;
    run(Command::new("find")
        .arg(&modules)
        .args(["-name", "*.xz", "-exec", "xz", "-d", "{}", "+"]))?;
    // Writes modules.dep, which is not in the packages.
    output(Command::new("depmod").arg("-b").arg(&partial).args(modules.file_name()))?;
    fs::rename(&partial, root).context("rename the unpacked kernel")?;
    fs::remove_dir_all(&debs).context("remove the kernel's packages")
}

fn only_entry(dir: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?;
    let entry = entries.next().with_context(|| format!("find anything in {}", dir.display()))??;
    Ok(entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        assert_eq!(version("6.12.43+deb13-cloud-amd64"), (6, 12));
        assert_eq!(version("7.0-rc1\n"), (7, 0));
        assert!(version("6.1.0-38-cloud-amd64") < version("6.12.1"));
    }
}
