//! The bridge plugin's own tests, with netagent-cni as the program that they call.
//!
//! Each case makes a network namespace, the node. `tests/peers/suite/plugin.sh` runs an agent in
//! it. `tests/peers/suite/differs.txt` lists the cases that do not pass. Where the kernel's bridge
//! cannot filter VLANs, cases that look at its VLANs fail, too: the plugin itself must fail them
//! there.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::programs::{Programs, programs};
use crate::{
    Feature,
    lab::{Netns, kernel_has, output},
    needs, once,
};

const DIFFERS: &str = include_str!("../../peers/suite/differs.txt");
const PLUGIN: &str = include_str!("../../peers/suite/plugin.sh");
/// Cases in the tests of containernetworking/plugins 1.10.0.
const ALL: usize = 343;
/// Those of three versions of the specification, and a pattern for their names.
const OF_NEW: usize = 144;
const NEW: &str = r"\[(0\.4|1\.)";
/// Those that give a port VLANs.
const WITH_VLANS: usize = 84;

/// A case: its name, and how many cases with that name are before it.
type Case = (String, usize);

/// The first half: versions 0.1.0 to 0.3.1 of the specification, and cases without a version.
#[test]
fn own_tests_of_the_bridge_plugin_pass_for_old_versions() {
    once();
    judge(&["-ginkgo.skip", NEW], ALL - OF_NEW);
}

/// The other half: 0.4.0, 1.0.0 and 1.1.0.
#[test]
fn own_tests_of_the_bridge_plugin_pass_for_new_versions() {
    once();
    judge(&["-ginkgo.focus", NEW], OF_NEW);
}

/// The running kernel may lack what these cases need.
#[test]
fn own_tests_of_the_bridge_plugin_pass_with_vlans() {
    once();
    if !needs(&[Feature::VlanFiltering]) {
        return;
    }
    judge(&["-ginkgo.focus", "l2 bridge with vlan|and vlanID"], WITH_VLANS);
}

/// Runs some cases, and panics unless exactly the listed ones have failed, and those that the
/// plugin fails here.
fn judge(options: &[&str], count: usize) {
    let Some(programs) = programs() else { return };
    let suite = Suite::new(&programs);
    let results = suite.run(&suite.agents(), options);
    assert_eq!(results.len(), count);
    suite.judge(&results);
}

/// A namespace in which the suite runs, and a directory for its files.
struct Suite<'a> {
    programs: &'a Programs,
    netns: Netns,
    directory: PathBuf,
}

/// What became of a case.
struct Outcome {
    passed: bool,
    /// How often the case has called the program.
    calls: usize,
    message: String,
}

impl<'a> Suite<'a> {
    fn new(programs: &'a Programs) -> Self {
        let netns = Netns::new("suite");
        let directory = std::env::temp_dir().join(&netns.name);
        fs::create_dir(&directory).unwrap();
        Self { programs, netns, directory }
    }

    /// The path of the program that stands for netagent-cni and its agents.
    fn agents(&self) -> PathBuf {
        let path = self.directory.join("plugin.sh");
        // Ends the agent of the last namespace.
        let end = "kill -9 $(cat $AGENTS/process) && rm -rf $PINS $(cat $AGENTS/current)\n";
        for (name, text) in [("plugin.sh", PLUGIN), ("end.sh", end)] {
            fs::write(self.directory.join(name), text).unwrap();
        }
        crate::lab::sh(&format!("chmod +x {}", path.display()));
        path
    }

    /// Runs cases, in a mount namespace of their own. The options choose them.
    fn run(&self, plugin: &Path, options: &[&str]) -> BTreeMap<Case, Outcome> {
        let report = self.directory.join("report.json");
        let suite = self.programs.path("bridge-suite");
        let mut command = self.netns.command(&format!(
            "cd {} && exec unshare --mount --propagation private {} -ginkgo.no-color \
             -ginkgo.json-report={} \"$@\"",
            self.directory.display(),
            suite.display(),
            report.display(),
        ));
        command.arg("suite").args(options).env("CNI_PLUGIN", plugin);
        command.env("AGENTS", &self.directory).env("PINS", self.pins());
        command.envs(self.programs.environment());
        let output = command.output().unwrap();
        let text = fs::read(&report).unwrap_or_else(|error| {
            let printed = String::from_utf8_lossy(&output.stdout);
            panic!("{}: {error}\n{printed}", report.display())
        });
        outcomes(&serde_json::from_slice(&text).unwrap())
    }

