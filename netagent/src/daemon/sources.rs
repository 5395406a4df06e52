//! The sources of what is desired: the file, DHCP leases, the ports that were added through the
//! control socket, and the interfaces of pods.

mod release;
mod runtime;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;

pub use self::release::release;
use super::{attachments::Attachments, runtime_ports::RuntimePorts};
use crate::{
    config::{self, Config, ConfigError},
    intent::{
        self, Compiled, Devices, Intent, Item, LeaseIntent, Origin, PortIntent, Rejected, Released,
        Sourced,
    },
    names::IfName,
    state::{Code, Desired, Finding, Observed, ObservedDatapath, RejectedPort, Subject},
    state_file::StateFile,
};

/// The sources.
pub struct Sources {
    path: PathBuf,
    /// The file that is in force; `None`: nothing is done, as no file was confirmed.
    file: Option<Config>,
    /// Why a file is in force that is not the one at the path.
    held: Option<Finding>,
    /// The last error of a reload.
    error: Option<String>,
    /// Where metrics are served since the start.
    served: Option<SocketAddr>,
    ports: RuntimePorts,
    attachments: Attachments,
    released: Released,
    released_file: StateFile,
    /// What was released before a release that is on trial.
    released_before: Option<Released>,
    /// The DHCP leases of the node's own interfaces.
    leases: Intent,
    /// The devices of the node that match a pattern of the file.
    devices: Devices,
    compiled: Compiled,
    /// The names that are released and that a source has.
    released_names: BTreeSet<String>,
}

impl Sources {
    /// Reads the file, or a pipe, for a command; the ports that an agent before has left beside the
    /// control socket; and in the state directory what the operator has released.
    pub fn open(config: &Path, socket: &Path, state: &Path) -> Result<Self> {
        let file = config::load(config)?;
        Ok(Self::with((file, None), config, socket, state))
    }

    /// Opens the sources for the daemon, with the text that is in force if the file cannot be used.
    pub fn open_or(
        config: &Path,
        socket: &Path,
        state: &Path,
        fallback: Option<&str>,
    ) -> Result<Self> {
        let file = match (config::load_at_once(config), fallback) {
            (Ok(file), _) => (file, None),
            (Err(error), Some(text)) => {
                (config::parse(text, &confirmed_name(config))?, Some(error.to_string()))
            }
            (Err(error), None) => return Err(error.into()),
        };
        Ok(Self::with(file, config, socket, state))
    }

    fn with(
        (file, error): (Config, Option<String>),
        config: &Path,
        socket: &Path,
        state: &Path,
    ) -> Self {
        let (released_file, released) = StateFile::read(released_in(state));
        let ports = RuntimePorts::read(socket.with_file_name("ports.json"));
        let attachments = Attachments::read(socket.with_file_name("attachments.json"));
        let mut sources = Self {
            served: file.metrics,
            path: config.to_owned(),
            file: Some(file),
            held: None,
            error,
            ports,
            attachments,
            released,
            released_file,
            released_before: None,
            leases: Intent::default(),
            devices: Devices::default(),
            compiled: Compiled::default(),
            released_names: BTreeSet::new(),
        };
        sources.recompile();
        sources
    }

    /// Sets aside what cannot be read.
    pub fn set_aside(&mut self) {
        self.released_file.try_to_set_aside();
        self.ports.set_aside();
        self.attachments.set_aside();
    }

