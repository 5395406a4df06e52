//! The command line: what can be asked.

mod apply;
mod cni;
mod import;
mod libvirt;
mod local;
mod on_trial;
mod port;
mod print;
mod remote;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    agent::Agent,
    control,
    daemon::{self},
    datapath::pins,
    logging, monitor,
    names::{IfName, Mac},
    show::What,
};

/// Bonds, bridges and per-port VLAN policy for hypervisor hosts, enforced and counted by eBPF.
///
/// One YAML file declares the networks of the node. `netagent run` makes the node so, keeps it so,
/// and serves metrics; `netagent plan` prints what it would do; `netagent status` says what is
/// Ready, Waiting, Degraded or Refused, and why. One part that fails stops no other.
///
/// Exit codes: 0 done, or nothing to do; 1 an error (one line on stderr); 2 `plan` found something
/// to do, or wrong usage; 3 done, but a part is Waiting, Degraded or Refused (one line on stderr
/// for each); 4: the change was rolled back, as nobody confirmed it or the gateway did not answer;
/// 130 and 143: `apply` was stopped by SIGINT or SIGTERM between two units, and something is left
/// to do.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    places: Places,
    /// What is logged, and in which form.
    #[command(flatten)]
    pub log: logging::Options,
    #[command(subcommand)]
    command: Command,
}

