//! netagent itself in a container, made of the program and its libraries, without a registry. Of
//! the capabilities that it has as root, CAP_NET_ADMIN and CAP_BPF are enough.

use std::{fs, path::Path, time::Duration};

use super::runtime::Containerd;
use crate::{
    cni::{lab::Lab, programs::programs},
    frame::{C, Frame},
    lab::{sh, wait_for},
    once,
    wire::Wire,
};

const FILE: &str = "
clusterNetworks:
  mgmt: { uplink: { nics: [eth0], bond: { mode: none } } }
  oob: { uplink: { nics: [eth1], bond: { mode: none } } }
networks:
  v100: { clusterNetwork: mgmt, vlan: 100, security: { maxMacs: 4, dhcpGuard: true } }
ports:
  - { device: vm1, network: v100 }
";

/// The file system of the container: the program, and what `ldd` says that it needs.
fn fill(root: &Path, program: &str) {
    let libraries = sh(&format!("ldd {program}"));
    let paths = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for path in paths.chain([program]) {
        let to = if path == program { "/netagent" } else { path };
        let to = root.join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
}

#[test]
fn netagent_runs_in_a_container() {
    once();
    let Some(programs) = programs() else { return };
    let lab = Lab::new();
    lab.stop();
    lab.node.ok("detach");
    lab.node.netns.veth("vm1", lab.switch(), "vm1");
    lab.node.configure(FILE);
    let containerd = Containerd::new(&lab, &programs);
    fill(&containerd.path("rootfs"), &std::env::var("NETAGENT").unwrap());
    let agent = lab.node.state().parent().unwrap().display().to_string();
    let run = |name: &str, options: &str, arguments: &str| {
        containerd.sh(&format!(
            "ctr -a $DIR/sock run {options} --net-host --cap-drop CAP_NET_RAW \
             --cap-add CAP_NET_ADMIN --cap-add CAP_BPF \
             --mount type=bind,src=/sys/fs/bpf,dst=/sys/fs/bpf,options=rbind:rw \
             --mount type=bind,src={agent},dst={agent},options=rbind:rw \
             --env NETAGENT_SOCKET={} --env NETAGENT_STATE={} --rootfs $DIR/rootfs {name} \
             /netagent --pins {} {arguments}",
            lab.node.socket().display(),
            lab.node.state().display(),
            lab.node.pins.display(),
        ))
    };
    let applied = run("apply", "--rm", &format!("apply -c {}", lab.node.config()));
    assert!(applied.contains("done, and verified"), "{applied}");
    lab.node.netns.wait_for_bridge_ports();
    let (vm, wire) = (Wire::open(lab.switch(), "vm1"), Wire::open(lab.switch(), "eth0"));
    vm.send(&Frame::numbered(1, &[]));
    wait_for("a frame of the VM leaves in its VLAN", || {
        let came = wire.receive(Duration::from_secs(1)).and_then(|it| Frame::from_bytes(&it));
        let expected = Frame::numbered(1, &[(C, 100)]);
        if came.as_ref() == Some(&expected) { Ok(()) } else { Err(format!("{came:?}")) }
    });
    let shown = run("show", "--rm", "show ports");
    assert!(shown.contains("vm1") && !shown.contains("MISSING"), "{shown}");
    run("run", "--detach", &format!("run -c {}", lab.node.config()));
    lab.node.wait_until_ready();
    assert!(lab.node.ok("status").contains("vm1"));
    containerd.sh("ctr -a $DIR/sock task kill --signal SIGTERM run");
    wait_for("the agent has ended", || {
        let tasks = containerd.sh("ctr -a $DIR/sock task list");
        if tasks.contains("RUNNING") { Err(tasks) } else { Ok(()) }
    });
    containerd.sh("ctr -a $DIR/sock task delete run && ctr -a $DIR/sock container delete run");
    run("detach", "--rm", "detach");
    assert!(!lab.node.pins.exists());
}
