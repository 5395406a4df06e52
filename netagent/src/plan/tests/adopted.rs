//! Bridges that netagent did not create, and their ports that no source names.

use super::*;

pub const FILE: &str = "
clusterNetworks:
  vm:
    bridge: vmbr0
    uplink: { nics: [eth2], bond: { mode: none }, xdp: off }
    host: { address: 10.0.0.5/24 }
networks:
  plain: { clusterNetwork: vm }
  v100: { clusterNetwork: vm, vlan: 100 }
ports:
  - { device: tap7, network: plain }
";

/// The kernel gives the default PVID to each port.
fn default_pvid() -> BTreeMap<Vid, VlanFlags> {
    BTreeMap::from([(Vid::MIN, VlanFlags { pvid: true, untagged: true })])
}

/// `vmbr0` with the ports `eth2` and `tap7`.
pub fn node(filtering: bool) -> Observed {
    let mut observed = fresh();
    let state =
        BridgeState { vlan_filtering: Some(filtering), default_pvid: Some(1), snooping: None };
    let address = "10.0.0.5/24".parse().unwrap();
    observed.links.insert(
        name("vmbr0"),
        Link {
            vlans: default_pvid(),
            addresses: [(address, Address::default())].into(),
            ..link(21, Kind::Bridge(state))
        },
    );
    for port in ["eth2", "tap7"] {
        let link = observed.links.get_mut(&name(port)).unwrap();
        (link.controller, link.vlans) = (Some(name("vmbr0")), default_pvid());
    }
    observed
}

/// Adds a port that no source names.
fn add_stranger(observed: &mut Observed, vlans: BTreeMap<Vid, VlanFlags>) {
    let tap = link(30, Kind::Other("tun".to_owned()));
    let tap = Link { controller: Some(name("vmbr0")), vlans, ..tap };
    observed.links.insert(name("tap8"), tap);
}

fn none() -> ObservedDatapath {
    ObservedDatapath::default()
}

