//! How long a pod's runtime waits for ADD and DEL, by netagent-cni and by the CNI bridge plugin.
//!
//! TCX makes its caller wait for an RCU grace period at the attachment of each program, with the
//! lock of rtnetlink held (`tcx_entry_sync`, kernel commit e420bed02507). The third contender shows
//! that share: the bridge plugin, and two empty programs on the pod's port.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::call::{Program, Side, enter};
use super::figure::{Figure, Ratio, percentile};
use super::lab::{Daemon, Lab};
use crate::{build, peers};

/// How many pods come and go, per contender.
const ROUNDS: usize = 500;
/// How long the agent may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);

const CONFIG: &str = "clusterNetworks: { mgmt: {} }\n";
const NETWORK: &str = r#"{"cniVersion":"1.1.0","name":"one","type":"bridge","bridge":"mgmt-br"}"#;

/// Measures.
pub fn measure(netagent: &Path) -> Result<Vec<Figure>> {
    peers::all()?;
    let bridge = peers::root().join("bridge").canonicalize().context("find the bridge plugin")?;
    let mut ours = Node::new(netagent, build::cni()?)?;
    ours.lab.configure(CONFIG)?;
    let daemon = ours.start()?;
    let mut others = [Node::new(netagent, bridge.clone())?, Node::new(netagent, bridge)?];
    for node in &others {
        node.lab.sh("ip link add mgmt-br type bridge && ip link set mgmt-br up")?;
    }
    let [plugin, hooked] = &mut others;
    hooked.lab.load("empty")?;
    hooked.hooks = Some(hooked.lab.pinned("empty/empty_tc")?);
    for round in 0..ROUNDS {
        if round % 100 == 0 {
            println!("bench: cni round {round} of {ROUNDS}");
        }
        for node in [&mut ours, &mut *plugin, &mut *hooked] {
            node.pod(round)?;
        }
    }
    drop(daemon);
    let figure = |verb: &str, percent, other: &Node, baseline_name, goal| {
        let of =
            |node: &Node| percentile(if verb == "add" { &node.adds } else { &node.dels }, percent);
        let suffix = if other.hooks.is_some() { "_tcx" } else { "" };
        Figure {
            name: format!("cni_{verb}_p{percent}{suffix}"),
            place: "host",
            netagent: of(&ours),
            baseline: of(other),
            baseline_name,
            unit: "ms, with the start of the plugin",
            ratio: Ratio::OfCosts,
            goal,
        }
    };
    let mut figures = Vec::new();
    for verb in ["add", "del"] {
        for (percent, goal) in [(50, None), (99, Some(1.0))] {
            figures.push(figure(verb, percent, plugin, "the CNI bridge plugin", goal));
            let name = "bridge plugin, two TCX programs";
            figures.push(figure(verb, percent, hooked, name, None));
        }
    }
    Ok(figures)
}

/// A node whose runtime calls one plugin, and the network namespace of its pods.
struct Node {
    lab: Lab,
    pods: Lab,
    plugin: PathBuf,
    /// The program to put at both hooks of each pod's port.
    hooks: Option<PathBuf>,
    /// Milliseconds.
    adds: Vec<f64>,
    dels: Vec<f64>,
}

impl Node {
    fn new(netagent: &Path, plugin: PathBuf) -> Result<Self> {
        let (lab, pods) = (Lab::with(netagent, &[])?, Lab::with(netagent, &[])?);
        Ok(Self { lab, pods, plugin, hooks: None, adds: Vec::new(), dels: Vec::new() })
    }

    /// Starts the agent, and waits until it is ready.
    fn start(&self) -> Result<Daemon> {
        let run = format!("exec {} run -c {}", self.lab.agent(), self.lab.config().display());
        let log = self.lab.config().with_extension("log");
        let output = fs::File::create(&log).context("make a log")?;
        let daemon = self.lab.command(&run).stderr(Stdio::from(output)).spawn();
        let daemon = Daemon(daemon.context("start the agent")?);
        let end = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(&log)?;
            if text.contains("the node is as desired") {
                return Ok(daemon);
            }
            ensure!(Instant::now() < end, "the agent is not ready:\n{text}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A pod comes and goes.
    fn pod(&mut self, number: usize) -> Result<()> {
        let began = Instant::now();
        let result = self.call("ADD", number)?;
        let added = began.elapsed();
        let hooked = self.hook(&result)?;
        let began = Instant::now();
        self.call("DEL", number)?;
        self.dels.push(milliseconds(began.elapsed()));
        self.adds.push(milliseconds(added + hooked));
        Ok(())
    }

    /// Attaches the program, if there is one, to the port that an ADD has made. Returns how long
    /// the kernel took.
    fn hook(&self, result: &str) -> Result<Duration> {
        let Some(pin) = &self.hooks else { return Ok(Duration::ZERO) };
        let result: Value = serde_json::from_str(result).context("read the result of ADD")?;
        let device = result["interfaces"][1]["name"].as_str().context("find the port")?;
        let (index, netns) = (self.lab.index(device)?, self.lab.netns());
        let program = Program::open(pin)?;
        // A thread of its own, as it goes to the node's namespace for good.
        let attach = move || {
            enter(&netns)?;
            let began = Instant::now();
            for side in [Side::Ingress, Side::Egress] {
                program.attach(index, side, &pin.with_file_name(format!("{index}-{side:?}")))?;
            }
            Ok(began.elapsed())
        };
        thread::scope(|scope| scope.spawn(attach).join()).expect("the thread does not panic")
    }

    fn call(&self, verb: &str, number: usize) -> Result<String> {
        let line = format!(
            "CNI_COMMAND={verb} CNI_CONTAINERID=pod{number} CNI_NETNS={} CNI_IFNAME=net1 CNI_PATH=/ \
             NETAGENT_SOCKET={} exec {}",
            self.pods.netns().display(),
            self.lab.config().with_file_name("netagent.sock").display(),
            self.plugin.display()
        );
        let mut command = self.lab.command(&line);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.context("start the plugin")?;
        child.stdin.take().context("write to the plugin")?.write_all(NETWORK.as_bytes())?;
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{verb}: {}: {text}", self.plugin.display());
        Ok(text)
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
