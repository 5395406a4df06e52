//! Real servers, with the shortest leases that they give.

use std::{fs, path::PathBuf};

use super::{
    Monitor, Process, has, is_ready, left, routes, status,
    v6::{self, with_ipv6},
    waits,
};
use crate::{
    lab::{Netns, seen, wait_for, wait_until_eq},
    node::Node,
    once,
    unpacked::{Unpacked, unpacked},
};

const CONFIG: &str = "
clusterNetworks:
  mgmt:
    uplink: { nics: [eth0], bond: { mode: none } }
    host: { dhcp: both, acceptRa: true }
";

fn node() -> (Node, Netns) {
    let (node, wire) = (Node::new(), Netns::new("wire"));
    with_ipv6(&node.netns, true);
    with_ipv6(&wire, false);
    node.netns.veth("eth0", &wire, "eth0");
    wire.sh("ip address add 10.0.0.1/24 dev eth0 && ip address add fd00:7::1/64 dev eth0");
    node.configure(CONFIG);
    (node, wire)
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(netns: &Netns, purpose: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{}.{purpose}", netns.name));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn has_both(node: &Node) {
    has(node, "10.0.0.60".parse().unwrap());
    v6::has(node, "fd00:7::60".parse().unwrap());
}

#[test]
fn dnsmasq_gives_leases_of_both_families() {
    once();
    let (node, wire) = node();
    let files = Directory::new(&wire, "dnsmasq");
    let database = files.path("leases");
    // Leases of less than two minutes are not given.
    let line = format!(
        "exec dnsmasq --keep-in-foreground --no-daemon --conf-file=/dev/null --port=0 \
         --interface=eth0 --bind-interfaces --dhcp-range=10.0.0.60,10.0.0.60,120 \
         --dhcp-range=fd00:7::60,fd00:7::60,64,120 --enable-ra --dhcp-option=option:T1,5 \
         --dhcp-option=3,10.0.0.1 --dhcp-option=121,10.8.0.0/16,10.0.0.7,0.0.0.0/0,10.0.0.3 \
         --dhcp-option=42,10.0.0.4 --dhcp-option=26,1400 --dhcp-leasefile={database} \
         --dhcp-authoritative --user=root --no-ping --pid-file= 2>/dev/null"
    );
    let _dnsmasq = Process(wire.command(&line).spawn().unwrap());
    let daemon = node.start();
    has_both(&node);
    let expected = [
        "default via 10.0.0.3 dev mgmt-br src 10.0.0.60 metric 1024",
        "10.8.0.0/16 via 10.0.0.7 dev mgmt-br src 10.0.0.60 metric 1024",
    ];
    wait_until_eq("the routes", &expected.map(str::to_owned).to_vec(), || routes(&node));
    // The routes of IPv6 come from router advertisements, which say that there is DHCPv6 (flag M).
    let router = || node.netns.sh("ip -6 route show default proto ra");
    wait_for("the route", || seen(router(), router().contains("dev mgmt-br")));
    is_ready(&node);
    // T1 of IPv4.
    for _ in 0..2 {
        wait_for("time", || seen(left(&node), left(&node) < 118));
        wait_for("a renewal", || seen(left(&node), left(&node) >= 119));
    }
    daemon.kill();
    let before = [left(&node), v6::left(&node)];
    assert!(before.iter().all(|left| (60..=120).contains(left)), "{before:?}");
    let monitor = Monitor::start(&node, 6);
    // More time must have gone than makes no difference.
    wait_for("time", || seen(left(&node), left(&node) < before[0] - 4));
    let daemon = node.start();
    wait_for("INIT-REBOOT", || seen(left(&node), left(&node) >= before[0] - 2));
    // Confirm does not extend the lease.
    is_ready(&node);
    v6::has(&node, "fd00:7::60".parse().unwrap());
    assert_eq!(monitor.removed(), [""; 0]);
    // The server forgets the leases that are released.
    let leased = || fs::read_to_string(&database).unwrap();
    assert!(leased().contains("10.0.0.60 ") && leased().contains("fd00:7::60 "), "{}", leased());
    node.configure(&CONFIG.replace("dhcp: both", "address: 10.7.0.9/24"));
    daemon.hangup();
    waits(&node);
    node.netagent("confirm mgmt-br");
    wait_for("the release", || {
        seen(leased(), !leased().contains("10.0.0.60 ") && !leased().contains("fd00:7::60 "))
    });
}

/// kea's servers for both families.
struct Kea<'a> {
    programs: Unpacked,
    wire: &'a Netns,
    files: Directory,
    running: Vec<Process>,
}