    fn pins(&self) -> String {
        format!("/sys/fs/bpf/{}", self.netns.name)
    }

    /// Panics unless exactly the listed cases have failed, and those that the plugin fails here.
    fn judge(&self, results: &BTreeMap<Case, Outcome>) {
        let listed: Vec<(&str, &str)> =
            DIFFERS.lines().filter_map(|line| line.strip_prefix('[')?.split_once("] ")).collect();
        let is_listed = |(name, _): &Case| {
            let without = name.strip_prefix('[').and_then(|name| name.split_once("] "));
            without.is_some_and(|(version, name)| {
                let mut lines = listed.iter().filter(|(_, listed)| *listed == name);
                lines.any(|(of, _)| *of == "*" || of.split(' ').any(|it| it == version))
            })
        };
        let (mut wrong, mut more) = (Vec::new(), Vec::new());
        for (case, outcome) in results {
            match (is_listed(case), outcome.passed) {
                (true, true) => wrong.push(format!("{}: listed, but it passes", case.0)),
                (false, false) => more.push(case),
                _ => {}
            }
        }
        let filters = kernel_has(Feature::VlanFiltering);
        let of_plugin = if more.is_empty() || filters {
            BTreeMap::new()
        } else {
            self.run(&self.programs.path("bridge"), &["-ginkgo.focus", &exactly(&more)])
        };
        let (alike, ours): (Vec<&Case>, Vec<&Case>) =
            more.iter().partition(|case| of_plugin.get(*case).is_some_and(|it| !it.passed));
        wrong.extend(ours.iter().map(|case| format!("{}: {}", case.0, results[*case].message)));
        let passed = results.values().filter(|outcome| outcome.passed).count();
        let calling = results.values().filter(|outcome| outcome.calls > 0).count();
        println!(
            "beside: {passed} of {} cases of the bridge plugin pass, {calling} of which call the program; {} differ; \
             {} need VLAN filtering of the kernel, and the plugin fails them, too; {} are wrong",
            results.len(),
            results.len() - passed - more.len(),
            alike.len(),
            wrong.len(),
        );
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

impl Drop for Suite<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            println!("end of the agents' log:\n{}", &log[log.len().saturating_sub(4000)..]);
        }
        let directory = self.directory.display();
        output(&format!(
            "AGENTS={directory} PINS={} sh {directory}/end.sh; rm -rf {directory}",
            self.pins()
        ));
    }
}

/// The cases of a report that have run.
fn outcomes(report: &Value) -> BTreeMap<Case, Outcome> {
    let mut outcomes: BTreeMap<Case, Outcome> = BTreeMap::new();
    for spec in report[0]["SpecReports"].as_array().unwrap() {
        let state = spec["State"].as_str().unwrap();
        if spec["LeafNodeType"] != "It" || state == "skipped" {
            continue;
        }
        let name = spec["LeafNodeText"].as_str().unwrap().to_owned();
        let before = outcomes.keys().filter(|(other, _)| *other == name).count();
        let outcome = Outcome {
            passed: state == "passed",
            calls: spec["ReportEntries"].as_array().map_or(0, Vec::len),
            message: spec["Failure"]["Message"].as_str().unwrap_or_default().to_owned(),
        };
        outcomes.insert((name, before), outcome);
    }
    outcomes
}

/// A pattern that matches the names of these cases.
fn exactly(cases: &[&Case]) -> String {
    let mut names: Vec<String> = cases.iter().map(|(name, _)| quoted(name)).collect();
    names.dedup();
    format!(" ({})$", names.join("|"))
}

/// A name as a regular expression.
fn quoted(name: &str) -> String {
    let mut quoted = String::new();
    for character in name.chars() {
        if !character.is_ascii_alphanumeric() && character != ' ' {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}
