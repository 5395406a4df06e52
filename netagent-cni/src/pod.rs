//! The veth pair of an attachment, and the end in the pod's namespace.

use std::{fs, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use netagent_cni::{
    Conf, Error,
    result::{self, Success},
};
use netagent_common::fnv;
use tokio::time::{Instant, sleep};

use crate::{
    gro,
    links::{EXISTS, Link, Links, Route},
    netns::Netns,
};

/// How long the kernel may look for duplicates of an IPv6 address.
const SETTLE: Duration = Duration::from_secs(5);
/// The beginning of the alias of each node's end.
const ALIAS: &str = "netagent-cni ";

/// The namespaces of the node and of a pod, and their links.
pub struct Pod {
    netns: Netns,
    links: Links,
    node: Links,
    node_netns: Netns,
}

/// The two ends of a pair.
pub struct Pair {
    pub node: Link,
    pub pod: Link,
}

/// Which attachment a pair belongs to. The node's end has it as its alias, and a name that follows
/// from it: a later call finds the end without any other state, whatever the pod did to its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub device: String,
    pub alias: String,
}

impl Identity {
    pub fn new(container_id: &str, ifname: &str) -> Self {
        // IFALIASZ is 256; a container ID has 64 characters.
        let id: String = container_id.chars().take(200).collect();
        let bytes = container_id.bytes().chain(*b"/").chain(ifname.bytes());
        let hash = fnv::hash(bytes) & 0xff_ffff_ffff;
        // NetworkManager ignores devices whose name begins with "veth".
        Self { device: format!("veth{hash:010x}"), alias: format!("{ALIAS}{id}/{ifname}") }
    }

    /// Whether a link is the node's end of this attachment. An ADD that was killed may not have
    /// given it its alias: the name, of which 40 bits follow from the attachment, is enough then.
    pub fn is(&self, link: &Link) -> bool {
        let has_only_its_name = link.alias.is_empty() && link.name == self.device;
        link.kind == "veth" && (link.alias == self.alias || has_only_its_name)
    }
}

impl Pod {
    /// Opens both namespaces.
    pub fn open(netns: Netns) -> Result<Self> {
        let links = Links::of(&netns)?;
        Ok(Self { netns, links, node: Links::own()?, node_netns: Netns::own()? })
    }

    /// The namespace.
    pub fn path(&self) -> &str {
        &self.netns.path
    }

    /// The links of the pod.
    pub const fn links(&self) -> &Links {
        &self.links
    }

    /// The links of the node.
    pub const fn node(&self) -> &Links {
        &self.node
    }

    /// Makes the pair, with the node's end in the node's namespace: to move a device takes the
    /// kernel two RCU grace periods. Whenever this process ends, the pair ends with the pod, or a
    /// DEL finds it by its name.
    pub async fn make(&self, identity: &Identity, ifname: &str, conf: &Conf) -> Result<(), Error> {
        let device = identity.device.as_str();
        let node = self.node_netns.fd();
        self.links.add_veth(ifname, device, node, conf.mtu()?).await.map_err(|failure| {
            if failure.is(EXISTS) {
                anyhow!(
                    "container veth name ({ifname:?}) peer provided ({device:?}) already exists"
                )
            } else {
                anyhow!("failed to make veth pair: {failure}")
            }
        })?;
        Ok(())
    }

    /// Sets up a pair that was made.
    pub async fn set_up(
        &self,
        identity: &Identity,
        ifname: &str,
        mac: Option<[u8; 6]>,
    ) -> Result<Pair> {
        let device = identity.device.as_str();
        let there = |link: Option<Link>, name: &str| {
            link.with_context(|| format!("failed to lookup {name:?}"))
        };
        let node = there(self.node.find(device).await?, device)?;
        self.node.set_alias(node.index, &identity.alias).await?;
        let mut pod = there(self.links.find(ifname).await?, ifname)?;
        if let Some(mac) = mac {
            self.links
                .set(pod.index, |link| link.address(mac.to_vec()))
                .await
                .with_context(|| format!("set the MAC address of {ifname}"))?;
            pod = there(self.links.find(ifname).await?, ifname)?;
        }
        // The fast path by XDP needs it; without it, frames take the TC path.
        let switched = self.netns.inside(|| gro::switch_on(ifname))?;
        drop(switched);
        // Its routes are none of the node's.
        drop(fs::write(format!("/proc/sys/net/ipv6/conf/{device}/accept_ra"), "0"));
        Ok(Pair { node, pod })
    }

