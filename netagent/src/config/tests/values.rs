//! Scalars: what is read, and the JSON schema that editors have for it.

use std::net::{IpAddr, Ipv4Addr};

use netagent_common::vlan::Vid;
use serde_json::{Value as Json, json};

use super::super::{
    Extra, json as json_of, load_at_once,
    time::Millis,
    unchecked,
    value::{BondMode, DhcpFamilies, Listen, MacLimit, Value},
    yaml,
};
use crate::{
    intent::Native,
    names::Family,
    state::{Admit, PriorityTags},
};

fn schema<T: Value>() -> Json {
    T::schema().to_value()
}

#[test]
fn the_schema_of_a_scalar_has_its_values() {
    let vid = json!({ "type": "integer", "minimum": 1, "maximum": 4094 });
    let boolean = json!({ "type": "boolean" });
    let families = json!({ "enum": ["v4", "v6", "both"] });
    let native = json!({ "anyOf": [vid.clone(), { "const": "none" }] });
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": 32 });
    let admit = json!({ "enum": ["all", "tagged", "untagged-and-priority"] });
    let time = json!({ "anyOf": [
        { "type": "integer", "minimum": 0, "maximum": 3_600_000 },
        { "type": "string", "pattern": "^[0-9]+(ms|s)?$" },
    ] });
    let listen = json!({ "type": "string", "pattern": "^(none|.+:[0-9]{1,5})$" });
    for (found, expected) in [
        (schema::<Vid>(), vid),
        (schema::<bool>(), boolean),
        (schema::<DhcpFamilies>(), families),
        (schema::<Native>(), native),
        (schema::<MacLimit>(), limit),
        (schema::<Admit>(), admit),
        (schema::<Millis>(), time),
        (schema::<Listen>(), listen),
        (schema::<Ipv4Addr>(), json!({ "type": "string", "format": "ipv4" })),
        (schema::<IpAddr>(), json!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+$" })),
    ] {
        assert_eq!(found, expected);
    }
    let modes = schema::<BondMode>();
    let modes = modes["enum"].as_array().unwrap();
    assert_eq!((modes.first(), modes.last()), (Some(&json!("balance-rr")), Some(&json!("none"))));
}

#[test]
fn a_gateway_and_a_target_are_addresses_of_hosts() {
    let gateway = |text| <IpAddr as Value>::read(text).is_ok();
    for text in ["10.0.0.1", "fd00::1", "fe80::1"] {
        assert!(gateway(text), "{text}");
    }
    for text in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "127.0.0.1", "::1", "10.0.0.1/24", ""] {
        assert!(!gateway(text), "{text}");
    }
    let target = |text| <Ipv4Addr as Value>::read(text).is_ok();
    assert!(target("10.0.0.1"));
    for text in ["0.0.0.0", "255.255.255.255", "fd00::1", ""] {
        assert!(!target(text), "{text}");
    }
}

#[test]
fn the_families_of_dhcp_are_one_or_both() {
    let read = |text| DhcpFamilies::read(text).map(|families| Vec::from_iter(families.0));
    assert_eq!(read("v4"), Ok(vec![Family::V4]));
    assert_eq!(read("v6"), Ok(vec![Family::V6]));
    assert_eq!(read("both"), Ok(vec![Family::V4, Family::V6]));
    assert_eq!(read("v5"), Err("\"v5\" is not one of v4, v6, both".to_owned()));
}

#[test]
fn the_key_of_a_cni_network_has_the_keys_of_a_network() {
    assert_eq!(Extra::read("{}"), Ok(Extra::default()));
    let text = r#"{ "network": "a", "native": 5, "nativeTagged": true, "admit": "tagged",
                    "qinq": 3000, "priorityTags": "always", "silent": true }"#;
    let extra = Extra::read(text).unwrap();
    assert_eq!((extra.network.as_deref(), extra.silent), (Some("a"), Some(true)));
    let file = "networks: { a: { clusterNetwork: oob } }";
    let mut network = unchecked(file, "f.yaml").networks.remove(0).value;
    extra.extend(&mut network);
    assert_eq!(network.native, Some(Native(Vid::new(5))));
    assert_eq!((network.native_tagged, network.admit), (Some(true), Some(Admit::Tagged)));
    assert_eq!((network.qinq, network.priority_tags), (Vid::new(3000), Some(PriorityTags::Always)));
    assert!(Extra::read(r#"{ "vlan": 5 }"#).unwrap_err().starts_with("unknown key"));
}

#[test]
fn yaml_becomes_the_json_that_it_means() {
    let text = "mtu: 1500\nisGateway: true\nipam: { ranges: [a, \"5\"] }\n";
    let expected = json!({ "mtu": 1500, "isGateway": true, "ipam": { "ranges": ["a", "5"] } });
    assert_eq!(json_of(text), Ok(expected));
}

#[test]
fn a_value_of_another_kind_is_named_in_the_error() {
    let truth = "must be true or false";
    for text in ["yes", "!!int true"] {
        assert_eq!(yaml::value::<bool>(text), Err(truth.to_owned()), "{text}");
    }
    let error = yaml::value::<u8>("yes").unwrap_err();
    assert!(error.starts_with("not valid YAML: ") && !error.contains(truth), "{error}");
}

#[test]
fn a_device_is_no_file() {
    let error = load_at_once("/dev/null".as_ref()).unwrap_err().to_string();
    assert!(error.starts_with("/dev/null: ") && !error.contains("cannot be opened"), "{error}");
}
