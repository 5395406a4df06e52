//! A port that the bridge blocks in one VLAN gets no frame of it by the fast path.

use super::{lab_of, pass, wait_until_fast};
use crate::{Feature, forward::Path, lab::wait_until, needs};

const CONFIG: &str = "
clusterNetworks:
  lab:
    fastPath: PATH
    uplink: { nics: [eth2], bond: { mode: none }, xdp: XDP }
networks: { v100: { clusterNetwork: lab, vlan: 100 } }
ports:
  - { device: vm-a, network: v100 }
  - { device: vm-b, network: v100 }
";

#[test]
fn port_that_is_blocked_in_one_vlan_gets_none_of_its_frames() {
    if !needs(&[Feature::VlanFiltering]) {
        return;
    }
    for path in Path::FAST {
        let lab = lab_of(path, CONFIG);
        let _daemon = lab.node.run();
        let from = path.sender();
        let node = |line: &str| drop(lab.node.netns.sh(line));
        wait_until_fast(&lab, path, from);
        // A bridge with MSTP takes a VLAN's state from that of its instance.
        node("bridge vlan set dev vm-a vid 100 state blocking");
        wait_until("a blocked port gets nothing", || !pass(&lab, from));
        node("bridge vlan set dev vm-a vid 100 state forwarding");
        wait_until("the frames pass again", || pass(&lab, from));
        wait_until_fast(&lab, path, from);
    }
}
