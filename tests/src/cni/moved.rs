//! A running pod whose network changes, as KubeVirt's LiveUpdateNADRef asks for: in place, and
//! without a frame of the old VLAN after the answer.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::lab::{Lab, VLAN100};
use crate::{
    frame::{BROADCAST, C, Frame, TEST},
    once,
    wire::Wire,
};

/// What a pod sends all the time, and what of it reaches the wire after the answer to a change.
fn tags_after(lab: &Lab, pod: &super::lab::Pod, change: impl FnOnce()) -> Vec<(u16, u16)> {
    let (wire, nic) = (pod.wire(), Wire::open(lab.switch(), "eth0"));
    let (sends, over) = (AtomicBool::new(true), &AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 100;
            while sends.load(Ordering::Relaxed) {
                number += 1;
                wire.send(&Frame { destination: BROADCAST, ..Frame::numbered(number, &[]) });
            }
        });
        thread::sleep(Duration::from_millis(50));
        change();
        over.store(true, Ordering::Relaxed);
        // What is in the receive buffer has come before.
        while nic.receive(Duration::ZERO).is_some() {}
        let mut seen = Vec::new();
        for _ in 0..2_000 {
            let Some(bytes) = nic.receive(Duration::from_secs(5)) else { break };
            let frame = Frame::from_bytes(&bytes).filter(|frame| frame.ethertype == TEST);
            seen.extend(frame.map(|frame| frame.tags));
        }
        sends.store(false, Ordering::Relaxed);
        assert!(seen.len() > 1_000, "{} frames", seen.len());
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    })
}

#[test]
fn network_of_a_running_pod_changes_in_place() {
    once();
    let lab = Lab::new();
    let pod = lab.pod();
    let result = pod.add(VLAN100);
    let device = result["interfaces"][1]["name"].as_str().unwrap();
    let link = || lab.node.netns.link(device);
    let before = link();
    let nad = format!("{}.nad", lab.node.config());
    fs::write(&nad, VLAN100.replace("100", "200")).unwrap();
    let tags = tags_after(&lab, &pod, || {
        let said = lab.node.ok(&format!("port move {device} --nad {nad}"));
        assert_eq!(said, format!("{device} is plugged into vlan200\n"));
    });
    assert_eq!(tags, [(C, 200)]);
    lab.assert_reach(&pod, "eth0", &[(C, 200)]);
    lab.assert_apart(&pod, "eth0", &[(C, 100)]);
    for key in ["ifindex", "address", "master"] {
        assert_eq!(link()[key], before[key], "{key}");
    }
    // It stays so over a restart of the agent, and its DEL still has the first network.
    lab.stop();
    lab.start();
    lab.assert_reach(&pod, "eth0", &[(C, 200)]);
    // To another bridge.
    fs::write(&nad, VLAN100.replace("mgmt-br", "oob-br")).unwrap();
    lab.node.ok(&format!("port move {device} --nad {nad}"));
    lab.assert_reach(&pod, "eth1", &[(C, 100)]);
    assert_eq!((&link()["ifindex"], &link()["master"]), (&before["ifindex"], &"oob-br".into()));
    // What cannot be changes nothing.
    fs::write(&nad, VLAN100.replace("100,", "100").replace(":100", ":4095")).unwrap();
    let refused = lab.node.refused(&format!("port move {device} --nad {nad}"));
    assert!(refused.contains("4095"), "{refused}");
    let refused = lab.node.refused(&format!("port move {device} --network nowhere"));
    assert!(refused.contains("there is no network \"nowhere\""), "{refused}");
    let refused = lab.node.refused("port move tap9 --network nowhere");
    assert!(refused.contains("there is no port tap9"), "{refused}");
    lab.assert_reach(&pod, "eth1", &[(C, 100)]);
    pod.del(VLAN100);
    lab.assert_nothing_is_left();
}

