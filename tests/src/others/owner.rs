//! One agent for each network namespace, and one set of programs on each device.

use std::{
    fs,
    process::{Child, Command},
};

use super::{lab, pass};
use crate::{Feature, counters::lab::Lab, forward::Path, frame::C, lab::wait_until, needs};

/// A frame of another VLAN reaches nobody.
fn assert_filtered(lab: &Lab) {
    let sent = lab.send("vm-b", &[(C, 200)], [[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]]);
    assert!(lab.heard("vm-a", &[sent], ("vm-b", &[])).is_empty());
}

#[test]
fn second_agent_with_other_pins_is_refused() {
    let lab = lab(Path::Bridge);
    let daemon = lab.node.run();
    let other = std::path::PathBuf::from(format!("{}-other", lab.node.pins.display()));
    let line = lab.node.line(&format!("apply -c {}", lab.node.config()));
    let line = line.replace(&lab.node.pins.display().to_string(), &other.display().to_string());
    let refused = |expected: &str| {
        let output = lab.node.netns.output(&line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(expected), "{errors}");
        assert!(pass(&lab, "vm-b"));
        assert_filtered(&lab);
    };
    refused("another netagent is in charge of this network namespace");
    daemon.kill();
    if needs(&[Feature::Tcx]) {
        refused("has a program of another netagent");
    }
    let _empty = fs::remove_dir_all(&other);
    lab.node.ok(&format!("apply -c {}", lab.node.config()));
}

/// A mount namespace of its own, as long as this lives.
struct Mounts(Child);

impl Drop for Mounts {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn file_system_that_is_mounted_over_the_pins_gives_no_device_a_second_set() {
    if !needs(&[Feature::Tcx]) {
        return;
    }
    let lab = lab(Path::Xdp);
    let mut mounts = Command::new("unshare");
    mounts.args(["--mount", "--propagation", "private", "sleep", "1000"]);
    let mounts = Mounts(mounts.spawn().unwrap());
    let own = format!("/proc/{}/ns/mnt", mounts.0.id());
    let differs = || fs::read_link(&own).unwrap() != fs::read_link("/proc/self/ns/mnt").unwrap();
    wait_until("the mount namespace is there", differs);
    lab.node.netns.files.set(mounts.0.id()).unwrap();
    let _daemon = lab.node.run();
    assert!(pass(&lab, "vm-b") && pass(&lab, "eth2"));
    lab.node.netns.sh("mount -t bpf bpf /sys/fs/bpf");
    let attached = || lab.node.netns.output(&format!("test -e {}", lab.node.pin("links/vm-b")));
    wait_until("the programs are pinned again", || attached().status.success());
    lab.node.wait_until_settled("the node is as desired");
    for _ in 0..3 {
        assert!(pass(&lab, "vm-b") && pass(&lab, "eth2"));
        assert_filtered(&lab);
    }
    fs::remove_dir_all(&lab.node.pins).unwrap();
}
