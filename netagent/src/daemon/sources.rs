//! The sources of what is desired: the file, the ports that were added through the control socket,
//! and DHCP leases.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::runtime_ports::RuntimePorts;
use crate::{
    config::{self, Config, ConfigError},
    intent::{self, Compiled, Intent, Item, LeaseIntent, Origin, PortIntent, Released, Sourced},
    names::IfName,
    request::Refusal,
    state::{Code, Desired, Finding, Observed, Subject},
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
    ports: RuntimePorts,
    released: Released,
    released_file: StateFile,
    /// What was released before a release that is on trial.
    released_before: Option<Released>,
    /// The DHCP leases of the node's own interfaces.
    leases: Intent,
    compiled: Compiled,
    /// The names that are released and that a source has.
    released_names: BTreeSet<String>,
}

impl Sources {
    /// Reads the file, the ports that an agent before has left beside the control socket, and in
    /// the state directory what the operator has released.
    pub fn open(config: &Path, socket: &Path, state: &Path) -> Result<Self> {
        Self::open_or(config, socket, state, None)
    }

    /// The same, with the text that is in force if the file cannot be used.
    pub fn open_or(
        config: &Path,
        socket: &Path,
        state: &Path,
        fallback: Option<&str>,
    ) -> Result<Self> {
        let (file, error) = match (config::load(config), fallback) {
            (Ok(file), _) => (file, None),
            (Err(error), Some(text)) => {
                (config::parse(text, &confirmed_name(config))?, Some(error.to_string()))
            }
            (Err(error), None) => return Err(error.into()),
        };
        let (released_file, released) = StateFile::read(released_in(state));
        let ports = RuntimePorts::read(socket.with_file_name("ports.json"));
        let mut sources = Self {
            path: config.to_owned(),
            file: Some(file),
            held: None,
            error,
            ports,
            released,
            released_file,
            released_before: None,
            leases: Intent::default(),
            compiled: Compiled::default(),
            released_names: BTreeSet::new(),
        };
        sources.recompile();
        Ok(sources)
    }

    /// Sets aside a list of added ports that cannot be read.
    pub fn set_aside(&mut self) {
        self.ports.set_aside();
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

    /// Reads the file again. Returns whether something changed that needs a restart.
    pub fn reload(&mut self) -> Result<bool, ConfigError> {
        match config::load(&self.path) {
            Ok(file) => {
                let restart = self.file.as_ref().is_some_and(|old| file.metrics != old.metrics);
                self.file = Some(file);
                self.held = None;
                self.error = None;
                self.recompile();
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
        // Without a file no port has its network.
        let rejected = self.compiled.rejected.iter().filter(|_| self.file.is_some());
        let rejected = rejected.map(|rejected| {
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
        rejected.chain(reload).chain(others).chain(damaged).chain(released).collect()
    }

    /// Sets the DHCP leases of the node's own interfaces.
    pub fn set_leases(&mut self, leases: Vec<Sourced<LeaseIntent>>) {
        self.leases = Intent { leases, ..Intent::default() };
        self.recompile();
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
        let is_left_out = !compiled.desired.ports.contains_key(&device);
        if of_port.is_none() && is_left_out {
            self.ports = before;
            let text = format!(
                "port {device}: it or its cluster network is released: see `netagent release --undo`"
            );
            return Err(Refusal::Conflict(text));
        }
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
        self.recompile();
        Ok(())
    }

    /// Forgets added ports whose device is gone, and the damaged list that the operator has
    /// removed. Returns whether there were any.
    pub fn forget_gone(&mut self, links: &Observed) -> bool {
        let is_complete = self.compiled.desired.keep_former_ports && !self.ports.are_incomplete();
        let gone = self.ports.forget_gone(links);
        for device in &gone {
            tracing::info!("port {device}: the device is gone, the port ends with it");
        }
        let differs = is_complete || !gone.is_empty();
        if differs {
            self.recompile();
        }
        differs
    }

    /// What the sources ask for on a node with these links, and the findings about them; for
    /// commands that work without the daemon.
    pub fn on(mut self, links: &Observed) -> (Desired, Vec<Finding>) {
        self.ports.keep_present(links);
        self.recompile();
        (self.desired(), self.findings())
    }

    /// Releases a cluster network or the device of a port, or takes it back.
    pub fn release(&mut self, name: &str, undo: bool) -> Result<(), Refusal> {
        let mut released = self.released.clone();
        let is_known = if undo { released.remove(name) } else { self.has(name) };
        if !is_known {
            return Err(Refusal::NotFound(if undo {
                format!("{name} is not released; released are: {}", self.released)
            } else {
                format!("there is no cluster network and no port {name}: see `netagent status`")
            }));
        }
        if !undo {
            released.insert(name.to_owned());
        }
        let before = std::mem::replace(&mut self.released, released);
        if let Err(refusal) = self.save_released() {
            self.released = before;
            return Err(refusal);
        }
        self.released_before.get_or_insert(before);
        self.recompile();
        Ok(())
    }

    /// Whether a source has a cluster network or a port of this name.
    fn has(&self, name: &str) -> bool {
        self.intents().iter().any(|intent| {
            intent.segments.iter().any(|segment| segment.value.name == name)
                || intent.ports.iter().any(|port| port.value.device.as_str() == name)
        })
    }

    /// The trial of a release has ended.
    pub fn end_trial(&mut self, undone: bool) {
        if let Some(before) = self.released_before.take()
            && undone
        {
            self.released = before;
            if let Err(refusal) = self.save_released() {
                tracing::error!("{}", refusal.text());
            }
            self.recompile();
        }
    }

    fn save_released(&mut self) -> Result<(), Refusal> {
        let path = self.released_file.path().display().to_string();
        let saved = self.released_file.save(&self.released);
        saved.map_err(|error| Refusal::Failed(format!("{path}: keep what is released: {error}")))
    }

    fn intents(&self) -> Vec<Intent> {
        let of_file = self.file.iter().map(|file| file.intent.clone());
        let of_socket = self.ports.iter().map(|port| Intent::port(Origin::Socket, port.clone()));
        of_file.chain([self.leases.clone()]).chain(of_socket).collect()
    }

    fn recompile(&mut self) {
        self.compiled = self.compile();
        self.released_names = self.released.leave_out(&mut self.intents());
    }

    fn compile(&self) -> Compiled {
        let mut intents = self.intents();
        self.released.leave_out(&mut intents);
        let mut compiled = intent::compile(&intents);
        compiled.desired.keep_former_ports = self.ports.are_incomplete();
        compiled
    }
}

/// The name of a file whose text is not the one at its path.
fn confirmed_name(path: &Path) -> String {
    format!("{} as it was confirmed", path.display())
}

/// The file of what is released.
fn released_in(state: &Path) -> PathBuf {
    state.join("released.json")
}

/// Releases something where no daemon runs: the next apply, or the start of the daemon, gives it
/// back.
pub fn release(state: &Path, name: &str, undo: bool) -> Result<()> {
    let (mut file, mut released) = StateFile::read::<Released>(released_in(state));
    let changed = if undo { released.remove(name) } else { released.insert(name.to_owned()) };
    if !changed && undo {
        bail!("{name} is not released; released are: {released}");
    }
    file.save(&released)
        .with_context(|| format!("{}: keep what is released", file.path().display()))
}

fn subject(item: &Item) -> Subject {
    match item {
        Item::Segment(name) => Subject::Segment(name.clone()),
        Item::Port(device) => Subject::Port(device.clone()),
        Item::Network(_) | Item::Host { .. } | Item::Lease(_) => Subject::Node,
    }
}
