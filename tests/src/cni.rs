//! The CNI plugin: networks of containers and VMs, as container runtimes and Multus ask for them.

mod beside_bridge;
mod containerd;
mod lab;
mod libcni;
mod moved;
mod peer_suite;
mod ports;
mod programs;
mod random;
mod replay;
mod undone;

use serde_json::json;

use self::lab::{Lab, Pod, VLAN100};
use crate::{
    frame::{C, Frame},
    lab::{seen, sh, wait_for},
    once,
};

/// The networks of Harvester's documentation.
#[test]
fn networks_of_harvester_work_unchanged() {
    let lab = Lab::new();
    let (tagged, plain) = (lab.pod(), lab.pod());
    let result = tagged.add(VLAN100);
    let names: Vec<_> = (0..3).map(|index| result["interfaces"][index]["name"].clone()).collect();
    assert_eq!((&names[0], &names[2]), (&json!("mgmt-br"), &json!("net1")));
    assert_eq!(result["interfaces"][2]["sandbox"], tagged.path());
    assert_eq!(result["cniVersion"], "0.3.1");
    plain.add(
        r#"{"cniVersion":"0.3.1","name":"untagged-network","type":"bridge","bridge":"oob-br","promiscMode":true,"ipam":{}}"#,
    );
    for (pod, uplink, tags) in [(&tagged, "eth0", vec![(C, 100)]), (&plain, "eth1", vec![])] {
        lab.assert_reach(pod, uplink, &tags);
    }
    // Nothing of one network comes to the other.
    lab.assert_apart(&tagged, "eth1", &[(C, 100)]);
    lab.assert_apart(&plain, "eth0", &[(C, 100)]);
    lab.assert_apart(&tagged, "eth0", &[(C, 200)]);
    assert_eq!(lab.node.netns.sh("ip link show mgmt-br").matches("PROMISC").count(), 1);
    for pod in [&tagged, &plain] {
        pod.del(VLAN100);
    }
    lab.assert_nothing_is_left();
}

/// CHECK, and the proof that the agent has of it all the time.
#[test]
fn check_finds_what_is_damaged() {
    once();
    let lab = Lab::new();
    let pod = lab.pod();
    let result = pod.add(VLAN100);
    let mut conf: serde_json::Value = serde_json::from_str(VLAN100).unwrap();
    conf["cniVersion"] = json!("1.1.0");
    conf["prevResult"] = result.clone();
    let conf = conf.to_string();
    assert_eq!(pod.call("CHECK", &conf), Ok(String::new()));
    let device = result["interfaces"][1]["name"].as_str().unwrap().to_owned();
    let without = conf.replace("prevResult", "other");
    assert_eq!(pod.call("CHECK", &without).unwrap_err()["msg"], "Required prevResult missing");
    // The agent repairs it, unless it does not run.
    lab.stop();
    lab.node.netns.sh(&format!("ip link set {device} nomaster"));
    assert_eq!(pod.call("CHECK", &conf).unwrap_err()["code"], 11);
    lab.start();
    wait_for("the port is repaired", || pod.call("CHECK", &conf).map_err(|it| it.to_string()));
    pod.netns.sh("ip link set net1 address 02:00:00:00:00:99");
    let error = pod.call("CHECK", &conf).unwrap_err();
    assert!(error["msg"].as_str().unwrap().contains("02:00:00:00:00:99"), "{error}");
}

#[test]
fn status_and_version_and_garbage_collection() {
    once();
    let lab = Lab::new();
    let pods = [lab.pod(), lab.pod(), lab.pod()];
    let conf = VLAN100.replace("0.3.1", "1.1.0");
    for pod in &pods {
        pod.add(&conf);
    }
    let other = lab.pod();
    other.add(&conf.replace("vlan100", "another"));
    assert_eq!(pods[0].call("STATUS", &conf), Ok(String::new()));
    let version: serde_json::Value =
        serde_json::from_str(&pods[0].call("VERSION", &conf).unwrap()).unwrap();
    assert_eq!(version["supportedVersions"].as_array().unwrap().len(), 7);
    let mut valid: serde_json::Value = serde_json::from_str(&conf).unwrap();
    valid["cni.dev/valid-attachments"] = json!([{"containerID": pods[1].id, "ifname": "net1"}]);
    assert_eq!(pods[0].call("GC", &valid.to_string()), Ok(String::new()));
    let mut left = lab.attached();
    left.sort();
    let mut wanted = vec![pods[1].id.clone(), other.id.clone()];
    wanted.sort();
    assert_eq!(left, wanted);
    // It is there, and does not answer.
    lab.signal("STOP");
    assert_eq!(pods[0].call("STATUS", &conf).unwrap_err()["code"], 50);
    lab.signal("CONT");
    lab.stop();
    assert_eq!(pods[0].call("STATUS", &conf).unwrap_err()["code"], 50);
    let refused = lab.pod().call("ADD", &conf).unwrap_err();
    assert_eq!(refused["code"], 11, "{refused}");
}

