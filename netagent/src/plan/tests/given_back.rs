//! What netagent did not create, and nothing desires any more, is given back as it was found.

use super::{
    adopted::{FILE, node},
    *,
};
use crate::state::{Neighbour, Original};

/// `vmbr0` after the plan for a file, with what was there before.
fn managed(filtering: bool, file: &str) -> (Observed, ObservedDatapath) {
    let mut observed = node(filtering);
    let found = observed.links.iter();
    observed.originals =
        found.map(|(name, link)| (name.clone(), Original::of(link, HIDDEN))).collect();
    let datapath = carried_out(&desired(file), &observed);
    (observed, datapath)
}

#[test]
fn port_stays_on_the_bridge_that_it_was_found_on() {
    let (mut observed, mut datapath) = managed(true, FILE);
    let nic = observed.links.get_mut(&name("eth2")).unwrap();
    (nic.vlans, nic.mtu) = (BTreeMap::from([(vid(100), VlanFlags::default())]), 1400);
    datapath.rx_vlan.insert(name("eth2"), HiddenTags::NONE);
    insta::assert_snapshot!(steps(&desired("{}"), &observed, &datapath), @"
    bridge vlan del dev eth2 vid 100
    bridge vlan add dev eth2 vid 1 pvid untagged
    policy eth2: remove, with its programs
    policy tap7: remove, with its programs
    ip link set eth2 mtu 1500
    ethtool -K eth2 rxvlan on rx-vlan-stag-hw-parse on
    # guarded: eth2
    # guarded: vmbr0
    ");
}

#[test]
fn snooping_is_given_back() {
    let (mut observed, datapath) = managed(true, FILE);
    let bridge = observed.originals.get_mut(&name("vmbr0")).unwrap();
    bridge.bridge.as_mut().unwrap().snooping = Some(Snooping::Vlan);
    let text = steps(&desired("{}"), &observed, &datapath);
    let back = "ip link set vmbr0 type bridge mcast_snooping 1 mcast_vlan_snooping 1";
    assert!(text.contains(back), "{text}");
}

/// While a port has its programs, its policy fits the bridge.
#[test]
fn filter_is_given_back_before_the_ports() {
    let on = FILE.replace("bridge: vmbr0", "bridge: vmbr0\n    vlanFiltering: on");
    let (mut observed, _) = managed(false, &on);
    let bridge = observed.links.get_mut(&name("vmbr0")).unwrap();
    bridge.addresses.clear();
    bridge.kind = Kind::Bridge(BridgeState {
        vlan_filtering: Some(true),
        default_pvid: Some(1),
        snooping: None,
    });
    let datapath = carried_out(&desired(&on), &observed);
    let plan = planned(&desired("{}"), &observed, &datapath);
    let untagged_inside: Vec<_> = changes(&plan)
        .into_iter()
        .filter_map(|change| match change {
            Change::Datapath(DatapathChange::SetPolicy(_, policy)) => policy.bridge_pvid,
            _ => None,
        })
        .collect();
    assert_eq!(untagged_inside, [Vid::MIN, Vid::MIN]);
    insta::assert_snapshot!(steps(&desired("{}"), &observed, &datapath), @"
    policy eth2: uplink in vm, vids 1,100, pvid 1, admit all
    policy tap7: access in plain, vids 1, pvid 1, admit untagged-and-priority
    ip link set vmbr0 type bridge vlan_filtering 0
    policy eth2: remove, with its programs
    policy tap7: remove, with its programs
    # guarded: vmbr0
    ");
}

/// A port that leaves the file alone keeps its bridge; one that came from elsewhere goes back.
#[test]
fn port_goes_back_to_the_bridge_that_it_came_from() {
    let (mut observed, datapath) = managed(true, FILE);
    let virbr0 = BridgeState { vlan_filtering: Some(true), default_pvid: Some(1), snooping: None };
    observed.links.insert(name("virbr0"), link(50, Kind::Bridge(virbr0)));
    observed.originals.get_mut(&name("tap7")).unwrap().controller = Some(name("virbr0"));
    let file = desired(&FILE.replace("  - { device: tap7, network: plain }", "  []"));
    let plan = planned(&file, &observed, &datapath);
    let unit = plan.units.iter().find(|unit| unit.id.device == name("tap7")).unwrap();
    let text: Vec<_> = unit.steps.iter().map(|step| step.change.to_string()).collect();
    insta::assert_snapshot!(text.join("\n"), @"
    ip link set tap7 nomaster up
    policy tap7: remove, with its programs
    ip link set tap7 master virbr0
    ");
}

/// Another device has the name of one that was found.
#[test]
fn another_device_of_the_name_is_left_alone() {
    let (mut observed, _) = managed(true, FILE);
    observed.links.get_mut(&name("eth2")).unwrap().index = 99;
    observed.links.get_mut(&name("eth2")).unwrap().mtu = 1400;
    assert_eq!(steps(&desired("{}"), &observed, &ObservedDatapath::default()), "");
}

/// A port leaves the file, and its bridge stays with a filter that it did not have when it was
/// found.
#[test]
fn port_keeps_its_vlans_until_the_filter_is_given_back() {
    let on = FILE.replace("bridge: vmbr0", "bridge: vmbr0\n    vlanFiltering: on");
    let without = desired(&on.replace("  - { device: tap7, network: plain }", "  []"));
    let (mut observed, _) = managed(false, &on);
    let bridge = observed.links.get_mut(&name("vmbr0")).unwrap();
    bridge.kind = Kind::Bridge(BridgeState {
        vlan_filtering: Some(true),
        default_pvid: Some(1),
        snooping: None,
    });
    let tap = observed.links.get_mut(&name("tap7")).unwrap();
    tap.vlans = BTreeMap::from([(vid(100), VlanFlags::default())]);
    let mut datapath = carried_out(&desired(&on), &observed);
    let text = steps(&without, &observed, &datapath);
    let of_tap: Vec<_> = text.lines().filter(|line| line.contains("tap7")).collect();
    assert_eq!(of_tap, ["policy tap7: remove, with its programs"]);
    datapath.ports.remove(&name("tap7"));
    let original = &observed.originals[&name("tap7")];
    assert!(waits_for_its_bridge(&without, &observed, original));
    assert!(!waits_for_its_bridge(&desired("{}"), &observed, original));
    let text = steps(&desired("{}"), &observed, &datapath);
    assert!(text.contains("bridge vlan add dev tap7 vid 1 pvid untagged"), "{text}");
}

/// Where it is lost how devices were found, they stay as they are: only the programs go.
#[test]
fn what_cannot_be_given_back_stays_on_the_bridge_of_others() {
    let (mut observed, datapath) = managed(true, FILE);
    observed.originals.clear();
    let steps = |observed: &Observed| steps(&desired("{}"), observed, &datapath);
    assert!(steps(&observed).contains("ip link set tap7 nomaster"));
    observed.originals_lost = true;
    insta::assert_snapshot!(steps(&observed), @"
    policy eth2: remove, with its programs
    policy tap7: remove, with its programs
    # guarded: eth2
    # guarded: vmbr0
    ");
    observed.links.get_mut(&name("vmbr0")).unwrap().alias = Some("netagent".to_owned());
    assert!(steps(&observed).contains("ip link set tap7 nomaster"));
}

/// The node lived on VLAN 10 of a NIC. Its interface is made again before the NIC leaves the
/// bridge, and has what it had.
#[test]
fn vlan_interface_of_a_nic_is_made_again() {
    let file = "clusterNetworks: { mgmt: { uplink: { nics: [eth2], bond: { mode: none }, xdp: off }, \
                host: { vlan: 10, address: 10.0.0.5/24 } } }";
    let cidr = |text: &str| text.parse::<crate::names::Cidr>().unwrap();
    let [nic, bridge, host] = ["eth2", "mgmt-br", "mgmt-br.10"].map(name);
    let mut observed = fresh();
    let mut former = link(30, Kind::Vlan { parent: Some(nic.clone()), vid: vid(10) });
    former.addresses.insert(cidr("10.0.0.5/24"), Address::default());
    let routes = BTreeSet::from([default_route("eth2.10")]);
    observed.originals.insert(nic.clone(), Original::of(&observed.links[&nic], HIDDEN));
    let original = Original::of(&former, HiddenTags::NONE).with_routes(routes);
    observed.originals.insert(name("eth2.10"), original);
    let ours = |index, kind| Link { alias: Some("netagent".to_owned()), ..link(index, kind) };
    let state = BridgeState { vlan_filtering: Some(true), default_pvid: Some(0), snooping: None };
    observed.links.insert(bridge.clone(), ours(40, Kind::Bridge(state)));
    let mut tagged = ours(41, Kind::Vlan { parent: Some(bridge.clone()), vid: vid(10) });
    let owned = Address { owned: true, ..Address::default() };
    tagged.addresses.insert(cidr("10.0.0.5/24"), owned.clone());
    tagged.addresses.insert(cidr("10.0.0.6/24"), owned);
    tagged.addresses.insert(cidr("10.0.0.100/32"), Address::default());
    observed.links.insert(host, tagged);
    observed.links.get_mut(&nic).unwrap().controller = Some(bridge);
    let only_of_file = Route { to: cidr("203.0.113.0/24"), ..default_route("mgmt-br.10") };
    let only_of_file = Route { protocol: crate::state::PROTOCOL, ..only_of_file };
    observed.routes = BTreeSet::from([default_route("mgmt-br.10"), only_of_file]);
    let datapath = carried_out(&desired(file), &observed);
    insta::assert_snapshot!(steps(&desired("{}"), &observed, &datapath), @"
    ip link add link eth2 name eth2.10 type vlan id 10
    ip link set eth2.10 alias ''
    ip address add 10.0.0.5/24 dev eth2.10
    ip address add 10.0.0.100/32 dev eth2.10 <as on mgmt-br.10>
    ip route append default via 10.0.0.1 dev eth2.10
    ip link set eth2 nomaster up
    ip route del default via 10.0.0.1 dev mgmt-br.10
    ip address del 10.0.0.100/32 dev mgmt-br.10
    ip address del 10.0.0.5/24 dev mgmt-br.10
    ip neigh replace 10.0.0.1 dev eth2.10 use
    policy eth2: remove, with its programs
    ip link delete mgmt-br.10
    ip link delete mgmt-br
    # mgmt-br.10 → eth2.10: 10.0.0.5/24 moves back
    # mgmt-br.10 → eth2.10: 10.0.0.100/32 moves back
    # mgmt-br.10 → eth2.10: route default via 10.0.0.1 dev eth2.10 moves back
    # 10.0.0.6/24 on mgmt-br.10 stops working
    # guarded: eth2
    # guarded: mgmt-br
    # guarded: mgmt-br.10
    ");
    // An agent that was killed has made the interface, which is not one of its own.
    observed.links.insert(name("eth2.10"), ours(50, former.kind));
    let text = steps(&desired("{}"), &observed, &datapath);
    assert!(!text.contains("eth2.10 type vlan") && !text.contains("delete eth2.10"), "{text}");
    assert!(text.contains("ip link set eth2.10 alias ''"), "{text}");
}

/// The node lived on a NIC and on two VLAN interfaces of it. Each gets what it had, and what
/// others have added since in its VLAN.
#[test]
fn each_former_device_gets_back_what_is_its_own() {
    let file = "clusterNetworks: { mgmt: { uplink: { nics: [eth2], bond: { mode: none }, xdp: off }, \
                host: [{ address: 10.0.0.5/24 }, { vlan: 10, address: 10.9.0.5/24 }] } }";
    let [nic, bridge, tagged] = ["eth2", "mgmt-br", "mgmt-br.10"].map(name);
    let mut observed = fresh();
    let with = |link: Link, addresses: &[(&str, bool)]| {
        let address = |(text, owned): &(&str, bool)| {
            (text.parse().unwrap(), Address { owned: *owned, ..Address::default() })
        };
        Link { addresses: addresses.iter().map(address).collect(), ..link }
    };
    let vlan = |parent: &IfName, tag| Kind::Vlan { parent: Some(parent.clone()), vid: vid(tag) };
    let found = observed.links[&nic].clone();
    for (device, link) in [
        ("eth2", with(found.clone(), &[("10.0.0.5/24", false)])),
        ("eth2.10", with(link(30, vlan(&nic, 10)), &[("10.9.0.5/24", false)])),
        ("eth2.20", link(31, vlan(&nic, 20))),
    ] {
        observed.originals.insert(name(device), Original::of(&link, HIDDEN));
    }
    let ours = |index, kind| Link { alias: Some("netagent".to_owned()), ..link(index, kind) };
    let state = || {
        Kind::Bridge(BridgeState {
            vlan_filtering: Some(true),
            default_pvid: Some(0),
            snooping: None,
        })
    };
    let own = [("10.0.0.5/24", true), ("10.0.0.6/24", true), ("10.0.0.7/24", false)];
    // The address of the NIC, once more, and that of a stranger.
    let of_vlan = [("10.9.0.5/24", true), ("10.9.0.7/24", false), ("10.0.0.5/24", false)];
    for (device, link) in [
        (&bridge, with(ours(40, state()), &own)),
        (&tagged, with(ours(41, vlan(&bridge, 10)), &of_vlan)),
        // Others, with addresses that a former device had.
        (&name("virbr0"), with(link(42, state()), &own)),
        (&name("virbr0.10"), with(ours(43, vlan(&name("virbr0"), 10)), &of_vlan)),
        (&nic, Link { controller: Some(bridge.clone()), ..found }),
    ] {
        observed.links.insert(device.clone(), link);
    }
    let on_link =
        |to: &str, device| Route { to: to.parse().unwrap(), via: None, ..default_route(device) };
    observed.routes = BTreeSet::from([
        default_route("mgmt-br"),
        on_link("192.0.2.0/24", "mgmt-br"),
        on_link("198.51.100.0/24", "mgmt-br.10"),
        // Its gateway is reached by none of the addresses.
        Route { via: "172.16.0.1".parse().ok(), ..on_link("203.0.113.0/24", "mgmt-br") },
    ]);
    let (device, mac) = (tagged.clone(), Mac([2, 0, 0, 0, 0, 8]));
    observed.neighbours.insert(Neighbour { device, address: "10.0.0.8".parse().unwrap(), mac });
    let datapath = carried_out(&desired(file), &observed);
    let text = steps(&desired("{}"), &observed, &datapath);
    let moved: Vec<_> = text.lines().filter(|line| line.ends_with(" moves back")).collect();
    insta::assert_snapshot!(moved.join("\n"), @"
    # mgmt-br → eth2: 10.0.0.5/24 moves back
    # mgmt-br → eth2: 10.0.0.7/24 moves back
    # mgmt-br → eth2: route default via 10.0.0.1 dev eth2 moves back
    # mgmt-br → eth2: route 192.0.2.0/24 dev eth2 moves back
    # mgmt-br.10 → eth2: 10.0.0.5/24 moves back
    # mgmt-br.10 → eth2.10: 10.9.0.5/24 moves back
    # mgmt-br.10 → eth2.10: 10.9.0.7/24 moves back
    # mgmt-br.10 → eth2.10: route 198.51.100.0/24 dev eth2.10 moves back
    ");
    assert!(text.contains("# 10.0.0.6/24 on mgmt-br stops working"), "{text}");
    // The neighbour goes along with the address that reaches it, as well as with its VLAN.
    assert!(text.contains("10.0.0.8 lladdr 02:00:00:00:00:08 dev eth2 nud permanent\n"), "{text}");
    // The bridge is not ours.
    let mut other = observed.clone();
    other.links.get_mut(&bridge).unwrap().alias = None;
    let text = steps(&desired("{}"), &other, &datapath);
    assert!(!text.contains("moves back"), "{text}");
    // Another device has the name of the NIC now, which is not the one that was found.
    let mut other = observed.clone();
    other.links.get_mut(&nic).unwrap().index = 99;
    let text = steps(&desired("{}"), &other, &datapath);
    assert!(!text.contains("→ eth2: "), "{text}");
    // Another device has the name of a VLAN interface: its alias is its own.
    let mut other = observed.clone();
    other.links.insert(name("eth2.10"), link(50, vlan(&nic, 10)));
    let text = steps(&desired("{}"), &other, &datapath);
    assert!(!text.contains("eth2.10 alias"), "{text}");
    // The bridge stays.
    let text = steps(&desired(file), &observed, &datapath);
    assert!(!text.contains("→"), "{text}");
}