/// What a pod had of its old network does not stay.
#[test]
fn flags_follow_the_new_network_and_gc_the_first() {
    once();
    let lab = Lab::new();
    let pod = lab.pod();
    let isolated = r#"{"cniVersion":"1.1.0","name":"iso","type":"bridge","bridge":"mgmt-br","vlan":200,"portIsolation":true,"hairpinMode":true}"#;
    let device = pod.add(isolated)["interfaces"][1]["name"].as_str().unwrap().to_owned();
    let flags = || lab.node.netns.sh(&format!("bridge -d link show dev {device}"));
    assert!(flags().contains("hairpin on") && flags().contains("isolated on"), "{}", flags());
    let nad = format!("{}.nad", lab.node.config());
    // A list: the entry of netagent counts.
    let plugin = r#"{"type":"bridge","bridge":"mgmt-br","vlan":100}"#;
    let list = |plugin: &str| {
        format!(
            r#"{{"cniVersion":"1.1.0","name":"list","plugins":[{{"type":"tuning"}},{plugin}]}}"#
        )
    };
    fs::write(&nad, list(plugin)).unwrap();
    let said = lab.node.ok(&format!("check --nad {nad}"));
    assert!(said.contains("network list on mgmt-br: VLANs 100;"), "{said}");
    lab.node.ok(&format!("port move {device} --nad {nad}"));
    assert!(flags().contains("hairpin off") && flags().contains("isolated off"), "{}", flags());
    lab.assert_reach(&pod, "eth0", &[(C, 100)]);
    // What is not for netagent changes nothing.
    for (conf, said) in [
        (list(r#"{"type":"macvlan"}"#), "none of its plugins is of type"),
        (r#"{"cniVersion":"1.1.0","name":"x","type":"macvlan"}"#.to_owned(), "another plugin's"),
        ("[]".to_owned(), "is no object"),
    ] {
        fs::write(&nad, conf).unwrap();
        for arguments in [format!("check --nad {nad}"), format!("port move {device} --nad {nad}")] {
            let refused = lab.node.refused(&arguments);
            assert!(refused.contains(said), "{refused}");
        }
    }
    lab.assert_reach(&pod, "eth0", &[(C, 100)]);
    // The runtime knows it by the network of its ADD.
    let gc = |name: &str| {
        let conf = format!(
            r#"{{"cniVersion":"1.1.0","name":"{name}","type":"bridge","bridge":"mgmt-br","cni.dev/valid-attachments":[]}}"#
        );
        assert_eq!(pod.call("GC", &conf), Ok(String::new()));
    };
    gc("list");
    assert_eq!(lab.attached(), [pod.id.as_str()]);
    gc("iso");
    lab.assert_nothing_is_left();
}

/// By the name of a network of the file; also a port that was added at run time.
#[test]
fn ports_move_to_networks_of_the_file() {
    once();
    let lab = Lab::new();
    lab.configure(
        "
clusterNetworks:
  mgmt: { uplink: { nics: [eth0], bond: { mode: none } } }
networks:
  red: { clusterNetwork: mgmt, vlan: 300 }
  blue: { clusterNetwork: mgmt, vlan: 400 }
ports:
  - { device: tap0, network: red }
",
    );
    let pod = lab.pod();
    let device = pod.add(VLAN100)["interfaces"][1]["name"].as_str().unwrap().to_owned();
    for (network, vid) in [("red", 300), ("blue", 400)] {
        lab.node.ok(&format!("port move {device} --network {network}"));
        lab.assert_reach(&pod, "eth0", &[(C, vid)]);
    }
    let refused = lab.node.refused("port move tap0 --network blue");
    assert!(refused.contains("port tap0 comes from ") && refused.contains("reload"), "{refused}");
    pod.del(VLAN100);
    lab.assert_nothing_is_left();
    // Its other settings stay.
    let other = lab.pod();
    lab.node.netns.veth("vm1", &other.netns, "net1");
    lab.node.ok("port add vm1 --network red --mac 02:00:00:00:00:07");
    lab.node.ok("port move vm1 --network blue");
    let rows = lab.node.ok("show ports -j");
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["device"] == "vm1").unwrap();
    assert_eq!((&row["vids"], &row["checks"]), (&"400".into(), &serde_json::json!(["macs"])));
}
