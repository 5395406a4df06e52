//! Bonds in place: options, members, and the attributes of the device.

use super::*;
use crate::{bond::Mode, state::Original};

/// The steps and impacts for the bond of `OOB`, after a change of its desired and its found state.
fn after(
    file: &str,
    change: impl FnOnce(&mut crate::state::Bond, &mut Link, &mut Vec<BondOption>),
) -> String {
    let (mut observed, datapath) = settled();
    let mut desired = desired(file);
    let mut link = observed.links[&name("oob-bo")].clone();
    let Kind::Bond(mut state) = link.kind.clone() else { panic!("is a bond") };
    change(desired.bonds.get_mut(&name("oob-bo")).unwrap(), &mut link, &mut state.options);
    link.kind = Kind::Bond(state);
    observed.links.insert(name("oob-bo"), link);
    let like = observed.links[&name("tap7")].clone();
    observed.links.insert(name("tap8"), Link { index: 11, ..like });
    let text = steps(&desired, &observed, &datapath);
    let lines = text.lines().filter(|line| line.contains("oob-bo") && !line.contains("policy"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn an_option_that_the_file_no_longer_has_returns_to_the_default_on_our_bonds() {
    let slow = BondOption::LacpRate(LacpRate::Slow);
    let fast = BondOption::LacpRate(LacpRate::Fast);
    assert_eq!(after(OOB, |_, _, options| options.push(slow)), "");
    let foreign = after(OOB, |_, link, options| {
        link.alias = None;
        options.push(fast.clone());
    });
    assert_eq!(foreign, "");
    insta::assert_snapshot!(after(OOB, |_, _, options| options.push(fast.clone())), @"
    ip link set oob-bo down
    ip link set oob-bo type bond lacp_rate slow
    ip link set oob-bo up
    # bond oob-bo: lacp_rate fast → slow: needs the bond down; ports without uplink meanwhile: 2
    ");
    let kept = OOB.replace("mode: 802.3ad", "mode: 802.3ad, lacpRate: fast");
    assert_eq!(after(&kept, |_, _, options| options.push(fast)), "");
}

#[test]
fn attributes_are_set_where_the_file_has_them_and_they_differ() {
    let mac = Mac([2, 0, 0, 0, 0, 9]);
    for (mtu, txqlen, address, up, expected) in [
        (None, None, None, true, ""),
        (Some(1500), Some(1000), Some(Mac([2, 0, 0, 0, 0, 1])), true, ""),
        (Some(9000), None, None, true, "ip link set oob-bo mtu 9000"),
        (None, Some(10), None, true, "ip link set oob-bo txqueuelen 10"),
        (None, None, Some(mac), true, "ip link set oob-bo address 02:00:00:00:00:09"),
        (None, None, None, false, "ip link set oob-bo up"),
    ] {
        let steps = after(OOB, |bond, link, _| {
            (bond.mtu, bond.txqlen, bond.mac, link.up) = (mtu, txqlen, address, up);
        });
        assert_eq!(steps, expected);
    }
}

/// The primary must be a member, and is set after all of them have joined.
#[test]
fn a_primary_is_set_if_it_can_become_a_member() {
    let file = OOB.replace("mode: 802.3ad", "mode: active-backup, primary: eth3");
    let sets = |observed: &Observed| {
        let text = steps(&desired(&file), observed, &ObservedDatapath::default());
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let at = |step: &str| lines.iter().position(|line| line == step);
        let primary = at("ip link set oob-bo type bond primary eth3");
        assert!(primary.is_none() || at("ip link set eth3 down master oob-bo") < primary);
        primary.is_some()
    };
    assert!(sets(&fresh()));
    let mut missing = fresh();
    missing.links.remove(&name("eth3"));
    assert!(!sets(&missing));
    let mut taken = fresh();
    taken.links.get_mut(&name("eth3")).unwrap().controller = Some(name("virbr0"));
    assert!(!sets(&taken));
}

#[test]
fn nics_leave_a_bond_that_does_not_list_them_and_join_the_one_that_does() {
    let (mut observed, datapath) = settled();
    observed.links.insert(
        name("eth4"),
        Link { controller: Some(name("oob-bo")), ..link(4, Kind::Other(String::new())) },
    );
    let two =
        OOB.replace("clusterNetworks:", "clusterNetworks:\n  lab: { uplink: { nics: [eth4] } }");
    let plan = planned(&desired(&two), &observed, &datapath);
    assert_eq!(found(&plan, Code::NicInUse), [""; 0]);
    let steps: Vec<_> = changes(&plan).iter().map(ToString::to_string).collect();
    let at = |step: &str| steps.iter().position(|other| other == step);
    let (left, joined) =
        (at("ip link set eth4 nomaster up"), at("ip link set eth4 down master lab-bo"));
    assert!(left.is_some() && left < joined, "{steps:?}");
    assert!(!steps.iter().any(|step| step.contains("eth2") || step.contains("eth3")), "{steps:?}");
}

/// A foreign bond that the file no longer has: its options, its members and its attributes.
#[test]
fn a_foreign_bond_is_given_back_with_the_members_that_it_had() {
    let mode = BondOption::Mode(Mode::ActiveBackup);
    let bond = |options| Kind::Bond(BondState { options, ..BondState::default() });
    let mut observed = fresh();
    let was = Link { mtu: 1400, ..link(30, bond(vec![mode.clone(), BondOption::Miimon(50)])) };
    observed.originals.insert(name("bond0"), Original::of(&was, HiddenTags::NONE));
    for nic in ["eth2", "eth3"] {
        let link = observed.links.get_mut(&name(nic)).unwrap();
        link.controller = Some(name("bond0"));
        observed.originals.insert(name(nic), Original::of(link, HiddenTags::NONE));
        link.mtu = 9000;
    }
    observed.links.get_mut(&name("eth3")).unwrap().controller = None;
    let primary = BondOption::Primary(Some(name("eth2")));
    let now = bond(vec![mode, BondOption::Miimon(100), primary]);
    observed.links.insert(name("bond0"), link(30, now));
    let given = steps(&desired("{}"), &observed, &ObservedDatapath::default());
    insta::assert_snapshot!(given, @"
    ip link set bond0 type bond miimon 50
    ip link set bond0 mtu 1400
    ip link set eth3 down master bond0
    ip link set bond0 type bond primary none
    ip link set eth3 mtu 1500
    ");
}

/// udev must not be first, and whoever changes the address later is not left with it.
#[test]
fn bond_keeps_the_address_of_its_first_member() {
    let of = |file: &str| {
        let text = steps(&desired(file), &fresh(), &ObservedDatapath::default());
        let lines = text.lines().filter(|line| line.starts_with("ip link set oob-bo address"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of(OOB), ["ip link set oob-bo address <that of eth2>"]);
    let fixed = OOB.replace("bond: {", "mac: '02:00:00:00:00:0b', bond: {");
    assert_eq!(of(&fixed), ["ip link set oob-bo address 02:00:00:00:00:0b"]);
    let moves = OOB.replace("mode: 802.3ad", "mode: active-backup, failOverMac: active");
    assert_eq!(of(&moves), [""; 0]);

    let (mut observed, datapath) = settled();
    let now = observed.links[&name("oob-bo")].mac;
    observed.kept_macs.insert(name("oob-bo"), now);
    assert_eq!(steps(&desired(OOB), &observed, &datapath), "");
    observed.kept_macs.insert(name("oob-bo"), Mac([2, 0, 0, 0, 0, 7]));
    let back = steps(&desired(OOB), &observed, &datapath);
    assert_eq!(back, "ip link set oob-bo address 02:00:00:00:00:07");
    observed.links.get_mut(&name("oob-bo")).unwrap().alias = None;
    assert_eq!(steps(&desired(OOB), &observed, &datapath), "", "a bond of others");
}

/// Without members, the kernel gives a bond a random address.
#[test]
fn change_of_mode_keeps_the_address() {
    let (mut observed, datapath) = settled();
    let mac = Mac([2, 0, 0, 0, 0, 7]);
    observed.links.get_mut(&name("oob-bo")).unwrap().mac = mac;
    observed.kept_macs.insert(name("oob-bo"), mac);
    let text = steps(&desired(&OOB.replace("802.3ad", "active-backup")), &observed, &datapath);
    let at = |step: &str| text.lines().position(|line| line == step);
    let set = at("ip link set oob-bo address 02:00:00:00:00:07");
    assert!(at("ip link set oob-bo type bond mode active-backup") < set, "{text}");
    assert!(set.is_some() && set < at("ip link set eth2 down master oob-bo"), "{text}");
}
