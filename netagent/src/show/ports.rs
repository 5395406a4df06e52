//! `show ports`: network, policy and programs of each port.

use netagent_common::{policy::TAGS_IN_BYTES, vlan::Vid};
use schemars::JsonSchema;
use serde::Serialize;

use super::table::{Column, Table, or_dash};
use crate::{
    names::IfName,
    snapshot::Snapshot,
    state::{Hook, Link, ObservedPort, PortPolicy, checks},
    vids::VidSet,
};

/// A port.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Row {
    device: String,
    network: String,
    mode: &'static str,
    pvid: Option<u16>,
    vids: String,
    admit: &'static str,
    /// Checks of the VM's frames besides their VLAN, by their names in the file.
    checks: Vec<&'static str>,
    /// `missing`: no such device; `down`: administratively down; `no-carrier`; `up`.
    link: &'static str,
    /// Frames from the VM or the wire that the device itself has dropped; `null`: not known.
    device_rx_dropped: Option<u64>,
    /// Frames to the VM or the wire that the device itself has dropped; `null`: not known.
    device_tx_dropped: Option<u64>,
    bridge: Option<String>,
    programs: Vec<&'static str>,
    /// The `programs` that another build of netagent attached.
    outdated: Vec<&'static str>,
    /// Required programs that are not attached.
    missing: Vec<&'static str>,
    /// XDP on an uplink: `off`, `native`, `native, an offload hides the tags`, `off: there is
    /// another program`, or `refused by the driver`.
    xdp: Option<&'static str>,
    #[serde(skip)]
    short_vids: String,
}

/// One row per port.
pub fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let ports = snapshot.datapath.ports.iter();
    ports
        .map(|(device, port)| {
            // It may have been renamed.
            let is_its = |link: &&Link| link.index == port.ifindex;
            let link = snapshot.links.link(device);
            let link = link.or_else(|| snapshot.links.links.values().find(is_its));
            let drops = snapshot.counters.devices.get(device);
            let PortPolicy { network, pvid, allowed, .. } = &port.policy;
            let (current, other) = (&port.attached, &port.outdated);
            // The XDP program is optional and has its own column.
            let programs = |is: &dyn Fn(&Hook) -> bool| {
                let hooks = port.policy.hooks().iter().filter(|hook| **hook != Hook::UplinkXdp);
                hooks.filter(|hook| is(hook)).map(|hook| hook.program()).collect()
            };
            Row {
                device: device.to_string(),
                network: network.clone(),
                mode: port.policy.mode(),
                pvid: pvid.map(Vid::get),
                vids: allowed.to_string(),
                admit: port.policy.admit().name(),
                checks: checks(port.policy.flags).collect(),
                link: link_state(link),
                device_rx_dropped: drops.map(|drops| drops.receive),
                device_tx_dropped: drops.map(|drops| drops.transmit),
                bridge: link.and_then(|link| link.controller.as_ref()).map(ToString::to_string),
                programs: programs(&|hook| current.contains(hook) || other.contains(hook)),
                outdated: programs(&|hook| other.contains(hook)),
                missing: programs(&|hook| !current.contains(hook) && !other.contains(hook)),
                xdp: xdp(snapshot, device, port),
                short_vids: short(allowed),
            }
        })
        .collect()
}

/// The table.
pub fn table(rows: &[Row]) -> String {
    use Column::{Number, Text};
    let mut table = Table::new(&[
        Text("PORT"),
        Text("NETWORK"),
        Text("MODE"),
        Number("PVID"),
        Text("VIDS"),
        Text("ADMIT"),
        Text("CHECKS"),
        Text("LINK"),
        Number("RX-DROPPED"),
        Number("TX-DROPPED"),
        Text("BRIDGE"),
        Text("PROGRAMS"),
        Text("XDP"),
    ]);
    for row in rows {
        let missing = row.missing.iter().map(|program| format!("{program} MISSING"));
        let running = row.programs.iter().map(|program| {
            format!("{program}{}", if row.outdated.contains(program) { " OUTDATED" } else { "" })
        });
        let programs = running.chain(missing);
        table.row([
            row.device.clone(),
            row.network.clone(),
            row.mode.to_owned(),
            or_dash(row.pvid.map(|vid| vid.to_string())),
            or_dash(Some(row.short_vids.clone())),
            row.admit.to_owned(),
            or_dash(Some(row.checks.join(", "))),
            row.link.to_owned(),
            or_dash(row.device_rx_dropped.map(|drops| drops.to_string())),
            or_dash(row.device_tx_dropped.map(|drops| drops.to_string())),
            or_dash(row.bridge.clone()),
            programs.collect::<Vec<_>>().join(", "),
            or_dash(row.xdp.map(str::to_owned)),
        ]);
    }
    table.finish()
}

fn link_state(link: Option<&Link>) -> &'static str {
    match link {
        None => "missing",
        Some(link) if !link.up => "down",
        Some(link) if !link.carrier => "no-carrier",
        Some(_) => "up",
    }
}

fn xdp(snapshot: &Snapshot, device: &IfName, port: &ObservedPort) -> Option<&'static str> {
    let nics = snapshot.links.ports_of(device).map(|(_, link)| link);
    let foreign =
        || snapshot.links.link(device).into_iter().chain(nics).any(|link| link.xdp.is_some());
    let [current, other] = [&port.attached, &port.outdated];
    let attached = current.contains(&Hook::UplinkXdp) || other.contains(&Hook::UplinkXdp);
    if !port.policy.hooks().contains(&Hook::UplinkXdp) {
        None
    } else if attached && port.policy.has(TAGS_IN_BYTES) {
        Some("native")
    } else if attached {
        // The program then passes all frames to TC.
        Some("native, an offload hides the tags")
    } else if foreign() {
        Some("off: there is another program")
    } else if port.xdp_refused {
        Some("refused by the driver")
    } else {
        Some("off")
    }
}

/// The allow-list, shortened so that the table fits the screen.
fn short(vids: &VidSet) -> String {
    const RANGES: usize = 5;
    let text = vids.to_string();
    match text.match_indices(',').nth(RANGES - 1) {
        Some((end, _)) => format!("{},... ({} VIDs)", &text[..end], vids.len()),
        None => text,
    }
}
