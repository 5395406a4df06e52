//! The sources of what is desired: the file, the ports that were added through the control socket,
//! and DHCP leases.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::runtime_ports::RuntimePorts;
use crate::{
    config::{self, Config, ConfigError},
    intent::{self, Compiled, Intent, Item, LeaseIntent, Origin, PortIntent, Sourced},
    names::IfName,
    request::Refusal,
    state::{Code, Desired, Finding, Observed, Subject},
};

/// The sources.
pub struct Sources {
    path: PathBuf,
    file: Config,
    /// The last error of a reload.
    error: Option<String>,
    ports: RuntimePorts,
    /// The DHCP leases of the node's own interfaces.
    leases: Intent,
    compiled: Compiled,
}

impl Sources {
    /// Reads the file, and the ports that an agent before has left beside the control socket.
    pub fn open(config: &Path, socket: &Path) -> Result<Self> {
        let file = config::load(config)?;
        let ports = RuntimePorts::read(socket.with_file_name("ports.json"))?;
        let mut sources = Self {
            path: config.to_owned(),
            file,
            error: None,
            ports,
            leases: Intent::default(),
            compiled: Compiled::default(),
        };
        sources.compiled = sources.compile();
        Ok(sources)
    }

    /// Where metrics are served.
    pub const fn metrics(&self) -> Option<SocketAddr> {
        self.file.metrics
    }

    /// Reads the file again. Returns whether something changed that needs a restart.
    pub fn reload(&mut self) -> Result<bool, ConfigError> {
        match config::load(&self.path) {
            Ok(file) => {
                let restart = file.metrics != self.file.metrics;
                self.file = file;
                self.error = None;
                self.compiled = self.compile();
                Ok(restart)
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

    /// Findings about the sources: items that were rejected, and a file that could not be used.
    pub fn findings(&self) -> Vec<Finding> {
        let rejected = self.compiled.rejected.iter().map(|rejected| {
            let text = format!("{}: {} ({})", rejected.item, rejected.problem, rejected.origin);
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
        rejected.chain(reload).collect()
    }

    /// Sets the DHCP leases of the node's own interfaces.
    pub fn set_leases(&mut self, leases: Vec<Sourced<LeaseIntent>>) {
        self.leases = Intent { leases, ..Intent::default() };
        self.compiled = self.compile();
    }

    /// Adds a port. One that is rejected is not added.
    pub fn add_port(&mut self, port: PortIntent, links: &Observed) -> Result<(), Refusal> {
        let device = port.device.clone();
        let index = links.link(&device).map(|link| link.index);
        let before = self.ports.clone();
        self.ports.insert(port, index);
        let compiled = self.compile();
        let of_port = compiled.rejected.iter().find(|rejected| {
            rejected.item == Item::Port(device.clone()) && rejected.origin == Origin::Socket
        });
        if let Some(rejected) = of_port {
            let text = format!("{}: {}", rejected.item, rejected.problem);
            self.ports = before;
            return Err(Refusal::Conflict(text));
        }
        if let Err(error) = self.ports.save() {
            self.ports = before;
            return Err(Refusal::Failed(format!("{error:#}")));
        }
        self.compiled = compiled;
        Ok(())
    }

    /// Deletes a port that was added.
    pub fn delete_port(&mut self, device: &IfName) -> Result<(), Refusal> {
        let before = self.ports.clone();
        if !self.ports.remove(device) {
            let text = match self.compiled.desired.ports.get(device) {
                Some(port) => format!(
                    "port {device} comes from {}: remove it there, then `netagent reload`",
                    port.origin
                ),
                None => format!("there is no port {device}: see `netagent port list`"),
            };
            return Err(Refusal::NotFound(text));
        }
        if let Err(error) = self.ports.save() {
            self.ports = before;
            return Err(Refusal::Failed(format!("{error:#}")));
        }
        self.compiled = self.compile();
        Ok(())
    }

    /// Forgets added ports whose device is gone. Returns whether there were any.
    pub fn forget_gone(&mut self, links: &Observed) -> bool {
        let gone = self.ports.forget_gone(links);
        for device in &gone {
            tracing::info!("port {device}: the device is gone, the port ends with it");
        }
        if !gone.is_empty() {
            self.compiled = self.compile();
        }
        !gone.is_empty()
    }

    /// What the sources ask for on a node with these links, and the findings about them; for
    /// commands that work without the daemon.
    pub fn on(mut self, links: &Observed) -> (Desired, Vec<Finding>) {
        self.ports.keep_present(links);
        self.compiled = self.compile();
        (self.desired(), self.findings())
    }

    fn compile(&self) -> Compiled {
        let of_socket = self.ports.iter().map(|port| Intent::port(Origin::Socket, port.clone()));
        let intents: Vec<Intent> =
            [self.file.intent.clone(), self.leases.clone()].into_iter().chain(of_socket).collect();
        intent::compile(&intents)
    }
}

fn subject(item: &Item) -> Subject {
    match item {
        Item::Segment(name) => Subject::Segment(name.clone()),
        Item::Port(device) => Subject::Port(device.clone()),
        Item::Network(_) | Item::Host { .. } | Item::Lease(_) => Subject::Node,
    }
}