/// Where the agent keeps things.
#[derive(Clone, Debug, Args)]
struct Places {
    /// Directory on a BPF file system for programs, maps and links.
    #[arg(long, global = true, value_name = "DIR", default_value = pins::DEFAULT)]
    pins: PathBuf,
    /// The control socket of `netagent run`.
    #[arg(long, global = true, value_name = "PATH", env = "NETAGENT_SOCKET",
        default_value = control::DEFAULT)]
    socket: PathBuf,
    /// Directory of the history, of devices as they were found, and of DHCP leases.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "NETAGENT_STATE",
        default_value = "/var/lib/netagent"
    )]
    state: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon: apply, watch, repair, serve metrics and the control socket. SIGHUP reads the
    /// file again.
    ///
    /// A change of what the node lives on is on trial: it is rolled back unless `netagent confirm`
    /// comes within 120 s, or if the default gateway does not answer any more. After a reboot, the
    /// file that was confirmed last is in force.
    Run {
        #[command(flatten)]
        target: Target,
        /// Changes of what the node lives on are final, without a trial.
        #[arg(long)]
        no_rollback: bool,
    },
    /// Print the state of each segment and port, and why. Exit 0: all as desired; 3: not.
    Status {
        /// The file to compare the node with, where no daemon runs.
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print JSON.
        #[arg(short, long)]
        json: bool,
    },
    /// Print what `apply` would do. Exit 0: nothing; 2: something.
    Plan {
        #[command(flatten)]
        target: Target,
        /// Print JSON, as `GET /v1/plan` of the control socket: for each unit its steps, what
        /// restores the state before each step, what it costs, and which links need confirmation.
        #[arg(short, long)]
        json: bool,
    },
    /// Print the node as it is, as a file that changes nothing but what netagent adds.
    ///
    /// Comments name what the file cannot express, what the first apply changes all the same, and
    /// what else on this node manages the devices.
    Import {
        /// A bridge port that is the uplink; can be repeated. Default: the bond, the NIC or the
        /// VLAN interface on the bridge.
        #[arg(long, value_name = "DEVICE")]
        uplink: Vec<IfName>,
        /// A bridge to import; can be repeated. Default: all that have an uplink.
        #[arg(long, value_name = "DEVICE")]
        bridge: Vec<IfName>,
    },
    /// Make the node as the file declares it, once. What it attaches stays.
    ///
    /// A change of what the node lives on is on trial for 120 s: `apply` waits for `netagent
    /// confirm`, asks the default gateway and the file's `probes` meanwhile, and otherwise restores
    /// what was there. So does Ctrl-C. If `apply` is killed, the next start of netagent, or
    /// `netagent rollback`, restores it.
    Apply {
        #[command(flatten)]
        target: Target,
        /// Put the change on trial for this many seconds, whatever it alters.
        #[arg(long = "try", value_name = "SECONDS", num_args = 0..=1, default_missing_value = "120",
            value_parser = clap::value_parser!(u32).range(1..=86400))]
        try_for: Option<u32>,
        /// A change of what the node lives on is final, without a trial.
        #[arg(long, conflicts_with = "try_for")]
        no_rollback: bool,
    },
    /// The same as `apply --try`.
    Try {
        #[command(flatten)]
        target: Target,
        /// For how many seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 120,
            value_parser = clap::value_parser!(u32).range(1..=86400))]
        time: u32,
    },
    /// Validate a file; needs no root.
    Check {
        /// The file.
        #[arg(short, long, value_name = "FILE", required_unless_present = "nad")]
        config: Option<PathBuf>,
        /// A NetworkAttachmentDefinition, or the configuration in it: say which port would come of
        /// it, on a node with the file of `--config`.
        #[arg(long, value_name = "FILE")]
        nad: Option<PathBuf>,
    },
    /// The CNI plugin, by which container runtimes and Multus plug pods and VMs in.
    #[command(subcommand)]
    Cni(Cni),
    /// For libvirt's hook (docs/libvirt.md): make the taps of a domain ports when it starts.
    LibvirtHook(libvirt::Hook),
    /// Let the daemon read its file again, and print the result.
    Reload {
        /// Put the change on trial for this many seconds, whatever it alters.
        #[arg(long = "try", value_name = "SECONDS", num_args = 0..=1, default_missing_value = "120",
            value_parser = clap::value_parser!(u32).range(1..=86400))]
        try_for: Option<u32>,
    },
    /// Keep the change that is on trial; or, with a link or an ID, allow a change of links that
    /// carry the node, for which the daemon waits.
    Confirm {
        /// The links of a change that waits, as `netagent status` names them.
        #[arg(value_name = "LINK")]
        links: Vec<IfName>,
        /// The change that waits, as `netagent status` names it: it is allowed only if it still is
        /// the same.
        #[arg(long, value_name = "ID", conflicts_with = "links")]
        change: Option<String>,
    },
    /// Give a cluster network or a port back as it was found, and leave it alone from now on,
    /// though the file names it.
    ///
    /// Bridge, bond, NICs and VLANs get what they had before netagent; what netagent made is
    /// deleted. What would cut the node or VMs off waits for `netagent confirm LINK`. Without a
    /// daemon, the next `netagent apply` does it.
    Release {
        /// The cluster network, or the device of the port.
        name: String,
        /// Let netagent manage it again.
        #[arg(long)]
        undo: bool,
    },
    /// Undo the change that is on trial, now.
    Rollback,
    /// Add, delete and list ports of the running daemon.
    #[command(subcommand)]
    Port(Port),
    /// Print the steps that were taken, the oldest first.
    History {
        /// The number of steps.
        #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
        lines: usize,
        /// Print JSON, one line for each step.
        #[arg(short, long)]
        json: bool,
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
    /// At most 100 per second and port; the last line says how many were not shown. Runs beside
    /// `netagent run`, or without it.
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

#[derive(Debug, Subcommand)]
enum Port {
    /// Plug a device into a network. The port ends with its device, and survives a restart of the
    /// daemon.
    Add {
        /// The host end of a VM's veth pair, or its tap.
        device: IfName,
        /// The network.
        #[arg(long, value_name = "NAME")]
        network: String,
        /// The MTU in bytes.
        #[arg(long, value_name = "BYTES")]
        mtu: Option<u32>,
        /// An address that the VM may use; can be repeated. Default: any.
        #[arg(long, value_name = "MAC")]
        mac: Vec<Mac>,
        /// The VM is migrated to this node: until it sends frames of its own, or `port announce`
        /// comes, nothing of the port makes its address known.
        #[arg(long)]
        silent: bool,
    },
    /// End the silence of a port: its VM runs here, and is announced once, by RARP.
    Announce {
        /// The device.
        device: IfName,
    },
    /// Plug the device of a running VM into another network, in place: no frame of the old network
    /// passes after the answer. For ports of `port add` and of the CNI plugin.
    #[command(group(ArgGroup::new("to").required(true)))]
    Move {
        /// The device.
        device: IfName,
        /// The network, as the file names it.
        #[arg(long, value_name = "NAME", group = "to")]
        network: Option<String>,
        /// A NetworkAttachmentDefinition, or the CNI configuration in it, of the new network.
        #[arg(long, value_name = "FILE", group = "to")]
        nad: Option<PathBuf>,
    },
    /// Unplug a device that was plugged in by `port add`.
    Del {
        /// The device.
        device: IfName,
    },
    /// List the ports of all sources with their state.
    List {
        /// Print JSON.
        #[arg(short, long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum Cni {
    /// Copy the plugin into the directory of CNI plugins; one that is running is replaced.
    Install {
        /// The directory of the plugins.
        #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
        dir: PathBuf,
        /// The name of the plugin there, which is the `type` of its networks; can be repeated.
        /// `bridge` takes the place of the bridge plugin.
        #[arg(long, value_name = "NAME", default_value = "netagent")]
        name: Vec<String>,
        /// The plugin. Default: `netagent-cni` beside this program.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Target {
    /// The file.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// A link that carries the node and that may be altered; can be repeated.
    #[arg(long, value_name = "LINK")]
    confirm: Vec<IfName>,
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Check { config, nad: Some(nad) } => cni::check(&nad, config.as_deref()),
            Command::Check { config, nad: None } => local::check(&config.unwrap_or_default()),
            Command::Cni(Cni::Install { dir, name, from }) => cni::install(&dir, &name, from),
            Command::Schema => local::schema(),
            Command::Completions { shell } => local::completions::<Self>(shell),
            Command::Explain { reason, json } => local::explain(reason.as_deref(), json),
            Command::History { lines, json } => local::history(&self.places.state, lines, json),
            command => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .context("start the runtime")?;
                runtime.block_on(on_the_node(command, self.places))
            }
        }
    }
}

