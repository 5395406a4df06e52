//! Instructions per packet from the uplink to a VM: the kernel's VLAN-aware bridge alone, and with netagent. The emulator's
//! clock counts instructions, so the figures repeat whatever else this machine does.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Figure, median};
use crate::{kernel, vm};

/// TCX and all modules.
const KERNEL: &str = "6.12";

/// Builds three switches side by side and sends each the same tagged unicast frames in turn, by pktgen injected behind
/// the uplink's driver. Prints `cost NAME NANOSECONDS`, which are instructions.
const SCRIPT: &str = r#"
set -e
config() {
    cat << END
clusterNetworks:
  $1: { vlanFiltering: $2, fastPath: $3, uplink: { nics: [$1-up], bond: { mode: none }, xdp: off } }
networks:
  $1-net: { clusterNetwork: $1, vlan: 100 }
ports:
  - { device: $1-vm, network: $1-net }
END
}
# A file has all networks of a node: the second switch is added to the first one's.
ip netns add vms
for switch in none kernel aware flat tc; do
    ip link add $switch-up type veth peer name $switch-wire
    ip link add $switch-vm type veth peer name $switch-guest netns vms
    for link in up wire vm; do ip link set $switch-$link up; done
    ip -n vms link set $switch-guest up
done
arrived() {
    ip netns exec vms cat /sys/class/net/$1-guest/statistics/rx_packets
}
tc qdisc add dev none-up clsact
tc filter add dev none-up ingress matchall action drop
ip link add kernel-br type bridge vlan_filtering 1 vlan_stats_enabled 1 vlan_default_pvid 0
ip link set kernel-br up
ip link set kernel-up master kernel-br
ip link set kernel-vm master kernel-br
bridge vlan add dev kernel-up vid 100
bridge vlan add dev kernel-vm vid 100 pvid untagged
{ config aware on off; config flat off off; config tc on tc; } | awk '
    /^[a-zA-Z]+:$/ { section = $0; next }
    { text[section] = text[section] $0 "\n" }
    END { for (section in text) printf "%s\n%s", section, text[section] }' > /config.yaml
netagent run -c /config.yaml 2> /log &
for try in $(seq 100); do curl -s http://127.0.0.1:9469/readyz | grep -q ^ready && break; done
for switch in kernel aware tc; do
    bridge fdb add 02:00:00:00:00:42 dev $switch-vm master static vlan 100
done
bridge fdb add 02:00:00:00:00:42 dev flat-vm master static
bridge fdb add 02:00:00:00:00:41 dev tc-up master static vlan 100
for try in $(seq 100); do bpftool map dump pinned /sys/fs/bpf/netagent/v1/maps/FDB | grep -q "mac.*,65$" && break; done
# pktgen serves all devices that a thread has at once: give it one at a time.
for round in 1 2 3 4 5; do
    for switch in none kernel aware flat tc; do
        echo "rem_device_all" > /proc/net/pktgen/kpktgend_0
        echo "add_device $switch-up" > /proc/net/pktgen/kpktgend_0
        for option in "count 20000" "pkt_size 64" "delay 0" "xmit_mode netif_receive" "vlan_id 100" \
            "dst_mac 02:00:00:00:00:42" "src_mac 02:00:00:00:00:41" "dst 10.0.0.2" "clone_skb 0" "burst 1"; do
            echo "$option" > /proc/net/pktgen/$switch-up
        done
        before=$(arrived $switch)
        echo start > /proc/net/pktgen/pgctrl
        after=$(arrived $switch)
        usec=$(sed -n 's/^Result: OK: \([0-9]*\).*/\1/p' /proc/net/pktgen/$switch-up)
        echo "cost $switch $usec 20000 arrived $((after - before))"
    done
done
curl -s http://127.0.0.1:9469/metrics | grep ^netagent_forward_packets || tail -n 30 /log
"#;

/// Measures.
pub fn measure(netagent: &Path) -> Result<Vec<Figure>> {
    let tools = ["ip", "bridge", "tc", "bpftool", "curl"].map(Into::into);
    let spec = vm::Spec {
        script: SCRIPT.to_owned(),
        binaries: [&tools[..], &[netagent.to_owned()]].concat(),
        memory: 2048,
        timeout: Duration::from_secs(600),
        icount: true,
        ..vm::Spec::default()
    };
    let outcome = vm::run(&kernel::named(KERNEL)?, &spec)?;
    if outcome.status != 0 {
        bail!("the guest's script ended with {}", outcome.status);
    }
    let cost = |switch: &str| -> Result<f64> {
        let mut costs: Vec<f64> =
            outcome.lines.iter().filter_map(|line| per_packet(line, switch)).collect();
        if costs.is_empty() {
            bail!("no frame came out of switch {switch}");
        }
        Ok(median(&mut costs))
    };
    let generator = cost("none")?;
    let bridge = cost("kernel")? - generator;
    let mut figures = Vec::new();
    for (switch, name) in [
        ("aware", "uplink to VM, VLAN-aware bridge"),
        ("flat", "uplink to VM, VLAN-unaware bridge"),
        ("tc", "uplink to VM, past the bridge by TC"),
    ] {
        figures.push(Figure {
            name: name.to_owned(),
            place: "vm",
            netagent: cost(switch).context("measure netagent")? - generator,
            baseline: bridge,
            baseline_name: "bridge, VLAN-aware",
            unit: "instructions per packet, generator's own taken off",
        });
    }
    Ok(figures)
}

/// Instructions per packet, if the line is of this switch and its frames arrived.
fn per_packet(line: &str, switch: &str) -> Option<f64> {
    let words: Vec<_> = line.split_whitespace().collect();
    let ["cost", name, microseconds, packets, "arrived", arrived] = words[..] else { return None };
    let (microseconds, packets): (f64, f64) = (microseconds.parse().ok()?, packets.parse().ok()?);
    let complete = name == "none" || arrived.parse::<f64>().ok()? >= packets;
    (name == switch && complete).then(|| microseconds * 1000.0 / packets)
}
