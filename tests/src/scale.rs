//! The most that one uplink carries: 1,000 VMs in a VLAN each, and two trunks with all VLANs.
//! Frames reach their ports, counters are separate, and neither memory nor system calls grow with
//! the number of counters.

use std::{collections::BTreeMap, fmt::Write as _, fs, time::Duration};

use serde_json::Value;

use crate::{
    frame::{C, Frame},
    lab::{Netns, seen, stay_on_one_processor, wait_for},
    needs_program,
    node::Node,
    wire::Wire,
};

const VMS: u16 = 1000;
const VIDS: u16 = 4094;
const UPLINK: &str = "eth2";
/// Counts that a failure prints, of thousands.
const SHOWN: usize = 10;
const TRUNKS: [&str; 2] = ["trunk1", "trunk2"];
/// VLANs of the frames from the wire: of the first VM, of the last one, of some between, and of the
/// trunks only.
const SENT: [u16; 8] = [1, 2, 64, 500, 1000, 1001, 2500, 4094];

/// Packets received and transmitted by (device, VLAN). Without pairs that have none.
type Counts = BTreeMap<(String, String), (u64, u64)>;

struct Lab {
    node: Node,
    others: Netns,
}

#[test]
fn a_thousand_vms_and_all_vlans_on_one_uplink() {
    // Guests have no emulator: emulated, they would create links for many minutes.
    if !needs_program("qemu-system-x86_64") {
        return;
    }
    let lab = Lab::new();
    lab.node.configure(&config());
    lab.assert_scrapes_are_answered_meanwhile();
    // Completes what the killed daemon has begun.
    lab.node.ok(&format!("apply -c {}", lab.node.config()));
    lab.node.assert_settled();
    lab.assert_frames_reach_their_vlan_only();
    lab.assert_counted();
    lab.assert_memory_is_bounded();
    lab.assert_calls_are_batched();
}

/// Links that are deleted together.
const GROUP: usize = 20;

/// Deletes the links group by group. With the namespace, the kernel deletes all of them under one
/// hold of the RTNL lock: 18 s for 2,000 links, in which every other test on this machine waits.
impl Drop for Lab {
    fn drop(&mut self) {
        for group in 1..=ports().count().div_ceil(GROUP) {
            self.others.output(&format!("ip link del group {group}"));
        }
    }
}

impl Lab {
    /// The peers of the uplink and of all ports are in one namespace, and have the ports' names.
    fn new() -> Self {
        let lab = Self { node: Node::new(), others: Netns::new("others") };
        let (node, others) = (&lab.node.netns, &lab.others);
        node.veth(UPLINK, others, UPLINK);
        let links = ports().enumerate().map(|(number, port)| {
            format!(
                "link add {port} type veth peer name {port} netns {}\n\
                 link set {port} up group {}\n",
                node.name,
                number / GROUP + 1
            )
        });
        let batch = std::env::temp_dir().join(format!("{}.links", node.name));
        fs::write(&batch, links.collect::<String>()).unwrap();
        others.sh(&format!("ip -batch {0} && rm {0}", batch.display()));
        lab
    }

    /// The kernel takes half a minute to attach two programs to each port. Meanwhile the agent
    /// answers scrapes.
    fn assert_scrapes_are_answered_meanwhile(&self) {
        let daemon = self.node.start();
        wait_for("a scrape has some ports, and not yet all", || {
            let metrics = daemon.get("metrics");
            let ports = metrics.matches("\nnetagent_port_info{").count();
            assert!(ports < usize::from(VMS) + 3, "the first answer is the last");
            seen(ports, ports > 0)
        });
        assert!(daemon.get("readyz").contains("vm999: port_in is not attached\n"));
        daemon.kill();
    }

