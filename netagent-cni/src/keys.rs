//! The spelling of keys. Go's JSON, by which runtimes and the bridge plugin read configurations,
//! does not distinguish upper and lower case.

use serde_json::Value;

/// The keys that have a meaning, at any depth.
const KEYS: [&str; 34] = [
    "cniVersion",
    "name",
    "bridge",
    "isGateway",
    "isDefaultGateway",
    "forceAddress",
    "ipMasq",
    "ipMasqBackend",
    "mtu",
    "hairpinMode",
    "promiscMode",
    "vlan",
    "vlanTrunk",
    "minID",
    "maxID",
    "id",
    "preserveDefaultVlan",
    "macspoofchk",
    "enabledad",
    "disableContainerInterface",
    "portIsolation",
    "ipam",
    "type",
    "dns",
    "args",
    "cni",
    "mac",
    "runtimeConfig",
    "prevResult",
    "netagent",
    "cni.dev/valid-attachments",
    "containerID",
    "ifname",
    "capabilities",
];
/// The keys whose values have keys of their own.
const OPAQUE: [&str; 3] = ["dns", "prevResult", "netagent"];

/// Gives each key its usual spelling. If a key is there in several spellings, the usual one counts.
pub fn canonical(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(canonical),
        Value::Object(map) => {
            for (key, value) in std::mem::take(map) {
                match KEYS.iter().find(|known| known.eq_ignore_ascii_case(&key)) {
                    Some(known) if **known != key => {
                        map.entry(*known).or_insert(value);
                    }
                    _ => {
                        map.insert(key, value);
                    }
                }
            }
            let open = map.iter_mut().filter(|(key, _)| !OPAQUE.contains(&key.as_str()));
            open.for_each(|(_, value)| canonical(value));
        }
        _ => {}
    }
}
