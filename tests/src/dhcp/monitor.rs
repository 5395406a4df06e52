//! What the kernel tells of addresses and routes during a test.

use std::{
    fs::{self, File},
    process::Child,
};

use crate::{
    lab::{seen, wait_for},
    node::Node,
};

/// What happens to addresses and routes meanwhile.
pub struct Monitor {
    _process: Process,
    path: String,
}

/// A process that ends with the test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

impl Monitor {
    pub fn start(node: &Node, family: u8) -> Self {
        let path = std::env::temp_dir().join(format!("{}.monitor{family}", node.netns.name));
        let line = format!("exec ip -{family} -o monitor address route");
        let log = File::create(&path).unwrap();
        let process = Process(node.netns.command(&line).stdout(log).spawn().unwrap());
        let path = path.display().to_string();
        // It must have begun.
        wait_for("the monitor", || {
            let probe = if family == 4 { "10.255.0.1" } else { "fd00:ffff::1" };
            node.netns
                .sh(&format!("ip address add {probe} dev lo && ip address del {probe} dev lo"));
            let text = fs::read_to_string(&path).unwrap();
            seen(text.clone(), text.contains(probe))
        });
        Self { _process: process, path }
    }

    /// What was removed from the bridge.
    pub fn removed(self) -> Vec<String> {
        let text = fs::read_to_string(&self.path).unwrap();
        fs::remove_file(&self.path).unwrap();
        let removed = text.lines().filter(|line| line.starts_with("Deleted"));
        removed.filter(|line| line.contains("mgmt-br")).map(str::to_owned).collect()
    }
}
