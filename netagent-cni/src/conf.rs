//! The configuration of a network, as a container runtime gives it on stdin. Keys, precedence and
//! messages are those of the bridge plugin 1.10.0, whose configurations work unchanged.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    Code, Error, keys,
    trunk::{self, Item},
};

/// The versions of the specification.
pub const VERSIONS: [&str; 8] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", ""];
/// The version of a configuration that names none.
pub const OLDEST: &str = "0.1.0";

/// A network configuration. A key that is `null` has its default, as in the bridge plugin.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the bridge plugin")]
pub struct Conf {
    /// The version of the specification.
    #[serde(deserialize_with = "or_default")]
    pub cni_version: String,
    /// The name of the network.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// The bridge. Default: `cni0`.
    #[serde(deserialize_with = "or_default")]
    bridge: String,
    /// Whether the bridge has the pod's gateway.
    #[serde(deserialize_with = "or_default")]
    pub is_gateway: bool,
    /// Whether the pod has a default route to it; implies `isGateway`.
    #[serde(deserialize_with = "or_default")]
    pub is_default_gateway: bool,
    /// Whether the gateway replaces other addresses of the bridge.
    #[serde(deserialize_with = "or_default")]
    pub force_address: bool,
    /// Whether the pod's addresses are masqueraded.
    #[serde(deserialize_with = "or_default")]
    pub ip_masq: bool,
    /// `iptables` or `nftables`.
    pub ip_masq_backend: Option<String>,
    #[serde(deserialize_with = "or_default")]
    mtu: i64,
    /// Whether the bridge sends frames back to the port that they came from.
    #[serde(deserialize_with = "or_default")]
    pub hairpin_mode: bool,
    /// Whether the bridge interface is promiscuous.
    #[serde(deserialize_with = "or_default")]
    pub promisc_mode: bool,
    #[serde(deserialize_with = "or_default")]
    vlan: i64,
    #[serde(deserialize_with = "or_default")]
    vlan_trunk: Vec<Item>,
    /// Whether the port keeps the bridge's default VLAN as well.
    #[serde(deserialize_with = "or_default")]
    pub preserve_default_vlan: bool,
    /// Whether frames from other MAC addresses than the pod's are dropped.
    #[serde(rename = "macspoofchk", deserialize_with = "or_default")]
    pub mac_spoof_check: bool,
    /// Whether IPv6 addresses are checked for duplicates.
    #[serde(rename = "enabledad", deserialize_with = "or_default")]
    pub enable_dad: bool,
    /// Whether the pod's end stays down.
    #[serde(deserialize_with = "or_default")]
    pub disable_container_interface: bool,
    /// Whether the pod reaches no other isolated pod.
    #[serde(deserialize_with = "or_default")]
    pub port_isolation: bool,
    #[serde(deserialize_with = "or_default")]
    ipam: Ipam,
    /// DNS settings of the result. Default: those of the IPAM plugin.
    pub dns: Option<Value>,
    #[serde(deserialize_with = "or_default")]
    args: Args,
    #[serde(deserialize_with = "or_default")]
    runtime_config: WithMac,
    /// The result of ADD.
    pub prev_result: Option<Value>,
    /// What netagent has beyond the bridge plugin.
    #[serde(deserialize_with = "or_default")]
    pub netagent: Map<String, Value>,
    /// The attachments that a GC leaves.
    #[serde(rename = "cni.dev/valid-attachments")]
    pub valid_attachments: Option<Vec<Valid>>,
}

