//! Builds each patch, and runs the tests that must notice it: one is tested while the next one is
//! built.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};

use super::mutation::{Expected, Mutation};
use super::scratch::{Built, Scratch};
use super::table::{Fate, Table};
use crate::{build, kernel, test, unpacked, vm};

/// Seconds after which tests have hung: they noticed it.
const PATIENCE: &str = "600";
/// What the agent was about to do when the verifier refused a program.
const LOADING: [&str; 5] =
    ["load uplink_xdp", "load uplink_in", "load uplink_out", "load port_in", "load port_out"];

/// Tries the patches. With `after_tests`, the tests have just passed without them.
pub fn run(
    mutations: &[Mutation],
    end: Option<Instant>,
    after_tests: bool,
    scratch: &Scratch,
    table: &mut Table,
) -> Result<()> {
    let to_try = mutations.iter().filter(|it| matches!(it.expected, Expected::Noticed { .. }));
    let to_try: Vec<_> = to_try.collect();
    for mutation in mutations {
        if let Expected::Equivalent(_) = mutation.expected {
            table.add(mutation.set(), &mutation.name, Fate::Equivalent);
        }
    }
    if to_try.is_empty() {
        return Ok(());
    }
    let agent = &scratch.agent()?;
    let tests = Tests::new(&to_try, &agent.netagent)?;
    if !after_tests {
        tests.pass(&to_try)?;
    }
    let (built, next) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        let building = scope.spawn(move || {
            for mutation in to_try {
                let late = end.is_some_and(|end| Instant::now() >= end);
                let product = (!late).then(|| scratch.build(mutation, agent));
                if built.send((mutation, product)).is_err() {
                    break;
                }
            }
        });
        for (mutation, product) in next {
            let fate = match product {
                None => Fate::NotTried,
                Some(product) => product
                    .and_then(|product| tests.judge(mutation, &product))
                    .unwrap_or_else(|error| Fate::Broken(format!("{error:#}"))),
            };
            println!("{}: {fate}", mutation.name);
            table.add(mutation.set(), &mutation.name, fate);
        }
        building.join().map_err(|_| anyhow!("the thread that builds mutations panicked"))
    })
}

/// The executables.
struct Tests<'a> {
    /// The tests on real links.
    on_links: PathBuf,
    cni: Option<PathBuf>,
    /// The agent without a mutation.
    agent: &'a Path,
}

impl<'a> Tests<'a> {
    fn new(mutations: &[&Mutation], agent: &'a Path) -> Result<Self> {
        let of_cni = |mutation: &&Mutation| match &mutation.expected {
            Expected::Noticed { tests, .. } => tests.iter().any(|test| test.starts_with("cni")),
            Expected::Equivalent(_) => false,
        };
        let cni = mutations.iter().any(of_cni).then(build::cni).transpose()?;
        Ok(Self { on_links: build::tests("netagent-tests")?, cni, agent })
    }

    /// Demands that the tests pass without a mutation.
    fn pass(&self, mutations: &[&Mutation]) -> Result<()> {
        let mut by_place = BTreeMap::<_, BTreeSet<String>>::new();
        for mutation in mutations {
            if let Expected::Noticed { tests, on, environment } = &mutation.expected {
                by_place.entry((on, environment)).or_default().extend(tests.iter().cloned());
            }
        }
        for ((on, environment), tests) in by_place {
            let tests: Vec<_> = tests.into_iter().collect();
            println!("without a mutation: {}", tests.join(" "));
            let lines = self.run(None, &tests, on.as_deref(), environment)?;
            if let Fate::Noticed(test) = fate(&lines)? {
                bail!("{test} fails without a mutation:\n{}", lines.join("\n"));
            }
        }
        Ok(())
    }

    fn judge(&self, mutation: &Mutation, product: &Built) -> Result<Fate> {
        let Expected::Noticed { tests, on, environment } = &mutation.expected else {
            return Ok(Fate::Equivalent);
        };
        fate(&self.run(Some(product), tests, on.as_deref(), environment)?)
    }

