//! containerd and runc, driven over CRI by crictl: pods come and go, are killed, and containerd and
//! the agent are restarted.

mod container;
mod runtime;

use std::fs;

pub use self::runtime::CONFLIST;
use self::runtime::Containerd;
use super::{lab::Lab, programs::programs};
use crate::{
    lab::{kernel_is_at_least, seen, wait_for},
    soak,
};

#[test]
fn pods_of_containerd_come_and_go() {
    if !(kernel_is_at_least(6, 12) || soak()) {
        println!("skipped: {}: kernels before 6.12 only in full length", crate::test());
        return;
    }
    let Some(programs) = programs() else { return };
    let lab = Lab::new();
    let containerd = Containerd::new(&lab, &programs);
    let run = |name: &str| containerd.run(name).unwrap();
    let ids = ["a", "b", "killed"].map(run);
    let [a, b, killed] = [0, 1, 2].map(|number: usize| containerd.inspect(&ids[number]));
    containerd.ping(&a, &b);
    containerd.ping(&killed, &a);
    let list = lab.node.ok("port list");
    assert!(list.contains("CNI, default/a eth0"), "{list}");

    // The pod's process is killed. Its port stays until the pod is removed.
    containerd.sh(&format!("kill -9 {}", killed.process));
    wait_for("the pod is not ready", || {
        let pods = containerd.crictl("pods --name killed --state NotReady -q")?;
        seen(pods.clone(), pods.trim() == ids[2])
    });
    // A second stop is a second DEL, without a namespace.
    containerd.crictl(&format!("stopp {}", ids[2])).unwrap();
    containerd.remove(&ids[2]);
    assert_eq!(lab.attached().len(), 2);

    containerd.kill();
    lab.stop();
    containerd.start();
    containerd.ping(&a, &b);
    // Without an agent a pod cannot start, and leaves nothing.
    let refused = containerd.run("early").unwrap_err();
    assert!(refused.contains("is `netagent run` running?"), "{refused}");
    // A pod can go.
    containerd.remove(&ids[1]);
    lab.start();
    wait_for("the port that went meanwhile is forgotten", || {
        let attached = lab.attached();
        seen(attached.clone(), attached == [ids[0].as_str()])
    });
    let c = run("c");
    containerd.ping(&a, &containerd.inspect(&c));
    // A namespace that goes before the pod: containerd then calls DEL with a path of no namespace.
    containerd.sh(&format!("kill -9 {} && umount {}", a.process, a.netns));
    for number in 0..if soak() { 100 } else { 5 } {
        let id = run(&format!("pod{number}"));
        containerd.remove(&id);
    }
    containerd.remove(&ids[0]);
    containerd.remove(&c);

    lab.assert_nothing_is_left();
    let left = |path: &str| {
        let entries = fs::read_dir(containerd.path(path)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<Vec<_>>()
    };
    let addresses = left("addresses/pods");
    assert!(!addresses.iter().any(|name| name.starts_with("10.")), "{addresses:?}");
    let namespaces = containerd.sh("find $DIR/state -path '*netns*' -name 'cni-*'");
    assert_eq!(namespaces, "");
    assert_eq!(containerd.crictl("pods -q").unwrap(), "");
}
