//! ADD: an interface of a pod becomes a port.

use std::{fs, time::Duration};

use anyhow::{Context as _, anyhow};
use netagent_cni::{
    Attachment, Conf, Error,
    call::{Call, Needs},
    result::{Interface, Ip, Route, Success},
};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    agent::Agent,
    ipam,
    links::{Link, Links},
    masq,
    pod::{self, Identity, Pair, Pod},
};

/// How long the port may need to forward.
const FORWARDING: Duration = Duration::from_millis(2550);
/// The position of the pod's end in the list of interfaces.
const POD: usize = 2;

pub async fn add(call: &Call, stdin: &[u8]) -> Result<String, Error> {
    call.check(Needs::Namespace)?;
    let conf = Conf::parse(stdin)?;
    conf.check()?;
    let agent = Agent::new();
    // Before anything is made.
    agent.is_there().await?;
    let pod = Pod::open(super::open(&call.netns)?)?;
    let identity = Identity::new(&call.container_id, &call.ifname);
    let mac = conf.mac(call.mac()).map(pod::mac_bytes).transpose()?;
    // What is there already is that of another ADD, and stays.
    pod.make(&identity, &call.ifname, &conf).await?;
    let completed = async {
        let pair = pod.set_up(&identity, &call.ifname, mac).await?;
        let adding = Adding { call, stdin, conf: &conf, agent: &agent, pod: &pod, pair: &pair };
        let result = adding.complete().await?;
        result.print(conf.version())
    };
    match completed.await {
        Ok(result) => Ok(result.to_string()),
        Err(error) => {
            undo(call, &conf, stdin, &identity).await;
            Err(error)
        }
    }
}

/// Undoes an ADD. The caller sends a DEL as well, which finds nothing.
async fn undo(call: &Call, conf: &Conf, stdin: &[u8], identity: &Identity) {
    if let Some(plugin) = conf.ipam() {
        drop(ipam::tell(plugin, "DEL", stdin));
        if conf.ip_masq {
            drop(masq::remove(conf, call));
        }
    }
    // By other sockets: the one that failed may be what the error is about.
    if let Ok(links) = Links::own() {
        drop(pod::remove(&links, identity).await);
    }
    drop(Agent::new().detach(&call.container_id, &call.ifname).await);
}

/// An ADD whose pair is made.
struct Adding<'a> {
    call: &'a Call,
    stdin: &'a [u8],
    conf: &'a Conf,
    agent: &'a Agent,
    pod: &'a Pod,
    pair: &'a Pair,
}

impl Adding<'_> {
    async fn complete(&self) -> Result<Success, Error> {
        let Self { call, conf, pair, .. } = self;
        let mut attachment = self.attachment()?;
        self.agent.attach(&attachment).await?;
        let sandbox = self.pod.path().to_owned();
        let mut result = Success::of(vec![
            Interface::default(),
            interface(&pair.node),
            Interface { sandbox, ..interface(&pair.pod) },
        ]);
        match conf.ipam() {
            Some(plugin) => {
                // A DHCP client is part of some plugins: the port must forward.
                let given = ipam::add(plugin, self.stdin)?;
                result.ips = given.ips;
                result.routes = given.routes;
                result.dns = given.dns;
                attachment.gateways = gateways(conf, &mut result)?;
                self.pod.configure(&call.ifname, pair.pod.index, &result, conf).await?;
                if !attachment.gateways.is_empty() {
                    self.agent.attach(&attachment).await?;
                    forward(&attachment.gateways)?;
                }
                if conf.ip_masq {
                    let addresses: Result<Vec<_>, _> = result.ips.iter().map(Ip::parts).collect();
                    masq::add(conf, call, &addresses?)?;
                }
            }
            None if !conf.disable_container_interface => {
                self.pod.up(&call.ifname, pair.pod.index).await?;
            }
            None => {}
        }
        if !conf.disable_container_interface {
            self.wait_until_forwarding().await?;
        }
        let node = self.find(&pair.node.name).await?;
        let bridge = self.pod.node().at(node.bridge.unwrap_or_default()).await?;
        result.interfaces[0] = interface(&bridge.context("the port has left its bridge")?);
        result.interfaces[1] = interface(&node);
        if conf.dns.as_ref().is_some_and(is_set) {
            result.dns.clone_from(&conf.dns);
        }
        Ok(result)
    }

    fn attachment(&self) -> Result<Attachment, Error> {
        let Self { call, conf, pair, .. } = self;
        Ok(Attachment {
            device: pair.node.name.clone(),
            ifindex: pair.node.index,
            only_mac: conf.mac_spoof_check.then(|| pair.pod.mac.clone()),
            ..Attachment::of(conf, call)?
        })
    }

    async fn wait_until_forwarding(&self) -> Result<(), Error> {
        let deadline = Instant::now() + FORWARDING;
        loop {
            let link = self.find(&self.pair.node.name).await?;
            if link.is_up {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(anyhow!("bridge port in error state: {} is not up", link.name).into());
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn find(&self, name: &str) -> anyhow::Result<Link> {
        let link = self.pod.node().find(name).await?;
        link.with_context(|| format!("could not lookup {name:?}: no such link"))
    }
}

/// The gateways on the bridge; gives each address its gateway, and the pod its default routes.
fn gateways(conf: &Conf, result: &mut Success) -> Result<Vec<String>, Error> {
    let mut gateways = Vec::new();
    let mut routes = Vec::new();
    for ip in &mut result.ips {
        // All addresses are those of the pod's end.
        ip.interface = Some(POD);
        let (address, prefix) = ip.parts()?;
        if !conf.has_gateway() {
            continue;
        }
        let gateway = *ip.gateway.get_or_insert_with(|| pod::first_of(address, prefix));
        gateways.push(format!("{gateway}/{prefix}"));
        if conf.is_default_gateway {
            routes.extend(default_route(ip, gateway, &result.routes, &routes));
        }
    }
    result.routes.extend(routes);
    Ok(gateways)
}

fn default_route(
    ip: &Ip,
    gateway: std::net::IpAddr,
    given: &[Route],
    added: &[Route],
) -> Option<Route> {
    let dst = if ip.is_v4() { "0.0.0.0/0" } else { "::/0" };
    let mut known = given.iter().chain(added);
    let is_there = known.any(|route| route.dst == dst && route.gw.is_some());
    (!is_there).then(|| Route {
        dst: dst.to_owned(),
        gw: Some(gateway),
        mtu: None,
        advmss: None,
        priority: None,
        table: None,
        scope: None,
    })
}

/// Lets the node forward the families of its gateways.
fn forward(gateways: &[String]) -> anyhow::Result<()> {
    for (family, path) in
        [('.', "/proc/sys/net/ipv4/ip_forward"), (':', "/proc/sys/net/ipv6/conf/all/forwarding")]
    {
        let needed = gateways.iter().any(|gateway| gateway.contains(family));
        let is_on = || fs::read_to_string(path).is_ok_and(|now| now.trim() == "1");
        if needed && !is_on() {
            fs::write(path, "1").with_context(|| format!("failed to enable forwarding: {path}"))?;
        }
    }
    Ok(())
}

fn interface(link: &Link) -> Interface {
    Interface { name: link.name.clone(), mac: link.mac.clone(), sandbox: String::new() }
}

/// Whether DNS settings say something.
fn is_set(dns: &Value) -> bool {
    dns.as_object().is_some_and(|keys| keys.values().any(|value| !value.is_null() && value != ""))
}
