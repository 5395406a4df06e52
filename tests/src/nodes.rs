//! Kinds of node, as their managers leave them, that netagent takes over, changes and gives back.
//! Everything that is on a node is pinged from outside all the while. The longest gap of each step
//! is compared with that of the same change by the commands of a careful operator, on a node of the
//! same kind.

mod gaps;
mod kinds;
mod lab;
mod state;
mod walk;

use self::walk::walk;
use crate::{lab::output, once};

#[test]
fn one_nic() {
    walk(&kinds::nics::ONE_NIC);
}

#[test]
fn two_nics_with_leases() {
    walk(&kinds::nics::TWO_LEASES);
}

#[test]
fn active_backup_bond_of_networkd() {
    walk(&kinds::bonds::ACTIVE_BACKUP);
}

#[test]
fn lacp_bond_of_ifupdown() {
    walk(&kinds::bonds::LACP);
}

#[test]
fn balance_xor_bond_of_network_manager() {
    walk(&kinds::bonds::BALANCE_XOR);
}

#[test]
fn address_in_a_vlan_of_the_nic() {
    walk(&kinds::nics::VLAN);
}

#[test]
fn unaware_bridge_with_many_vms() {
    walk(&kinds::bridges::UNAWARE);
}

#[test]
fn aware_bridge_with_many_vms() {
    walk(&kinds::bridges::AWARE);
}

#[test]
fn harvester_with_vips() {
    walk(&kinds::bonds::HARVESTER);
}

#[test]
fn ipv6_only_with_advertisements() {
    walk(&kinds::nics::ADVERTISEMENTS);
}

#[test]
fn policy_routing() {
    walk(&kinds::nics::POLICY_ROUTING);
}

/// The rules of the forward chain see the VMs' frames.
#[test]
fn bridge_netfilter() {
    once();
    if !output("test -e /proc/sys/net/bridge/bridge-nf-call-iptables").status.success() {
        let kernel = crate::lab::kernel_release();
        println!("skipped: {}: kernel {kernel} lacks br_netfilter", crate::test());
        return;
    }
    walk(&kinds::bridges::NETFILTER);
}
