//! The library by which container runtimes call plugins (libcni), with the two verbs that
//! containerd does not call: CHECK and GC.

use std::{fs, path::PathBuf};

use super::{
    containerd::CONFLIST,
    lab::{Lab, Pod},
    programs::{Programs, programs},
};
use crate::{
    lab::{sh, succeeded, wait_for},
    once,
};

/// A runtime that keeps results in a directory, as libcni does for all.
struct Runtime<'a> {
    lab: &'a Lab,
    programs: &'a Programs,
    directory: PathBuf,
}

impl<'a> Runtime<'a> {
    fn new(lab: &'a Lab, programs: &'a Programs) -> Self {
        let directory = std::env::temp_dir().join(format!("{}.cni", lab.node.netns.name));
        fs::create_dir(&directory).unwrap();
        let text = CONFLIST.replace("@DIR@", directory.to_str().unwrap());
        fs::write(directory.join("pods.conflist"), text).unwrap();
        let plugin = std::env::var("NETAGENT_CNI").expect("NETAGENT_CNI names the plugin");
        sh(&format!(
            "mkdir {0}/bin && cp {plugin} {0}/bin/netagent && cp {1} {0}/bin",
            directory.display(),
            programs.path("host-local").display()
        ));
        Self { lab, programs, directory }
    }

    /// Calls a verb: an error is what libcni says.
    fn call(&self, arguments: &str) -> Result<String, String> {
        let directory = self.directory.display();
        let socket = self.lab.node.socket();
        succeeded(&self.lab.node.netns.output(&format!(
            "CNI_PATH={directory}/bin LIBCNI_CACHE={directory}/cache NETAGENT_SOCKET={} {} \
             {directory}/pods.conflist {arguments}",
            socket.display(),
            self.programs.path("libcni").display()
        )))
    }

    fn of(&self, verb: &str, pod: &Pod) -> Result<String, String> {
        self.call(&format!("{verb} {} {} eth0", pod.id, pod.path()))
    }
}

impl Drop for Runtime<'_> {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn runtime_checks_and_collects() {
    once();
    let Some(programs) = programs() else { return };
    let lab = Lab::new();
    let runtime = Runtime::new(&lab, &programs);
    runtime.call("status").unwrap();
    let pods = [lab.pod(), lab.pod(), lab.pod()];
    for pod in &pods {
        runtime.of("add", pod).unwrap();
        runtime.of("check", pod).unwrap();
    }
    pods[0].netns.sh("ip address flush dev eth0");
    let damaged = runtime.of("check", &pods[0]).unwrap_err();
    assert!(damaged.contains("Failed to match addr"), "{damaged}");

    // GC goes by the results that libcni keeps, and asks the plugin for what it keeps.
    let valid = &pods[1];
    runtime.call(&format!("gc {} eth0", valid.id)).unwrap();
    assert_eq!(lab.attached(), [valid.id.as_str()]);
    runtime.of("check", valid).unwrap();
    let addresses = sh(&format!("ls {}/addresses/pods", runtime.directory.display()));
    assert_eq!(addresses.lines().filter(|line| line.starts_with("10.")).count(), 1, "{addresses}");
    for pod in &pods {
        runtime.of("del", pod).unwrap();
        runtime.of("del", pod).unwrap();
    }
    lab.assert_nothing_is_left();

    lab.stop();
    let absent = runtime.call("status").unwrap_err();
    assert!(absent.contains("is `netagent run` running?"), "{absent}");
    lab.start();
    wait_for("the agent answers", || runtime.call("status"));
}
