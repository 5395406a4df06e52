//! A node with libvirtd, an uplink, and stations in two VLANs behind it.

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Output, thread};

use serde_json::Value;

use crate::{
    dhcp::Process,
    lab::{Netns, succeeded, wait_for},
    node::Node,
    unpacked::{Unpacked, unpacked},
};

const CONFIG: &str = "
clusterNetworks:
  lab: { uplink: { nics: [eth2], bond: { mode: none } } }
networks:
  n100: { clusterNetwork: lab, vlan: 100 }
  n200: { clusterNetwork: lab, vlan: 200 }
metrics: { listen: \"127.0.0.1:9469\" }
";

const HOOK: &str = include_str!("../../../contrib/libvirt/netagent");

/// The node of the guests, and a switch, which is a node as well: its ports are the stations.
pub struct Lab {
    pub node: Node,
    _switch: Node,
    stations: [Netns; 2],
    _servers: Vec<Process>,
    unpacked: Unpacked,
    /// The kernel and the root file system of the guests.
    pub guest: PathBuf,
}

/// The lab, whose file has these ports. If the packages or the guest are not there, prints so, and
/// the test must return.
pub fn lab(ports: &str) -> Option<Lab> {
    let unpacked = unpacked()?;
    let Some(guest) = std::env::var_os("NETAGENT_GUEST").map(PathBuf::from) else {
        println!("skipped: {}: no guest", crate::test());
        return None;
    };
    let (node, switch) = (Node::new(), Node::new());
    node.netns.veth("eth2", &switch.netns, "eth2");
    let stations = [100, 200].map(|vlan| {
        let station = Netns::new(&format!("s{vlan}"));
        let port = format!("s{vlan}");
        switch.netns.veth(&port, &station, "eth0");
        // The guest asks for frames with a checksum.
        station.sh("ethtool -K eth0 tx off >/dev/null");
        station
    });
    // The two VLANs have the same subnet: only the VLAN keeps the guest from the second station.
    stations[0].sh("ip address add 10.0.0.1/24 dev eth0");
    stations[1].sh("ip address add 10.0.0.2/24 dev eth0 && ip address add 10.2.0.1/24 dev eth0");
    let ports_of_switch =
        [100, 200].map(|vlan| format!("  - {{ device: s{vlan}, network: n{vlan} }}\n"));
    switch.apply(&format!("{CONFIG}ports:\n{}", ports_of_switch.concat()));
    let servers = stations.iter().zip([50, 60]).map(|(station, last)| {
        let line = format!(
            "exec dnsmasq --keep-in-foreground --no-daemon --conf-file=/dev/null --port=0 \
             --interface=eth0 --bind-interfaces --dhcp-range=10.0.0.{last},10.0.0.{last},120 \
             --leasefile-ro --dhcp-authoritative --user=root --no-ping \
             --pid-file= 2>/dev/null"
        );
        Process(station.command(&line).spawn().unwrap())
    });
    let servers = servers.collect();
    let ports = if ports.is_empty() { String::new() } else { format!("ports:\n{ports}") };
    node.configure(&format!("{CONFIG}{ports}"));
    Some(Lab { node, _switch: switch, stations, _servers: servers, unpacked, guest })
}

impl Lab {
    /// The station in a VLAN.
    pub fn station(&self, vlan: u16) -> &Netns {
        &self.stations[usize::from(vlan == 200)]
    }

    /// Device, network, source and state of each port.
    pub fn ports(&self) -> Vec<String> {
        let ports: Value = serde_json::from_str(&self.node.ok("port list -j")).unwrap();
        let row = |port: &Value| {
            let text = |key: &str| port[key].as_str().unwrap();
            ["device", "network", "origin", "state"].map(text).join(" ")
        };
        ports.as_array().unwrap().iter().map(row).collect()
    }
}

/// libvirtd and what it starts, in a mount namespace and a process namespace of their own.
pub struct Host<'a> {
    pub lab: &'a Lab,
    pub directory: PathBuf,
    holder: Process,
}

