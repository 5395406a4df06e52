//! Other managers of networks: each has built the node, and leaves it to netagent once it does what
//! `netagent import` says. systemd-networkd, NetworkManager and ifupdown are Debian's, with files
//! of their own.

mod files;
mod manager;

use std::{
    cell::RefCell,
    fs::{self, File},
    process::Stdio,
};

use self::{
    files::Files,
    manager::{IFUPDOWN, Manager, NETWORK_MANAGER, NETWORKD, NETWORKD_WITH_BOND},
};
use crate::{
    Feature,
    dhcp::{Process, waits},
    lab::{Netns, output, seen, sh, succeeded, wait_for},
    needs, needs_program,
    node::{Daemon, Node},
    once,
    unpacked::{Unpacked, unpacked},
};

/// A node that a manager has built: the bridge br0 with eth0, 10.9.0.5/24 and a default route.
struct Built<'a> {
    manager: &'a Manager,
    node: Node,
    wire: Netns,
    files: Files,
    running: RefCell<Vec<Process>>,
}

impl<'a> Built<'a> {
    fn new(manager: &'a Manager, unpacked: Option<&Unpacked>) -> Self {
        let (node, wire) = (Node::new(), Netns::new("wire"));
        wire.sh("ip link add switch type bridge && ip link set switch up");
        for nic in manager.devices.iter().filter(|device| device.starts_with("eth")) {
            node.netns.veth(nic, &wire, nic);
            node.netns.sh(&format!("ip link set {nic} down"));
            wire.sh(&format!("ip link set {nic} master switch"));
        }
        wire.sh("ip address add 10.9.0.1/24 dev switch");
        let files = Files::new(&node.netns, unpacked);
        for (path, text) in manager.files {
            files.write(path, text);
        }
        let built = Self { manager, node, wire, files, running: RefCell::default() };
        built.start();
        built.is_reached();
        wait_for("it manages all", || {
            let has = |name: &&&str| !(manager.manages)(&built.node.netns, name);
            let others: Vec<_> = manager.devices.iter().filter(has).collect();
            seen(others.clone(), others.is_empty())
        });
        built
    }

    /// Starts the manager, and waits until it is at work.
    fn start(&self) {
        for [line, is_started] in self.manager.start {
            self.node.netns.sh("rm -f /run/started");
            let log = self.files.path("log");
            let log = File::options().create(true).append(true).open(log).unwrap();
            let mut command = self.node.netns.command(line);
            let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
            self.running.borrow_mut().push(Process(child));
            wait_for(line, || succeeded(&self.node.netns.output(is_started)));
        }
    }

    /// Stops the manager as an operator does.
    fn stop(&self) {
        for mut process in self.running.borrow_mut().drain(..).rev() {
            output(&format!("kill -TERM {}", process.0.id()));
            process.0.wait().unwrap();
        }
    }

    fn is_reached(&self) {
        wait_for("the node is reached", || {
            succeeded(&self.wire.output("ping -q -c 1 -W 1 10.9.0.5"))
        });
    }

    /// What `netagent import` prints.
    fn import(&self) -> String {
        let has_bond = self.manager.devices.contains(&"bond0");
        // A veth could be the port of a VM.
        self.node.ok(if has_bond { "import" } else { "import --uplink eth0" })
    }

    /// The addresses, the default route, and the members of the bridge.
    fn state(&self) -> [String; 4] {
        let netns = &self.node.netns;
        [
            netns.sh("ip -4 -br address show dev br0").trim().to_owned(),
            netns.sh("ip -4 route show default"),
            netns.members("br0").join(" "),
            String::from_utf8_lossy(&netns.output("ip -br link show master bond0").stdout)
                .into_owned(),
        ]
    }

