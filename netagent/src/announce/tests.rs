use netagent_common::mac::number;

use super::*;

fn port(macs: &[u8]) -> SilentPort {
    SilentPort {
        number: 3,
        device: "tap1".parse().unwrap(),
        ifindex: 7,
        per_vlan: false,
        uplink: None,
        vids: vec![100],
        macs: macs.iter().map(|last| Mac([2, 0, 0, 0, 0, *last])).collect(),
    }
}

#[test]
fn announced_are_the_addresses_that_the_vm_uses_and_may_use() {
    let state = |last| Silence { mac: number([2, 0, 0, 0, 0, last]), own: 1, told: 0 };
    let macs = |macs: &[u8]| port(macs).macs;
    assert_eq!(addresses(&port(&[]), state(5)), macs(&[5]));
    assert_eq!(addresses(&port(&[5, 6]), state(5)), macs(&[5, 6]));
    assert_eq!(addresses(&port(&[6]), state(5)), macs(&[6]), "a forged one");
    assert_eq!(addresses(&port(&[]), Silence::default()), macs(&[]));
}
