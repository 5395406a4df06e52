//! The MAC address of a bond: that of its first member, whoever sets another.

use super::{file, node};
use crate::{Feature, lab::wait_until_eq, needs};

#[test]
fn bond_gets_and_keeps_the_address_of_its_first_member() {
    if !needs(&[Feature::Bonding]) {
        return;
    }
    let (node, _switch) = node();
    let own = node.netns.link("eth2")["address"].clone();
    let has_own = |what: &str| {
        for device in ["oob-bo", "oob-br", "eth2", "eth3"] {
            wait_until_eq(&format!("{what}: the address of {device}"), &own, || {
                node.netns.link(device)["address"].clone()
            });
        }
    };
    // As udev does with MACAddressPolicy=persistent, as soon as there is the bond.
    let foreign = "02:00:00:00:00:99";
    let line = format!("until ip link set oob-bo address {foreign} 2>/dev/null; do :; done");
    let mut udev = node.netns.command(&line).spawn().unwrap();
    node.configure(&file("eth2, eth3", "mode: active-backup"));
    let _daemon = node.run();
    assert!(udev.wait().unwrap().success());
    has_own("at the start");
    node.netns.sh(&format!("ip link set oob-bo address {foreign}"));
    has_own("after somebody has set another");
    // Without its members, the bond has a random one meanwhile.
    node.configure(&file("eth2, eth3", "mode: balance-xor"));
    node.ok("reload");
    let mode = || node.netns.link("oob-bo")["linkinfo"]["info_data"]["mode"].clone();
    wait_until_eq("the mode", &"balance-xor".into(), mode);
    has_own("in another mode");
}