/// An attachment that a GC leaves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Valid {
    /// The container's ID.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The name of the pod's end.
    pub ifname: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Ipam {
    #[serde(rename = "type", deserialize_with = "or_default")]
    kind: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Args {
    #[serde(deserialize_with = "or_default")]
    cni: WithMac,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WithMac {
    #[serde(deserialize_with = "or_default")]
    mac: String,
}

fn or_default<'de, D: Deserializer<'de>, T: Default + DeserializeOwned>(
    value: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

impl Conf {
    /// Reads a configuration.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let decoded = serde_json::from_slice(text).and_then(|mut value| {
            keys::canonical(&mut value);
            serde_json::from_value(value)
        });
        let conf: Self = decoded.map_err(|error| {
            Error::new(Code::Decode, format!("failed to load netconf: {error}"))
        })?;
        if !VERSIONS.contains(&conf.cni_version.as_str()) {
            let text = format!(
                "incompatible CNI versions: config is {:?}, plugin supports {:?}",
                conf.cni_version,
                &VERSIONS[..VERSIONS.len() - 1]
            );
            return Err(Error::new(Code::IncompatibleVersion, text));
        }
        Ok(conf)
    }

    /// The version of the result.
    pub fn version(&self) -> &str {
        if self.cni_version.is_empty() { OLDEST } else { &self.cni_version }
    }

    /// The bridge.
    pub fn bridge(&self) -> &str {
        if self.bridge.is_empty() { "cni0" } else { &self.bridge }
    }

    /// The VID of untagged frames; 0: none is given.
    pub fn vlan(&self) -> Result<u16, Error> {
        u16::try_from(self.vlan).ok().filter(|vid| *vid <= 4094).ok_or_else(|| {
            Error::invalid(format!("invalid VLAN ID {} (must be between 0 and 4094)", self.vlan))
        })
    }

    /// The VIDs that the pod tags itself.
    pub fn trunk(&self) -> Result<BTreeSet<u16>, Error> {
        trunk::vids(&self.vlan_trunk)
    }

    /// MTU in bytes, if one is given.
    pub fn mtu(&self) -> Result<Option<u32>, Error> {
        match u32::try_from(self.mtu) {
            Ok(0) => Ok(None),
            Ok(mtu) => Ok(Some(mtu)),
            Err(_) => Err(Error::invalid(format!("invalid MTU {}", self.mtu))),
        }
    }

    /// The IPAM plugin, if the pod gets addresses.
    pub fn ipam(&self) -> Option<&str> {
        Some(self.ipam.kind.as_str()).filter(|kind| !kind.is_empty())
    }

    /// Whether the bridge has the pod's gateway.
    pub const fn has_gateway(&self) -> bool {
        self.is_gateway || self.is_default_gateway
    }

    /// The MAC address of the pod's end: that of `runtimeConfig` before that of `args.cni` before
    /// that of `CNI_ARGS`.
    pub fn mac<'a>(&'a self, of_environment: Option<&'a str>) -> Option<&'a str> {
        let of_conf = [&self.runtime_config.mac, &self.args.cni.mac];
        let mut of_conf = of_conf.into_iter().map(String::as_str);
        of_conf.find(|mac| !mac.is_empty()).or(of_environment.filter(|mac| !mac.is_empty()))
    }

    /// Checks which keys are there together.
    pub fn check(&self) -> Result<(), Error> {
        let (vlan, trunk) = (self.vlan()?, self.trunk()?);
        if self.ipam().is_some() && self.disable_container_interface {
            let text = "cannot use IPAM when DisableContainerInterface flag is set";
            return Err(Error::invalid(text));
        }
        if self.hairpin_mode && self.promisc_mode {
            let text = "cannot set hairpin mode and promiscuous mode at the same time";
            return Err(Error::invalid(text));
        }
        if self.netagent.contains_key("network") && (vlan != 0 || !trunk.is_empty()) {
            let text = "netagent.network names a network with its VLANs: remove vlan and vlanTrunk";
            return Err(Error::invalid(text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The configurations of Harvester's documentation.
    #[test]
    fn configurations_of_harvester_are_read() {
        let conf = Conf::parse(
            br#"{"cniVersion":"0.3.1","name":"vlan100","type":"bridge","bridge":"mgmt-br",
                "promiscMode":true,"vlan":100}"#,
        )
        .unwrap();
        assert_eq!((conf.bridge(), conf.vlan(), conf.ipam()), ("mgmt-br", Ok(100), None));
        assert!(conf.promisc_mode && conf.check().is_ok());
        let conf = Conf::parse(
            br#"{"cniVersion":"0.3.1","name":"untagged-network","type":"bridge",
                "bridge":"oob-br","promiscMode":true,"ipam":{}}"#,
        )
        .unwrap();
        assert_eq!((conf.bridge(), conf.vlan(), conf.ipam()), ("oob-br", Ok(0), None));
    }

    #[test]
    fn absent_and_null_keys_have_defaults() {
        for text in [&b"{}"[..], br#"{"bridge":null,"vlan":null,"vlanTrunk":null,"ipam":null}"#] {
            let conf = Conf::parse(text).unwrap();
            assert_eq!((conf.bridge(), conf.version(), conf.mtu()), ("cni0", "0.1.0", Ok(None)));
        }
    }

    #[test]
    fn mac_of_the_runtime_takes_precedence() {
        let all = r#"{"args":{"cni":{"mac":"b"}},"runtimeConfig":{"mac":"a"}}"#;
        for (text, mac) in
            [(all, "a"), (r#"{"args":{"cni":{"mac":"b"}}}"#, "b"), (r#"{"args":{"cni":{}}}"#, "c")]
        {
            assert_eq!(Conf::parse(text.as_bytes()).unwrap().mac(Some("c")), Some(mac));
        }
        assert_eq!(Conf::parse(b"{}").unwrap().mac(Some("")), None);
    }

    /// A key that is not recognised would put the VM into another network.
    #[test]
    fn case_of_keys_does_not_matter() {
        let text = br#"{"VLAN":100,"Bridge":"br1","IPAM":{"Type":"static"},"MacSpoofChk":true,
                        "vlantrunk":[{"minid":5,"MAXID":6}],"RuntimeConfig":{"MAC":"a"}}"#;
        let conf = Conf::parse(text).unwrap();
        assert_eq!((conf.vlan(), conf.bridge(), conf.ipam()), (Ok(100), "br1", Some("static")));
        assert_eq!((conf.trunk(), conf.mac(None)), (Ok([5, 6].into()), Some("a")));
        assert!(conf.mac_spoof_check);
        // Of two spellings, the usual one counts.
        let conf = Conf::parse(br#"{"VLAN":100,"vlan":5}"#).unwrap();
        assert_eq!(conf.vlan(), Ok(5));
    }

    #[test]
    fn wrong_configurations_are_refused() {
        let code = |text: &str| {
            let checked = Conf::parse(text.as_bytes()).and_then(|conf| conf.check());
            checked.map_err(|error| (error.code, error.msg)).unwrap_err()
        };
        assert_eq!(code(r#"{"vlan":100,}"#).0, 6);
        assert_eq!(code(r#"{"vlan":"100"}"#).0, 6);
        assert_eq!(code(r#"{"cniVersion":"9.0.0"}"#).0, 1);
        for (text, message) in [
            (r#"{"vlan":4095}"#, "invalid VLAN ID 4095 (must be between 0 and 4094)"),
            (r#"{"vlan":-1}"#, "invalid VLAN ID -1 (must be between 0 and 4094)"),
            (
                r#"{"hairpinMode":true,"promiscMode":true}"#,
                "cannot set hairpin mode and promiscuous mode at the same time",
            ),
            (
                r#"{"ipam":{"type":"static"},"disableContainerInterface":true}"#,
                "cannot use IPAM when DisableContainerInterface flag is set",
            ),
            (
                r#"{"vlan":5,"netagent":{"network":"corp-net"}}"#,
                "netagent.network names a network with its VLANs: remove vlan and vlanTrunk",
            ),
        ] {
            assert_eq!(code(text), (7, message.to_owned()), "{text}");
        }
    }
}
