//! CHECK: the attachment is as ADD left it, and the agent enforces its policy.

use anyhow::{anyhow, bail};
use netagent_cni::{
    Conf, Error,
    call::{Call, Needs},
    result::{self, Interface, Success},
};

use crate::{
    agent::Agent,
    ipam,
    links::Links,
    pod::{Identity, Pod},
};

pub async fn check(call: &Call, stdin: &[u8]) -> Result<(), Error> {
    call.check(Needs::Namespace)?;
    let conf = Conf::parse(stdin)?;
    let pod = Pod::open(super::open(&call.netns)?)?;
    if let Some(plugin) = conf.ipam() {
        ipam::tell(plugin, "CHECK", stdin)?;
    }
    let Some(result) = conf.prev_result.clone().filter(|result| !result.is_null()) else {
        return Err(anyhow!("Required prevResult missing").into());
    };
    let result = Success::read(result.to_string().as_bytes())?;
    let named = |name: &str, sandbox: &str| {
        let mut interfaces = result.interfaces.iter();
        interfaces.find(|it| it.name == name && it.sandbox == sandbox).cloned()
    };
    // A network of the agent's file has its bridge.
    let bridge = if conf.netagent.contains_key("network") {
        result.interfaces.first().cloned()
    } else {
        named(conf.bridge(), "")
    };
    let bridge = bridge.unwrap_or_default();
    let inside = named(&call.ifname, &call.netns)
        .ok_or_else(|| anyhow!("the result has no interface {} in {}", call.ifname, call.netns))?;
    check_bridge(pod.node(), &bridge, &conf).await?;
    let end = pod.links().find(&inside.name).await?;
    let end = end.ok_or_else(|| anyhow!("Interface name {} not found", inside.name))?;
    if end.kind != "veth" {
        return Err(anyhow!("Error: Container interface {} not of type veth", end.name).into());
    }
    check_mac(&inside, &end.mac)?;
    let identity = Identity::new(&call.container_id, &call.ifname);
    let node = pod.node().find(&identity.device).await?.filter(|link| identity.is(link));
    let Some(node) = node else {
        return Err(anyhow!("CNI veth created for bridge {} was not found", bridge.name).into());
    };
    if let Some(recorded) = named(&node.name, "") {
        check_mac(&recorded, &node.mac)?;
    }
    check_addresses(pod.links(), end.index, &inside.name, &result).await?;
    match Agent::new().state(&node.name).await? {
        Some((state, _)) if state == "Ready" => Ok(()),
        Some((state, why)) => Err(anyhow!("port {}: {state}: {why}", node.name).into()),
        None => Err(anyhow!("{} is not a port of netagent", node.name).into()),
    }
}

async fn check_bridge(node: &Links, bridge: &Interface, conf: &Conf) -> anyhow::Result<()> {
    if bridge.name.is_empty() {
        bail!("Interface name missing");
    }
    let Some(link) = node.find(&bridge.name).await? else {
        bail!("Interface name {} not found", bridge.name);
    };
    if link.kind != "bridge" {
        bail!("Interface {} does not have link type of bridge", bridge.name);
    }
    if !bridge.mac.is_empty() && bridge.mac != link.mac {
        bail!("Bridge interface {} Mac doesn't match: {}", bridge.name, bridge.mac);
    }
    if conf.promisc_mode && link.promiscuous == 0 {
        bail!("Bridge interface {} is not in promiscuous mode", bridge.name);
    }
    Ok(())
}

fn check_mac(recorded: &Interface, found: &str) -> anyhow::Result<()> {
    if !recorded.mac.is_empty() && recorded.mac != found {
        bail!("Interface {} Mac {} doesn't match: {found}", recorded.name, recorded.mac);
    }
    Ok(())
}

async fn check_addresses(
    links: &Links,
    index: u32,
    ifname: &str,
    result: &Success,
) -> Result<(), Error> {
    let found = links.addresses(index).await?;
    for ip in &result.ips {
        let (address, prefix) = ip.parts()?;
        if !found.iter().any(|it| (it.ip, it.prefix) == (address, prefix)) {
            let text = format!("Failed to match addr {} on interface {ifname}", ip.address);
            return Err(anyhow!(text).into());
        }
    }
    let found = links.routes().await?;
    for route in &result.routes {
        let to = result::parts(&route.dst)?;
        let is_there = |(destination, via): &((std::net::IpAddr, u8), Option<std::net::IpAddr>)| {
            *destination == to && (route.gw.is_none() || *via == route.gw)
        };
        if !found.iter().any(is_there) {
            let text = format!("Expected Route {} not found in routing table", route.dst);
            return Err(anyhow!(text).into());
        }
    }
    Ok(())
}