    fn assert_frames_reach_their_vlan_only(&self) {
        let wire = Wire::open(&self.others, UPLINK);
        let expected: Vec<_> = SENT.into_iter().flat_map(receivers).collect();
        let receivers: BTreeMap<_, _> =
            expected.iter().map(|(port, _)| (port, Wire::open(&self.others, port))).collect();
        // Frames that this thread sends stay in order.
        stay_on_one_processor();
        for vid in SENT {
            wire.send(&Frame::numbered(vid.into(), &[(C, vid)]));
        }
        for (port, frame) in &expected {
            let bytes = receivers[port].receive(Duration::from_secs(10));
            let bytes = bytes.unwrap_or_else(|| panic!("{port} has not received {frame:?}"));
            assert_eq!(Frame::from_bytes(&bytes).as_ref(), Some(frame), "{port}");
        }
        // The bridge floods each frame to all ports. Once all other copies are dropped, no frame is
        // under way.
        let mut drops: BTreeMap<(String, String), u64> =
            ports().map(|port| ((port, "egress-filtered".to_owned()), SENT.len() as u64)).collect();
        for (port, _) in &expected {
            *drops.get_mut(&(port.clone(), "egress-filtered".to_owned())).unwrap() -= 1;
        }
        drops.retain(|_, count| *count > 0);
        wait_for("all other frames are dropped", || {
            // Counts that differ from the wanted ones. 0: no such count.
            let mut odd = self.node.drops();
            for (kind, wanted) in &drops {
                if odd.get(kind) == Some(wanted) {
                    odd.remove(kind);
                } else {
                    odd.entry(kind.clone()).or_default();
                }
            }
            let some: Vec<_> = odd.iter().take(SHOWN).collect();
            let (count, lost) = (odd.len(), self.node.netns.lost() + self.others.lost());
            seen(format!("{count} counts differ: {some:?}; {lost} frames are lost"), count == 0)
        });
        let links = self.others.json("ip -j -s link");
        let received = links.as_array().unwrap().iter().map(|link| {
            let name = link["ifname"].as_str().unwrap().to_owned();
            (name, link["stats64"]["rx"]["packets"].as_u64().unwrap())
        });
        let received: BTreeMap<_, _> = received.filter(|(_, packets)| *packets > 0).collect();
        let mut sent = BTreeMap::new();
        for (port, _) in expected {
            *sent.entry(port).or_insert(0) += 1;
        }
        assert_eq!(received, sent);
    }

    /// `show` has a row for each pair. A scrape sums up the largest ports if there are more than
    /// 10,000 pairs.
    fn assert_counted(&self) {
        let shown: Value = serde_json::from_str(&self.node.ok("show vlans -j")).unwrap();
        let rows = shown.as_array().unwrap().iter().flat_map(|port| {
            let vlans = port["vlans"].as_array().unwrap().iter();
            vlans.map(|vlan| {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let count = |key: &str| vlan[key].as_u64().unwrap();
                let pair = (text(&port["device"]), text(&vlan["vlan"]));
                (pair, (count("rx_packets"), count("tx_packets")))
            })
        });
        let rows: Vec<_> = rows.collect();
        assert_eq!(rows.len(), usize::from(VMS) + 3 * usize::from(VIDS));
        let counted: Counts = rows.into_iter().filter(|(_, count)| *count != (0, 0)).collect();
        assert_eq!(counted, counts(|_| false));

        let daemon = self.node.run();
        let metrics = daemon.get("metrics");
        assert!(metrics.contains("\nnetagent_vlan_series_limited 1\n"));
        let received = series(&metrics, "netagent_vlan_receive_packets_total");
        let transmitted = series(&metrics, "netagent_vlan_transmit_packets_total");
        // The second trunk with its link-local frames, and two series for each other device.
        assert_eq!(received.len(), usize::from(VIDS) + 1 + 2 * (2 + usize::from(VMS)));
        let scraped = received.into_iter().map(|(pair, rx)| {
            let tx = transmitted[&pair];
            (pair, (rx, tx))
        });
        let scraped: Counts = scraped.filter(|(_, count)| *count != (0, 0)).collect();
        assert_eq!(scraped, counts(|device| [UPLINK, TRUNKS[0]].contains(&device)));
    }

    /// The memory of the maps on a machine with 64 CPUs: the kernel's figure here, and the part of
    /// the other CPUs.
    fn assert_memory_is_bounded(&self) {
        const CPUS: u64 = 64;
        const MOST: u64 = 64 << 20;
        let possible = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
        let last = possible.trim().rsplit(['-', ',']).next().unwrap().parse::<u64>().unwrap();
        let mut bytes = 0;
        for pin in self.node.netns.sh(&format!("ls -d {}/*", self.node.pin("maps"))).lines() {
            let map = self.node.netns.json(&format!("bpftool -j map show pinned {pin}"));
            let memory = map["bytes_memlock"].as_u64().unwrap();
            let fixed = memory.checked_sub((last + 1) * bytes_per_cpu(&map));
            bytes += fixed.unwrap_or_else(|| panic!("{map}")) + CPUS * bytes_per_cpu(&map);
        }
        println!("scale: maps take {bytes} bytes on {CPUS} CPUs");
        assert!(bytes <= MOST, "{bytes} bytes");
    }

    /// Map elements are read in batches, links and VLANs by a few dumps. Only the pins of each port
    /// are opened one by one, at most five, and the programs on its two sides.
    fn assert_calls_are_batched(&self) {
        let plan = format!("plan -c {}", self.node.config());
        for arguments in [plan.as_str(), "show vlans -j"] {
            let mut calls = self.calls(arguments);
            let pins = calls.remove("BPF_OBJ_GET").unwrap_or_default();
            assert!(pins <= 5 * (usize::from(VMS) + 3) + 100, "{arguments}: {pins} pins");
            let sides = calls.remove("BPF_PROG_QUERY").unwrap_or_default();
            assert!(sides <= 2 * (usize::from(VMS) + 3), "{arguments}: {sides} sides");
            let others: usize = calls.values().sum();
            assert!((10..300).contains(&others), "{arguments}: {calls:?}");
        }
    }