    /// Where metrics are served.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.file.as_ref()?.metrics
    }

    /// The file that is in force; `None`: nothing is done, as no file was confirmed.
    pub const fn file(&self) -> Option<&Config> {
        self.file.as_ref()
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts another text in force than the one at the path, or none; `why` is shown until the file
    /// is read again.
    pub fn hold(&mut self, text: Option<&str>, why: Option<Finding>) -> Result<(), ConfigError> {
        let name = confirmed_name(&self.path);
        self.file = text.map(|text| config::parse(text, &name)).transpose()?;
        self.held = why;
        self.recompile();
        Ok(())
    }

    /// Why the file was not used when it was read last.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Reads the file again.
    pub fn reload(&mut self) -> Result<(), ConfigError> {
        match config::load_at_once(&self.path) {
            Ok(file) => {
                self.file = Some(file);
                self.held = None;
                self.error = None;
                self.recompile();
                Ok(())
            }
            Err(error) => {
                self.error = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// What the sources ask for.
    pub fn desired(&self) -> Desired {
        self.compiled.desired.clone()
    }

    /// Findings about the sources: items that were rejected, devices that patterns leave alone, and
    /// a file that could not be used.
    pub fn findings(&self) -> Vec<Finding> {
        // Without a file no port has its network.
        let rejected = self.compiled.rejected.iter().filter(|_| self.file.is_some());
        let rejected = rejected.map(|rejected| {
            let text = text(rejected);
            let subject = match subject(&rejected.item) {
                // Another source has a port there, which works.
                Subject::Port(device) if self.compiled.desired.ports.contains_key(&device) => {
                    Subject::Node
                }
                subject => subject,
            };
            Finding::new(subject, Code::Rejected, text, "")
        });
        let reload = self.error.iter().map(|error| {
            let remedy =
                "correct the file, then `netagent reload`: the file as it was stays in force";
            Finding::new(Subject::Node, Code::ReloadFailed, error.clone(), remedy)
        });
        let listens = self.file.as_ref().filter(|file| file.metrics != self.served);
        let restart = listens.map(|file| {
            let name = |address: Option<SocketAddr>| match address {
                Some(address) => format!("on {address}"),
                None => "nowhere".to_owned(),
            };
            let (wanted, served) = (name(file.metrics), name(self.served));
            let text = format!("metrics are served {served}, not {wanted} as the file says");
            let remedy = "restart netagent: metrics.listen is read at the start only";
            Finding::new(Subject::Node, Code::RestartNeeded, text, remedy)
        });
        let damaged = self.released_file.findings(
            "it had what was released: the agent manages it again",
            "release it again (`netagent release`)",
        );
        let released = self.released_names.iter().map(|name| {
            let text = format!("{name} is released: netagent leaves it alone");
            let remedy = format!("`netagent release --undo {name}` lets netagent manage it again");
            Finding::new(Subject::Node, Code::Released, text, remedy)
        });
        let others = self.held.clone().into_iter().chain(self.ports.findings());
        let others = others.chain(self.attachments.findings());
        let left_alone = self.compiled.left_alone.iter().cloned();
        let of_items = rejected.chain(left_alone).chain(released);
        of_items.chain(reload).chain(restart).chain(others).chain(damaged).collect()
    }

    /// Sets the DHCP leases of the node's own interfaces.
    pub fn set_leases(&mut self, leases: Vec<Sourced<LeaseIntent>>) {
        self.leases = Intent { leases, ..Intent::default() };
        self.recompile();
    }

    /// Whether there may be ports that are not known, as a file was damaged.
    fn are_incomplete(&self) -> bool {
        self.ports.are_incomplete() || self.attachments.are_incomplete()
    }

    /// Follows the devices of the node: added ports whose device is gone are forgotten, and devices
    /// that match a pattern come and go; so does the damaged list that the operator has removed.
    /// Returns whether anything else is desired now.
    pub fn follow(&mut self, links: &Observed, datapath: &ObservedDatapath) -> bool {
        let is_complete = self.compiled.desired.keep_former_ports && !self.are_incomplete();
        let gone = self.ports.forget_gone(links);
        let gone_attachments = self.attachments.forget_gone(links);
        let names =
            gone.iter().map(IfName::as_str).chain(gone_attachments.iter().map(String::as_str));
        for device in names {
            tracing::info!("port {device}: the device is gone, the port ends with it");
        }
        let devices = self.matching(links, datapath);
        let differ = devices != self.devices;
        self.devices = devices;
        let differs = is_complete || differ || !gone.is_empty() || !gone_attachments.is_empty();
        if differs {
            self.recompile();
        }
        differs
    }

    /// What the sources ask for on a node with these links, and the findings about them; for
    /// commands that work without the daemon.
    pub fn on(mut self, links: &Observed, datapath: &ObservedDatapath) -> (Desired, Vec<Finding>) {
        self.ports.keep_present(links);
        self.attachments.keep_present(links);
        self.devices = self.matching(links, datapath);
        self.recompile();
        (self.desired(), self.findings())
    }

    /// The devices of a node that match a pattern of the file.
    fn matching(&self, links: &Observed, datapath: &ObservedDatapath) -> Devices {
        let patterns = self.file.as_ref().map(|file| file.intent.patterns.as_slice());
        Devices::matching(patterns.unwrap_or_default(), links, datapath)
    }

    fn intents(&self) -> Vec<Intent> {
        let of_file = self.file.as_ref().map(|file| &file.intent);
        let of_socket = self.ports.iter().map(|port| Intent::port(Origin::Socket, port.clone()));
        let of_pods = self.attachments.intent(of_file);
        let first = of_file.cloned().into_iter().chain([self.leases.clone()]);
        first.chain(of_socket).chain([of_pods]).collect()
    }

    fn recompile(&mut self) {
        self.compiled = self.compile();
        self.released_names = self.released.leave_out(&mut self.intents());
        let released = self.devices.iter().map(|(name, _)| name);
        let released = released.filter(|name| self.released.contains(name));
        self.released_names.extend(released.map(ToString::to_string));
    }

    fn compile(&self) -> Compiled {
        let mut intents = self.intents();
        self.released.leave_out(&mut intents);
        let devices = self.devices.without(|name| self.released.contains(name));
        let mut compiled = intent::compile(&intents, &devices);
        compiled.desired.keep_former_ports = self.are_incomplete();
        compiled.desired.rejected_ports = rejected_ports(&intents, &compiled.rejected);
        compiled
    }
}

fn text(Rejected { item, problem, origin }: &Rejected) -> String {
    format!("{item}: {problem} ({origin})")
}

/// The ports among the rejected items.
fn rejected_ports(intents: &[Intent], rejected: &[Rejected]) -> Vec<RejectedPort> {
    let network = |rejected: &Rejected, device: &IfName| {
        if let Origin::Pattern { .. } = rejected.origin {
            let matching = intent::matching(intents, device);
            let networks: BTreeSet<&str> = matching.map(|it| it.value.network.as_str()).collect();
            return Some(networks.into_iter().collect::<Vec<_>>().join(" or "));
        }
        let mut ports = intents.iter().flat_map(|intent| &intent.ports);
        let is_it = |port: &&Sourced<PortIntent>| {
            port.origin == rejected.origin && port.value.device == *device
        };
        ports.find(is_it).map(|port| port.value.network.clone())
    };
    let port = |rejected: &Rejected| {
        let Item::Port(device) = &rejected.item else { return None };
        Some(RejectedPort {
            device: device.clone(),
            network: network(rejected, device)?,
            origin: rejected.origin.to_string(),
            text: text(rejected),
        })
    };
    rejected.iter().filter_map(port).collect()
}

/// The name of a file whose text is not the one at its path.
fn confirmed_name(path: &Path) -> String {
    format!("{} as it was confirmed", path.display())
}

/// The file of what is released.
fn released_in(state: &Path) -> PathBuf {
    state.join("released.json")
}

fn subject(item: &Item) -> Subject {
    match item {
        Item::Segment(name) => Subject::Segment(name.clone()),
        Item::Port(device) => Subject::Port(device.clone()),
        Item::Network(_) | Item::Pattern(_) | Item::Host { .. } | Item::Lease(..) => Subject::Node,
    }
}
