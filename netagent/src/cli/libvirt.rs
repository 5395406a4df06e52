//! What libvirt's hook does: the taps of a domain become ports when it starts, and are none any
//! more when it has stopped.

mod domain;

use std::{io, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use tokio::time::timeout;
use tracing::{debug, warn};

use self::domain::DomainPort;
use super::{Places, remote::required};
use crate::{
    control::client::Form,
    input,
    intent::{Origin, PortIntent, SecurityIntent},
    names::IfName,
    request::Answer,
    state::{Finding, State, Subject},
    status::PortStatus,
};

/// Maximum size of a domain's XML in bytes. libvirt itself has a limit of 10 MB for a message.
const MAX_BYTES: u64 = 10 << 20;
/// How long a start may wait for its ports.
const START: Duration = Duration::from_secs(30);
/// How long anything else may take: libvirtd waits, and does not listen to a result.
const OTHER: Duration = Duration::from_secs(5);

/// The arguments that libvirt gives to a hook. The XML of the domain is on stdin.
#[derive(Debug, Args)]
pub struct Hook {
    /// The name of the domain.
    domain: String,
    /// What happens to the domain.
    operation: String,
    /// `begin` or `end`.
    sub_operation: Option<String>,
    /// Not used by libvirt.
    extra: Option<String>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// Plug the taps in. They exist, and the VM does not run yet: a failure refuses its start.
    Plug,
    /// Plug in what is missing. The VM runs, and libvirt would kill it if the hook failed.
    PlugMissing,
    /// Unplug the taps that stay. libvirt deletes its own.
    Unplug,
    /// Nothing, such as at `prepare`, when there are no taps yet, and at `migrate`, whose output
    /// would replace the domain's XML.
    Nothing,
}

impl Task {
    fn of(operation: &str) -> Self {
        match operation {
            "start" => Self::Plug,
            "reconnect" | "attach" => Self::PlugMissing,
            "stopped" => Self::Unplug,
            _ => Self::Nothing,
        }
    }
}

/// Does what an event of a domain needs.
pub async fn hook(places: &Places, hook: Hook) -> Result<ExitCode> {
    let task = Task::of(&hook.operation);
    if task == Task::Nothing {
        return Ok(ExitCode::SUCCESS);
    }
    let patience = if task == Task::Plug { START } else { OTHER };
    let done = timeout(patience, carry_out(places, task)).await;
    let done =
        done.map_err(|_| anyhow!("the daemon did not answer within {} s", patience.as_secs()));
    let done = done.flatten().with_context(|| format!("domain {}", hook.domain));
    match done {
        Err(error) if task == Task::PlugMissing => warn!("{error:#}"),
        done => done?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn carry_out(places: &Places, task: Task) -> Result<()> {
    let xml = input::read_stdin(MAX_BYTES)
        .and_then(|xml| String::from_utf8(xml).map_err(|_| io::Error::other("is not UTF-8 text")));
    let xml = xml.context("read the XML on stdin")?;
    let ports = domain::ports(&xml)?;
    if ports.is_empty() {
        return Ok(());
    }
    match task {
        Task::Plug => plug_all(places, &ports).await,
        Task::PlugMissing => {
            let text = required(places).await?.get("/v1/ports", Form::Json).await?;
            let known: Vec<PortStatus> = serde_json::from_str(&text)?;
            // Somebody may have moved one to another network since.
            let is_known = |device: &IfName| {
                let mut known = known.iter();
                known.any(|port| {
                    port.device == device.as_str() && port.origin == Origin::Socket.to_string()
                })
            };
            for port in &ports {
                if port.device.as_ref().is_some_and(|device| !is_known(device)) {
                    plug(places, port).await?;
                }
            }
            Ok(())
        }
        Task::Unplug => unplug(places, &ports).await,
        Task::Nothing => Ok(()),
    }
}

/// Plugs all taps in, or none.
async fn plug_all(places: &Places, ports: &[DomainPort]) -> Result<()> {
    for (index, port) in ports.iter().enumerate() {
        if let Err(error) = plug(places, port).await {
            if let Err(undo) = unplug(places, &ports[..=index]).await {
                warn!("{undo:#}");
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Plugs a tap in, and waits until it forwards.
async fn plug(places: &Places, port: &DomainPort) -> Result<()> {
    let DomainPort { mac, network, only_mac, device } = port;
    let device = device.clone().with_context(|| {
        format!("<port mac=\"{mac}\">: libvirt has made no tap for the interface")
    })?;
    let about = || format!("{device} for network {network}");
    let macs = only_mac.then(|| vec![*mac]);
    let body = serde_json::to_string(&PortIntent {
        device: device.clone(),
        network: network.clone(),
        mtu: None,
        hairpin: None,
        port_isolation: None,
        silent: None,
        security: SecurityIntent { macs, ..SecurityIntent::default() },
    })?;
    let client = required(places).await.with_context(about)?;
    let text = client.send("POST", "/v1/ports", Form::Json, body).await.with_context(about)?;
    let answer: Answer = serde_json::from_str(&text).with_context(about)?;
    // A change of the node that is on trial is no reason to refuse a VM.
    let subject = Subject::Port(device.clone());
    let keeps_out = |it: &&Finding| it.subject == subject && it.code.state() != State::Ready;
    let reasons: Vec<String> =
        answer.findings.iter().filter(keeps_out).map(ToString::to_string).collect();
    if !reasons.is_empty() {
        bail!("{}: {}", about(), reasons.join("; "));
    }
    Ok(())
}

/// Unplugs the taps that are there.
async fn unplug(places: &Places, ports: &[DomainPort]) -> Result<()> {
    for device in ports.iter().filter_map(|port| port.device.as_ref()) {
        let path = format!("/v1/ports/{device}");
        let client = required(places).await?;
        // It may not be one, or the file may name it.
        if let Err(error) = client.send("DELETE", &path, Form::Json, String::new()).await {
            debug!("{error:#}");
        }
    }
    Ok(())
}
