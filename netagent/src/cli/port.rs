//! `netagent port`: ports of the running daemon.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use netagent_cni::Attachment;

use super::{
    Places, Port, cni,
    print::print,
    remote::{UNREADABLE, answered, answered_about, required},
};
use crate::{
    control::{
        Move,
        client::{Client, Form},
    },
    intent::{PortIntent, SecurityIntent},
    names::IfName,
    show,
    status::PortStatus,
};

pub async fn port(places: &Places, port: Port) -> Result<ExitCode> {
    let client = required(places).await?;
    match port {
        Port::Add { device, network, mtu, mac, silent } => {
            let macs = (!mac.is_empty()).then_some(mac);
            let silent = silent.then_some(true);
            let security = SecurityIntent { macs, ..SecurityIntent::default() };
            let port = PortIntent {
                device,
                network,
                mtu,
                hairpin: None,
                port_isolation: None,
                silent,
                security,
            };
            add(client, &port).await
        }
        Port::Move { device, network: Some(network), .. } => {
            let done = format!("{device} is plugged into {network}");
            let path = format!("/v1/ports/{device}/network");
            let body = serde_json::to_string(&Move { network })?;
            let text = client.send("PUT", &path, Form::Json, body).await?;
            answered_about(&text, &done, &format!("port {device}"))
        }
        Port::Move { device, network: None, nad } => {
            let nad = cni::attachment(&nad.context("name the network, or its NAD")?)?;
            move_to(places, client, &device, nad).await
        }
        Port::Announce { device } => {
            let path = format!("/v1/ports/{device}/announce");
            let text = client.send("POST", &path, Form::Json, String::new()).await?;
            answered(&text, &format!("{device} is not silent any more"))
        }
        Port::Del { device } => {
            let path = format!("/v1/ports/{device}");
            let text = client.send("DELETE", &path, Form::Json, String::new()).await?;
            let left = list(required(places).await?).await?.1;
            let left = left.into_iter().find(|port| port.device == device.as_str());
            let done = match left {
                Some(port) if !port.origin.is_empty() => {
                    format!("{device} is deleted here; it stays a port of {}", port.origin)
                }
                Some(_) | None => format!("{device} is unplugged"),
            };
            answered(&text, &done)
        }
        Port::List { json } => {
            let (text, ports) = list(client).await?;
            print(&if json { text } else { show::status::list(&ports) })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn list(client: Client) -> Result<(String, Vec<PortStatus>)> {
    let text = client.get("/v1/ports", Form::Json).await?;
    let ports = serde_json::from_str(&text).context(UNREADABLE)?;
    Ok((text, ports))
}

async fn add(client: Client, port: &PortIntent) -> Result<ExitCode> {
    let done = format!("{} is plugged into {}", port.device, port.network);
    let about = format!("port {} of {}", port.device, port.network);
    let body = serde_json::to_string(port)?;
    let text = client.send("POST", "/v1/ports", Form::Json, body).await?;
    answered_about(&text, &done, &about)
}

/// Plugs the interface of a pod into the network of another NAD. The device stays.
async fn move_to(
    places: &Places,
    client: Client,
    device: &IfName,
    nad: cni::Nad,
) -> Result<ExitCode> {
    let text = client.get("/v1/attachments", Form::Json).await?;
    let attachments: Vec<Attachment> = serde_json::from_str(&text).context(UNREADABLE)?;
    let before = attachments.into_iter().find(|it| it.device == device.as_str());
    let Some(before) = before else {
        bail!("{device} was not plugged in by the CNI plugin: use --network");
    };
    let done = format!("{device} is plugged into {}", nad.attachment.name);
    let after = in_nad(before, nad)?;
    let path = format!("/v1/attachments/{}/{}", after.container_id, after.ifname);
    let body = serde_json::to_string(&after)?;
    let text = required(places).await?.send("PUT", &path, Form::Json, body).await?;
    answered_about(&text, &done, &format!("port {device}"))
}

/// The interface of a pod, as the NAD of another network has it. Its CNI network is that of its
/// ADD, by which the runtime knows it.
fn in_nad(before: Attachment, nad: cni::Nad) -> Result<Attachment> {
    let cni::Nad { attachment: after, checks_mac } = nad;
    if checks_mac && before.only_mac.is_none() {
        bail!("macspoofchk is on there and was off here: the VM must be started again");
    }
    if before.bridge != after.bridge && !before.gateways.is_empty() {
        bail!("{} has the gateway of the pod: the pod must be started again", before.bridge);
    }
    Ok(Attachment {
        name: before.name,
        container_id: before.container_id,
        ifname: before.ifname,
        device: before.device,
        ifindex: before.ifindex,
        owner: before.owner,
        only_mac: before.only_mac.filter(|_| checks_mac),
        gateways: before.gateways,
        ..after
    })
}
