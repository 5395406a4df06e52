//! Tests that need bonding, 802.1Q interfaces and VLAN filtering. On a machine whose kernel lacks
//! one of them, they run in a virtual machine.

mod again;
mod bonds;
mod vlans;

use super::{in_namespace, name};
use crate::state::Kernel;

#[test]
#[ignore = "needs root and a kernel with everything"]
fn this_kernel_has_everything() {
    in_namespace(|netlink| {
        Box::pin(async move {
            let observed = netlink.observe().await.unwrap();
            let kernel =
                Kernel { bonding: true, vlan_devices: true, bridge: true, vlan_filtering: true };
            assert_eq!(observed.kernel, kernel);
            assert_eq!(observed.links.into_keys().collect::<Vec<_>>(), [name("lo")]);
        })
    });
}
