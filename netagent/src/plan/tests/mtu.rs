//! The chain of MTUs: NIC, bond, bridge, host interface and VM port.

use super::*;
use crate::state::Original;

/// `OOB` with more keys of the uplink, and of the cluster network.
fn file(uplink: &str, segment: &str) -> String {
    let uplink = format!("mode: 802.3ad }}{uplink} }}{segment}");
    OOB.replace("mode: 802.3ad } }", &uplink)
}

/// The node after `OOB` with an interface in VLAN 10: the MTUs of the devices, from the bond up.
fn with_mtus([bond, bridge, host, tap]: [u32; 4]) -> (Observed, ObservedDatapath) {
    let file = file("", ", host: { vlan: 10, address: 10.0.0.5/24 }");
    let (mut observed, _) = settled();
    let own = Address { owned: true, ..Address::default() };
    let kind = Kind::Vlan { parent: Some(name("oob-br")), vid: vid(10) };
    let alias = Some("netagent".to_owned());
    let addresses = BTreeMap::from([("10.0.0.5/24".parse().unwrap(), own)]);
    observed.links.insert(name("oob-br.10"), Link { alias, addresses, ..link(22, kind) });
    for device in ["oob-bo", "oob-br"] {
        let vlans = &mut observed.links.get_mut(&name(device)).unwrap().vlans;
        vlans.insert(vid(10), VlanFlags::default());
    }
    let mtus = [("oob-bo", bond), ("oob-br", bridge), ("oob-br.10", host), ("tap7", tap)];
    for (device, mtu) in mtus.into_iter().chain([("eth2", bond), ("eth3", bond)]) {
        observed.links.get_mut(&name(device)).unwrap().mtu = mtu;
    }
    let datapath = carried_out(&desired(&file), &observed);
    (observed, datapath)
}

/// What is planned for these keys of the uplink and of the host.
fn planned_for(uplink: &str, host: &str, mtus: [u32; 4]) -> String {
    let (observed, datapath) = with_mtus(mtus);
    let file = file(uplink, &format!(", host: {{ vlan: 10, address: 10.0.0.5/24{host} }}"));
    let plan = steps(&desired(&file), &observed, &datapath);
    let lines = plan.lines().filter(|line| !line.starts_with("# guarded"));
    lines.map(|line| line.trim_start_matches("ip link set ")).collect::<Vec<_>>().join(", ")
}

#[test]
fn devices_of_netagent_follow_the_uplink() {
    let jumbo = ", mtu: 9000";
    for (uplink, host, mtus, expected) in [
        ("", "", [1500, 1500, 1500, 1500], ""),
        (jumbo, "", [9000, 9000, 9000, 1500], ""),
        // The kernel lowers the host interface with the bridge, and does not raise it again.
        (
            jumbo,
            "",
            [1500, 1500, 1500, 1500],
            "oob-bo mtu 9000, oob-br mtu 9000, oob-br.10 mtu 9000",
        ),
        (jumbo, "", [9000, 9000, 1500, 1500], "oob-br.10 mtu 9000"),
        (jumbo, "", [9000, 1500, 1500, 1500], "oob-br mtu 9000, oob-br.10 mtu 9000"),
        // Without a key, a bond of netagent has the default.
        ("", "", [9000, 9000, 9000, 1500], "oob-bo mtu 1500, oob-br mtu 1500, oob-br.10 mtu 1500"),
        ("", "", [1500, 1400, 1400, 1400], "oob-br mtu 1500, oob-br.10 mtu 1500"),
        (jumbo, ", mtu: 1500", [9000, 9000, 1500, 9000], ""),
        (jumbo, ", mtu: 1500", [9000, 9000, 9000, 9000], "oob-br.10 mtu 1500"),
    ] {
        assert_eq!(planned_for(uplink, host, mtus), expected, "{uplink} {host} {mtus:?}");
    }
}

