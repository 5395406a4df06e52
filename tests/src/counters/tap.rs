//! What a guest sends to be cut, at a tap: the kernel has not counted the segments (`gso_segs` is
//! 0), as it has at a veth. As many are counted as leave, and as many are within a limit.

use std::time::Duration;

use super::lab::{Address, Lab, more, station};
use crate::{
    frame::{BROADCAST, C, Frame},
    lab::{kernel_is_at_least, seen, wait_for},
    once,
    tap::{Gso, Tap},
};

const VM: Address = station(1);

/// A node with a tap, whose uplink cuts what it sends.
fn lab(security: &str) -> (Lab, Tap) {
    let lab = Lab::new(&["eth2"]);
    let tap = Tap::open(&lab.node.netns, "vm-a");
    lab.node
        .netns
        .sh("ethtool -K eth2 tx off sg off tso off gso off tx-udp-segmentation off >/dev/null
         ip link set eth2 txqueuelen 100000");
    lab.node.apply(&format!(
        "
clusterNetworks:
  oob: {{ vlanFiltering: off, uplink: {{ nics: [eth2], bond: {{ mode: none }}, xdp: off }} }}
networks: {{ v100: {{ clusterNetwork: oob, vlan: 100 }} }}
ports: [{{ device: vm-a, network: v100, security: {{ {security} }} }}]
"
    ));
    (lab, tap)
}

fn broadcast(kind: Gso, payload: u16) -> (Vec<u8>, [u16; 2]) {
    kind.frame([BROADCAST, VM], payload)
}

/// How many frames of the VM leave the uplink until none comes for a while.
fn leave(lab: &Lab, at_least: u64) -> u64 {
    let wire = lab.wire("eth2");
    let mut frames = 0;
    loop {
        let patience = if frames < at_least { 5000 } else { 300 };
        let Some(bytes) = wire.receive(Duration::from_millis(patience)) else { return frames };
        let frame = Frame::from_bytes(&bytes).unwrap();
        if frame.source == VM {
            assert_eq!(frame.tags, [(C, 100)]);
            frames += 1;
        }
    }
}

#[test]
fn as_many_segments_are_counted_as_leave() {
    once();
    let (lab, tap) = lab("");
    let counted = || [lab.traffic("vm-a", "100").received, lab.traffic("eth2", "100").transmitted];
    let sizes = [(100, 50_000), (1428, 38 * 1428), (1000, 10_001), (1000, 1001)];
    for kind in [Gso::Tcp4, Gso::Tcp6, Gso::UdpL4] {
        if kind == Gso::UdpL4 && !kernel_is_at_least(6, 2) {
            continue;
        }
        for (size, payload) in sizes {
            // The kernel makes at most 128 datagrams of one.
            if kind == Gso::UdpL4 && payload / size >= 128 {
                continue;
            }
            let before = counted();
            let (frame, checksum) = broadcast(kind, payload);
            let segments = u64::from(payload.div_ceil(size));
            tap.send(kind, size, checksum, &frame);
            let left = leave(&lab, segments);
            assert_eq!(left, segments, "{kind:?}: {payload} bytes by {size}");
            let after = counted();
            let bytes = u64::try_from(frame.len()).unwrap();
            for port in [0, 1] {
                let more = more(before[port], after[port]);
                assert_eq!(more, [segments, bytes], "{kind:?}: {payload} bytes by {size}");
            }
        }
    }
}

/// A guest cannot send more than the limit in frames that are to be cut.
#[test]
fn segments_of_a_guest_count_against_its_limit() {
    const FLOOD: u64 = 200;
    once();
    for (kind, size) in [(Gso::Tcp4, 100), (Gso::Tcp6, 100), (Gso::Udp, 104)] {
        let (lab, tap) = lab("storm: { broadcast: 100 }");
        let (frame, checksum) = broadcast(kind, 50_000);
        let segments = u64::from(50_000_u16.div_ceil(size));
        for _ in 0..FLOOD {
            tap.send(kind, size, checksum, &frame);
        }
        let key = ["vm-a", "receive", "100", "broadcast-storm"].map(str::to_owned);
        let [dropped, _] = wait_for("most are dropped", || {
            let dropped = lab.drops().get(&key).copied().unwrap_or_default();
            seen(dropped, dropped[0] >= (FLOOD - 5) * segments)
        });
        let [passed, _] = lab.traffic("vm-a", "100").received;
        let left = leave(&lab, passed);
        assert_eq!(dropped + passed, FLOOD * segments, "{kind:?}");
        assert_eq!(left, passed, "{kind:?}");
    }
}
