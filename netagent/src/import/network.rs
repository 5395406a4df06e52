//! The VLANs of ports, as networks: one for each set of VLANs on a bridge.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use netagent_common::vlan::Vid;

use super::{host, segment::Segment, yaml};
use crate::{
    names::IfName,
    state::{Kind, Observed, VlanFlags},
    vids::VidSet,
};

/// VLANs that only the uplink has get a network each, up to this number; otherwise one trunk.
const SINGLE: usize = 16;
/// The longest name of a network.
const NAME_MAX: usize = 63;

/// What the ports of a network send and receive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    /// Untagged frames of a bridge that does not filter VLANs.
    Untagged,
    /// One VLAN, untagged.
    Access(Vid),
    /// Several VLANs; one of them may be native, and then leave tagged.
    Trunk(BTreeSet<Vid>, Option<(Vid, bool)>),
}

impl Shape {
    fn of(vlans: &BTreeMap<Vid, VlanFlags>) -> Result<Self, String> {
        if let Some((vid, _)) = vlans.iter().find(|(_, flags)| flags.untagged && !flags.pvid) {
            return Err(format!("VLAN {vid} leaves untagged and does not come in untagged"));
        }
        let native = vlans.iter().find(|(_, flags)| flags.pvid);
        match (vlans.len(), native) {
            (0, _) => Err("has no VLAN, so that no frame passes".to_owned()),
            (1, Some((vid, VlanFlags { untagged: true, .. }))) => Ok(Self::Access(*vid)),
            (_, native) => {
                let native = native.map(|(vid, flags)| (*vid, !flags.untagged));
                Ok(Self::Trunk(vlans.keys().copied().collect(), native))
            }
        }
    }

    fn vids(&self) -> BTreeSet<Vid> {
        match self {
            Self::Untagged => BTreeSet::new(),
            Self::Access(vid) => BTreeSet::from([*vid]),
            Self::Trunk(vids, _) => vids.clone(),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Untagged => "untagged".to_owned(),
            Self::Access(vid) => format!("vlan{vid}"),
            Self::Trunk(vids, native) => {
                let vids: VidSet = vids.iter().copied().collect();
                let native = native.map(|(vid, _)| format!("-native-{vid}")).unwrap_or_default();
                format!("trunk-{}{native}", vids.to_string().replace(',', "-"))
            }
        }
    }

    fn keys(&self, segment: &str) -> Vec<String> {
        let mut keys = vec![format!("clusterNetwork: {}", yaml::scalar(segment))];
        match self {
            Self::Untagged => {}
            Self::Access(vid) => keys.push(format!("vlan: {vid}")),
            Self::Trunk(vids, native) => {
                let vids: VidSet = vids.iter().copied().collect();
                keys.push(format!("trunk: \"{vids}\""));
                if let Some((vid, tagged)) = native {
                    keys.push(format!("native: {vid}"));
                    keys.extend(tagged.then(|| "nativeTagged: true".to_owned()));
                }
            }
        }
        keys
    }
}

/// The networks and ports of the file.
#[derive(Default)]
pub struct Networks {
    /// Name by segment and shape.
    names: BTreeMap<(String, Shape), String>,
    /// The networks in the file, in the order of the segments.
    lines: Vec<String>,
    ports: Vec<String>,
}

impl Networks {
    /// Adds the ports of a bridge. `remarks` hears of those that cannot be expressed.
    pub fn add_ports(
        &mut self,
        segment: &Segment<'_>,
        observed: &Observed,
        remarks: &mut Vec<String>,
    ) {
        for (port, link) in observed.ports_of(&segment.bridge) {
            if segment.uplink.as_ref().is_some_and(|uplink| uplink.device == *port) {
                continue;
            }
            let bridge = &segment.bridge;
            if !is_of_vm(&link.kind) {
                remarks.push(format!("{port} on {bridge}: is not a tap or veth of a VM"));
                continue;
            }
            let shape = if segment.aware { Shape::of(&link.vlans) } else { Ok(Shape::Untagged) };
            match shape {
                Ok(shape) => self.add_port(port, segment, shape),
                Err(reason) => remarks.push(format!("{port} on {bridge}: {reason}")),
            }
        }
    }

    fn add_port(&mut self, port: &IfName, segment: &Segment<'_>, shape: Shape) {
        let network = self.network(segment, shape, "");
        self.ports.push(format!("  - {{ device: {}, network: {network} }}", yaml::scalar(port)));
    }

    /// The name of a network, which is added with a remark if it is new.
    fn network(&mut self, segment: &Segment<'_>, shape: Shape, remark: &str) -> String {
        let key = (segment.name.clone(), shape);
        if let Some(name) = self.names.get(&key) {
            return name.clone();
        }
        let short = key.1.name();
        let short = if short.len() > NAME_MAX { "trunk".to_owned() } else { short };
        let long = format!("{}-{short}", segment.name);
        let long = if long.len() > NAME_MAX { format!("{}-trunk", segment.name) } else { long };
        let numbered = (2..).map(|number| format!("{}-trunk-{number}", segment.name));
        let free = |name: &String| !self.names.values().any(|taken| taken == name);
        let name = [short, long].into_iter().chain(numbered).find(free).unwrap_or_default();
        let keys = key.1.keys(&segment.name).join(", ");
        self.lines.push(format!("  {name}: {{ {keys} }}{remark}"));
        self.names.insert(key, name.clone());
        name
    }

    /// Adds networks for the VLANs that the uplink passes for nobody above: without them it would
    /// lose these.
    pub fn add_rest(&mut self, segment: &Segment<'_>, observed: &Observed) {
        let Some(uplink) = &segment.uplink else { return };
        let carried: BTreeSet<Vid> = if segment.aware {
            uplink.link.vlans.keys().copied().collect()
        } else {
            // The uplink passes all. The node's own interfaces keep theirs.
            host::vlans(segment, observed)
        };
        let of_ports = self.names.keys().filter(|(name, _)| *name == segment.name);
        let of_ports: BTreeSet<Vid> = of_ports.flat_map(|(_, shape)| shape.vids()).collect();
        let of_host = host::of(segment, observed).into_iter().filter_map(|host| host.vlan);
        let named: BTreeSet<Vid> =
            of_ports.into_iter().chain(of_host).chain(segment.native()).collect();
        let rest: BTreeSet<Vid> = carried.difference(&named).copied().collect();
        let remark = "  # no port has it now; delete it if nothing needs it";
        if rest.len() > SINGLE {
            self.network(segment, Shape::Trunk(rest, None), remark);
        } else {
            for vid in rest {
                self.network(segment, Shape::Access(vid), remark);
            }
        }
    }

    /// The networks and ports in the file.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (title, lines) in [("networks", &self.lines), ("ports", &self.ports)] {
            if !lines.is_empty() {
                let _infallible = writeln!(text, "{title}:\n{}", lines.join("\n"));
            }
        }
        text
    }
}

/// Whether a bridge port is that of a VM.
fn is_of_vm(kind: &Kind) -> bool {
    matches!(kind, Kind::Other(kind) if kind == "tun" || kind == "veth")
}
