//! A Go that is new enough for tests/peers: the machine's, or Debian's, unpacked below target/.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{PACKAGES, store};
use crate::{
    command::{output, run},
    suite::Suite,
};

/// The module whose tests call a program here, and the package of the tests in it.
const SUITE: (&str, &str) = ("github.com/containernetworking/plugins", "plugins/main/bridge");

/// Without optimisation the compiler needs less time, and the programs are fast enough.
const QUICK: [&str; 4] = ["-gcflags=all=-N -l", "-ldflags", "-s -w", "-trimpath"];

/// The suite of the Go that is unpacked where the machine has none that is new enough.
const DEBIAN: &str = "sid";

/// A Go that is new enough.
pub struct Go {
    program: PathBuf,
}

impl Go {
    /// The Go on the PATH, if it is as new as the module file demands; otherwise Debian's.
    pub fn find(sources: &Path) -> Result<Self> {
        let module = sources.join("go.mod");
        let text =
            fs::read_to_string(&module).with_context(|| format!("read {}", module.display()))?;
        let wanted = text.lines().find_map(|line| line.strip_prefix("go "));
        let wanted = wanted.with_context(|| format!("find the version in {}", module.display()))?;
        let there = Self { program: "go".into() };
        match there.version() {
            Ok(version) if numbers(&version) >= numbers(wanted) => return Ok(there),
            Ok(version) => println!("setup: Go {version} is older than {wanted}"),
            Err(_) => println!("setup: there is no Go"),
        }
        let unpacked = unpacked()?;
        let version = unpacked.version().context("ask the unpacked Go for its version")?;
        ensure!(
            numbers(&version) >= numbers(wanted),
            "tests/peers needs Go {wanted}: the Go of Debian {DEBIAN} is {version}; \
             install a newer one, so that `go` is on the PATH"
        );
        Ok(unpacked)
    }

    /// Such as "1.26.8".
    fn version(&self) -> Result<String> {
        let text = output(self.command().args(["env", "GOVERSION"]))?;
        Ok(text.trim().trim_start_matches("go").to_owned())
    }

    /// `go`, whose caches are below target/ and which gets no other Go.
    fn command(&self) -> Command {
        let mut go = Command::new(&self.program);
        go.env("GOPATH", store().join("path")).env("GOCACHE", store().join("cache"));
        // Modules that can be deleted like everything else.
        go.env("GOFLAGS", "-modcacherw").env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
        go
    }

    pub fn build(&self, sources: &Path, into: &Path) -> Result<()> {
        let mut go = self.command();
        go.arg("build").args(QUICK).arg("-o").arg(into).args(PACKAGES).current_dir(sources);
        output(&mut go).map(drop)
    }

    /// Builds the bridge plugin's tests so that they call a program.
    pub fn build_suite(&self, sources: &Path, into: &Path) -> Result<()> {
        let (module, package) = SUITE;
        let mut list = self.command();
        list.args(["list", "-m", "-f", "{{.Dir}}", module]).current_dir(sources);
        let original = output(&mut list)?;
        let copy = store().join("suite");
        if copy.exists() {
            fs::remove_dir_all(&copy).context("remove an old copy of the bridge plugin")?;
        }
        run(Command::new("cp").args(["-r", original.trim()]).arg(&copy))?;
        let place = copy.join(package);
        let plugin = place.join("bridge.go");
        let text = fs::read_to_string(&plugin).context("read the bridge plugin")?;
        let text = ["cmdAdd", "cmdDel", "cmdCheck", "cmdStatus"]
            .iter()
            .fold(text, |text, name| text.replace(name, &name.replace("cmd", "inProcess")));
        run(Command::new("chmod").arg("u+w").arg(&place).arg(&plugin))?;
        fs::write(&plugin, text).context("write the bridge plugin")?;
        fs::copy(sources.join("suite/call_test.go"), place.join("call_test.go"))
            .context("add the call of a program to the tests")?;
        let mut go = self.command();
        go.args(["test", "-c"]).args(QUICK).arg("-o").arg(into).arg(".").current_dir(&place);
        output(&mut go).map(drop)
    }
}

/// Debian's Go, unpacked below target/.
fn unpacked() -> Result<Go> {
    let root = store().join("debian");
    if !root.exists() {
        println!("setup: unpack golang-go of Debian {DEBIAN}");
        let (partial, debs) = (root.with_extension("partial"), store().join("debs"));
        fs::create_dir_all(&debs).with_context(|| format!("create {}", debs.display()))?;
        let suite = Suite::update(DEBIAN, &store().join("apt"))?;
        suite.download(&["golang-1.26-go", "golang-1.26-src"], &debs)?;
        for deb in fs::read_dir(&debs).with_context(|| format!("list {}", debs.display()))? {
            run(Command::new("dpkg-deb").arg("-x").arg(deb?.path()).arg(&partial))?;
        }
        fs::remove_dir_all(&debs).context("remove the packages")?;
        fs::rename(&partial, &root).context("rename the unpacked Go")?;
    }
    Ok(Go { program: root.join("usr/lib/go-1.26/bin/go") })
}

/// The numbers of a version.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_compared_by_their_numbers() {
        assert!(numbers("1.26.8") >= numbers("1.26.0"));
        assert!(numbers("1.26.10") > numbers("1.26.8"));
        assert!(numbers("1.19.8") < numbers("1.26.8"));
        assert!(numbers("1.27") > numbers("1.26.8"));
    }
}
