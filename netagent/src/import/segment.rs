//! The bridges of the node and their uplinks, as cluster networks.

use std::{collections::BTreeSet, fmt::Write as _};

use netagent_common::vlan::Vid;

use super::{Choices, bond, host, yaml};
use crate::{
    names::IfName,
    state::{BondState, Kind, Link, Observed, Snooping},
};

/// The MTU of a device that nobody has changed, in bytes.
const ETHERNET_MTU: u32 = 1500;
/// The length of a new bond's transmit queue in packets.
const TXQLEN: u32 = 1000;
/// The longest name of a cluster network.
const NAME_MAX: usize = 12;

/// A bridge with its uplink.
pub struct Segment<'a> {
    /// The name in the file.
    pub name: String,
    /// The bridge.
    pub bridge: IfName,
    /// The bridge's link.
    pub link: &'a Link,
    /// Whether the bridge filters VLANs.
    pub aware: bool,
    /// IGMP and MLD snooping of the bridge.
    pub snooping: Option<Snooping>,
    /// The uplink.
    pub uplink: Option<Uplink<'a>>,
}

/// The uplink of a bridge.
pub struct Uplink<'a> {
    /// The bridge port.
    pub device: IfName,
    /// Its link.
    pub link: &'a Link,
    /// Its NICs, or itself.
    pub nics: Vec<IfName>,
    /// The bond, if it is one.
    pub bond: Option<&'a BondState>,
    /// The VLAN of untagged frames, and whether they leave tagged.
    pub native: Option<(Vid, bool)>,
}

impl Segment<'_> {
    /// The VLAN of untagged frames on the wire.
    pub fn native(&self) -> Option<Vid> {
        match &self.uplink {
            Some(uplink) => uplink.native.map(|(vid, _)| vid),
            None => Some(Vid::MIN),
        }
    }
}

/// The bridges that can be expressed. `remarks` hears of the others.
pub fn find<'a>(
    observed: &'a Observed,
    choices: &Choices,
    remarks: &mut Vec<String>,
) -> Vec<Segment<'a>> {
    let mut taken = BTreeSet::new();
    let mut segments = Vec::new();
    for (bridge, link) in &observed.links {
        let Kind::Bridge(state) = link.kind else { continue };
        if !choices.bridges.is_empty() && !choices.bridges.contains(bridge) {
            remarks.push(format!("{bridge}: not among the bridges of --bridge"));
            continue;
        }
        let aware = state.vlan_filtering == Some(true);
        match uplink(observed, bridge, aware, choices) {
            Ok(None) if !choices.bridges.contains(bridge) => remarks.push(format!(
                "bridge {bridge}: has no uplink; netagent import --bridge {bridge} takes it"
            )),
            Ok(uplink) => {
                let name = unique(&name(bridge), &mut taken);
                let (bridge, snooping) = (bridge.clone(), state.snooping);
                segments.push(Segment { name, bridge, link, aware, snooping, uplink });
            }
            Err(reason) => remarks.push(format!("bridge {bridge}: {reason}")),
        }
    }
    segments
}

/// The uplink of a bridge: the port that the operator names, or else its bond, its NIC, or its VLAN
/// interface. Other ports are those of VMs.
fn uplink<'a>(
    observed: &'a Observed,
    bridge: &IfName,
    aware: bool,
    choices: &Choices,
) -> Result<Option<Uplink<'a>>, String> {
    let rank = |(name, link): &(&IfName, &Link)| match &link.kind {
        _ if choices.uplinks.contains(*name) => Some(0),
        Kind::Bond(_) => Some(1),
        Kind::Other(kind) if kind.is_empty() => Some(2),
        Kind::Vlan { .. } => Some(3),
        Kind::Bridge(_) | Kind::Other(_) => None,
    };
    let on_bridge = observed.links.iter();
    let on_bridge = on_bridge.filter(|(_, link)| link.controller.as_ref() == Some(bridge));
    let ranked: Vec<_> = on_bridge.filter_map(|port| Some((rank(&port)?, port))).collect();
    let Some(best) = ranked.iter().map(|(rank, _)| *rank).min() else { return Ok(None) };
    let best: Vec<_> = ranked.iter().filter(|(rank, _)| *rank == best).collect();
    let [(_, (device, link))] = best[..] else {
        let names: Vec<_> = best.iter().map(|(_, (name, _))| name.to_string()).collect();
        return Err(format!(
            "has several ports that could be its uplink: choose one by --uplink {}",
            names.join(" or --uplink ")
        ));
    };
    let bond = match &link.kind {
        Kind::Bond(state) => Some(state),
        Kind::Bridge(_) | Kind::Vlan { .. } | Kind::Other(_) => None,
    };
    let nics: Vec<IfName> = match bond {
        Some(_) => observed.ports_of(device).map(|(nic, _)| nic.clone()).collect(),
        None => vec![(*device).clone()],
    };
    if nics.is_empty() {
        return Err(format!("its uplink {device} is a bond without members"));
    }
    let native = if aware { native(device, link)? } else { Some((Vid::MIN, false)) };
    Ok(Some(Uplink { device: (*device).clone(), link, nics, bond, native }))
}

