//! A node with two VMs, and a monitor that runs on the node.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, ChildStderr, Stdio},
};

use serde_json::Value;

use crate::{
    frame::{C, Frame},
    lab::{Netns, sh, wait_until_eq},
    node::Node,
    wire::Wire,
};

pub const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: off, uplink: { nics: [eth2], bond: { mode: none } } }
networks:
  v100: { clusterNetwork: oob, vlan: 100 }
  v200: { clusterNetwork: oob, vlan: 200 }
ports:
  - { device: a100, network: v100 }
  - { device: a200, network: v200 }
";

/// A node and the other ends of its links.
pub struct Lab {
    pub node: Node,
    _others: Netns,
    pub a100: Wire,
    pub a200: Wire,
    pub wire: Wire,
}

impl Lab {
    pub fn new() -> Self {
        let (node, others) = (Node::new(), Netns::new("others"));
        for name in ["eth2", "a100", "a200"] {
            node.netns.veth(name, &others, name);
        }
        node.configure(CONFIG);
        let [a100, a200, wire] = ["a100", "a200", "eth2"].map(|name| Wire::open(&others, name));
        Self { node, _others: others, a100, a200, wire }
    }

    pub fn applied() -> Self {
        let lab = Self::new();
        lab.node.apply(CONFIG);
        lab
    }

    /// Counted drops at a device for a reason.
    pub fn dropped(&self, device: &str, reason: &str) -> u64 {
        let rows: Value = serde_json::from_str(&self.node.ok("show drops -j")).unwrap();
        let rows = rows.as_array().unwrap().iter();
        rows.filter(|row| row["device"] == device && row["reason"] == reason)
            .map(|row| row["packets"].as_u64().unwrap())
            .sum()
    }

    /// Sends frames of a VLAN that the port does not allow, and waits until the drops are counted.
    pub fn flood(&self, frames: u32) {
        let before = self.dropped("a100", "vlan-not-allowed");
        (0..frames).for_each(|number| {
            let vid = u16::try_from(1000 + number % 500).unwrap();
            self.a100.send(&Frame::numbered(number, &[(C, vid)]));
        });
        let all = before + u64::from(frames);
        wait_until_eq("all drops are counted", &all, || self.dropped("a100", "vlan-not-allowed"));
    }

    /// Starts a monitor and waits until the programs sample for it.
    pub fn monitor(&self, arguments: &str) -> Monitor {
        let mut command = self.node.command(&format!("monitor {arguments}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        errors.read_line(&mut line).unwrap();
        assert!(line.starts_with("showing drops"), "{line}");
        Monitor { child, errors }
    }

    /// Drops of this kind without a sample, since the maps were created.
    pub fn missed(&self, kind: &str) -> u64 {
        let pin = self.node.pin("maps/MONITOR_MISSED");
        let dump = self.node.netns.json(&format!("bpftool -j map dump pinned {pin}"));
        let cpus = dump[0]["formatted"]["values"].as_array().unwrap().iter();
        cpus.map(|cpu| cpu["value"][kind].as_u64().unwrap()).sum()
    }

    pub fn file(&self) -> PathBuf {
        std::env::temp_dir().join(format!("{}.pcapng", self.node.netns.name))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _gone = fs::remove_file(self.file());
    }
}

/// A running monitor, killed when dropped.
pub struct Monitor {
    pub child: Child,
    pub errors: BufReader<ChildStderr>,
}

impl Monitor {
    pub fn signal(&self, signal: &str) {
        sh(&format!("kill -{signal} {}", self.child.id()));
    }

    /// Waits for the end; returns the output and the last line on stderr.
    pub fn end(mut self) -> (String, String) {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let mut last = String::new();
        self.errors.read_to_string(&mut last).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {last}");
        (text, last)
    }

    /// Ends the monitor; returns its JSON lines for frames of the test, and its last line.
    pub fn terminate(self) -> (Vec<Value>, String) {
        self.signal("TERM");
        let (text, last) = self.end();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        (events.filter(|event| event["ethertype"] == "0x88b5").collect(), last)
    }

    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
