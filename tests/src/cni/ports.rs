//! What a network configuration says of a port, and what the agent makes of it.

use std::fs;

use serde_json::{Value, json};

use super::lab::Lab;
use crate::{Feature, frame::C, needs, once};

/// The row of `netagent show ports` for a device.
fn shown(lab: &Lab, device: &str) -> Value {
    let rows: Value = serde_json::from_str(&lab.node.ok("show ports -j")).unwrap();
    let rows = rows.as_array().unwrap();
    rows.iter().find(|row| row["device"] == device).unwrap_or_else(|| panic!("{rows:?}")).clone()
}

#[test]
fn options_of_the_bridge_plugin_reach_the_port() {
    once();
    let lab = Lab::new();
    for (keys, of_link, option) in [
        (json!({"vlan": 100, "hairpinMode": true}), "hairpin on", "hairpin"),
        (json!({"vlan": 100, "portIsolation": true}), "isolated on", "isolated"),
        (json!({"vlanTrunk": [{"minID": 5, "maxID": 7}, {"id": 9}]}), "hairpin off", "trunk"),
        (json!({"mtu": 1400}), "hairpin off", "mtu"),
    ] {
        let pod = lab.pod();
        let mut conf = json!({"cniVersion": "1.0.0", "name": option, "bridge": "mgmt-br"});
        for (key, value) in keys.as_object().unwrap() {
            conf[key] = value.clone();
        }
        let conf = conf.to_string();
        let result = pod.add(&conf);
        let device = result["interfaces"][1]["name"].as_str().unwrap();
        let link = lab.node.netns.sh(&format!("bridge -d link show dev {device}"));
        assert!(link.contains(of_link), "{of_link}: {link}");
        match option {
            "trunk" => {
                let row = shown(&lab, device);
                assert_eq!(row["vids"], "1,5-7,9", "{row}");
                assert_eq!(row["pvid"], 1, "{row}");
            }
            "mtu" => assert_eq!(pod.netns.link("net1")["mtu"], 1400),
            _ => {}
        }
        pod.del(&conf);
    }
    lab.assert_nothing_is_left();
}

/// A network that cannot be is refused with its reason, and leaves nothing.
#[test]
fn configurations_that_cannot_be_are_refused() {
    once();
    let lab = Lab::new();
    for (keys, code, text) in [
        (json!({"vlan": 4095}), 7, "invalid VLAN ID 4095"),
        (json!({"hairpinMode": true, "promiscMode": true}), 7, "hairpin mode and promiscuous"),
        (json!({"netagent": {"network": "nowhere"}}), 7, "there is no network \"nowhere\""),
        (json!({"netagent": {"nativ": 5}}), 7, "nativ"),
        (json!({"bridge": "eth0", "vlan": 5}), 7, "eth0"),
        (json!({"bridge": "a-name-that-is-too-long"}), 7, "longer than 15 characters"),
        (json!({"cniVersion": "7.0.0"}), 1, "incompatible CNI versions"),
        (json!({"ipam": {"type": "nothere"}}), 999, "failed to find plugin \"nothere\""),
    ] {
        let pod = lab.pod();
        let mut conf = json!({"cniVersion": "1.0.0", "name": "n", "bridge": "mgmt-br"});
        for (key, value) in keys.as_object().unwrap() {
            conf[key] = value.clone();
        }
        let error = pod.call("ADD", &conf.to_string()).unwrap_err();
        assert_eq!(error["code"], code, "{error}");
        assert!(error["msg"].as_str().unwrap().contains(text), "{text}: {error}");
        assert!(pod.netns.link("net1").is_null());
        lab.assert_nothing_is_left();
    }
}

/// A VLAN of a pod is on the uplink as long as the pod is there.
#[test]
fn bridge_has_exactly_the_vlans_of_its_pods() {
    if !needs(&[Feature::VlanFiltering]) {
        return;
    }
    let lab = Lab::new();
    let vids = |device: &str| {
        let output = lab.node.netns.sh(&format!("bridge vlan show dev {device}"));
        output.split_whitespace().skip(3).map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    let before = vids("eth0");
    let pod = lab.pod();
    let device = pod.add(super::VLAN100)["interfaces"][1]["name"].as_str().unwrap().to_owned();
    assert_eq!(vids(&device), "100 PVID Egress Untagged");
    assert!(vids("eth0").contains("100"), "{}", vids("eth0"));
    pod.del(super::VLAN100);
    lab.assert_nothing_is_left();
    assert_eq!(vids("eth0"), before);
}

/// What `netagent check --nad` says before there is a pod.
#[test]
fn check_says_which_port_a_network_would_be() {
    once();
    let lab = Lab::new();
    let file = format!("/tmp/{}.nad", lab.node.netns.name);
    let check = |config: &str| {
        let object = json!({
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": "n"},
            "spec": {"config": config},
        });
        fs::write(&file, object.to_string()).unwrap();
        format!("check --nad {file} -c {}", lab.node.config())
    };
    let port = lab.node.ok(&check(super::VLAN100));
    assert!(port.contains("on mgmt-br: VLANs 100; untagged frames are in VLAN 100"), "{port}");
    // As it is printed in Harvester's documentation.
    let output = lab.node.netagent(&check(&super::VLAN100.replace("100}", "100,}")));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("Multus refuses it") && errors.contains("\"vlan\": 100\n"), "{errors}");
    for (config, text) in [
        (r#"{"bridge":"mgmt-br","vlan":5000}"#, "invalid VLAN ID 5000"),
        (r#"{"bridge":"mgmt-br","netagent":{"network":"nowhere"}}"#, "no network \"nowhere\""),
        (r#"{"bridge":"eth0"}"#, "eth0"),
    ] {
        let refused = lab.node.refused(&check(config));
        assert!(refused.contains(text), "{text}: {refused}");
    }
    fs::remove_file(file).unwrap();
}

/// A network that the file of the node names, without a bridge in the configuration.
#[test]
fn network_of_the_file_is_used() {
    once();
    let lab = Lab::new();
    lab.configure(
        "clusterNetworks: { oob: { uplink: { nics: [eth1], bond: { mode: none } } } }\n\
         networks: { corp-net: { clusterNetwork: oob, vlan: 300 } }\n",
    );
    let pod = lab.pod();
    let mut conf = json!({
        "cniVersion": "1.0.0",
        "name": "corp",
        "type": "netagent",
        "netagent": {"network": "corp-net", "security": {"maxMacs": 2}},
    });
    let result = pod.add(&conf.to_string());
    assert_eq!(result["interfaces"][0]["name"], "oob-br");
    lab.assert_reach(&pod, "eth1", &[(C, 300)]);
    let row = shown(&lab, result["interfaces"][1]["name"].as_str().unwrap());
    assert_eq!((&row["network"], &row["pvid"]), (&json!("corp-net"), &json!(300)), "{row}");
    assert_eq!(row["checks"], json!(["maxMacs"]), "{row}");
    assert!(lab.node.netns.link("cni0").is_null(), "nobody asked for cni0");
    conf["prevResult"] = result;
    assert_eq!(pod.call("CHECK", &conf.to_string()), Ok(String::new()));
    pod.del(&conf.to_string());
    lab.assert_nothing_is_left();
}
