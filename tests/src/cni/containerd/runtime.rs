//! containerd of a node, in namespaces of its own (mounts and processes): whatever it leaves ends
//! with the test.

use std::{
    cell::RefCell,
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::{
    cni::{lab::Lab, programs::Programs},
    lab::{output, succeeded, wait_for},
};

/// The network of the pods.
pub const CONFLIST: &str = r#"{ "cniVersion": "1.1.0", "name": "pods", "plugins": [
    { "type": "netagent", "bridge": "mgmt-br", "vlan": 100,
      "ipam": { "type": "host-local", "dataDir": "@DIR@/addresses", "ranges": [[{ "subnet": "10.77.0.0/24" }]] } }] }"#;

const CONFIG: &str = r#"
version = 3
root = "@DIR@/root"
state = "@DIR@/state"
disabled_plugins = [
  "io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "@DIR@/sock"
[ttrpc]
  address = "@DIR@/sock.ttrpc"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "localhost/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["@DIR@/bin"]
    conf_dir = "@DIR@/net.d"
    max_conf_num = 1
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "@PROGRAMS@/runc"
      # The root of a virtual machine is its initramfs, which cannot be pivoted.
      NoPivotRoot = true
      SystemdCgroup = false
"#;

/// containerd, beside the agent of a node.
pub struct Containerd<'a> {
    lab: &'a Lab,
    programs: &'a Programs,
    /// Short: there are sockets in it. A tmpfs in the mount namespace.
    pub directory: PathBuf,
    /// Keeps the namespaces.
    holder: Child,
    /// The first process in them.
    first: u32,
    daemon: RefCell<Option<Child>>,
}

impl<'a> Containerd<'a> {
    pub fn new(lab: &'a Lab, programs: &'a Programs) -> Self {
        let directory = std::env::temp_dir().join(format!("{}.ctr", lab.node.netns.name));
        fs::create_dir(&directory).unwrap();
        let mut holder = lab.node.netns.command(&format!(
            "exec unshare --mount --propagation slave --pid --fork --kill-child --mount-proc \
             sh -c 'mount -t tmpfs tmpfs {} && exec sleep infinity'",
            directory.display()
        ));
        let holder = holder.spawn().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", holder.id());
        let first = wait_for("the namespaces of containerd", || {
            let children = fs::read_to_string(&children).unwrap_or_default();
            let first = children.trim().parse::<u32>().map_err(|_| children.clone())?;
            let mounts = fs::read_to_string(format!("/proc/{first}/mounts")).unwrap_or_default();
            let is_mounted = mounts.contains(directory.to_str().unwrap());
            if is_mounted { Ok(first) } else { Err(mounts) }
        });
        let daemon = RefCell::default();
        let containerd = Self { lab, programs, directory, holder, first, daemon };
        containerd.prepare();
        containerd.start();
        let image = programs.path("pause.tar").display().to_string();
        containerd.ctr(&format!("-n k8s.io images import --local {image}"));
        containerd
    }

    /// Writes the files of containerd and of its network.
    fn prepare(&self) {
        let directory = self.directory.display().to_string();
        let fill = |text: &str| {
            let programs = self.programs.path("runc");
            let programs = programs.parent().unwrap().display().to_string();
            text.replace("@DIR@", &directory).replace("@PROGRAMS@", &programs)
        };
        let plugin = std::env::var("NETAGENT_CNI").expect("NETAGENT_CNI names the plugin");
        let [local, loopback] = ["host-local", "loopback"].map(|name| self.programs.path(name));
        self.sh(&format!(
            "cd {directory} && mkdir bin net.d && cp {plugin} bin/netagent && cp {} {} bin",
            local.display(),
            loopback.display()
        ));
        for (name, text) in [("config.toml", CONFIG), ("net.d/10-pods.conflist", CONFLIST)] {
            fs::write(self.path(name), fill(text)).unwrap();
        }
    }

    /// Where this process finds a file of containerd.
    pub fn path(&self, name: &str) -> PathBuf {
        let inside = self.directory.join(name);
        PathBuf::from(format!("/proc/{}/root{}", self.first, inside.display()))
    }

