//! The command line: what can be asked, and what is printed.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::{
    agent::{Agent, Permission},
    change::Change,
    config, daemon,
    datapath::pins,
    monitor,
    names::IfName,
    plan::Plan,
    reason, show,
};

/// Bonds, bridges and per-port VLAN policy for hypervisor hosts, enforced and counted by eBPF.
///
/// One YAML file says what the node's networks are. `netagent run` makes the node so, keeps it so, and serves
/// metrics; `netagent plan` says what it would do. Exit codes: 0 done or nothing to do, 1 an error (one line on
/// stderr; what it did before is named), 2 `plan` found something to do, or wrong usage.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// Directory on a BPF file system for programs, maps and links.
    #[arg(long, global = true, value_name = "DIR", default_value = pins::DEFAULT)]
    pins: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon: apply, watch, repair, serve metrics. SIGHUP reads the file again.
    Run(Target),
    /// Print what `apply` would do. Exit 0: nothing; 2: something.
    Plan(Target),
    /// Make the node as the file says, once. What it attaches stays.
    Apply(Target),
    /// Validate a file; needs no root.
    Check {
        /// The file.
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print ports, VLANs with their counters, bonds, drops, or stations.
    Show {
        /// What to print.
        #[arg(default_value = "vlans")]
        what: What,
        /// Print JSON.
        #[arg(short, long)]
        json: bool,
    },
    /// Print frames as they are dropped, one line each.
    ///
    /// At most 100 per second and port; the last line says how many were not shown. Runs beside `netagent run`,
    /// or without it.
    Monitor(monitor::Options),
    /// Say what a reason for drops means, what usually causes it, and what to do; needs no root.
    Explain {
        /// The reason, as `show drops` prints it. Default: list them all.
        reason: Option<String>,
        /// Print JSON.
        #[arg(short, long)]
        json: bool,
    },
    /// Take programs, maps and pins away; leave the links as they are.
    ///
    /// On a VLAN-unaware bridge nothing keeps VLANs apart after that.
    Detach,
    /// Print the JSON schema of the file.
    Schema,
    /// Print a completion script.
    Completions {
        /// For which shell.
        shell: Shell,
    },
}

#[derive(Debug, clap::Args)]
struct Target {
    /// The file.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// A protected link (one that carries the node itself) that may be altered; can be repeated.
    #[arg(long, value_name = "LINK")]
    confirm: Vec<IfName>,
}

/// What `show` prints.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Each port: network, mode, VIDs, programs.
    Ports,
    /// Each VLAN of each port: packets and bytes in and out, drops with their reason.
    Vlans,
    /// Bonds: mode, members, what the switch must do and does.
    Bonds,
    /// Drops by port, direction, VLAN and reason.
    Drops,
    /// Stations that frames reach past the bridge.
    Fdb,
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Check { config } => check(&config),
            Command::Schema => schema(),
            Command::Completions { shell } => completions(shell),
            Command::Explain { reason, json } => explain(reason.as_deref(), json),
            command => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .context("start the runtime")?;
                runtime.block_on(on_the_node(command, &self.pins))
            }
        }
    }
}

async fn on_the_node(command: Command, pins: &Path) -> Result<ExitCode> {
    match command {
        Command::Run(target) => {
            let confirmed = target.confirm.into_iter().collect();
            let options =
                daemon::Options { config: target.config, pins: pins.to_owned(), confirmed };
            daemon::run(options).await?;
        }
        Command::Plan(target) => {
            let desired = config::load(&target.config)?.desired();
            let plan = Agent::open(pins)?.plan(&desired).await?;
            print_plan(&plan, &target.confirm.into_iter().collect())?;
            return Ok(ExitCode::from(if plan.is_empty() { 0 } else { 2 }));
        }
        Command::Apply(target) => {
            let desired = config::load(&target.config)?.desired();
            let permission = Permission::Only(target.confirm.into_iter().collect());
            let mut steps = 0;
            let mut agent = Agent::open(pins)?;
            agent.take_charge()?;
            let result = agent
                .apply(&desired, &permission, async |_: &mut Agent, step: &Change| {
                    steps += 1;
                    println!("{step}");
                })
                .await;
            let plan = result.with_context(|| match steps {
                0 => "nothing was done".to_owned(),
                steps => format!("stopped at step {steps}; run it again once this is mended"),
            })?;
            let mut text = remarks(&plan);
            text.push(if steps == 0 { "nothing to do" } else { "done, and verified" }.to_owned());
            print(&(text.join("\n") + "\n"))?;
        }
        Command::Show { what, json } => {
            let mut agent = Agent::open(pins)?;
            let what = match what {
                What::Ports => show::What::Ports,
                What::Vlans => show::What::Vlans,
                What::Bonds => show::What::Bonds,
                What::Drops => show::What::Drops,
                What::Fdb => {
                    let (stations, links) = agent.stations(pins).await?;
                    print(&show::render_fdb(&stations, &links, json)?)?;
                    return Ok(ExitCode::SUCCESS);
                }
            };
            print(&show::render(what, &agent.snapshot().await?, json)?)?;
        }
        Command::Monitor(options) => monitor::run(pins, &options).await?,
        Command::Detach => Agent::detach(pins).await?,
        Command::Check { .. }
        | Command::Schema
        | Command::Completions { .. }
        | Command::Explain { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn print_plan(plan: &Plan, confirmed: &BTreeSet<IfName>) -> Result<()> {
    let mut text: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
    text.extend(plan.impact.iter().map(|impact| format!("# {impact}")));
    text.extend(
        plan.guarded
            .difference(confirmed)
            .map(|name| format!("# {name} carries the node itself: apply needs --confirm {name}")),
    );
    if plan.is_empty() {
        text.push("nothing to do".to_owned());
    }
    text.extend(remarks(plan));
    print(&(text.join("\n") + "\n"))
}

/// What no step mends.
fn remarks(plan: &Plan) -> Vec<String> {
    let waiting = plan
        .waiting
        .iter()
        .map(|name| format!("# {name}: not there; `netagent run` takes it when it appears"));
    waiting.chain(plan.warnings.iter().map(|warning| format!("# {warning}"))).collect()
}

/// A reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("print"),
        _ => Ok(()),
    }
}

fn check(path: &Path) -> Result<ExitCode> {
    let desired = config::load(path)?.desired();
    let uplinks = desired.bonds.len();
    let (bridges, ports) = (desired.bridges.len(), desired.ports.len());
    print(&format!("{}: {bridges} bridges, {uplinks} bonds, {ports} ports\n", path.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn explain(name: Option<&str>, json: bool) -> Result<ExitCode> {
    let text = match name {
        Some(name) => reason::one(reason::named(name)?, json),
        None => reason::list(json),
    };
    print(&text?)?;
    Ok(ExitCode::SUCCESS)
}

fn schema() -> Result<ExitCode> {
    print(&(serde_json::to_string_pretty(&config::schema())? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn completions(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "netagent", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
