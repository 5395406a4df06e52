//! A takeover that ends at any call of netlink or of BPF, by an error or as the agent is killed.

use std::fs;

use super::{
    NEEDS,
    lab::{Lab, NIC},
};
use crate::{needs, needs_program, once, soak};

/// Whatever call fails or is the last one: the next apply completes the takeover, and one that
/// reports an error has left the node reachable.
#[test]
fn a_takeover_that_ends_at_any_call_is_completed_by_the_next() {
    once();
    let yaml = "clusterNetworks: { mgmt: { uplink: { nics: [eth0], bond: { mode: none } }, \
                host: { address: 10.0.0.5/24 } } }";
    end_at_any_call(yaml, "mgmt-br", [10, 80], || Lab::new(&["eth0"], NIC));
}

/// The bond, its bridge and the other NIC may be there already, and the NIC may have joined.
#[test]
fn a_takeover_by_a_bond_that_ends_at_any_call_is_completed_by_the_next() {
    once();
    if !needs(&NEEDS) {
        return;
    }
    let yaml = "clusterNetworks: { mgmt: { uplink: { nics: [eth0, eth1] }, \
                host: { address: 10.0.0.5/24 } } }";
    end_at_any_call(yaml, "mgmt-br", [80, 300], || Lab::new(&["eth0", "eth1"], NIC));
}

/// The VLAN interface on the NIC goes, and a bridge that filters VLANs carries that of the node.
#[test]
fn a_takeover_of_a_vlan_that_ends_at_any_call_is_completed_by_the_next() {
    once();
    if !needs(&NEEDS) {
        return;
    }
    let yaml = "clusterNetworks: { mgmt: { uplink: { nics: [eth0], bond: { mode: none } }, \
                host: { vlan: 10, address: 10.0.0.5/24 } } }";
    end_at_any_call(yaml, "mgmt-br.10", [80, 300], || Lab::tagged(&["eth0"]));
}

/// Ends a takeover at each so many calls of netlink and of BPF, from one that chance picks; in a
/// soak, at each.
fn end_at_any_call(yaml: &str, to: &str, steps: [usize; 2], lab: impl Fn() -> Lab) {
    if !needs_program("strace") {
        return;
    }
    for (call, step) in ["sendto", "bpf"].into_iter().zip(steps) {
        let mut injected = 0;
        for inject in ["signal=KILL", "error=ENOBUFS"] {
            let step = if soak() { 1 } else { step };
            let first = 1 + usize::try_from(std::process::id()).unwrap() % step;
            for number in (first..).step_by(step) {
                let lab = lab();
                lab.node.configure(yaml);
                // Links of the agent may come with the apply that is interrupted.
                let confirmed = || lab.node.confirm_all();
                let apply =
                    || format!("apply -c {} --no-rollback{}", lab.node.config(), confirmed());
                let log = format!("{}.strace", lab.node.config());
                let output = lab.node.netns.output(&format!(
                    "strace -f -q -o {log} -e trace={call} -e inject={call}:{inject}:when={number} {}",
                    lab.node.line(&apply())
                ));
                let trace = fs::read_to_string(&log).unwrap();
                if output.status.code() == Some(3) || output.status.code() == Some(1) {
                    lab.wait_until_reached("10.0.0.5");
                }
                let plan = lab.node.netagent(&format!("plan -c {}", lab.node.config()));
                println!(
                    "after {inject} at {call} {number}: {}",
                    String::from_utf8_lossy(&plan.stdout)
                );
                lab.node.ok(&apply());
                lab.wait_until_reached("10.0.0.5");
                lab.assert_moved(to);
                lab.node.assert_settled();
                if !trace.contains("INJECTED") && !trace.contains("killed by SIGKILL") {
                    break;
                }
                injected += 1;
            }
        }
        assert!(injected > 1, "{call}: {injected}");
    }
}