    /// The output of the tests.
    fn run(
        &self,
        product: Option<&Built>,
        tests: &[String],
        on: Option<&str>,
        environment: &[String],
    ) -> Result<Vec<String>> {
        let (agent, object) = match product {
            None => (self.agent, None),
            Some(Built::Agent(agent)) => (agent.as_path(), None),
            Some(Built::Object(object)) => (self.agent, Some(object)),
        };
        let Some(on) = on else {
            let mut command = Command::new("timeout");
            command.args(["--kill-after=20", PATIENCE]).arg(&self.on_links).args(tests);
            command.args(["--show-output", "--test-threads", test::HERE]);
            command.env("NETAGENT", agent).env(test::UNPACKED, unpacked::root());
            command.envs(object.map(|object| ("NETAGENT_OBJECT", object)));
            command.envs(self.cni.as_ref().map(|cni| ("NETAGENT_CNI", cni)));
            command.envs(environment.iter().filter_map(|variable| variable.split_once('=')));
            return output_of_group(command);
        };
        let name = self.on_links.file_name().unwrap_or_default().to_string_lossy();
        let mut variables = format!("NETAGENT=/bin/netagent {}", environment.join(" "));
        if object.is_some() {
            variables += " NETAGENT_OBJECT=/object";
        }
        let script = format!(
            "export {variables}; timeout {PATIENCE} {name} {} --show-output --test-threads 1",
            tests.join(" ")
        );
        let mut spec = test::guest(script, &[agent, &self.on_links], format!("[{on}] "));
        spec.files.extend(object.map(|object| (object.clone(), "/object".into())));
        Ok(vm::run(&kernel::named(on)?, &spec)?.lines)
    }
}

/// The output of `timeout`, which is the leader of a process group. A test that fails may leave a
/// daemon in it, which keeps the output open.
fn output_of_group(mut command: Command) -> Result<Vec<String>> {
    let path = Path::new("target/mutate/output");
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut timeout =
        command.stdout(file).stderr(Stdio::null()).spawn().context("start timeout")?;
    timeout.wait().context("wait for the tests")?;
    let group = timeout.id().cast_signed();
    // SAFETY: no pointers. The group exists as long as a process is left in it.
    unsafe { libc::kill(-group, libc::SIGKILL) };
    let output = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&output).lines().map(str::to_owned).collect())
}

/// What became of a mutation, from the output of the tests.
fn fate(lines: &[String]) -> Result<Fate> {
    let failed = lines.iter().find_map(|line| {
        let (test, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
        result.starts_with("FAILED").then(|| test.to_owned())
    });
    let refused = |line: &&String| LOADING.iter().any(|loading| line.contains(loading));
    if let Some(line) = lines.iter().find(refused).filter(|_| failed.is_some()) {
        bail!("the programs were not loaded: {line}");
    }
    if let Some(test) = failed {
        return Ok(Fate::Noticed(test));
    }
    let passed = lines.iter().filter(|line| line.starts_with("test ") && line.ends_with("... ok"));
    let skipped = lines.iter().filter(|line| line.starts_with("skipped: "));
    match (lines.iter().any(|line| line.starts_with("test result: ")), passed.count()) {
        (true, passed) if passed > skipped.count() => Ok(Fate::Unnoticed),
        (true, _) => bail!("no test has run that could notice it"),
        (false, _) => Ok(Fate::Noticed("the tests hung or died".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_test_that_fails_with_loaded_programs_notices() {
        let fate = |text: &str| fate(&text.lines().map(str::to_owned).collect::<Vec<_>>());
        let ended = "test result: something";
        let passed = format!("test a ... ok\ntest b ... ok\nskipped: b: kernel\n{ended}");
        assert_eq!(fate(&passed).unwrap(), Fate::Unnoticed);
        let failed = format!("test a ... ok\ntest b ... FAILED\n{ended}");
        assert_eq!(fate(&failed).unwrap(), Fate::Noticed("b".to_owned()));
        assert!(matches!(fate("test a ... ok").unwrap(), Fate::Noticed(_)));
        for nothing in [
            format!("test a ... ok\nskipped: a: kernel\n{ended}"),
            ended.to_owned(),
            format!("test a ... FAILED\nport vm-a: load port_in: refused\n{ended}"),
        ] {
            assert!(fate(&nothing).is_err(), "{nothing}");
        }
    }
}
