//! A node with an agent and two uplinks, and pods whose runtime is the test.

use std::{
    cell::RefCell,
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::Value;

use crate::{
    frame::{BROADCAST, Frame, TEST},
    lab::{Netns, seen, wait_for},
    node::Node,
    wire::Wire,
};

/// A network of Harvester's documentation.
pub const VLAN100: &str = r#"{"cniVersion":"0.3.1","name":"vlan100","type":"bridge","bridge":"mgmt-br","promiscMode":true,"vlan":100}"#;

const FILE: &str = "
clusterNetworks:
  mgmt: { uplink: { nics: [eth0], bond: { mode: none } } }
  oob: { uplink: { nics: [eth1], bond: { mode: none } } }
";

/// A node. Its NICs lead to the namespace of the switch.
pub struct Lab {
    pub node: Node,
    pub switch: Netns,
    daemon: RefCell<Option<Child>>,
}

impl Lab {
    pub fn new() -> Self {
        let lab = Self::without_agent();
        lab.node.configure(FILE);
        lab.start();
        lab
    }

    /// A node with its NICs only.
    pub fn without_agent() -> Self {
        let (node, switch) = (Node::new(), Netns::new("switch"));
        for nic in ["eth0", "eth1"] {
            node.netns.veth(nic, &switch, nic);
        }
        let lab = Self { node, switch, daemon: RefCell::new(None) };
        fs::create_dir(lab.plugins()).unwrap();
        lab
    }

    /// Restarts the agent with another file.
    pub fn configure(&self, yaml: &str) {
        self.stop();
        self.node.configure(yaml);
        self.start();
    }

    /// Starts the agent.
    pub fn start(&self) {
        *self.daemon.borrow_mut() = Some(self.node.spawn());
        self.node.wait_until_ready();
        self.node.netns.wait_for_bridge_ports();
    }

    /// Kills the agent.
    pub fn stop(&self) {
        if let Some(mut daemon) = self.daemon.borrow_mut().take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }

    /// Sends a signal to the agent.
    pub fn signal(&self, name: &str) {
        let id = self.daemon.borrow().as_ref().unwrap().id();
        crate::lab::sh(&format!("kill -{name} {id}"));
    }

    /// Whether the agent runs.
    pub fn runs(&self) -> bool {
        self.daemon.borrow().is_some()
    }

    /// The namespace of the switch.
    pub const fn switch(&self) -> &Netns {
        &self.switch
    }

    /// The directory of the other plugins.
    pub fn plugins(&self) -> PathBuf {
        PathBuf::from(format!("/tmp/{}.plugins", self.node.netns.name))
    }

    /// Writes a plugin: a shell script.
    pub fn plugin(&self, name: &str, script: &str) {
        let path = self.plugins().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A pod without an interface.
    pub fn pod(&self) -> Pod {
        self.pod_of(&std::env::var("NETAGENT_CNI").expect("NETAGENT_CNI names the plugin"))
    }

    /// A pod whose runtime calls this plugin.
    pub fn pod_of(&self, plugin: &str) -> Pod {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let netns = Netns::new("pod");
        let id = format!("{number:064x}");
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=vm{number}");
        let line = format!(
            "env NETAGENT_SOCKET={} CNI_PATH={} {plugin}",
            self.node.socket().display(),
            self.plugins().display(),
        );
        Pod { node: self.node.netns.name.clone(), line, netns, id, ifname: "net1".into(), args }
    }

    /// The containers whose interfaces are plugged in, as the agent says.
    pub fn attached(&self) -> Vec<String> {
        let texts = self.attachments("containerId").into_iter();
        texts.map(|text| text.as_str().unwrap().to_owned()).collect()
    }

    /// The pods' interfaces that are plugged in.
    pub fn attached_interfaces(&self) -> Vec<Value> {
        self.attachments("ifname")
    }

    /// A member of all attachments that the agent has.
    fn attachments(&self, key: &str) -> Vec<Value> {
        let socket = self.node.socket();
        let output = self.node.netns.output(&format!(
            "curl -s --unix-socket {} http://localhost/v1/attachments",
            socket.display()
        ));
        let list: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
        list.iter().map(|it| it[key].clone()).collect()
    }

    /// Asserts that a pod and the wire behind an uplink hear each other, with these tags there.
    pub fn assert_reach(&self, pod: &Pod, uplink: &str, tags: &[(u16, u16)]) {
        let (wire, nic) = (pod.wire(), Wire::open(&self.switch, uplink));
        let link = pod.netns.link(&pod.ifname);
        let mac = mac(link["address"].as_str().unwrap());
        wait_for(&format!("{} and {uplink} hear each other", pod.ifname), || {
            let frame = Frame { source: mac, destination: BROADCAST, ..Frame::numbered(1, &[]) };
            wire.send(&frame);
            let out = heard(&nic, 1);
            nic.send(&Frame { destination: mac, ..Frame::numbered(2, tags) });
            let back = heard(&wire, 2);
            let there = out.as_deref() == Some(tags) && back.as_deref() == Some(&[][..]);
            seen((out, back), there)
        });
    }

    /// Asserts that a pod does not hear a frame with these tags from an uplink.
    pub fn assert_apart(&self, pod: &Pod, uplink: &str, tags: &[(u16, u16)]) {
        let (wire, nic) = (pod.wire(), Wire::open(&self.switch, uplink));
        nic.send(&Frame { destination: BROADCAST, ..Frame::numbered(3, tags) });
        assert_eq!(heard(&wire, 3), None, "{uplink} {tags:?}");
    }

    /// Asserts that no interface of a pod is left on the node, and nothing of it in the agent.
    pub fn assert_nothing_is_left(&self) {
        wait_for("nothing is left", || {
            let links = self.node.netns.sh("ip -br link show type veth");
            let left: Vec<&str> = links.lines().filter(|line| line.starts_with("veth")).collect();
            let ports = self.node.ok("port list -j");
            let pinned = self.node.netns.sh(&format!("ls {}", self.node.pin("links")));
            let kept = ports.contains("veth") || pinned.contains("veth");
            let nothing = left.is_empty() && self.attached().is_empty() && !kept;
            seen((links.clone(), ports, pinned), nothing)
        });
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop();
        let _gone = fs::remove_dir_all(self.plugins());
    }
}

/// The tags of the frame with this number, if it comes.
pub fn heard(wire: &Wire, number: u32) -> Option<Vec<(u16, u16)>> {
    let mut patience = Duration::from_millis(500);
    while let Some(bytes) = wire.receive(patience) {
        let frame = Frame::from_bytes(&bytes).filter(|frame| frame.ethertype == TEST);
        if let Some(frame) = frame.filter(|frame| frame.number() == number) {
            return Some(frame.tags);
        }
        patience = Duration::from_millis(100);
    }
    None
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|it| u8::from_str_radix(it, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// A pod.
pub struct Pod {
    node: String,
    line: String,
    pub netns: Netns,
    pub id: String,
    pub ifname: String,
    /// `CNI_ARGS`
    pub args: String,
}

impl Pod {
    /// The path of its namespace.
    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.netns.name)
    }

    /// Its end of the pair.
    pub fn wire(&self) -> Wire {
        Wire::open(&self.netns, &self.ifname)
    }

    /// Calls the plugin. Returns what it prints: the result, or the error.
    pub fn call(&self, verb: &str, conf: &str) -> Result<String, Value> {
        self.call_in(verb, conf, &self.path(), "")
    }

    /// Calls the plugin with another path of the namespace, and by another program (`strace`).
    pub fn call_in(
        &self,
        verb: &str,
        conf: &str,
        netns: &str,
        before: &str,
    ) -> Result<String, Value> {
        let line = self.line_in(verb, netns, before);
        let mut child = std::process::Command::new("nsenter")
            .args([&format!("--net=/run/netns/{}", self.node), "sh", "-c", &line])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A process that was killed reads nothing.
        drop(child.stdin.take().unwrap().write_all(conf.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        if output.status.success() {
            Ok(text)
        } else {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(serde_json::from_str(&text).unwrap_or(Value::String(text + &errors)))
        }
    }

    /// The shell line that calls the plugin.
    pub fn command_line(&self, verb: &str) -> String {
        self.line_in(verb, &self.path(), "")
    }

    fn line_in(&self, verb: &str, netns: &str, before: &str) -> String {
        format!(
            "CNI_COMMAND={verb} CNI_CONTAINERID={} CNI_NETNS={netns} CNI_IFNAME={} CNI_ARGS='{}' \
             exec {before} {}",
            self.id, self.ifname, self.args, self.line
        )
    }

    /// ADD that succeeds.
    pub fn add(&self, conf: &str) -> Value {
        let text = self.call("ADD", conf).unwrap_or_else(|error| panic!("ADD: {error}"));
        serde_json::from_str(&text).unwrap()
    }

    /// DEL that succeeds.
    pub fn del(&self, conf: &str) {
        assert_eq!(self.call("DEL", conf), Ok(String::new()));
    }
}
