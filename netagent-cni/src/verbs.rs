//! The verbs of the CNI specification.

mod add;
mod check;
mod del;

use netagent_cni::{Code, Conf, Error, call::Call, conf::VERSIONS};
use serde_json::json;

pub use self::{add::add, check::check, del::del};
use crate::{
    agent::Agent,
    ipam,
    links::Links,
    netns::{Netns, Opened},
    pod::{Identity, remove},
};

/// Carries out a verb; returns what is printed on stdout.
pub async fn carry_out(call: &Call, stdin: &[u8]) -> Result<String, Error> {
    let nothing = String::new;
    match call.command.as_str() {
        "ADD" => add(call, stdin).await,
        "DEL" => del(call, stdin).await.map(|()| nothing()),
        "CHECK" => check(call, stdin).await.map(|()| nothing()),
        "STATUS" => status(stdin).await.map(|()| nothing()),
        "GC" => collect(stdin).await.map(|()| nothing()),
        "VERSION" => Ok(version(stdin)),
        other => {
            let text = format!("unknown CNI_COMMAND: {other}");
            Err(Error::new(Code::InvalidEnvironment, text))
        }
    }
}

/// The versions that are supported.
fn version(stdin: &[u8]) -> String {
    let asked = serde_json::from_slice::<serde_json::Value>(stdin).unwrap_or_default();
    let asked = asked["cniVersion"].as_str().unwrap_or(VERSIONS[VERSIONS.len() - 2]).to_owned();
    json!({ "cniVersion": asked, "supportedVersions": VERSIONS[..VERSIONS.len() - 1] }).to_string()
}

/// Whether ADD can be served.
async fn status(stdin: &[u8]) -> Result<(), Error> {
    let conf = Conf::parse(stdin)?;
    if let Some(plugin) = conf.ipam() {
        ipam::tell(plugin, "STATUS", stdin)?;
    }
    Agent::new().answers().await.map_err(|error| Error::new(Code::NotAvailable, error.msg))
}

/// Deletes the attachments of a network that are not listed.
async fn collect(stdin: &[u8]) -> Result<(), Error> {
    let conf = Conf::parse(stdin)?;
    let Some(valid) = &conf.valid_attachments else {
        return Err(Error::invalid("cni.dev/valid-attachments is missing"));
    };
    let agent = Agent::new();
    let links = Links::own()?;
    for attachment in agent.attachments().await? {
        let is_valid = valid
            .iter()
            .any(|it| it.container_id == attachment.container_id && it.ifname == attachment.ifname);
        if attachment.name == conf.name && !is_valid {
            remove(&links, &Identity::new(&attachment.container_id, &attachment.ifname)).await?;
            agent.detach(&attachment.container_id, &attachment.ifname).await?;
        }
    }
    if let Some(plugin) = conf.ipam() {
        ipam::tell(plugin, "GC", stdin)?;
    }
    Ok(())
}

/// Opens the namespace of a pod that must be there.
fn open(path: &str) -> Result<Netns, Error> {
    match Netns::open(path)? {
        Opened::Netns(netns) => Ok(netns),
        Opened::Gone(why) => Err(anyhow::anyhow!("{why}").into()),
    }
}
