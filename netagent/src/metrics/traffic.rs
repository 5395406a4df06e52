//! Traffic by (device, VLAN), with a cap on the number of series.

use std::{borrow::Cow, cmp::Reverse, collections::BTreeSet, fmt};

use super::family::{Families, Labels};
use crate::{
    names::IfName,
    state::{Count, Counters, Forwarded, PortCounters, Traffic},
};

/// Maximum number of (device, VLAN) pairs in a scrape. Each pair is four series. A node with full
/// trunks would otherwise export tens of thousands of idle series, far beyond Prometheus' advice.
const MAX_PAIRS: usize = 10_000;

/// A family: name, HELP, and the count that it exports.
type Family = (&'static str, &'static str, fn(&Traffic) -> u64);

const FAMILIES: [Family; 4] = [
    (
        "netagent_vlan_receive_packets",
        "Frames from the VM or the wire that passed the policy, by VLAN or link-local",
        |traffic| traffic.receive.packets,
    ),
    (
        "netagent_vlan_receive_bytes",
        "Bytes of frames from the VM or the wire that passed the policy, without VLAN tag and FCS",
        |traffic| traffic.receive.bytes,
    ),
    (
        "netagent_vlan_transmit_packets",
        "Frames to the VM or the wire that passed the policy, by VLAN or link-local",
        |traffic| traffic.transmit.packets,
    ),
    (
        "netagent_vlan_transmit_bytes",
        "Bytes of frames to the VM or the wire that passed the policy, without VLAN tag and FCS",
        |traffic| traffic.transmit.bytes,
    ),
];

/// Writes the traffic.
pub fn encode(families: &mut Families<'_>, counters: &Counters) -> fmt::Result {
    let folded = folded(counters);
    let series: Vec<(Labels<'_, 2>, Traffic)> = counters
        .ports
        .iter()
        .flat_map(|(device, port)| {
            vlans(port, folded.contains(device)).into_iter().map(move |(vlan, traffic)| {
                ([("device", device.as_str().into()), ("vlan", vlan)], traffic)
            })
        })
        .collect();
    for (name, help, value) in FAMILIES {
        families.counters(
            name,
            help,
            series.iter().map(|(labels, traffic)| (labels.clone(), value(traffic))),
        )?;
    }
    families.counters(
        "netagent_forward_packets",
        "Frames from the VM or the wire that passed the policy, by path: bridge, TC redirect or XDP redirect",
        counters.ports.iter().flat_map(|(device, port)| paths(device, port)),
    )?;
    families.counters(
        "netagent_port_mac_moves",
        "Stations that moved to the port from another port of its bridge, as the bridge's FDB tells",
        counters.ports.iter().map(|(device, port)| {
            ([("device", device.as_str().into())], port.mac_moves)
        }),
    )?;
    families.gauge(
        "netagent_vlan_series_limited",
        "Whether there are too many VLAN series: if so, the largest trunks have one series, vlan other",
        &u32::from(!folded.is_empty()),
    )
}

/// Frames of a port by path. Frames that took no fast path took the bridge.
fn paths<'a>(device: &'a IfName, port: &PortCounters) -> [(Labels<'a, 2>, u64); 3] {
    let Forwarded { tc, xdp } = port.forwarded;
    let received: u64 = port.vlans.values().map(|traffic| traffic.receive.packets).sum();
    [("bridge", received.saturating_sub(tc + xdp)), ("tc", tc), ("xdp", xdp)].map(
        |(path, packets)| ([("device", device.as_str().into()), ("path", path.into())], packets),
    )
}

/// The devices whose VIDs are folded: those with the most VIDs, until the rest fits. Whole devices
/// are folded, and the configuration rather than the traffic decides, so that no VID moves between
/// series from one scrape to the next.
fn folded(counters: &Counters) -> BTreeSet<&IfName> {
    let mut pairs: usize = counters.ports.values().map(|port| port.vlans.len()).sum();
    let mut by_size: Vec<_> = counters.ports.iter().collect();
    by_size.sort_by_key(|(device, port)| (Reverse(port.vlans.len()), *device));
    let mut folded = BTreeSet::new();
    for (device, port) in by_size {
        if pairs <= MAX_PAIRS {
            break;
        }
        let all = port.vlans.len();
        pairs = pairs - all + vlans(port, true).len();
        folded.insert(device);
    }
    folded
}

/// The series of one port. Link-local frames have their own series: they belong to no VLAN.
fn vlans(port: &PortCounters, fold: bool) -> Vec<(Cow<'static, str>, Traffic)> {
    let link_local = port.vlans.get(&0).map(|traffic| ("link-local".into(), *traffic));
    let vids = port.vlans.iter().filter(|(vid, _)| **vid != 0);
    let vids: Vec<(Cow<'static, str>, Traffic)> = if fold {
        vec![("other".into(), vids.map(|(_, traffic)| *traffic).fold(Traffic::default(), sum))]
    } else {
        vids.map(|(vid, traffic)| (vid.to_string().into(), *traffic)).collect()
    };
    link_local.into_iter().chain(vids).collect()
}

fn sum(a: Traffic, b: Traffic) -> Traffic {
    let add =
        |a: Count, b: Count| Count { packets: a.packets + b.packets, bytes: a.bytes + b.bytes };
    Traffic { receive: add(a.receive, b.receive), transmit: add(a.transmit, b.transmit) }
}
