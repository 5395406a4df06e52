//! Bridges in place: the VLAN filter where a kernel has none, and the attributes of the device.

use super::*;

#[test]
fn a_kernel_without_a_vlan_filter_can_have_the_bridge_unless_the_file_asks_for_the_filter() {
    let mut observed = fresh();
    observed.kernel.vlan_filtering = false;
    let of = |filtering: &str| {
        let file = OOB.replace("{ uplink:", &format!("{{ vlanFiltering: {filtering}, uplink:"));
        planned(&desired(&file), &observed, &ObservedDatapath::default())
    };
    for filtering in ["auto", "off"] {
        let plan = of(filtering);
        assert_eq!(found(&plan, Code::Refused), [""; 0], "{filtering}");
        let steps: Vec<_> = changes(&plan).iter().map(ToString::to_string).collect();
        assert!(steps.contains(&"ip link add oob-br type bridge".to_owned()), "{steps:?}");
        assert!(!steps.iter().any(|step| step.starts_with("bridge vlan")), "{steps:?}");
    }
    let refused = found(&of("on"), Code::Refused);
    assert!(refused[0].starts_with("oob-br: this kernel's bridge cannot filter VLANs"));
    assert_eq!(
        refused[1..],
        ["oob-bo: its bridge oob-br is refused", "tap7: its bridge oob-br is refused"]
    );
}

#[test]
fn ports_have_no_vlans_on_a_new_bridge_that_does_not_filter() {
    let file = OOB.replace("{ uplink:", "{ vlanFiltering: off, uplink:");
    let text = steps(&desired(&file), &fresh(), &ObservedDatapath::default());
    assert!(text.contains("ip link add oob-br type bridge vlan_filtering 0"), "{text}");
    assert!(!text.contains("bridge vlan add"), "{text}");
}

#[test]
fn a_bridge_is_changed_in_place() {
    let promiscuous = "ip link set oob-br promisc on";
    let changed = |wanted: bool, mtu: Option<u32>, change: &dyn Fn(&mut Link)| {
        let (mut observed, datapath) = settled();
        let mut desired = desired(OOB);
        let bridge = desired.bridges.get_mut(&name("oob-br")).unwrap();
        (bridge.promiscuous, bridge.mtu) = (wanted, mtu);
        change(observed.links.get_mut(&name("oob-br")).unwrap());
        steps(&desired, &observed, &datapath)
    };
    let other = Mac([2, 0, 0, 0, 0, 7]);
    assert_eq!(changed(false, None, &|_| ()), "");
    assert_eq!(changed(true, None, &|_| ()), promiscuous);
    assert_eq!(changed(true, None, &|link| link.promiscuous = true), "");
    assert_eq!(changed(false, None, &|link| link.promiscuous = true), "", "nobody asks");
    assert_eq!(changed(false, Some(1500), &|_| ()), "");
    assert_eq!(changed(false, Some(9000), &|_| ()), "ip link set oob-br mtu 9000");
    assert_eq!(changed(false, None, &|link| link.up = false), "ip link set oob-br up");
    assert_eq!(
        changed(false, None, &|link| link.mac = other),
        "ip link set oob-br address <that of oob-bo>"
    );
    let foreign = |link: &mut Link| (link.mac, link.alias) = (other, None);
    assert_eq!(changed(false, None, &foreign), "");
    let mut new = desired(OOB);
    new.bridges.get_mut(&name("oob-br")).unwrap().promiscuous = true;
    let text = steps(&new, &fresh(), &ObservedDatapath::default());
    assert!(text.contains(promiscuous), "{text}");
}