async fn on_the_node(command: Command, places: Places) -> Result<ExitCode> {
    match command {
        Command::Run { target, no_rollback } => {
            let options = daemon::Options {
                config: target.config,
                pins: places.pins,
                socket: places.socket,
                state: places.state,
                confirmed: target.confirm.into_iter().collect(),
                rollback: !no_rollback,
            };
            Box::pin(daemon::run(options)).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Plan { target, json } => apply::plan(&places, &target, json).await,
        Command::Apply { target, try_for, no_rollback } => {
            let trial = match (try_for, no_rollback) {
                (Some(seconds), _) => apply::Trial::Always(seconds),
                (None, false) => apply::Trial::OfTheNode,
                (None, true) => apply::Trial::Never,
            };
            apply::apply(&places, &target, trial).await
        }
        Command::Try { target, time } => {
            apply::apply(&places, &target, apply::Trial::Always(time)).await
        }
        Command::Import { uplink, bridge } => import::import(&places, uplink, bridge).await,
        Command::Status { config, json } => remote::status(&places, config.as_deref(), json).await,
        Command::Show { what, json } => remote::show(&places, what, json).await,
        Command::Reload { try_for } => remote::reload(&places, try_for).await,
        Command::Confirm { links, change } => remote::confirm(&places, links, change).await,
        Command::Release { name, undo } => remote::release(&places, name, undo).await,
        Command::Rollback => remote::rollback(&places).await,
        Command::Port(port) => port::port(&places, port).await,
        Command::LibvirtHook(hook) => libvirt::hook(&places, hook).await,
        Command::Monitor(options) => {
            monitor::run(&places.pins, &options).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Detach => {
            Agent::detach(&places.pins).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { .. }
        | Command::Cni(_)
        | Command::Schema
        | Command::Completions { .. }
        | Command::Explain { .. }
        | Command::History { .. } => Ok(ExitCode::SUCCESS),
    }
}