/// The native VLAN of an uplink of a bridge that filters VLANs.
fn native(device: &IfName, link: &Link) -> Result<Option<(Vid, bool)>, String> {
    if let Some((vid, _)) = link.vlans.iter().find(|(_, flags)| flags.untagged && !flags.pvid) {
        return Err(format!(
            "VLAN {vid} leaves its uplink {device} untagged and does not come in untagged, which \
             a file cannot express: bridge vlan add dev {device} vid {vid}"
        ));
    }
    let pvid = link.vlans.iter().find(|(_, flags)| flags.pvid);
    Ok(pvid.map(|(vid, flags)| (*vid, !flags.untagged)))
}

/// The name of a bridge's cluster network: `oob` for `oob-br` and `br-oob`.
fn name(bridge: &IfName) -> String {
    let bridge = bridge.as_str();
    let stem = bridge.strip_suffix("-br").or_else(|| bridge.strip_prefix("br-")).unwrap_or(bridge);
    let letter = |letter: char| match letter.to_ascii_lowercase() {
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => '-',
    };
    let name: String = stem.chars().map(letter).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "bridge".to_owned() } else { name[..name.len().min(NAME_MAX)].to_owned() }
}

/// The name, with a number where another segment has it.
fn unique(name: &str, taken: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| {
        let number = format!("-{number}");
        let stem = &name[..name.len().min(NAME_MAX - number.len())];
        format!("{stem}{number}")
    });
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    let name = names.find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(name.clone());
    name
}

impl Segment<'_> {
    /// The segment in the file.
    pub fn text(&self, observed: &Observed, remarks: &mut Vec<String>) -> String {
        let mut text = format!("  {}:\n", yaml::scalar(&self.name));
        let mut line = |line: String| {
            let _infallible = writeln!(text, "    {line}");
        };
        if self.bridge.as_str() != format!("{}-br", self.name) {
            line(format!("bridge: {}", yaml::scalar(&self.bridge)));
        }
        if !self.aware {
            line("vlanFiltering: off".to_owned());
        }
        if self.snooping == Some(Snooping::Vlan) {
            line("multicastSnooping: vlan".to_owned());
        }
        if observed.bridge_netfilter {
            line(
                "fastPath: off  # rules of iptables and nftables see frames of bridges here \
                 (br_netfilter)"
                    .to_owned(),
            );
        }
        if let Some(uplink) = &self.uplink {
            line("uplink:".to_owned());
            uplink.keys(self, remarks).into_iter().for_each(|key| line(format!("  {key}")));
        }
        match &host::of(self, observed)[..] {
            [] => {}
            [host] => line(format!("host: {{ {} }}", host.keys(observed).join(", "))),
            hosts => {
                line("host:".to_owned());
                for host in hosts {
                    line(format!("  - {{ {} }}", host.keys(observed).join(", ")));
                }
            }
        }
        remarks.extend(host::others(self, observed));
        if text.lines().count() == 1 {
            text = format!("  {}: {{}}\n", yaml::scalar(&self.name));
        }
        text
    }
}

impl Uplink<'_> {
    fn keys(&self, segment: &Segment<'_>, remarks: &mut Vec<String>) -> Vec<String> {
        let mut keys = vec![format!("nics: {}", yaml::list(&self.nics))];
        let bond = match self.bond {
            None => vec!["mode: none".to_owned()],
            Some(state) => bond::keys(state, &self.device, &self.nics, &segment.name, remarks),
        };
        keys.push(format!("bond: {{ {} }}", bond.join(", ")));
        let (own, bridge) = (self.link.mtu, segment.link.mtu);
        if own == bridge && own != ETHERNET_MTU {
            keys.push(format!("mtu: {own}"));
        } else if own != bridge {
            remarks.push(format!(
                "the MTU of {} is {own} and that of {} {bridge}: `mtu` would set both",
                self.device, segment.bridge
            ));
        }
        if self.bond.is_some() && self.link.txqlen != TXQLEN {
            keys.push(format!("txQueueLen: {}", self.link.txqlen));
        }
        match self.native {
            None => keys.push("native: none".to_owned()),
            Some((vid, false)) if vid == Vid::MIN => {}
            Some((vid, tagged)) => {
                keys.push(format!("native: {vid}"));
                keys.extend(tagged.then(|| "nativeTagged: true".to_owned()));
            }
        }
        keys
    }
}