    /// Starts containerd, and waits until it answers.
    pub fn start(&self) {
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = self.command("exec containerd -c $DIR/config.toml");
        let daemon = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        *self.daemon.borrow_mut() = Some(daemon);
        wait_for("containerd answers", || succeeded(&self.output("ctr -a $DIR/sock version")));
        wait_for("the CRI answers", || succeeded(&self.output(&crictl("version"))));
    }

    /// Kills containerd alone. The pods stay.
    pub fn kill(&self) {
        let mut daemon = self.daemon.borrow_mut().take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// A shell line in the namespaces. `DIR` is the directory.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.lab.node.netns.name));
        command.args(["mnt", "pid"].map(|it| {
            let option = if it == "mnt" { "mount" } else { "pid" };
            format!("--{option}=/proc/{}/ns/{it}", self.first)
        }));
        command.args(["sh", "-c", line]).envs(self.programs.environment());
        command.env("DIR", &self.directory).env("NETAGENT_SOCKET", self.lab.node.socket());
        command.stdin(Stdio::null());
        command
    }

    fn output(&self, line: &str) -> Output {
        self.command(line).output().unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// The output of a shell line in the namespaces. Panics if it fails.
    pub fn sh(&self, line: &str) -> String {
        succeeded(&self.output(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn ctr(&self, arguments: &str) -> String {
        self.sh(&format!("ctr -a $DIR/sock {arguments}"))
    }

    /// Calls the CRI.
    pub fn crictl(&self, arguments: &str) -> Result<String, String> {
        succeeded(&self.output(&crictl(arguments)))
    }

    /// Starts a pod and returns its sandbox's ID.
    pub fn run(&self, name: &str) -> Result<String, String> {
        let netns = &self.lab.node.netns.name;
        let pod = json!({
            "metadata": {"name": name, "namespace": "default", "uid": name, "attempt": 0},
            "linux": {"cgroup_parent": format!("/{netns}")},
        });
        fs::write(self.path("pod.json"), pod.to_string()).unwrap();
        self.crictl("runp $DIR/pod.json").map(|id| id.trim().to_owned())
    }

    /// Stops a pod, and removes it.
    pub fn remove(&self, id: &str) {
        for verb in ["stopp", "rmp"] {
            self.crictl(&format!("{verb} {id}")).unwrap();
        }
    }

    /// What the CRI tells of a pod.
    pub fn inspect(&self, id: &str) -> Sandbox {
        let text = self.crictl(&format!("inspectp {id}")).unwrap();
        let pod: Value = serde_json::from_str(&text).unwrap();
        let namespaces = pod["info"]["runtimeSpec"]["linux"]["namespaces"].as_array().unwrap();
        let network = namespaces.iter().find(|it| it["type"] == "network").unwrap();
        Sandbox {
            address: pod["status"]["network"]["ip"].as_str().unwrap().to_owned(),
            netns: network["path"].as_str().unwrap().to_owned(),
            process: pod["info"]["pid"].as_u64().unwrap(),
        }
    }

    /// Whether one pod reaches another.
    pub fn ping(&self, from: &Sandbox, to: &Sandbox) {
        let line = format!("nsenter --net={} ping -q -c 1 -W 1 {}", from.netns, to.address);
        wait_for("one pod reaches the other", || succeeded(&self.output(&line)));
    }

    fn log(&self) -> PathBuf {
        self.path("log")
    }
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            println!("end of containerd's log:\n{}", &log[log.len().saturating_sub(4000)..]);
        }
        let _gone = self.holder.kill();
        let _gone = self.holder.wait();
        if let Some(mut daemon) = self.daemon.borrow_mut().take() {
            let _gone = daemon.wait();
        }
        let netns = &self.lab.node.netns.name;
        output(&format!(
            "rmdir {}; find /sys/fs/cgroup -depth -type d -path '*/{netns}*' -exec rmdir {{}} \\;",
            self.directory.display()
        ));
    }
}

/// The sandbox of a pod.
pub struct Sandbox {
    pub address: String,
    /// The path of its network namespace.
    pub netns: String,
    /// Its first process.
    pub process: u64,
}

fn crictl(arguments: &str) -> String {
    format!("crictl --config /dev/null -t 60s -r unix://$DIR/sock {arguments}")
}