    /// Does what `netagent import` says: writes a file, or removes stanzas, and restarts.
    fn follow(&self, advice: &str) {
        let lines: Vec<&str> = advice.lines().filter_map(|line| line.strip_prefix("#")).collect();
        let text: String = lines
            .iter()
            .filter_map(|line| line.strip_prefix("   "))
            .flat_map(|line| [line, "\n"])
            .collect();
        let path =
            lines.iter().find_map(|line| line.trim().strip_suffix(" before `netagent apply`:"));
        if let Some(path) = path {
            self.files.write(path.trim_start_matches('/'), &text);
            let restart = format!("`systemctl restart {}`", self.manager.name);
            assert!(advice.contains(&restart), "{advice}");
        } else {
            assert!(advice.contains("remove their `auto`, `allow-hotplug` and `iface` stanzas"));
            self.files.write("etc/network/interfaces", "auto lo\niface lo inet loopback\n");
        }
    }
}

impl Drop for Built<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", fs::read_to_string(self.files.path("log")).unwrap_or_default());
        }
    }
}

fn leaves_the_node_to_netagent(manager: &Manager, unpacked: Option<&Unpacked>) {
    let built = Built::new(manager, unpacked);
    let file = built.import();
    assert!(
        file.contains(&format!("# {} manages {}", manager.name, manager.devices.join(", "))),
        "{file}"
    );
    built.node.configure(&file);
    // Against the advice: both manage the devices, and status says so.
    let daemon = built.node.start();
    wait_for("the daemon warns", || {
        let status = built.node.netagent("status -j");
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        seen(text.clone(), text.contains("other-manager") && text.contains(manager.name))
    });
    daemon.kill();
    built.follow(&file);
    built.stop();
    built.start();
    built.is_reached();
    wait_for("it has let them go", || {
        let after = built.import();
        seen(after.clone(), !after.contains(&format!("{} manages", manager.name)))
    });

    let daemon = built.node.start();
    daemon.wait_until_ready();
    // The files of the manager still have the old address.
    let other = file.replace("address: 10.9.0.5/24", "address: 10.9.0.7/24, keepForeign: false");
    built.node.configure(&other);
    daemon.hangup();
    waits(&built.node);
    built.node.netagent("confirm br0");
    wait_for("another address", || {
        let state = built.state();
        seen(state.clone(), state[0].ends_with(" 10.9.0.7/24"))
    });
    built.node.netagent("confirm");
    daemon.wait_until_ready();
    let (before, repaired) = (built.state(), repairs(&daemon));
    let mut pings = built.wire.command("exec ping -i 0.1 10.9.0.7");
    let pings = pings.stdout(Stdio::piped()).spawn().unwrap();
    for _ in 0..2 {
        built.stop();
        built.start();
    }
    for line in manager.reload {
        built.node.netns.sh(line);
    }
    assert_eq!(built.state(), before);
    sh(&format!("kill -INT {}", pings.id()));
    let text = pings.wait_with_output().unwrap().stdout;
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains(" 0% packet loss"), "{text}");
    built.node.assert_settled();
    assert_eq!(repairs(&daemon), repaired);
}

/// What the daemon had to repair.
fn repairs(daemon: &Daemon<'_>) -> Vec<String> {
    let metrics = daemon.get("metrics");
    let repairs = metrics.lines().filter(|line| line.starts_with("netagent_drift_repairs_total"));
    let repairs: Vec<_> = repairs.map(str::to_owned).collect();
    assert!(!repairs.is_empty(), "{metrics}");
    repairs
}

#[test]
fn networkd_leaves_the_node_to_netagent() {
    once();
    let Some(unpacked) = unpacked() else { return };
    leaves_the_node_to_netagent(&NETWORKD, Some(&unpacked));
}

#[test]
fn network_manager_leaves_the_node_to_netagent() {
    once();
    let Some(unpacked) = unpacked() else { return };
    leaves_the_node_to_netagent(&NETWORK_MANAGER, Some(&unpacked));
}

#[test]
fn ifupdown_leaves_the_node_to_netagent() {
    once();
    let Some(unpacked) = unpacked() else { return };
    leaves_the_node_to_netagent(&IFUPDOWN, Some(&unpacked));
}

#[test]
fn networkd_leaves_a_bond_to_netagent() {
    once();
    if needs(&[Feature::Bonding, Feature::VlanFiltering]) && needs_program("systemd-networkd") {
        leaves_the_node_to_netagent(&NETWORKD_WITH_BOND, None);
    }
}