impl<'a> Host<'a> {
    /// Makes the namespaces, with the files of this purpose: `libvirt` starts libvirtd as well.
    pub fn start(lab: &'a Lab, purpose: &str) -> Self {
        let netns = &lab.node.netns;
        let directory = std::env::temp_dir().join(format!("{}.{purpose}", netns.name));
        fs::create_dir(&directory).unwrap();
        let own = directory.display();
        let script = directory.join("script");
        fs::write(&script, include_str!("host.sh")).unwrap();
        fs::write(directory.join("hook"), HOOK).unwrap();
        fs::create_dir(directory.join("bin")).unwrap();
        let netagent = std::env::var("NETAGENT").unwrap();
        symlink(netagent, directory.join("bin/netagent")).unwrap();
        let line = format!(
            "exec env UNPACKED={} OWN={own} SOCKET={} \
             unshare --mount --pid --fork --kill-child --mount-proc sh {}",
            lab.unpacked.path("").display(),
            lab.node.socket().display(),
            script.display(),
        );
        let holder = Process(netns.command(&line).spawn().unwrap());
        let host = Self { lab, directory, holder };
        wait_for("the files", || succeeded(&host.output("test -e /run/ready")));
        if purpose == "libvirt" {
            host.start_libvirtd();
        }
        host
    }

    /// Runs a shell line in the namespaces.
    fn output(&self, line: &str) -> Output {
        let id = self.holder.0.id();
        // The namespaces are those of unshare's child.
        let child = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let child = child.trim();
        let line = format!("exec nsenter --mount --pid --target {child} sh -c '{line}'");
        self.lab.node.netns.output(&line)
    }

    fn start_libvirtd(&self) {
        let own = self.directory.display();
        let started = self.output(&format!(
            "PATH={own}/bin:$PATH setsid libvirtd >>{own}/libvirtd.log 2>&1 </dev/null & echo $! >/run/libvirtd"
        ));
        succeeded(&started).unwrap();
        wait_for("libvirtd", || {
            let log = fs::read_to_string(self.directory.join("libvirtd.log")).unwrap_or_default();
            succeeded(&self.output("virsh -c qemu:///system version"))
                .map_err(|error| format!("{error}\n{log}"))
        });
    }

    /// Stops libvirtd and starts it again. Its domains go on.
    pub fn restart_libvirtd(&self) {
        self.output("kill $(cat /run/libvirtd)");
        wait_for("libvirtd has stopped", || {
            let gone = self.output("! kill -0 $(cat /run/libvirtd)");
            succeeded(&gone)
        });
        self.start_libvirtd();
        // It reconnects to its domains in threads.
        wait_for("it has reconnected", || {
            succeeded(&self.output("virsh -c qemu:///system domstate one"))
        });
    }

    /// Runs `virsh ARGUMENTS` and returns its output. Panics if the command fails.
    pub fn virsh(&self, arguments: &str) -> String {
        let output = self.output(&format!("virsh -q -c qemu:///system {arguments}"));
        succeeded(&output).unwrap_or_else(|error| panic!("virsh {arguments}: {error}"))
    }

    /// Runs `virsh ARGUMENTS` and returns its error. Panics if the command succeeds.
    pub fn refused(&self, arguments: &str) -> String {
        let output = self.output(&format!("virsh -q -c qemu:///system {arguments}"));
        assert!(!output.status.success(), "virsh {arguments}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// The tap of an interface.
    pub fn device(&self, domain: &str, mac: &str) -> String {
        let list = self.virsh(&format!("domiflist {domain}"));
        let row = list.lines().find(|line| line.contains(mac)).unwrap();
        row.split_whitespace().next().unwrap().to_owned()
    }
}

impl Drop for Host<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = fs::read_to_string(self.directory.join("libvirtd.log")).unwrap_or_default();
            println!("log of libvirtd:\n{log}");
        }
        let _gone = self.holder.0.kill();
        let _gone = self.holder.0.wait();
        let _gone = fs::remove_dir_all(&self.directory);
    }
}