#[test]
fn an_interface_that_is_the_bridge_gives_its_mtu_to_the_bridge() {
    let (mut observed, datapath) = settled();
    for device in ["eth2", "eth3", "oob-bo", "oob-br", "tap7"] {
        observed.links.get_mut(&name(device)).unwrap().mtu = 9000;
    }
    let own = Address { owned: true, ..Address::default() };
    let bridge = observed.links.get_mut(&name("oob-br")).unwrap();
    bridge.addresses.insert("10.0.0.5/24".parse().unwrap(), own);
    let host = ", host: { address: 10.0.0.5/24, mtu: 1500 }";
    let plan = planned(&desired(&file(", mtu: 9000", host)), &observed, &datapath);
    let mtus = changes(&plan).into_iter().map(|change| change.to_string());
    let mtus: Vec<_> = mtus.filter(|change| change.contains(" mtu ")).collect();
    assert_eq!(mtus, ["ip link set oob-br mtu 1500"]);
    // The MTU of a new bridge is not left to its ports.
    let plan = planned(&desired(&file(", mtu: 9000", host)), &fresh(), &datapath);
    let mtus = changes(&plan).into_iter().map(|change| change.to_string());
    let mtus: Vec<_> = mtus.filter(|change| change.contains("oob-br mtu")).collect();
    assert_eq!(mtus, ["ip link set oob-br mtu 1501 && ip link set oob-br mtu 1500"]);
}

#[test]
fn a_device_of_others_gets_back_only_what_netagent_has_changed() {
    let text = "
clusterNetworks:
  oob: { bridge: vmbr0, uplink: { nics: [eth2], bond: { mode: none } } }
";
    let planned_for = |found: u32, mtu_set: Option<u32>, now: u32| {
        let mut observed = fresh();
        let kind = Kind::Bridge(BridgeState::default());
        observed.links.insert(name("vmbr0"), Link { mtu: now, ..link(21, kind) });
        for device in ["eth2", "vmbr0"] {
            let link = observed.links.get_mut(&name(device)).unwrap();
            let mut original = Original::of(link, HiddenTags::NONE);
            (original.mtu, original.mtu_set) = (found, mtu_set);
            link.mtu = now;
            observed.originals.insert(name(device), original);
        }
        let plan = planned(&desired(text), &observed, &ObservedDatapath::default());
        let mtus = changes(&plan).into_iter().map(|change| change.to_string());
        mtus.filter(|change| change.contains(" mtu ")).collect::<Vec<_>>()
    };
    let back = ["ip link set vmbr0 mtu 1500", "ip link set eth2 mtu 1500"];
    assert_eq!(planned_for(1500, Some(9000), 9000), back);
    assert_eq!(planned_for(1500, None, 9000), [""; 0], "somebody else has set it");
    assert_eq!(planned_for(1500, Some(9000), 4000), [""; 0], "somebody else has changed it");
}

/// The kernel lowers a bridge to the lowest MTU of its ports until somebody has changed it.
#[test]
fn a_port_does_not_lower_the_mtu_of_its_bridge() {
    let held = "ip link set oob-br mtu 1501 && ip link set oob-br mtu 1500";
    let planned_for = |of_tap: u32, change: &dyn Fn(&mut Desired, &mut Observed)| {
        let (mut observed, datapath) = settled();
        let mut desired = desired(OOB);
        let tap = observed.links.get_mut(&name("tap7")).unwrap();
        (tap.controller, tap.mtu) = (None, of_tap);
        change(&mut desired, &mut observed);
        let plan = planned(&desired, &observed, &datapath);
        assert_eq!(plan.unconfirmed(), BTreeSet::new());
        let mtus = changes(&plan).into_iter().map(|change| change.to_string());
        mtus.filter(|change| change.contains(" mtu ")).collect::<Vec<_>>()
    };
    assert_eq!(planned_for(1500, &|_, _| ()), [""; 0]);
    assert_eq!(planned_for(9000, &|_, _| ()), [""; 0]);
    assert_eq!(planned_for(1400, &|_, _| ()), [held]);
    let lowered = |desired: &mut Desired, observed: &mut Observed| {
        desired.ports.get_mut(&name("tap7")).unwrap().mtu = Some(1400);
        let tap = observed.links.get_mut(&name("tap7")).unwrap();
        tap.controller = Some(name("oob-br"));
    };
    assert_eq!(planned_for(1500, &lowered), [held, "ip link set tap7 mtu 1400"]);
    assert_eq!(planned_for(1400, &lowered), [""; 0], "it is there with this MTU already");
    // Another port has a lower MTU than the bridge: that does not follow its ports.
    let another = |_: &mut Desired, observed: &mut Observed| {
        let controller = Some(name("oob-br"));
        let other = Link { mtu: 1300, controller, ..link(10, Kind::Other("tun".to_owned())) };
        observed.links.insert(name("tap8"), other);
    };
    assert_eq!(planned_for(1400, &another), [""; 0]);
    // A bridge without an uplink is left to the kernel.
    let alone = |desired: &mut Desired, observed: &mut Observed| {
        desired.ports.remove(&name("oob-bo"));
        desired.bonds.clear();
        observed.links.remove(&name("oob-bo"));
    };
    assert_eq!(planned_for(1400, &alone), [""; 0]);
    let new = |_: &mut Desired, observed: &mut Observed| {
        observed.links.remove(&name("oob-br"));
    };
    assert_eq!(planned_for(1400, &new), [held]);
}

