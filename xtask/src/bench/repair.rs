//! The time from a change that somebody else makes to the step that restores it, on a node with 20
//! ports: a port is taken out of its bridge.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fs, thread};

use anyhow::{Context, Result, bail};

use super::figure::{Figure, Ratio, median};
use super::lab::{Daemon, Lab};

const PORTS: usize = 20;
/// The number of repairs.
const ROUNDS: usize = 21;
/// The bound in milliseconds.
const BOUND: f64 = 50.0;
/// How long a repair may take before the measurement fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Measures.
pub fn measure(netagent: &Path) -> Result<Vec<Figure>> {
    let devices: Vec<String> = (0..PORTS).map(|number| format!("p{number:02}")).collect();
    let names: Vec<&str> = devices.iter().map(String::as_str).collect();
    let lab = Lab::with(netagent, &names)?;
    let port = |name: &String| format!("  - {{ device: {name}, network: n100 }}\n");
    lab.configure(&format!(
        "clusterNetworks: {{ lab: {{}} }}\nnetworks: {{ n100: {{ clusterNetwork: lab, vlan: 100 }} }}\nports:\n{}",
        devices.iter().map(port).collect::<String>()
    ))?;
    let log = lab.config().with_extension("log");
    let run = format!("exec {} run --log-format json -c {}", lab.agent(), lab.config().display());
    let output = fs::File::create(&log).context("make a log")?;
    let daemon =
        lab.command(&run).stderr(Stdio::from(output)).spawn().context("start the agent")?;
    let daemon = Daemon(daemon);
    wait(&log, "the node is as desired", 0)?;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let port = &devices[round % PORTS];
        let before = fs::metadata(&log)?.len();
        let began = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        lab.sh(&format!("ip link set {port} nomaster"))?;
        let step = format!("repair: ip link set {port} master lab-br");
        times.push((wait(&log, &step, before)? - began) * 1000.0);
    }
    drop(daemon);
    Ok(vec![Figure {
        name: "repair".to_owned(),
        place: "host",
        netagent: median(&times),
        baseline: BOUND,
        baseline_name: "the bound",
        unit: "ms",
        ratio: Ratio::OfCosts,
        goal: Some(1.0),
    }])
}

/// Waits for a message behind a place in the log, and gives its time in seconds of Unix time.
fn wait(log: &Path, message: &str, from: u64) -> Result<f64> {
    let end = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(log)?;
        let new = text.get(usize::try_from(from)?..).unwrap_or_default();
        if let Some(line) = new.lines().find(|line| line.contains(message) && line.ends_with('}')) {
            let line: serde_json::Value = serde_json::from_str(line).context("read the log")?;
            return time(line["timestamp"].as_str().context("find the time in the log")?);
        }
        if Instant::now() > end {
            bail!("the agent does not log {message:?}:\n{text}");
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// The time of a line, of which only the time of the day matters: a measurement at midnight fails.
fn time(timestamp: &str) -> Result<f64> {
    let day = 86_400.0;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let clock = timestamp.split('T').nth(1).and_then(|clock| clock.strip_suffix('Z'));
    let parts = clock.context("read the time in the log")?.split(':');
    let parts: Vec<f64> = parts.map(str::parse).collect::<Result<_, _>>()?;
    let [hours, minutes, seconds] = parts[..] else { bail!("{timestamp} is not a time") };
    Ok((now / day).floor() * day + hours * 3600.0 + minutes * 60.0 + seconds)
}
