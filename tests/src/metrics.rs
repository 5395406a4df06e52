//! The counters in four views that must agree: the frames sent, `show`, the maps in bpftool, and a
//! Prometheus server.

use std::{
    fs,
    process::{Child, Command},
    time::Duration,
};

use serde_json::Value;

use crate::{
    frame::Frame,
    lab::{Netns, wait_until_eq},
    needs_program,
    node::Node,
    once,
    wire::Wire,
};

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: off, uplink: { nics: [eth2], bond: { mode: none } } }
networks:
  v100: { clusterNetwork: oob, vlan: 100 }
ports:
  - { device: vm, network: v100 }
";

/// A VM that has sent 7 frames that pass and 3 frames that are dropped.
struct Lab {
    node: Node,
    others: Netns,
}

fn lab() -> Lab {
    let (node, others) = (Node::new(), Netns::new("others"));
    node.netns.veth("vm", &others, "vm");
    node.netns.veth("eth2", &others, "wire");
    node.configure(CONFIG);
    Lab { node, others }
}

impl Lab {
    fn send(&self) {
        let (vm, wire) = (Wire::open(&self.others, "vm"), Wire::open(&self.others, "wire"));
        (1..=7).for_each(|number| vm.send(&Frame::numbered(number, &[])));
        (8..=10).for_each(|number| vm.send(&Frame::numbered(number, &[(0x8100, 200)])));
        for _ in 1..=7 {
            assert!(wire.receive(Duration::from_secs(5)).is_some());
        }
    }
}

/// A child process, killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

#[test]
fn show_bpftool_and_metrics_agree_with_the_frames_sent() {
    once();
    let lab = lab();
    let daemon = lab.node.run();
    lab.send();

    let vlans: Value = serde_json::from_str(&lab.node.ok("show vlans -j")).unwrap();
    let text = vlans.to_string();
    assert!(text.contains("vlan-not-allowed"), "{text}");

    let dump = lab
        .node
        .netns
        .json(&format!("bpftool -j map dump pinned {}", lab.node.pin("maps/VLAN_STATS")));
    let cpus = dump
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|pair| pair["formatted"]["values"].as_array().unwrap());
    let of_vm = cpus
        .map(|cpu| &cpu["value"])
        .filter(|value| value["vid"] == 100 && value["rx_packets"] != 0);
    assert_eq!(of_vm.map(|value| value["rx_packets"].as_u64().unwrap()).sum::<u64>(), 7);

    let drops =
        lab.node.netns.json(&format!("bpftool -j map dump pinned {}", lab.node.pin("maps/DROPS")));
    let ports = drops.as_array().unwrap().iter();
    let cpus = ports.flat_map(|port| port["formatted"]["values"].as_array().unwrap());
    let packets = cpus
        .flat_map(|cpu| cpu["value"].as_array().unwrap())
        .filter(|slot| slot["key"]["reason"] == "VlanNotAllowed" && slot["key"]["vid"] == 200)
        .map(|slot| slot["packets"].as_u64().unwrap());
    assert_eq!(packets.sum::<u64>(), 3);

    let metrics = daemon.get("metrics");
    for sample in [
        "netagent_vlan_receive_packets_total{device=\"vm\",vlan=\"100\"} 7",
        "netagent_vlan_transmit_packets_total{device=\"eth2\",vlan=\"100\"} 7",
        "netagent_receive_drop_packets_total{device=\"vm\",vlan=\"200\",reason=\"vlan-not-allowed\"} 3",
        "netagent_vlan_receive_bytes_total{device=\"vm\",vlan=\"100\"} 420",
        "netagent_vlan_transmit_bytes_total{device=\"eth2\",vlan=\"100\"} 420",
        "netagent_receive_drop_bytes_total{device=\"vm\",vlan=\"200\",reason=\"vlan-not-allowed\"} 180",
    ] {
        assert!(metrics.contains(sample), "{sample}\n{metrics}");
    }
}

#[test]
fn both_formats_pass_promtool() {
    once();
    if !needs_program("promtool") {
        return;
    }
    let lab = lab();
    let _daemon = lab.node.run();
    lab.send();
    for accept in ["text/plain", "application/openmetrics-text;version=1.0.0"] {
        // promtool checks the classic format. The Prometheus server below scrapes OpenMetrics.
        let get = format!("curl -sf -H 'Accept: {accept}' http://127.0.0.1:9469/metrics");
        let text = lab.node.netns.sh(&get);
        assert_eq!(text.ends_with("# EOF\n"), accept.contains("openmetrics"), "{text}");
    }
    let output =
        lab.node.netns.output("curl -sf http://127.0.0.1:9469/metrics | promtool check metrics");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
}

#[test]
fn prometheus_scrapes_and_answers_queries() {
    once();
    if !needs_program("prometheus") {
        return;
    }
    let lab = lab();
    let _daemon = lab.node.run();
    lab.send();
    let directory = std::env::temp_dir().join(&lab.node.netns.name);
    fs::create_dir_all(&directory).unwrap();
    let config = directory.join("prometheus.yml");
    fs::write(
        &config,
        "global: { scrape_interval: 1s }\n\
         scrape_configs: [{ job_name: node, static_configs: [{ targets: ['127.0.0.1:9469'] }] }]\n",
    )
    .unwrap();
    let line = format!(
        "exec prometheus --config.file={} --storage.tsdb.path={} --web.listen-address=127.0.0.1:9090 2>/dev/null",
        config.display(),
        directory.join("data").display()
    );
    let mut command: Command = lab.node.netns.command(&line);
    let prometheus = Killed(command.spawn().unwrap());
    let query = |expression: &str| {
        let line = format!(
            "curl -s --data-urlencode 'query={expression}' http://127.0.0.1:9090/api/v1/query"
        );
        let output = lab.node.netns.output(&line);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        answer["data"]["result"][0]["value"][1].as_str().unwrap_or_default().to_owned()
    };
    let vm = "netagent_vlan_receive_packets_total{device=\"vm\",vlan=\"100\"}";
    wait_until_eq("Prometheus has the VM's seven frames", &"7".to_owned(), || query(vm));
    let dropped = "sum by (device) (netagent_receive_drop_packets_total{device=\"vm\"})";
    assert_eq!(query(dropped), "3");
    let named = "netagent_vlan_receive_packets_total * on (device) group_left (network) netagent_port_info{network=\"v100\"}";
    wait_until_eq("the counters join with the network", &"7".to_owned(), || query(named));
    drop(prometheus);
    fs::remove_dir_all(&directory).unwrap();
}