/// An agent that starts again knows the ports; those whose pods went meanwhile are forgotten.
#[test]
fn ports_are_known_after_a_restart() {
    let lab = Lab::new();
    let (stays, goes) = (lab.pod(), lab.pod());
    stays.add(VLAN100);
    goes.add(VLAN100);
    lab.stop();
    lab.assert_reach(&stays, "eth0", &[(C, 100)]);
    goes.del(VLAN100);
    lab.start();
    wait_for("the port is forgotten", || {
        let attached = lab.attached();
        seen(attached.clone(), attached == [stays.id.as_str()])
    });
    lab.assert_reach(&stays, "eth0", &[(C, 100)]);
    let list = lab.node.ok("port list");
    assert!(list.contains("CNI, default/"), "{list}");
}

/// Pods that come all at once, as after a reboot.
#[test]
fn many_pods_come_at_once() {
    once();
    let lab = Lab::new();
    let pods: Vec<Pod> = (0..40).map(|_| lab.pod()).collect();
    std::thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| pod.add(VLAN100));
        }
    });
    assert_eq!(lab.attached().len(), pods.len());
    lab.assert_reach(&pods[0], "eth0", &[(C, 100)]);
    lab.assert_reach(&pods[39], "eth0", &[(C, 100)]);
    std::thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| pod.del(VLAN100));
        }
    });
    lab.assert_nothing_is_left();
}

/// A pod with addresses: from an IPAM plugin, with a gateway on the node.
#[test]
fn ipam_gives_addresses_and_a_gateway() {
    once();
    let lab = Lab::new();
    let pod = lab.pod();
    let conf = r#"{"cniVersion":"1.0.0","name":"pods","type":"netagent","bridge":"cni0","isDefaultGateway":true,
                  "ipam":{"type":"fixed"},"dns":{"nameservers":["10.1.2.1"]}}"#;
    lab.plugin(
        "fixed",
        r#"cat >/dev/null; echo "$CNI_COMMAND" >> "$0.calls"
           [ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"}]}'; exit 0"#,
    );
    let result = pod.add(conf);
    assert_eq!(result["ips"][0]["gateway"], "10.1.2.1");
    assert_eq!(result["ips"][0]["interface"], 2);
    assert_eq!(result["routes"][0], json!({"dst": "0.0.0.0/0", "gw": "10.1.2.1"}));
    assert_eq!(result["dns"]["nameservers"][0], "10.1.2.1");
    wait_for("the gateway answers", || {
        crate::lab::succeeded(&pod.netns.output("ping -c 1 -W 1 10.1.2.1"))
    });
    // A second network that wants another address on that bridge.
    lab.plugin(
        "fixed",
        r#"cat >/dev/null; echo "$CNI_COMMAND" >> "$0.calls"
           [ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.3.3/24"}]}'; exit 0"#,
    );
    let second = lab.pod();
    let error = second.call("ADD", conf).unwrap_err();
    let text = "\"cni0\" already has an IP address different from 10.1.3.1/24";
    assert_eq!(error["msg"], text);
    assert_eq!(lab.attached(), [pod.id.as_str()]);
    assert!(second.netns.link("net1").is_null());
    pod.del(conf);
    let calls = sh(&format!("cat {}.calls", lab.plugins().join("fixed").display()));
    assert_eq!(calls.split_whitespace().collect::<Vec<_>>(), ["ADD", "ADD", "DEL", "DEL"]);
    lab.assert_nothing_is_left();
}

/// The frame of a pod with another source is dropped.
#[test]
fn spoofed_addresses_are_dropped() {
    let lab = Lab::new();
    let mut pod = lab.pod();
    let conf = VLAN100.replace("\"vlan\"", "\"macspoofchk\":true,\"vlan\"");
    let mac = "02:00:00:00:12:34";
    pod.args = format!("MAC={mac};IgnoreUnknown=1;IgnoreUnknown=true");
    let result = pod.add(&conf);
    assert_eq!(result["interfaces"][2]["mac"], mac);
    lab.assert_reach(&pod, "eth0", &[(C, 100)]);
    let device = result["interfaces"][1]["name"].as_str().unwrap().to_owned();
    let spoofed = Frame { source: [2, 0, 0, 0, 9, 9], ..Frame::numbered(77, &[]) };
    pod.wire().send(&spoofed);
    wait_for("the drop is counted", || {
        let drops = lab.node.drops();
        let there = drops.iter().any(|((of, reason), _)| *of == device && reason.contains("mac"));
        seen(drops, there)
    });
}

/// The VLANs of pods come to the uplink that the node lives on, and go, without a confirmation and
/// without a trial: the node's own VLAN is not touched.
#[test]
fn pods_come_and_go_on_the_segment_of_the_node() {
    let lab = Lab::new();
    lab.configure(
        "clusterNetworks: { mgmt: { uplink: { nics: [eth0], bond: { mode: none } }, \
         host: { address: 10.0.0.5/24, gateway: 10.0.0.1 } } }\n",
    );
    let pods = [lab.pod(), lab.pod()];
    pods[0].add(VLAN100);
    pods[1].add(&VLAN100.replace("\"vlan\":100", "\"vlan\":200"));
    lab.assert_reach(&pods[0], "eth0", &[(C, 100)]);
    lab.assert_reach(&pods[1], "eth0", &[(C, 200)]);
    for pod in &pods {
        pod.del(VLAN100);
        let status = lab.node.ok("status");
        assert!(!status.contains("on-trial") && !status.contains("confirm"), "{status}");
    }
    lab.assert_nothing_is_left();
}
