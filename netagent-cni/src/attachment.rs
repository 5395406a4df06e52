//! What the plugin asks the agent for: the node's end of a pod's interface as a port.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Conf, Error, call::Call};

/// An interface of a container or VM. Its network is either one that the node's configuration
/// names (`extra.network`), or a bridge with VLANs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as in the configuration")]
pub struct Attachment {
    /// The container's ID.
    pub container_id: String,
    /// The name of the pod's end when it was made.
    pub ifname: String,
    /// The name of the CNI network configuration.
    pub name: String,
    /// The node's end of the veth pair.
    pub device: String,
    /// Its interface index.
    pub ifindex: u32,
    /// Whose interface it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The bridge.
    pub bridge: String,
    /// The VID of untagged frames; 0: none is given.
    pub vlan: u16,
    /// The VIDs that the pod tags itself.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub trunk: BTreeSet<u16>,
    /// MTU in bytes of a bridge that does not exist yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The MAC address of the pod's end, if frames from other addresses are dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only_mac: Option<String>,
    /// Whether the pod reaches no other isolated pod.
    pub isolated: bool,
    /// Whether the bridge sends frames back to the port that they came from.
    pub hairpin: bool,
    /// Whether the bridge interface itself is promiscuous.
    pub promiscuous: bool,
    /// The node's own addresses on the bridge, which are the pod's gateways.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,
    /// Whether the gateways replace other addresses of the bridge.
    pub force_address: bool,
    /// The key `netagent` of the configuration: `network`, `native`, `admit`, `qinq`,
    /// `priorityTags`, `security`, as in the configuration file of the agent.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

impl Attachment {
    /// What a configuration asks for, before there is a device.
    pub fn of(conf: &Conf, call: &Call) -> Result<Self, Error> {
        Ok(Self {
            container_id: call.container_id.clone(),
            ifname: call.ifname.clone(),
            name: conf.name.clone(),
            device: String::new(),
            ifindex: 0,
            owner: call.owner(),
            bridge: conf.bridge().to_owned(),
            vlan: conf.vlan()?,
            trunk: conf.trunk()?,
            mtu: conf.mtu()?,
            only_mac: None,
            isolated: conf.port_isolation,
            hairpin: conf.hairpin_mode,
            promiscuous: conf.promisc_mode,
            gateways: vec![],
            force_address: conf.force_address,
            extra: conf.netagent.clone(),
        })
    }
}

/// A pod, as `CNI_ARGS` names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Owner {
    /// `K8S_POD_NAMESPACE`
    pub namespace: String,
    /// `K8S_POD_NAME`
    pub pod: String,
}