impl Kea<'_> {
    /// Starts both servers, known by this number. The leases of an earlier start are in the files.
    fn start(&mut self, number: u8) {
        let loggers = |name: &str| {
            let path = self.files.path(&format!("{name}.log"));
            let output = format!("\"output_options\": [ {{ \"output\": \"{path}\" }} ]");
            format!("\"loggers\": [ {{ \"name\": \"{name}\", \"severity\": \"INFO\", {output} }} ]")
        };
        let database = |name: &str| {
            let path = self.files.path(name);
            let path = format!("\"type\": \"memfile\", \"name\": \"{path}\", \"lfc-interval\": 0");
            format!("\"lease-database\": {{ {path} }}, \"renew-timer\": 3, \"rebind-timer\": 9")
        };
        let four = format!(
            "{{ \"Dhcp4\": {{ \"interfaces-config\": {{ \"interfaces\": [\"eth0\"] }}, {},
             \"valid-lifetime\": 14, {}, \"subnet4\": [ {{ \"subnet\": \"10.0.0.0/24\",
             \"pools\": [ {{ \"pool\": \"10.0.0.60 - 10.0.0.60\" }} ],
             \"option-data\": [ {{ \"name\": \"routers\", \"data\": \"10.0.0.3\" }} ] }} ] }} }}",
            database("leases4"),
            loggers("kea-dhcp4")
        );
        let six = format!(
            "{{ \"Dhcp6\": {{ \"interfaces-config\": {{ \"interfaces\": [\"eth0\"] }}, {},
             \"preferred-lifetime\": 13, \"valid-lifetime\": 14, {}, \"server-id\": {{
             \"type\": \"LL\", \"htype\": 1, \"identifier\": \"02000000000{number}\",
             \"persist\": false }}, \"subnet6\": [ {{ \"subnet\": \"fd00:7::/64\",
             \"interface\": \"eth0\", \"pools\": [ {{ \"pool\": \"fd00:7::60/128\" }} ] }} ] }} }}",
            database("leases6"),
            loggers("kea-dhcp6")
        );
        for (name, text) in [("kea-dhcp4", four), ("kea-dhcp6", six)] {
            let file = self.files.path(&format!("{name}.json"));
            fs::write(&file, text).unwrap();
            let program = self.programs.program(&format!("usr/sbin/{name}"));
            let line = format!(
                "exec env KEA_PIDFILE_DIR={} KEA_LOCKFILE_DIR=none {program} -c {file} >{}",
                self.files.0.display(),
                self.files.path(&format!("{name}.out"))
            );
            self.running.push(Process(self.wire.command(&line).spawn().unwrap()));
        }
        // The IPv4 server listens on its address, the other one for a group on the link.
        wait_until_eq("both listen", &2, || {
            let sockets = self.wire.sh("ss -Hlnup");
            [":67 ", "%eth0:547 "].into_iter().filter(|port| sockets.contains(port)).count()
        });
    }

    fn stop(&mut self) {
        self.running.clear();
    }
}

#[test]
fn kea_gives_leases_of_both_families_that_are_renewed_rebound_and_end() {
    once();
    let Some(programs) = unpacked() else { return };
    let (node, wire) = node();
    let files = Directory::new(&wire, "kea");
    let mut kea = Kea { programs, wire: &wire, files, running: vec![] };
    kea.start(1);
    let daemon = node.start();
    has_both(&node);
    is_ready(&node);
    let monitors = [4, 6].map(|family| Monitor::start(&node, family));
    // T1: the server gives the whole time again, three times.
    for _ in 0..3 {
        wait_for("time", || {
            let times = [left(&node), v6::left(&node)];
            seen(times, times.iter().all(|left| *left < 13))
        });
        for left in [left, v6::left] {
            wait_for("a renewal", || seen(left(&node), left(&node) >= 13));
        }
    }
    // T2: another server has the leases. It has not the address, and not the DUID, of the first.
    kea.stop();
    wire.sh("ip address del 10.0.0.1/24 dev eth0 && ip address add 10.0.0.2/24 dev eth0");
    kea.start(2);
    // A lease that was renewed at T1 has never so little time.
    wait_for("T1 passes", || {
        let times = [left(&node), v6::left(&node)];
        seen(times, times.iter().all(|left| *left < 8))
    });
    for left in [left, v6::left] {
        wait_for("a rebinding", || seen(left(&node), left(&node) >= 13));
    }
    for monitor in monitors {
        assert_eq!(monitor.removed(), [""; 0], "extended in place");
    }
    // The end of both.
    kea.stop();
    wait_until_eq("they end", &0, || super::addresses(&node).len() + v6::addresses(&node).len());
    let lost = ("Degraded".to_owned(), vec!["lease-lost".to_owned(); 2]);
    wait_until_eq("it is reported", &lost, || status(&node));
    assert_eq!(routes(&node), [""; 0]);
    kea.start(2);
    has_both(&node);
    is_ready(&node);
    drop(daemon);
}
