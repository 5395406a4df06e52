//! The log of the programs: off by default, and then not in the programs.

use std::{fs, process::Child};

use crate::{
    frame::Frame,
    lab::{Netns, wait_until},
    needs_program,
    node::Node,
    wire::Wire,
};

const CONFIG: &str = "
clusterNetworks:
  oob: { uplink: { nics: [eth2], bond: { mode: none }, xdp: off } }
networks:
  v100: { clusterNetwork: oob, vlan: 100 }
ports:
  - { device: vm-a, network: v100 }
";

struct Lab {
    node: Node,
    others: Netns,
    log: std::path::PathBuf,
}

impl Lab {
    fn new() -> Self {
        let (node, others) = (Node::new(), Netns::new("others"));
        ["eth2", "vm-a"].into_iter().for_each(|port| node.netns.veth(port, &others, port));
        node.configure(CONFIG);
        let log = std::env::temp_dir().join(format!("{}.programs", node.netns.name));
        Self { node, others, log }
    }

    /// Starts a daemon that logs at these levels.
    fn run(&self, levels: &str) -> Child {
        let mut daemon = self.node.command(&format!("run -c {}", self.node.config()));
        daemon.env("NETAGENT_LOG", levels).stderr(fs::File::create(&self.log).unwrap());
        daemon.spawn().unwrap()
    }

    /// The directories of loaded programs.
    fn programs(&self) -> Vec<String> {
        let Ok(builds) = fs::read_dir(self.node.pin("programs")) else { return Vec::new() };
        builds.map(|build| build.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn is_settled(&self) -> bool {
        self.node.netagent(&format!("plan -c {}", self.node.config())).status.success()
    }

    /// Instructions of a program that load the address of a map.
    fn uses(&self, program: &str, map: &str) -> usize {
        let map = self.node.pin(&format!("maps/{map}"));
        let map = self.node.netns.json(&format!("bpftool -j map show pinned {map}"));
        let [build] = &self.programs()[..] else { panic!("{:?}", self.programs()) };
        let pin = self.node.pin(&format!("programs/{build}/{program}"));
        let listing = self.node.netns.sh(&format!("bpftool prog dump xlated pinned {pin}"));
        listing.matches(&format!("map[id:{}]", map["id"])).count()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.log);
    }
}

fn stop(mut daemon: Child) {
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

#[test]
fn faults_are_logged_at_debug_and_the_code_is_removed_otherwise() {
    if !needs_program("bpftool") {
        return;
    }
    let lab = Lab::new();
    let daemon = lab.run("info,netagent_ebpf=debug");
    // Another process accepts the programs, whatever their level is.
    wait_until("the daemon has applied the file", || lab.is_settled());
    assert_eq!(lab.programs().len(), 1, "{:?}", lab.programs());
    assert!(lab.uses("port_in", "AYA_LOGS") > 0);
    // Without its element in the port index the device has no policy.
    let index = lab.node.netns.ifindex("vm-a");
    let map = lab.node.pin("maps/PORT_INDEX");
    lab.node.netns.sh(&format!(
        "bpftool map update pinned {map} key {} {} 0 0 value 0 0 0 0 0 0 0 0",
        index % 256,
        index / 256
    ));
    let wire = Wire::open(&lab.others, "vm-a");
    wire.send(&Frame::numbered(1, &[]));
    wait_until("the programs log a frame without a policy", || {
        let logged = fs::read_to_string(&lab.log).unwrap();
        logged.contains(&format!("ifindex {index}: no policy for the device"))
    });
    stop(daemon);
    let with_log = lab.programs();
    let daemon = lab.run("info");
    wait_until("the daemon has replaced the programs", || {
        let programs = lab.programs();
        programs.len() == 1 && programs != with_log
    });
    assert_eq!(lab.uses("port_in", "AYA_LOGS"), 0);
    assert!(lab.uses("port_in", "DROPS") > 0, "the listing names maps");
    wait_until("the port has its policy again", || lab.is_settled());
    stop(daemon);
}