    /// Counts the system calls that query the kernel, by their name.
    fn calls(&self, arguments: &str) -> BTreeMap<String, usize> {
        let trace = std::env::temp_dir().join(format!("{}.strace", self.node.netns.name));
        let line = self.node.line(arguments);
        self.node.netns.sh(&format!(
            "strace --follow-forks --seccomp-bpf --trace=bpf,sendto -o {} {line}",
            trace.display()
        ));
        let text = fs::read_to_string(&trace).unwrap();
        fs::remove_file(&trace).unwrap();
        let mut calls = BTreeMap::new();
        for line in text.lines().filter(|line| !line.contains(" +++ ")) {
            let call = line.split_once(' ').unwrap().1.trim_start();
            let call = call.strip_prefix("bpf(").unwrap_or(call);
            let end = call.find([',', '(']).unwrap_or(call.len());
            *calls.entry(call[..end].to_owned()).or_default() += 1;
        }
        calls
    }
}

fn vm(vid: u16) -> String {
    format!("vm{vid}")
}

fn ports() -> impl Iterator<Item = String> {
    TRUNKS.into_iter().map(str::to_owned).chain((1..=VMS).map(vm))
}

fn config() -> String {
    let mut networks = format!("  all: {{ clusterNetwork: oob, trunk: 1-{VIDS}, native: none }}\n");
    let mut ports: String =
        TRUNKS.map(|trunk| format!("  - {{ device: {trunk}, network: all }}\n")).concat();
    for vid in 1..=VMS {
        writeln!(networks, "  v{vid}: {{ clusterNetwork: oob, vlan: {vid} }}").unwrap();
        writeln!(ports, "  - {{ device: {}, network: v{vid} }}", vm(vid)).unwrap();
    }
    format!(
        "clusterNetworks:\n  oob: {{ vlanFiltering: off, uplink: {{ nics: [{UPLINK}], bond: {{ mode: none }}, native: none }} }}\n\
         networks:\n{networks}ports:\n{ports}"
    )
}

/// The ports that receive the frame of a VLAN, and the frame as it leaves there.
fn receivers(vid: u16) -> Vec<(String, Frame)> {
    let frame = |tags: &[(u16, u16)]| Frame::numbered(vid.into(), tags);
    let trunks = TRUNKS.into_iter().map(|trunk| (trunk.to_owned(), frame(&[(C, vid)])));
    trunks.chain((vid <= VMS).then(|| (vm(vid), frame(&[])))).collect()
}

/// The wanted counts, where the VLANs of some devices are summed up.
fn counts(summed: impl Fn(&str) -> bool) -> Counts {
    let mut counts = Counts::new();
    for vid in SENT {
        let mut count = |device: &str, rx: u64, tx: u64| {
            let vlan = if summed(device) { "other".to_owned() } else { vid.to_string() };
            let sum = counts.entry((device.to_owned(), vlan)).or_default();
            *sum = (sum.0 + rx, sum.1 + tx);
        };
        count(UPLINK, 1, 0);
        receivers(vid).iter().for_each(|(port, _)| count(port, 0, 1));
    }
    counts
}

/// The series of a family with the labels device and vlan.
fn series(metrics: &str, family: &str) -> BTreeMap<(String, String), u64> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(family));
    let series = lines.map(|line| {
        let parts: Vec<_> = line.split('"').collect();
        let [_, device, _, vlan, value] = parts[..] else { panic!("{line}") };
        let value = value.trim_start_matches(['}', ' ']).parse().unwrap();
        ((device.to_owned(), vlan.to_owned()), value)
    });
    series.collect()
}

/// The memory of a map for each possible CPU (array_map_mem_usage in kernel/bpf/arraymap.c,
/// htab_map_mem_usage in kernel/bpf/hashtab.c, 6.4): for each element a value, rounded up to eight
/// bytes. A plain hash map has a spare element instead, and a pointer to it. Both kinds of hash map
/// have eight counters for their locks (none since 6.15, which is less).
fn bytes_per_cpu(map: &Value) -> u64 {
    const ELEMENT: u64 = 48;
    const LOCKS: u64 = 8 * 4;
    let number = |key: &str| map[key].as_u64().unwrap();
    let value = number("bytes_value").next_multiple_of(8);
    match map["type"].as_str().unwrap() {
        "percpu_array" => number("max_entries") * value,
        "percpu_hash" => number("max_entries") * value + LOCKS,
        "hash" => ELEMENT + number("bytes_key").next_multiple_of(8) + value + 8 + LOCKS,
        "array" | "devmap" | "ringbuf" | "lpm_trie" => 0,
        other => panic!("per-CPU memory of a map of type {other}"),
    }
}
