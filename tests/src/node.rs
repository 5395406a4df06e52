//! A node with an agent: its namespace, its pins, and a directory with everything else of the
//! agent.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output},
};

use crate::lab::{Netns, seen, sh, succeeded, wait_for};

/// A node.
pub struct Node {
    pub netns: Netns,
    pub pins: PathBuf,
    /// Holds the configuration file, the log, the control socket and the state directory.
    directory: PathBuf,
}

impl Node {
    pub fn new() -> Self {
        let netns = Netns::new("node");
        let pins = Path::new("/sys/fs/bpf").join(&netns.name);
        let directory = std::env::temp_dir().join(format!("{}.agent", netns.name));
        fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
        Self { netns, pins, directory }
    }

    /// Writes the configuration file.
    pub fn configure(&self, yaml: &str) {
        fs::write(self.config(), yaml).unwrap();
    }

    /// Runs `netagent ARGUMENTS` with this node's pins, control socket and state directory.
    pub fn netagent(&self, arguments: &str) -> Output {
        self.netns.output(&self.line(arguments))
    }

    /// Path of the configuration file.
    pub fn config(&self) -> String {
        self.directory.join("node.yaml").display().to_string()
    }

    /// Path of the control socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("netagent.sock")
    }

    /// Path of the state directory. The agent creates it.
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Path of a pin, such as `maps/DROPS`.
    pub fn pin(&self, name: &str) -> String {
        self.pins.join("v1").join(name).display().to_string()
    }

    /// Runs `netagent ARGUMENTS` and returns its output. Panics if the command fails. After an
    /// `apply`, waits until the bridge ports are enabled.
    pub fn ok(&self, arguments: &str) -> String {
        let output = self.netagent(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "netagent {arguments}\n{text}{errors}");
        if arguments.starts_with("apply") {
            self.netns.wait_for_bridge_ports();
        }
        text
    }

    /// Runs `netagent ARGUMENTS` and returns its error, one line. Panics if the command succeeds.
    pub fn refused(&self, arguments: &str) -> String {
        let output = self.netagent(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "netagent {arguments}\n{text}{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        errors
    }

    /// Allows a change of what the node lives on, for which the daemon waits, and keeps it when it
    /// is on trial.
    pub fn allow_and_keep(&self, link: &str) {
        let allowed = self.netagent(&format!("confirm {link}"));
        let errors = String::from_utf8_lossy(&allowed.stderr).into_owned();
        assert_eq!(allowed.status.code(), Some(3), "{errors}");
        assert!(errors.contains("on-trial: "), "{errors}");
        self.ok("confirm");
    }

    /// `--confirm` for every link.
    pub fn confirm_all(&self) -> String {
        let links = self.netns.json("ip -j link");
        let links = links.as_array().unwrap().iter();
        let names = links.map(|link| link["ifname"].as_str().unwrap().to_owned());
        names.fold(String::new(), |all, name| all + " --confirm " + &name)
    }

    /// Writes the configuration file and applies it.
    pub fn apply(&self, yaml: &str) -> String {
        self.configure(yaml);
        self.ok(&format!("apply -c {}", self.config()))
    }

    /// Panics if a second apply would change anything.
    pub fn assert_settled(&self) {
        let plan = self.ok(&format!("plan -c {}", self.config()));
        // Remarks may follow.
        assert_eq!(plan.lines().next(), Some("nothing to do"), "{plan}");
    }

    /// A command that runs `netagent ARGUMENTS`, not started yet.
    pub fn command(&self, arguments: &str) -> Command {
        self.netns.command(&format!("exec {}", self.line(arguments)))
    }

    /// Packets received from and transmitted to a port in a VLAN.
    pub fn packets(&self, device: &str, vlan: &str) -> (u64, u64) {
        let ports: serde_json::Value = serde_json::from_str(&self.ok("show vlans -j")).unwrap();
        let of = |list: &serde_json::Value, key: &str, name: &str| {
            let found = list.as_array().unwrap().iter().find(|entry| entry[key] == name);
            found.cloned().unwrap_or_else(|| panic!("no {key} {name}"))
        };
        let vlan = of(&of(&ports, "device", device)["vlans"], "vlan", vlan);
        (vlan["rx_packets"].as_u64().unwrap(), vlan["tx_packets"].as_u64().unwrap())
    }

    /// Dropped frames, by device and reason.
    pub fn drops(&self) -> BTreeMap<(String, String), u64> {
        let rows: serde_json::Value = serde_json::from_str(&self.ok("show drops -j")).unwrap();
        let mut drops = BTreeMap::new();
        for row in rows.as_array().unwrap() {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            *drops.entry((text("device"), text("reason"))).or_default() +=
                row["packets"].as_u64().unwrap();
        }
        drops
    }

    /// Starts the daemon and waits until it is ready and the bridge ports are enabled.
    pub fn run(&self) -> Daemon<'_> {
        let daemon = self.start();
        daemon.wait_until_ready();
        self.netns.wait_for_bridge_ports();
        daemon
    }

    /// Waits until a second apply would change nothing.
    pub fn wait_until_settled(&self, what: &str) {
        let plan = format!("plan -c {}", self.config());
        wait_for(what, || succeeded(&self.netagent(&plan)));
    }

    /// Starts the daemon.
    pub fn start(&self) -> Daemon<'_> {
        Daemon { node: self, child: self.spawn() }
    }

    /// Starts the daemon, which the caller ends.
    pub fn spawn(&self) -> Child {
        let mut command = self.command(&format!("run -c {}", self.config()));
        let log = fs::File::options().create(true).append(true).open(self.log()).unwrap();
        command.stderr(log).spawn().unwrap()
    }

    /// The body that the daemon serves at a path. Empty if the daemon does not answer.
    pub fn get(&self, path: &str) -> String {
        let line = format!("curl -s --max-time 5 http://127.0.0.1:9469/{path}");
        String::from_utf8_lossy(&self.netns.output(&line).stdout).into_owned()
    }

    /// Waits until `/readyz` answers that the node is ready.
    pub fn wait_until_ready(&self) {
        wait_for("the agent is ready", || {
            let answer = self.get("readyz");
            let ready = answer.starts_with("ready");
            seen(answer, ready)
        });
    }

    /// Path of the daemons' log.
    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// What the daemons have logged.
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Empties the daemons' log.
    pub fn clear_log(&self) {
        fs::write(self.log(), "").unwrap();
    }

    /// `netagent ARGUMENTS` as a command of a shell line, with this node's environment.
    pub fn line(&self, arguments: &str) -> String {
        let netagent = std::env::var("NETAGENT").unwrap_or_else(|_| {
            panic!("NETAGENT does not name the binary: run the tests by `cargo xtask test`")
        });
        format!(
            "env NETAGENT_SOCKET={} NETAGENT_STATE={} {netagent} --pins {} {arguments}",
            self.socket().display(),
            self.state().display(),
            self.pins.display()
        )
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _gone = self.netagent("detach");
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            println!("log of the agent:\n{log}");
        }
        let _gone = fs::remove_dir_all(&self.directory);
    }
}

/// A running daemon, killed when dropped.
pub struct Daemon<'a> {
    node: &'a Node,
    pub child: Child,
}

impl Daemon<'_> {
    /// The body that the daemon serves at a path. Empty if the daemon does not answer.
    pub fn get(&self, path: &str) -> String {
        self.node.get(path)
    }

    /// Waits until `/readyz` answers that the node is ready.
    pub fn wait_until_ready(&self) {
        self.node.wait_until_ready();
    }

    /// Sends SIGHUP: the daemon reads its configuration file again.
    pub fn hangup(&self) {
        sh(&format!("kill -HUP {}", self.child.id()));
    }

    /// Kills the daemon (SIGKILL) and waits until the process has ended.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