    /// Sets the pod's end up.
    pub async fn up(&self, ifname: &str, index: u32) -> Result<()> {
        let set = self.links.set(index, rtnetlink::LinkMessageBuilder::up).await;
        set.with_context(|| format!("failed to set {ifname:?} up"))
    }

    /// Gives the pod's end the addresses and routes of a result.
    pub async fn configure(
        &self,
        ifname: &str,
        index: u32,
        result: &Success,
        conf: &Conf,
    ) -> Result<(), Error> {
        let has_v6 = result.ips.iter().any(|ip| !ip.is_v4());
        self.netns.inside(|| sysctls(ifname, has_v6, conf.enable_dad))??;
        for ip in &result.ips {
            let (address, prefix) = ip.parts()?;
            self.links
                .add_address(index, address, prefix)
                .await
                .with_context(|| format!("failed to add IP addr {} to {ifname:?}", ip.address))?;
        }
        self.up(ifname, index).await?;
        if has_v6 {
            self.settle(ifname, index).await?;
        }
        for route in &result.routes {
            let to = result::parts(&route.dst)?;
            let of_family = result.ips.iter().filter_map(|ip| ip.gateway);
            let default = of_family.into_iter().find(|it| it.is_ipv4() == to.0.is_ipv4());
            let added = Route {
                to,
                via: route.gw.or(default),
                table: route.table,
                priority: route.priority,
                scope: route.scope,
                mtu: route.mtu,
                advmss: route.advmss,
            };
            let text = || format!("failed to add route {} via {:?}", route.dst, added.via);
            match self.links.add_route(index, &added).await {
                Err(failure) if failure.is(EXISTS) => {}
                other => other.with_context(text)?,
            }
        }
        Ok(())
    }

    /// Waits until the kernel has looked for duplicates of the IPv6 addresses.
    async fn settle(&self, ifname: &str, index: u32) -> Result<()> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let addresses = self.links.addresses(index).await?;
            if let Some(duplicate) = addresses.iter().find(|address| address.is_duplicate) {
                bail!("{ifname}: {} is used by another station", duplicate.ip);
            }
            if !addresses.iter().any(|address| address.is_tentative) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("failed to settle addresses for {ifname:?}: still tentative after 5 s");
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Removes the pair of an attachment by the end that is in the node's namespace.
pub async fn remove(node: &Links, identity: &Identity) -> Result<()> {
    let link = match node.find(&identity.device).await?.filter(|link| identity.is(link)) {
        Some(link) => link,
        // It may have been renamed.
        None => match node.with_alias(&identity.alias).await? {
            Some(link) => link,
            None => return Ok(()),
        },
    };
    let deleted = node.delete(link.index).await;
    deleted.with_context(|| format!("delete {}", identity.device))
}

/// What the pod's end needs before it has addresses.
fn sysctls(ifname: &str, has_v6: bool, enable_dad: bool) -> Result<()> {
    let set = |path: String, value: &str| fs::write(format!("/proc/sys/net/{path}"), value);
    if has_v6 {
        for name in ["lo", ifname] {
            let path = format!("ipv6/conf/{name}/disable_ipv6");
            if fs::read_to_string(format!("/proc/sys/net/{path}"))
                .is_ok_and(|now| now.trim() != "0")
            {
                set(path, "0").with_context(|| format!("failed to enable IPv6 for {name:?}"))?;
            }
        }
        set(format!("ipv6/conf/{ifname}/keep_addr_on_down"), "1")
            .with_context(|| format!("failed to enable keep_addr_on_down for {ifname:?}"))?;
    }
    // A kernel without one of them does without.
    if enable_dad {
        drop(set(format!("ipv6/conf/{ifname}/enhanced_dad"), "1"));
    }
    drop(set(format!("ipv6/conf/{ifname}/accept_dad"), if enable_dad { "1" } else { "0" }));
    drop(set(format!("ipv4/conf/{ifname}/arp_notify"), "1"));
    Ok(())
}

/// The first address of a subnet, as a gateway: address and prefix length.
pub fn first_of(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            std::net::Ipv4Addr::from_bits((address.to_bits() & mask).wrapping_add(1)).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            std::net::Ipv6Addr::from_bits((address.to_bits() & mask).wrapping_add(1)).into()
        }
    }
}

/// The bytes of a MAC address.
pub fn mac_bytes(text: &str) -> Result<[u8; 6], Error> {
    let wrong = || Error::invalid(format!("address {text}: invalid MAC address"));
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let byte = |part: &&str| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2);
    let bytes: Option<Vec<u8>> = parts.iter().map(byte).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)
}
