//! A node with one of the two programs.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::{
    cni::{
        lab::{Lab, Pod, heard},
        programs::Programs,
    },
    frame::{C, Frame},
    lab::wait_until_eq,
    wire::Wire,
};

/// A node, and the plugin that its runtime calls. Both nodes have the bridge `mgmt-br`, whose
/// uplink carries the VLANs 1 (untagged), 100 and 200.
pub struct Side {
    pub lab: Lab,
    plugin: String,
}

impl Side {
    /// The bridge plugin. Its node is made as Harvester's agent makes it.
    pub fn bridge(programs: &Programs, filtering: bool) -> Self {
        let lab = Lab::without_agent();
        let node = &lab.node.netns;
        let filter = if filtering { "vlan_filtering 1" } else { "" };
        node.sh(&format!(
            "ip link add mgmt-br type bridge {filter} && ip link set mgmt-br up
             ip link set eth0 master mgmt-br"
        ));
        if filtering {
            node.sh("for vid in 100 200; do bridge vlan add dev eth0 vid $vid; done");
        }
        node.wait_for_bridge_ports();
        let plugin = programs.path("bridge").display().to_string();
        Self { lab, plugin }.with_ipam(programs)
    }

    /// netagent-cni, and the agent.
    pub fn netagent(programs: &Programs) -> Self {
        let lab = Lab::new();
        lab.configure(
            "clusterNetworks: { mgmt: { uplink: { nics: [eth0], bond: { mode: none } } } }
networks:
  one: { clusterNetwork: mgmt, vlan: 100 }
  two: { clusterNetwork: mgmt, vlan: 200 }
",
        );
        let plugin = std::env::var("NETAGENT_CNI").expect("NETAGENT_CNI names the plugin");
        Self { lab, plugin }.with_ipam(programs)
    }

    fn with_ipam(self, programs: &Programs) -> Self {
        fs::copy(programs.path("host-local"), self.lab.plugins().join("host-local")).unwrap();
        self
    }

    pub fn pod(&self) -> Pod {
        self.lab.pod_of(&self.plugin)
    }

    /// What a scenario sees. The interfaces of the pods before go a moment after their namespaces.
    pub fn of(&self, scenario: fn(&Self) -> String) -> String {
        wait_until_eq("the interfaces of other pods are gone", &0, || self.veths());
        scenario(self)
    }

    /// How many pods' interfaces the node has.
    pub fn veths(&self) -> usize {
        let links = self.lab.node.netns.sh("ip -br link show type veth");
        links.lines().filter(|line| line.starts_with("veth")).count()
    }

    /// `the wire: TAGS, back: TAGS`: what a pod and the wire hear of each other's frames.
    pub fn exchange(&self, pod: &Pod, from_pod: &[u16], from_wire: &[u16]) -> String {
        let (port, nic) = (pod.wire(), Wire::open(&self.lab.switch, "eth0"));
        let [sent, answered] = [from_pod, from_wire].map(tags);
        let out = first(&port, &nic, &Frame::numbered(11, &sent));
        let back = first(&nic, &port, &Frame::numbered(12, &answered));
        format!("the wire: {out}, back: {back}")
    }
}

/// A network of `mgmt-br` with more keys.
pub fn network(keys: &Value) -> String {
    let mut conf =
        json!({"cniVersion": "1.1.0", "name": "one", "type": "bridge", "bridge": "mgmt-br"});
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    conf.to_string()
}

/// `ok`, or the code of an error.
pub fn answer(result: &Result<String, Value>) -> String {
    match result {
        Ok(_) => "ok".into(),
        Err(error) => format!("error {}", error["code"]),
    }
}

fn tags(vids: &[u16]) -> Vec<(u16, u16)> {
    vids.iter().map(|vid| (C, *vid)).collect()
}

/// What one socket hears of a frame that another sends: its tags, or `nothing`.
pub fn first(from: &Wire, to: &Wire, frame: &Frame) -> String {
    // A frame that is lost to load would be taken for one that does not pass.
    let tries = (0..3).find_map(|_| {
        from.send(frame);
        let tags = heard(to, frame.number());
        while to.receive(Duration::from_millis(20)).is_some() {}
        tags
    });
    match tries {
        None => "nothing".into(),
        Some(tags) if tags.is_empty() => "untagged".into(),
        Some(tags) => {
            let vids: Vec<String> = tags.iter().map(|(_, tci)| (tci & 0xfff).to_string()).collect();
            vids.join("+")
        }
    }
}