#[test]
fn filter_stays_as_it_was_found() {
    let text = steps(&desired(FILE), &node(false), &none());
    insta::assert_snapshot!(text, @r"
    policy eth2: uplink in vm, vids 1,100, pvid 1, admit all
    attach uplink_in to eth2
    attach uplink_out to eth2
    policy tap7: access in plain, vids 1, pvid 1, admit untagged-and-priority
    attach port_in to tap7
    attach port_out to tap7
    ");
    let text = steps(&desired(FILE), &node(true), &none());
    insta::assert_snapshot!(text, @r"
    policy eth2: uplink in vm, vids 1,100, pvid 1, admit all
    attach uplink_in to eth2
    attach uplink_out to eth2
    bridge vlan add dev eth2 vid 100
    policy tap7: access in plain, vids 1, pvid 1, admit untagged-and-priority
    attach port_in to tap7
    attach port_out to tap7
    ");
}

/// Programs, VLANs of the ports, VLANs of the bridge itself, and only then the filter.
#[test]
fn filter_is_switched_on_last() {
    let file = FILE.replace("bridge: vmbr0", "bridge: vmbr0\n    vlanFiltering: on");
    let mut observed = node(false);
    observed.links.get_mut(&name("vmbr0")).unwrap().vlans.clear();
    observed.links.get_mut(&name("tap7")).unwrap().vlans.clear();
    let plan = planned(&desired(&file), &observed, &none());
    let mut units: Vec<&Unit> = plan.units.iter().collect();
    units.sort_by_key(|unit| unit.id.part);
    let text = |unit: &&Unit| {
        let steps = unit.steps.iter().map(|step| format!("\n  {}", step.change));
        format!("{}:{}", unit.id, steps.collect::<String>())
    };
    let text: Vec<_> = units.iter().map(text).collect();
    insta::assert_snapshot!(text.join("\n"), @r"
    own VLANs of vmbr0:
      bridge vlan add dev vmbr0 vid 1 pvid untagged self
    port eth2:
      policy eth2: uplink in vm, vids 1,100, pvid 1, admit all
      attach uplink_in to eth2
      attach uplink_out to eth2
      bridge vlan add dev eth2 vid 100
    port tap7:
      policy tap7: access in plain, vids 1, pvid 1, admit untagged-and-priority
      attach port_in to tap7
      attach port_out to tap7
      bridge vlan add dev tap7 vid 1 pvid untagged
    VLAN filter of vmbr0:
      ip link set vmbr0 type bridge vlan_filtering 1
      policy eth2: uplink in vm, vids 1,100, pvid 1, admit all
      policy tap7: access in plain, vids 1, pvid 1, admit untagged-and-priority
    ");
    let filter = plan.units.iter().find(|unit| unit.id.part == Part::Filtering).unwrap();
    let needs: Vec<_> = filter.needs.iter().map(ToString::to_string).collect();
    assert_eq!(needs, ["port eth2", "port tap7"]);
}

/// Somebody switched the filter off: the policies and VLANs are as they should be.
#[test]
fn filter_that_was_switched_off_is_switched_on_alone() {
    let (mut observed, datapath) = settled();
    let bridge = observed.links.get_mut(&name("oob-br")).unwrap();
    bridge.kind = Kind::Bridge(BridgeState {
        vlan_filtering: Some(false),
        default_pvid: Some(0),
        snooping: None,
    });
    let text = steps(&desired(OOB), &observed, &datapath);
    assert_eq!(text, "ip link set oob-br type bridge vlan_filtering 1");
}

#[test]
fn vlans_of_unnamed_ports_stay_on_the_uplink() {
    let mut observed = node(true);
    let tagged = |vids: &'static [u16]| vids.iter().map(|id| (vid(*id), VlanFlags::default()));
    observed.links.get_mut(&name("eth2")).unwrap().vlans.extend(tagged(&[70, 71, 72]));
    add_stranger(&mut observed, tagged(&[70, 80]).collect());
    let of_others = Kind::Vlan { parent: Some(name("vmbr0")), vid: vid(71) };
    observed.links.insert(name("vmbr0.71"), link(40, of_others));
    let text = steps(&desired(FILE), &observed, &none());
    insta::assert_snapshot!(text, @r"
    policy eth2: uplink in vm, vids 1,70-71,100, pvid 1, admit all
    attach uplink_in to eth2
    attach uplink_out to eth2
    bridge vlan del dev eth2 vid 72
    bridge vlan add dev eth2 vid 100
    policy tap7: access in plain, vids 1, pvid 1, admit untagged-and-priority
    attach port_in to tap7
    attach port_out to tap7
    ");
    let plan = planned(&desired(FILE), &observed, &none());
    insta::assert_snapshot!(found(&plan, Code::UnmanagedPort).join("\n"), @"tap8 is a port of vmbr0 that no source names: netagent does not filter it; it keeps VLAN 70,80 (untagged frames: none): add it to `ports`, or ip link set tap8 nomaster");
}

#[test]
fn unnamed_ports_of_an_unaware_bridge_have_all_vlans() {
    let mut observed = node(false);
    add_stranger(&mut observed, default_pvid());
    let text = steps(&desired(FILE), &observed, &none());
    assert!(text.contains("policy eth2: uplink in vm, vids 1-4094, pvid 1, admit all"), "{text}");
    // Its untagged frames are those of the native VLAN.
    let datapath = carried_out(&desired(FILE), &observed);
    for port in ["eth2", "tap7"] {
        assert_eq!(datapath.ports[&name(port)].policy.bridge_pvid, Some(Vid::MIN));
    }
}

#[test]
fn what_unnamed_ports_lose_waits_for_confirmation_of_the_bridge() {
    let on = FILE.replace("bridge: vmbr0", "bridge: vmbr0\n    vlanFiltering: on");
    let tagged = FILE.replace("xdp: off", "native: 1, nativeTagged: true");
    let none_at_all = FILE
        .replace("xdp: off", "native: none")
        .replace("    host: { address: 10.0.0.5/24 }\n", "")
        .replace("  plain: { clusterNetwork: vm }\n", "")
        .replace("network: plain", "network: v100");
    let moved = FILE.replace("xdp: off", "native: 5");
    for (filtering, file, waits) in [
        (false, FILE, false),
        (true, FILE, false),
        (false, &on, true),
        (true, &on, false),
        (false, &tagged, true),
        (true, &tagged, true),
        (false, &none_at_all, true),
        (true, &none_at_all, true),
        (true, &moved, true),
    ] {
        let mut observed = node(filtering);
        // The bridge does not carry the node.
        observed.links.get_mut(&name("vmbr0")).unwrap().addresses.clear();
        let desired = desired(file);
        let unconfirmed = |observed: &Observed| planned(&desired, observed, &none()).unconfirmed();
        assert_eq!(unconfirmed(&observed), BTreeSet::new(), "{filtering} {file}");
        add_stranger(&mut observed, default_pvid());
        let bridge = BTreeSet::from([name("vmbr0")]);
        assert_eq!(unconfirmed(&observed) == bridge, waits, "{filtering} {file}");
        let permission = Permission { confirmed: bridge, ..Permission::default() };
        let confirmed = plan(&desired, &observed, &none(), &permission);
        assert_eq!(confirmed.unconfirmed(), BTreeSet::new());
    }
}

/// A port that joins an aware bridge has its default PVID at first, whose frames leave untagged.
#[test]
fn port_that_joins_is_closed_until_it_has_its_own_vlan() {
    let mut observed = node(true);
    observed.links.get_mut(&name("tap7")).unwrap().controller = None;
    let desired = desired(&FILE.replace("network: plain", "network: v100"));
    let plan = planned(&desired, &observed, &none());
    let unit = plan.units.iter().find(|unit| unit.id.device == name("tap7")).unwrap();
    let strips = |change: &Change| match change {
        Change::Datapath(DatapathChange::SetPolicy(_, policy)) => {
            format!("policy, bridge strips: {}", policy.has(netagent_common::policy::BRIDGE_STRIPS))
        }
        change => change.to_string(),
    };
    let text: Vec<_> = unit.steps.iter().map(|step| strips(&step.change)).collect();
    insta::assert_snapshot!(text.join("\n"), @r"
    policy, bridge strips: false
    attach port_in to tap7
    attach port_out to tap7
    ip link set tap7 master vmbr0
    bridge vlan del dev tap7 vid 1
    bridge vlan add dev tap7 vid 100 pvid untagged
    policy, bridge strips: true
    ");
}
