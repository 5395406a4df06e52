//! Network namespaces and links that are deleted with the test, and how tests wait.

use std::{
    fmt::Debug,
    fs, io,
    os::fd::AsRawFd as _,
    process::{Command, Output},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::Feature;

/// A network namespace. Dropping it deletes it and everything in it.
pub struct Netns {
    pub name: String,
    /// The process whose files its commands see, if not those of the machine.
    pub files: OnceLock<u32>,
}

impl Netns {
    /// Creates a namespace with a unique name, with `lo` up and IPv6 off.
    pub fn new(role: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("na-{}-{number}-{role}", std::process::id());
        let netns = Self { name, files: OnceLock::new() };
        sh(&format!("ip netns add {}", netns.name));
        // Otherwise the kernel sends frames that no test has sent: router solicitations, DAD, and a
        // bridge's report that it joins the group of all snoopers (224.0.0.106), which may come a
        // second later.
        netns.sh(
            "sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1 \
             net.ipv4.igmp_link_local_mcast_reports=0",
        );
        netns.sh("ip link set lo up");
        netns
    }

    /// Runs a shell line in the namespace and returns its output. Panics if the command fails.
    pub fn sh(&self, line: &str) -> String {
        let output = self.output(line);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}\n{text}{errors}");
        text
    }

    /// Runs a shell line in the namespace.
    pub fn output(&self, line: &str) -> Output {
        self.command(line).output().unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// A command that runs a shell line in the namespace, not started yet. `ip netns exec` would
    /// hide bpffs.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name));
        command.args(self.files.get().map(|process| format!("--mount=/proc/{process}/ns/mnt")));
        command.args(["sh", "-c", line]);
        command
    }

    /// The interface index of a link. Not read from /sys, which shows the namespace that mounted
    /// it.
    pub fn ifindex(&self, link: &str) -> u32 {
        u32::try_from(self.link(link)["ifindex"].as_u64().unwrap()).unwrap()
    }

    /// Runs a closure in the namespace, in a new thread: a thread has its own network namespace.
    pub fn inside<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let netns = fs::File::open(format!("/run/netns/{}", self.name)).unwrap();
        let enter_and_run = || {
            // SAFETY: a descriptor that lives here.
            let result = unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(result, 0, "enter {}: {}", self.name, io::Error::last_os_error());
            run()
        };
        let result = thread::scope(|scope| scope.spawn(enter_and_run).join());
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs a shell line that prints JSON.
    pub fn json(&self, line: &str) -> serde_json::Value {
        let text = self.sh(line);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
    }

    /// The link as `ip -d link show NAME` prints it. Null if there is no such link.
    pub fn link(&self, name: &str) -> serde_json::Value {
        let output = self.output(&format!("ip -j -d link show {name}"));
        let links: Vec<_> = serde_json::from_slice(&output.stdout).unwrap_or_default();
        links.into_iter().next().unwrap_or_default()
    }

    /// Waits until the operational state of every link that is up is UP. The kernel's linkwatch
    /// updates it asynchronously, up to a second later, first for lower devices. That of a bridge
    /// that has always had a carrier is UNKNOWN.
    pub fn wait_for_carriers(&self) {
        wait_until_eq("all links have a carrier", &Vec::<String>::new(), || {
            let links = self.json("ip -j -d link show up");
            let links = links.as_array().unwrap().iter();
            let is_up = |link: &serde_json::Value| {
                let is_bridge = link["linkinfo"]["info_kind"] == "bridge";
                let is_unknown = link["operstate"] == "UNKNOWN";
                link["operstate"] == "UP" || is_unknown && (is_bridge || link["ifname"] == "lo")
            };
            let down = links.filter(|link| !is_up(link));
            down.map(|link| format!("{} is {}", link["ifname"], link["operstate"])).collect()
        });
    }

    /// Waits until no bridge port with a carrier is disabled. A port that joins its bridge before
    /// linkwatch has seen its carrier stays disabled until then, a second or more under load.
    pub fn wait_for_bridge_ports(&self) {
        wait_until_eq("all bridge ports are enabled", &Vec::<String>::new(), || {
            let ports = self.json("bridge -j link show");
            let ports = ports.as_array().unwrap().iter();
            let disabled = ports.filter(|port| {
                let flags = port["flags"].as_array().unwrap();
                port["state"] == "disabled" && flags.iter().any(|flag| flag == "LOWER_UP")
            });
            disabled.map(|port| port["ifname"].to_string()).collect()
        });
    }

    /// Frames that the kernel has lost between the links of this namespace and their peers: a queue
    /// of the receiving processor (`netdev_max_backlog`) or of the receiving veth (256 frames) was
    /// full. Includes frames that are too long for the peer. Does not include frames that a program
    /// or a bridge drops.
    pub fn lost(&self) -> u64 {
        let links = self.json("ip -j -s link show");
        let lost = |link: &serde_json::Value| link["stats64"]["tx"]["dropped"].as_u64().unwrap();
        links.as_array().unwrap().iter().map(lost).sum()
    }

    /// The members of a bond or bridge, sorted by name.
    pub fn members(&self, controller: &str) -> Vec<String> {
        let links = self.json(&format!("ip -j link show master {controller}"));
        let links = links.as_array().unwrap().iter();
        let mut names: Vec<_> =
            links.map(|link| link["ifname"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// Creates a veth pair between two namespaces, both ends up. Tags stay in the bytes, as on a
    /// wire.
    pub fn veth(&self, end: &str, other: &Self, other_end: &str) {
        sh(&format!(
            "ip -n {} link add {end} type veth peer name {other_end} netns {}",
            self.name, other.name
        ));
        for (netns, end) in [(self, end), (other, other_end)] {
            netns.sh(&format!("ethtool -K {end} txvlan off >/dev/null && ip link set {end} up"));
        }
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _gone = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

/// Runs a shell line and returns its output. Panics if the command fails.
pub fn sh(line: &str) -> String {
    let output = output(line);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Runs a shell line.
pub fn output(line: &str) -> Output {
    let output = Command::new("sh").args(["-c", line]).output();
    output.unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Pins this thread and the processes that it starts to one processor. Its frames stay in order:
/// all of them wait in the queue of that processor.
pub fn stay_on_one_processor() {
    // SAFETY: the set lives here.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(usize::try_from(libc::sched_getcpu()).unwrap(), &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// `uname -r`
pub fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().to_owned()
}

/// Whether the running kernel has this version or a later one.
pub fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = kernel_release();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

/// Whether the running kernel has a feature. Tried out once, in a new namespace.
pub fn kernel_has(feature: Feature) -> bool {
    static FACTS: OnceLock<[bool; 5]> = OnceLock::new();
    let facts = FACTS.get_or_init(|| {
        let netns = Netns::new("probe");
        let works = |line: &str| netns.output(line).status.success();
        [
            works("ip link add b0 type bond"),
            works("ip link add d0 type bridge && ip link add link d0 name d0.1 type vlan id 1"),
            works("ip link add br0 type bridge vlan_filtering 1 && ip -d link show br0 | grep -q 'vlan_filtering 1'"),
            kernel_is_at_least(6, 6),
            kernel_is_at_least(6, 12),
        ]
    });
    facts[feature as usize]
}

/// How long a wait may take: much longer than anything takes, even emulated on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `look` returns a value, and returns it. The error of `look` says what is there
/// instead. The panic prints the last error.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(instead) => assert!(Instant::now() < end, "still not: {what}: {instead}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Polls until `look` returns the wanted value.
pub fn wait_until_eq<T: PartialEq + Debug>(what: &str, wanted: &T, mut look: impl FnMut() -> T) {
    wait_for(what, || {
        let there = look();
        if there == *wanted { Ok(()) } else { Err(format!("{there:?}, wanted {wanted:?}")) }
    });
}

/// For [`wait_for`]: the value, or its text if it is not the awaited one.
pub fn seen<T: Debug>(there: T, holds: bool) -> Result<T, String> {
    if holds { Ok(there) } else { Err(format!("{there:?}")) }
}

/// For [`wait_for`]: the output of a command, or, if the command failed, its status and output.
pub fn succeeded(output: &Output) -> Result<String, String> {
    let [text, errors] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{}: {text}{errors}", output.status))
    }
}

/// Polls until a condition holds that has no value to print. See [`wait_for`], [`wait_until_eq`].
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_until_eq(what, &true, &mut holds);
}

/// Bytes as bpftool reads them.
pub fn bpftool_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
