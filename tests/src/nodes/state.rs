//! Everything of a node that must be as it was found when netagent has gone back.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{Feature, lab::kernel_has, node::Node};

/// What changes by itself, or whenever a link is made again.
const OF_THE_MOMENT: [&str; 21] = [
    "active_slave",
    "ad_actor_oper_port_state",
    "ad_aggregator_id",
    "ad_info",
    "ad_partner_oper_port_state",
    "ageing_time",
    "cost",
    "flags",
    "gro_max_size",
    "ifindex",
    "link_index",
    "link_netnsid",
    "operstate",
    "prog",
    "qdisc",
    "state",
    "topology_change",
    "topology_change_detected",
    "tso_max_segs",
    "tso_max_size",
    "xdp",
];

/// The node, line by line.
pub fn of(node: &Node) -> BTreeSet<String> {
    let netns = &node.netns;
    let mut lines = BTreeSet::new();
    for link in netns.json("ip -d -j link").as_array().unwrap() {
        let flags = link["flags"].as_array().unwrap();
        let is_up = flags.iter().any(|flag| flag == "UP");
        flatten(&format!("{} up {is_up}", link["ifname"].as_str().unwrap()), link, &mut lines);
    }
    if kernel_has(Feature::VlanFiltering) {
        for port in netns.json("bridge -j vlan").as_array().unwrap() {
            lines.insert(format!("{} VLANs {}", port["ifname"], port["vlans"]));
        }
    }
    let shown = netns.sh(
        "ip -o address show scope global; ip route show table all; ip -6 route show table all; \
         ip rule; ip -6 rule; ip neighbour show nud permanent; ip -6 neighbour show nud permanent",
    );
    let noise = ["local ", "broadcast ", "multicast ", "anycast ", "fe80::", "ff02::", "224."];
    let kept = shown.lines().filter(|line| !noise.iter().any(|word| line.starts_with(word)));
    lines.extend(kept.map(strip));
    let mut ports: Value = serde_json::from_str(&node.ok("show ports -j")).unwrap();
    for port in ports.as_array_mut().unwrap() {
        // What a device has dropped is no state.
        port.as_object_mut().unwrap().retain(|key, _| !key.ends_with("_dropped"));
    }
    lines.insert(format!("ports {ports}"));
    lines
}

/// Without the number of the interface, lifetimes, and whether there is a carrier. An address that
/// was moved is not tried for duplicates again (`nodad`). An IPv6 route may keep the metric that it
/// has until its NIC has joined, if the agent is killed at that moment.
fn strip(line: &str) -> String {
    let line = match line.split_once(": ") {
        Some((index, rest)) if index.parse::<u32>().is_ok() && rest.contains("inet") => rest,
        _ => line,
    };
    let line = line.split("valid_lft").next().unwrap();
    let line = line.replace(" metric 1025 ", " metric 1024 ");
    let words: Vec<&str> = line.split_whitespace().collect();
    let of_time = |at: usize| words[at] == "expires" || at > 0 && words[at - 1] == "expires";
    let noise = |word: &str| ["linkdown", "nodad"].contains(&word);
    let kept = (0..words.len()).filter(|at| !of_time(*at) && !noise(words[*at]));
    kept.map(|at| words[at].trim_end_matches('\\')).collect::<Vec<_>>().join(" ")
}

fn flatten(name: &str, value: &Value, lines: &mut BTreeSet<String>) {
    match value {
        Value::Object(keys) => {
            for (key, value) in keys {
                if !OF_THE_MOMENT.contains(&key.as_str())
                    && !key.ends_with("_timer")
                    && !key.ends_with("_state_str")
                {
                    flatten(&format!("{name} {key}"), value, lines);
                }
            }
        }
        value => drop(lines.insert(format!("{name} {value}"))),
    }
}

/// What is in one state only.
pub fn difference(was: &BTreeSet<String>, is: &BTreeSet<String>) -> String {
    let lost = was.difference(is).map(|line| format!("- {line}\n"));
    let new = is.difference(was).map(|line| format!("+ {line}\n"));
    lost.chain(new).collect()
}
