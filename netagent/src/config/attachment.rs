//! The key `netagent` of a CNI network configuration: what netagent has beyond the bridge plugin,
//! with the keys and values of this file's networks.

use netagent_common::vlan::Vid;
use serde::Deserialize;

use super::{name::NetworkName, shapes::Scalar, yaml};
use crate::{
    intent::{Native, NetworkIntent, SecurityIntent},
    state::{Admit, PriorityTags},
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Keys {
    network: Option<Scalar<NetworkName>>,
    native: Option<Scalar<Native>>,
    native_tagged: Option<Scalar<bool>>,
    admit: Option<Scalar<Admit>>,
    qinq: Option<Scalar<Vid>>,
    priority_tags: Option<Scalar<PriorityTags>>,
    silent: Option<Scalar<bool>>,
    security: SecurityIntent,
}

/// What the key says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// A network of the node's configuration.
    pub network: Option<String>,
    /// The VID of untagged frames of a trunk.
    pub native: Option<Native>,
    native_tagged: Option<bool>,
    admit: Option<Admit>,
    qinq: Option<Vid>,
    priority_tags: Option<PriorityTags>,
    /// Whether the port stays silent until its VM sends frames of its own.
    pub silent: Option<bool>,
    /// The checks of the port.
    pub security: SecurityIntent,
}

impl Extra {
    /// Reads the key, as JSON.
    pub fn read(json: &str) -> Result<Self, String> {
        let keys: Keys = yaml::value(json)?;
        let Keys { network, native, native_tagged, admit, qinq, priority_tags, silent, security } =
            keys;
        Ok(Self {
            network: network.map(|Scalar(network)| network.0),
            native: native.map(|value| value.0),
            native_tagged: native_tagged.map(|value| value.0),
            admit: admit.map(|value| value.0),
            qinq: qinq.map(|value| value.0),
            priority_tags: priority_tags.map(|value| value.0),
            silent: silent.map(|value| value.0),
            security,
        })
    }

    /// Adds the keys of a network to it.
    pub fn extend(&self, network: &mut NetworkIntent) {
        network.native = self.native.or(network.native);
        network.native_tagged = self.native_tagged;
        network.admit = self.admit;
        network.qinq = self.qinq;
        network.priority_tags = self.priority_tags;
    }
}
