//! Parts that this node cannot have, and parts that wait for confirmation: the others are planned.

use super::*;
use crate::state::Original;

#[test]
fn links_that_carry_the_node_are_guarded() {
    let yaml = "
clusterNetworks:
  mgmt: { uplink: { nics: [eth2] }, host: { vlan: 10, address: 10.0.0.5/24 } }
";
    let mut observed = fresh();
    observed.routes.insert(default_route("eth2"));
    let plan = planned(&desired(yaml), &observed, &ObservedDatapath::default());
    assert_eq!(plan.unconfirmed(), BTreeSet::from([name("eth2")]));
    observed.links.insert(name("mgmt-br"), link(40, Kind::Bridge(BridgeState::default())));
    observed.links.get_mut(&name("mgmt-br")).unwrap().alias = Some("netagent".to_owned());
    let plan = planned(&desired("{}"), &observed, &ObservedDatapath::default());
    assert_eq!(plan.unconfirmed(), BTreeSet::from([name("mgmt-br")]));
}

#[test]
fn impossible_parts_are_refused_and_the_others_are_planned() {
    let refused = |observed: &Observed| {
        let plan = planned(&desired(OOB), observed, &ObservedDatapath::default());
        (found(&plan, Code::Refused), changes(&plan))
    };
    let attaches = |changes: &[Change], device: &str| {
        changes.iter().any(|change| change.to_string() == format!("attach port_in to {device}"))
    };
    let mut without = fresh();
    without.kernel.bonding = false;
    let (texts, changes) = refused(&without);
    assert!(texts[0].starts_with("oob-bo: this kernel has no bonding"), "{texts:?}");
    assert!(texts[1].starts_with("oob-bo: the bond is refused"), "{texts:?}");
    // The VMs of the node still reach each other.
    assert!(attaches(&changes, "tap7"));
    let mut occupied = fresh();
    occupied.links.insert(name("oob-br"), link(50, Kind::Other("dummy".to_owned())));
    let (texts, changes) = refused(&occupied);
    assert_eq!(
        texts,
        [
            "oob-br exists and is not a bridge: rename it, or ip link delete oob-br",
            "oob-bo: its bridge oob-br is refused",
            "tap7: its bridge oob-br is refused",
        ]
    );
    assert!(!attaches(&changes, "tap7"));
}

#[test]
fn port_that_is_a_bridge_or_belongs_to_others_is_refused_alone() {
    let two = OOB.replace("ports:", "ports:\n  - { device: tap8, network: corp-net }");
    let bridge = link(10, Kind::Bridge(BridgeState::default()));
    let foreign =
        |of: &str| Link { controller: Some(name(of)), ..link(10, Kind::Other("tun".to_owned())) };
    let cases = [
        (bridge, "tap8: is a bridge, which cannot be a port of another bridge"),
        (
            Link { mac: Mac([0; 6]), ..link(10, Kind::Other("tun".to_owned())) },
            "tap8: is not an Ethernet device",
        ),
        (foreign("virbr0"), "tap8: belongs to virbr0, not oob-br: ip link set tap8 nomaster"),
        (foreign("bond9"), "tap8: belongs to bond9, not oob-br: ip link set tap8 nomaster"),
    ];
    for (device, expected) in cases {
        let mut observed = fresh();
        observed.links.insert(name("virbr0"), link(30, Kind::Bridge(BridgeState::default())));
        observed.links.insert(name("bond9"), link(31, Kind::Bond(BondState::default())));
        observed.links.insert(name("tap8"), device);
        let plan = planned(&desired(&two), &observed, &ObservedDatapath::default());
        let texts = found(&plan, Code::Refused);
        assert!(texts.len() == 1 && texts[0].starts_with(expected), "{texts:?}");
        let steps: Vec<_> = changes(&plan).iter().map(ToString::to_string).collect();
        assert!(steps.contains(&"ip link set tap7 master oob-br".to_owned()));
        assert!(!steps.iter().any(|step| step.contains("tap8")), "{steps:?}");
    }
}

#[test]
fn bond_is_built_without_nics_that_are_missing_or_in_use() {
    let mut taken = fresh();
    taken.links.get_mut(&name("eth3")).unwrap().controller = Some(name("virbr0"));
    let plan = planned(&desired(OOB), &taken, &ObservedDatapath::default());
    assert_eq!(
        found(&plan, Code::NicInUse),
        ["eth3 belongs to virbr0, not oob-bo: ip link set eth3 nomaster"]
    );
    let mut missing = fresh();
    missing.links.remove(&name("eth3"));
    for observed in [taken, missing] {
        let plan = planned(&desired(OOB), &observed, &ObservedDatapath::default());
        let steps: Vec<_> = changes(&plan).iter().map(ToString::to_string).collect();
        assert!(steps.contains(&"ip link set eth2 down master oob-bo".to_owned()), "{steps:?}");
        assert!(!steps.iter().any(|step| step.contains("eth3")), "{steps:?}");
    }
}