#[test]
fn vlan_interfaces_of_others_that_the_kernel_lowers_are_named() {
    let (mut observed, datapath) = with_mtus([9000, 9000, 9000, 9000]);
    let kind = Kind::Vlan { parent: Some(name("oob-br")), vid: vid(77) };
    observed.links.insert(name("storage"), Link { mtu: 9000, ..link(40, kind) });
    let file = file(", mtu: 4000", ", host: { vlan: 10, address: 10.0.0.5/24 }");
    let plan = planned(&desired(&file), &observed, &datapath);
    let impact: Vec<_> = plan.units.iter().flat_map(|unit| &unit.impact).collect();
    assert_eq!(
        impact,
        [
            "VLAN interface storage: MTU 9000 → 4000: the kernel lowers it with oob-br, and does not \
          raise it again"
        ]
    );
}

#[test]
fn an_mtu_that_does_not_fit_that_of_the_uplink_is_a_finding() {
    for (wanted, own, uplink, low, high) in [
        (None, 1500, 1500, false, false),
        (None, 1500, 1504, false, false),
        (None, 1500, 1505, true, false),
        (None, 1500, 1400, false, false),
        (Some(1500), 1500, 1500, false, false),
        (Some(1501), 1501, 1500, false, true),
        (Some(1400), 1400, 1500, true, false),
    ] {
        let (observed, datapath) = with_mtus([uplink, uplink, uplink, own]);
        let keys = format!(", mtu: {uplink}");
        let mut desired = desired(&file(&keys, ", host: { vlan: 10, address: 10.0.0.5/24 }"));
        desired.ports.get_mut(&name("tap7")).unwrap().mtu = wanted;
        let plan = planned(&desired, &observed, &datapath);
        let has = |code| !found(&plan, code).is_empty();
        assert_eq!((has(Code::MtuLow), has(Code::MtuHigh)), (low, high), "{own} {uplink}");
        assert_eq!(changes(&plan), []);
    }
}

#[test]
fn a_customer_needs_room_for_a_tag_where_the_file_does_not_say_the_mtu() {
    let text = "
clusterNetworks:
  oob: { uplink: { nics: [eth2], bond: { mode: none } } }
networks:
  customer: { clusterNetwork: oob, qinq: 3000 }
ports:
  - { device: tap7, network: customer }
";
    for (uplink, high) in [(1500, true), (1503, true), (1504, false)] {
        let mut observed = fresh();
        observed.links.get_mut(&name("eth2")).unwrap().mtu = uplink;
        let datapath = ObservedDatapath { stacked_tags: true, ..ObservedDatapath::default() };
        let plan = planned(&desired(text), &observed, &datapath);
        let expected = format!(
            "tap7: MTU 1500 and the customer's tag exceed the {uplink} of its cluster network: \
             longer frames to the wire are dropped: set `mtu: 1504` on the uplink, or `mtu: {}` on \
             the port",
            uplink - 4
        );
        let expected = if high { vec![expected] } else { vec![] };
        assert_eq!(found(&plan, Code::MtuHigh), expected);
    }
}

#[test]
fn a_host_whose_bridge_has_a_lower_mtu_is_a_finding() {
    let text = "
clusterNetworks:
  oob: { uplink: { nics: [eth2], bond: { mode: none } }, host: { vlan: 10, mtu: 9000 } }
";
    let plan = planned(&desired(text), &fresh(), &ObservedDatapath::default());
    assert_eq!(
        found(&plan, Code::MtuHigh),
        [
            "oob-br.10: MTU 9000 exceeds the 1500 of its bridge oob-br: set `mtu: 9000` on the uplink, \
          or `mtu: 1500` on the host"
        ]
    );
}
