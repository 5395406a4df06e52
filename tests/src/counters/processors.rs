//! Each processor counts for itself; what is shown is the sum.

use std::io;

use super::lab::{Lab, more, station};
use crate::{
    frame::C,
    lab::{seen, wait_for},
    once,
};

/// Frames of each processor in each of the VLANs, which are not allowed: more than a port has slots
/// for on a processor.
const FRAMES: u64 = 3;
const VLANS: [u16; 4] = [200, 201, 202, 203];

#[test]
fn frames_of_all_processors_are_counted() {
    once();
    let lab = Lab::new(&["eth2", "vm-a"]);
    lab.node.configure(
        "
clusterNetworks:
  oob: { vlanFiltering: off, uplink: { nics: [eth2], bond: { mode: none }, xdp: off } }
networks: { v100: { clusterNetwork: oob, vlan: 100 } }
ports: [{ device: vm-a, network: v100 }]
",
    );
    let _daemon = lab.node.run();
    let stations = [station(1), station(2)];
    lab.learn("vm-a", &[], stations[0]);
    lab.learn("eth2", &[(C, 100)], stations[1]);
    let counted = || [lab.traffic("vm-a", "100").received, lab.traffic("eth2", "100").transmitted];
    let before = counted();
    let (mut count, mut passed) = (0, 0);
    // The thread is pinned to one of them.
    for processor in 0..usize::try_from(libc::CPU_SETSIZE).unwrap() {
        if !stay_on(processor) {
            continue;
        }
        for _ in 0..FRAMES {
            for vid in VLANS {
                lab.send("vm-a", &[(C, vid)], stations);
            }
        }
        count += FRAMES;
        wait_for("a frame of this processor bypasses the bridge", || {
            let before = lab.forwarded("vm-a", "tc");
            let frame = lab.send("vm-a", &[], stations);
            lab.up_to("eth2", &frame);
            passed += 1;
            let after = lab.forwarded("vm-a", "tc");
            seen((before, after), after > before)
        });
        // The frames of this processor have arrived before the next one sends.
        lab.fence.pass();
    }
    let after = counted();
    assert_eq!([0, 1].map(|port| more(before[port], after[port])), [[passed, 60 * passed]; 2]);
    for vid in VLANS {
        let key = ["vm-a", "receive", &vid.to_string(), "vlan-not-allowed"].map(str::to_owned);
        assert_eq!(lab.drops().get(&key), Some(&[count, 60 * count]), "VLAN {vid}");
    }
}

/// Pins this thread to a processor, if it exists.
fn stay_on(processor: usize) -> bool {
    // SAFETY: the set lives here.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
    };
    let error = io::Error::last_os_error();
    assert!(result == 0 || error.kind() == io::ErrorKind::InvalidInput, "{error}");
    result == 0
}