#[test]
fn only_the_segment_that_carries_the_node_waits_for_confirmation() {
    let yaml = "
clusterNetworks:
  mgmt: { uplink: { nics: [eth2] }, host: { vlan: 10, address: 10.0.0.5/24 } }
  oob: { uplink: { nics: [eth3] } }
";
    let mut observed = fresh();
    observed.routes.insert(default_route("eth2"));
    let waits = |permission: &Permission| {
        let datapath = ObservedDatapath::default();
        let plan = plan(&desired(yaml), &observed, &datapath, permission);
        let units = plan.units.iter().filter(|unit| !unit.unconfirmed.is_empty());
        units.map(|unit| unit.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        waits(&Permission::default()),
        [
            "bond mgmt-bo",
            "bridge mgmt-br",
            "own VLANs of mgmt-br",
            "host interface mgmt-br.10",
            "port mgmt-bo",
            "takeover of eth2"
        ]
    );
    let confirmed = BTreeSet::from([name("eth2")]);
    assert!(waits(&Permission { confirmed, ..Permission::default() }).is_empty());
}

/// A device that was plugged in goes back without a question, another one of its name does not.
#[test]
fn drift_of_a_device_with_an_address_is_repaired() {
    let yaml = "
clusterNetworks: { oob: { uplink: { nics: [eth2], bond: { mode: none } } } }
";
    let desired = desired(yaml);
    let mut observed = fresh();
    observed.links.insert(name("oob-br"), link(21, Kind::Bridge(BridgeState::default())));
    let datapath = carried_out(&desired, &observed);
    let eth2 = observed.links.get_mut(&name("eth2")).unwrap();
    eth2.addresses.insert("10.0.0.9/24".parse().unwrap(), Address::default());
    let allowed = BTreeSet::from([UnitId::new(Part::Port, &name("eth2"))]);
    let permission = Permission { allowed, ..Permission::default() };
    let plugs = |observed: &Observed| {
        let plan = plan(&desired, observed, &datapath, &permission);
        assert!(changes(&plan).iter().any(|change| change.to_string().contains("master oob-br")));
        plan.unconfirmed()
    };
    assert_eq!(plugs(&observed), BTreeSet::new());
    observed.links.get_mut(&name("eth2")).unwrap().index = 77;
    assert_eq!(plugs(&observed), BTreeSet::from([name("eth2")]));
}

/// A port that no source names may be one that a damaged source had: it stays until the operator
/// says otherwise, or until its device is gone.
#[test]
fn ports_stay_while_a_source_is_damaged() {
    let (mut observed, mut datapath) = settled();
    let mut without = desired(OOB.split("ports:").next().unwrap());
    let unplugged = |plan: &Plan| {
        let runnable = plan.units.iter().filter(|unit| unit.is_runnable());
        runnable.map(|unit| unit.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(unplugged(&planned(&without, &observed, &datapath)), ["former port tap7"]);
    without.keep_former_ports = true;
    let plan = planned(&without, &observed, &datapath);
    assert_eq!(unplugged(&plan), Vec::<String>::new());
    let found = found(&plan, Code::ConfirmationNeeded);
    assert!(found[0].starts_with(
        "port tap7 is left as it is: the change alters tap7, which may be in the list of added \
         ports that was damaged"
    ));
    let confirmed = Permission { confirmed: [name("tap7")].into(), ..Permission::default() };
    let plan = super::plan(&without, &observed, &datapath, &confirmed);
    assert_eq!(unplugged(&plan), ["former port tap7"]);
    // What netagent knows of how a port was found is for a port that is given back.
    let link = observed.link(&name("tap7")).unwrap();
    let original = Original::of(&Link { mtu: 1400, ..link.clone() }, HiddenTags::NONE);
    observed.originals.insert(name("tap7"), original);
    datapath.rx_vlan.insert(name("tap7"), HiddenTags::NONE);
    assert_eq!(unplugged(&planned(&without, &observed, &datapath)), Vec::<String>::new());
    observed.links.remove(&name("tap7"));
    assert_eq!(unplugged(&planned(&without, &observed, &datapath)), ["former port tap7"]);
}
