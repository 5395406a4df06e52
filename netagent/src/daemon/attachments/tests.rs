//! Attachments as items, without a node.

use netagent_cni::Owner;
use serde_json::json;

use super::*;
use crate::{
    config,
    intent::{self, Compiled, Devices},
    state::Role,
};

const FILE: &str = "clusterNetworks: { mgmt: {}, lab: { bridge: br-lab } }\n\
                    networks: { corp-net: { clusterNetwork: lab, vlan: 300 } }\n";

/// An attachment of the interface `net1` of a pod, with the keys of this JSON.
fn attachment(number: u32, keys: &serde_json::Value) -> Attachment {
    let mut all = json!({
        "containerId": format!("container{number}"),
        "ifname": "net1",
        "device": format!("veth{number}"),
        "ifindex": number,
        "bridge": "mgmt-br",
    });
    for (key, value) in keys.as_object().unwrap() {
        all[key] = value.clone();
    }
    serde_json::from_value(all).unwrap()
}

/// The attachments beside the file.
fn compiled(attachments: &[Attachment]) -> Compiled {
    let mut kept = Attachments::default();
    for attachment in attachments {
        kept.insert(attachment.clone(), &Observed::default()).unwrap();
    }
    let file = config::parse(FILE, "file").unwrap().intent;
    let of_pods = kept.intent(Some(&file));
    intent::compile(&[file, of_pods], &Devices::default())
}

/// Bridge, network, VIDs and PVID of each port.
fn ports(attachments: &[Attachment]) -> Vec<String> {
    let Compiled { desired, rejected, .. } = compiled(attachments);
    assert_eq!(rejected, []);
    let vms = desired.ports.iter().filter(|(_, port)| !matches!(port.role, Role::Uplink { .. }));
    vms.map(|(device, port)| {
        let pvid = port.pvid.map_or("none".to_owned(), |vid| vid.to_string());
        format!("{device} {} {:?} {} {pvid}", port.bridge, port.network, port.vids)
    })
    .collect()
}

#[test]
fn keys_of_the_bridge_plugin_become_networks() {
    let shown = ports(&[
        attachment(1, &json!({"vlan": 100})),
        attachment(2, &json!({"vlan": 100})),
        attachment(3, &json!({})),
        attachment(4, &json!({"trunk": [5, 6, 7]})),
        attachment(5, &json!({"trunk": [5, 6, 7], "vlan": 9})),
        attachment(6, &json!({"bridge": "br-lab", "vlan": 300})),
        attachment(7, &json!({"bridge": "cni1", "extra": {"network": "corp-net"}})),
        attachment(8, &json!({"bridge": "cni0", "vlan": 100})),
        attachment(9, &json!({"trunk": [5], "extra": {"native": "none"}})),
    ]);
    assert_eq!(
        shown,
        [
            "veth1 mgmt-br \"mgmt-br/100\" 100 100",
            "veth2 mgmt-br \"mgmt-br/100\" 100 100",
            "veth3 mgmt-br \"mgmt-br/untagged\" 1 1",
            "veth4 mgmt-br \"mgmt-br/5-7\" 1,5-7 1",
            "veth5 mgmt-br \"mgmt-br/5-7 native 9\" 5-7,9 9",
            "veth6 br-lab \"br-lab/300\" 300 300",
            "veth7 br-lab \"corp-net\" 300 300",
            "veth8 cni0 \"cni0/100\" 100 100",
            "veth9 mgmt-br \"mgmt-br/5 native=none\" 5 none",
        ]
    );
}

#[test]
fn port_has_the_checks_of_its_attachment() {
    let mac = "02:00:00:00:00:01";
    let keys = json!({
        "onlyMac": mac, "isolated": true, "hairpin": true, "promiscuous": true,
        "extra": {"security": {"dhcpGuard": true}, "admit": "all", "silent": true},
    });
    let Compiled { desired, rejected, .. } = compiled(&[attachment(1, &keys)]);
    assert_eq!(rejected, []);
    let port = &desired.ports[&"veth1".parse().unwrap()];
    assert!(port.port_isolation == Some(true) && port.security.dhcp_guard && port.silent);
    assert_eq!(port.security.macs, [mac.parse().unwrap()].into());
    assert_eq!((port.hairpin, port.admit.name()), (Some(true), "all"));
    assert!(desired.bridges[&"mgmt-br".parse().unwrap()].promiscuous);
    assert!(!desired.bridges[&"br-lab".parse().unwrap()].promiscuous);
}

/// Two pods with one name of a network, and different VLANs.
#[test]
fn origin_names_the_pod() {
    let owner = Owner { namespace: "default".into(), pod: "vm1".into() };
    let named = Attachment { owner: Some(owner), ..attachment(1, &json!({"vlan": 100})) };
    let Compiled { desired, .. } = compiled(&[named, attachment(2, &json!({"vlan": 200}))]);
    let origin = |device: &str| desired.ports[&device.parse().unwrap()].origin.clone();
    assert_eq!(origin("veth1"), "CNI, default/vm1 net1");
    assert_eq!(origin("veth2"), "CNI, container container2 net1");
}

#[test]
fn wrong_keys_change_nothing() {
    let mut kept = Attachments::default();
    for (extra, error) in [
        (json!({"nativ": 5}), "nativ"),
        (json!({"native": 5000}), "5000"),
        (json!({"admit": "some"}), "some"),
        (json!({"security": {"macs": ["x"]}}), "x"),
    ] {
        let wrong = attachment(1, &json!({"extra": extra}));
        let said = kept.insert(wrong, &Observed::default()).unwrap_err();
        assert!(said.starts_with("netagent: ") && said.contains(error), "{said}");
        assert!(kept.all().is_empty());
    }
}

#[test]
fn gateways_are_those_of_the_bridge_plugin() {
    let mut kept = Attachments::default();
    let mut insert = |number, gateway: &str, force: bool| {
        let keys = json!({"bridge": "cni0", "gateways": [gateway], "forceAddress": force});
        kept.insert(attachment(number, &keys), &Observed::default())
    };
    assert_eq!(insert(1, "10.1.2.1/24", false), Ok(()));
    assert_eq!(insert(2, "10.1.2.1/24", false), Ok(()));
    let clash = "\"cni0\" already has an IP address different from 10.1.3.1/24";
    assert_eq!(insert(3, "10.1.3.1/24", false), Err(clash.to_owned()));
    assert_eq!(insert(4, "fd00:1::1/64", false), Ok(()));
    assert_eq!(insert(5, "fd00:2::1/64", false), Ok(()));
    assert!(insert(6, "fd00:1::2/96", false).is_err());
    assert_eq!(insert(7, "10.1.3.1/24", true), Ok(()));
    let Compiled { desired, rejected, .. } =
        intent::compile(&[kept.intent(None)], &Devices::default());
    assert_eq!(rejected, []);
    let addresses: Vec<String> =
        desired.hosts[&"cni0".parse().unwrap()].addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.1.3.1/24", "fd00:1::1/64", "fd00:2::1/64"]);
}
