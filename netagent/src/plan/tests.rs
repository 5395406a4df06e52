//! Plans as an operator reads them: what is printed for a node in a given state.

use std::collections::{BTreeMap, BTreeSet};

use netagent_common::vlan::Vid;

use super::*;
use crate::{
    bond::{BondOption, LacpRate},
    change::{Change, DatapathChange},
    config,
    names::Mac,
    state::{
        Address, BondState, BridgeState, HiddenTags, Hook, Kernel, Kind, Link, ObservedPort, Part,
        Route, Snooping, UnitId, VlanFlags, sample::link,
    },
};

/// Of a NIC with all offloads.
const HIDDEN: HiddenTags = HiddenTags { c: true, s: true };

mod adopted;
mod bond_warnings;
mod bonds;
mod bridges;
mod given_back;
mod guarded;
mod held_back;
mod hidden_tags;
mod hosts;
mod ids;
mod leases;
mod moves;
mod mtu;
mod ports;
mod rules;
mod takeover;

const OOB: &str = "
clusterNetworks:
  oob: { uplink: { nics: [eth2, eth3], bond: { mode: 802.3ad } } }
networks:
  corp-net: { clusterNetwork: oob, vlan: 100 }
ports:
  - { device: tap7, network: corp-net }
";

fn desired(yaml: &str) -> Desired {
    config::parse(yaml, "test").unwrap().desired()
}

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// A node with two NICs and a tap, and a kernel with all options.
fn fresh() -> Observed {
    let kernel = Kernel { bonding: true, vlan_devices: true, bridge: true, vlan_filtering: true };
    let mut observed = Observed { kernel, ..Observed::default() };
    for (index, nic) in [(2, "eth2"), (3, "eth3")] {
        observed.links.insert(name(nic), link(index, Kind::Other(String::new())));
    }
    observed.links.insert(name("tap7"), link(9, Kind::Other("tun".to_owned())));
    observed
}

/// The node after the plan for `OOB`.
fn settled() -> (Observed, ObservedDatapath) {
    let mut observed = fresh();
    let desired = desired(OOB);
    let bond = &desired.bonds[&name("oob-bo")];
    let state = BondState { options: bond.options.clone(), ..BondState::default() };
    let owned = Some("netagent".to_owned());
    let native = (Vid::MIN, VlanFlags { pvid: true, untagged: true });
    let tagged = (vid(100), VlanFlags::default());
    let access = (vid(100), VlanFlags { pvid: true, untagged: true });
    let bridge = BridgeState { vlan_filtering: Some(true), default_pvid: Some(0), snooping: None };
    observed.links.insert(
        name("oob-bo"),
        Link {
            alias: owned.clone(),
            controller: Some(name("oob-br")),
            vlans: BTreeMap::from([native, tagged]),
            ..link(20, Kind::Bond(state))
        },
    );
    observed.links.insert(name("oob-br"), Link { alias: owned, ..link(21, Kind::Bridge(bridge)) });
    for nic in ["eth2", "eth3"] {
        observed.links.get_mut(&name(nic)).unwrap().controller = Some(name("oob-bo"));
    }
    let tap = observed.links.get_mut(&name("tap7")).unwrap();
    tap.controller = Some(name("oob-br"));
    tap.vlans = BTreeMap::from([access]);
    let datapath = carried_out(&desired, &observed);
    (observed, datapath)
}

fn default_route(device: &str) -> Route {
    let via = "10.0.0.1".parse().unwrap();
    Route { protocol: 3, ..Route::desired(&name(device), Route::everywhere(via), Some(via)) }
}

fn vid(number: u16) -> Vid {
    Vid::new(number).unwrap()
}

/// The plan without any confirmation.
fn planned(desired: &Desired, observed: &Observed, datapath: &ObservedDatapath) -> Plan {
    plan(desired, observed, datapath, &Permission::default())
}

fn changes(plan: &Plan) -> Vec<Change> {
    let steps = plan.units.iter().flat_map(|unit| &unit.steps);
    steps.map(|step| step.change.clone()).collect()
}

/// The texts of the findings with a code.
fn found(plan: &Plan, code: Code) -> Vec<String> {
    let of_code = plan.findings().filter(|finding| finding.code == code);
    of_code.map(ToString::to_string).collect()
}

/// The datapath after its steps have been carried out.
fn carried_out(desired: &Desired, observed: &Observed) -> ObservedDatapath {
    let mut datapath = ObservedDatapath::default();
    for change in changes(&planned(desired, observed, &datapath)) {
        match change {
            Change::Datapath(DatapathChange::SetPolicy(device, policy)) => {
                let ifindex = observed.links[&device].index;
                let port: &mut ObservedPort = datapath.ports.entry(device).or_default();
                (port.ifindex, port.policy) = (ifindex, *policy);
            }
            Change::Datapath(DatapathChange::Attach(device, hook, _)) => {
                datapath.ports.entry(device).or_default().attached.insert(hook);
            }
            _ => {}
        }
    }
    datapath
}

/// The output of `netagent plan`.
fn steps(desired: &Desired, observed: &Observed, datapath: &ObservedDatapath) -> String {
    let plan = planned(desired, observed, datapath);
    let steps = changes(&plan).into_iter().map(|change| change.to_string());
    let impact = plan.units.iter().flat_map(|unit| &unit.impact);
    let impact = impact.map(|impact| format!("# {impact}"));
    let guarded = plan.unconfirmed().into_iter().map(|name| format!("# guarded: {name}"));
    steps.chain(impact).chain(guarded).collect::<Vec<_>>().join("\n")
}

#[test]
fn ports_get_programs_before_they_join_the_bridge() {
    let plan = steps(&desired(OOB), &fresh(), &ObservedDatapath::default());
    insta::assert_snapshot!(plan, @r"
    ip link add oob-bo type bond mode 802.3ad miimon 100
    ip link set oob-bo address <that of eth2>
    ip link set eth2 down master oob-bo
    ip link set eth3 down master oob-bo
    ip link set oob-bo up
    ip link add oob-br type bridge vlan_filtering 1 vlan_default_pvid 0
    ip link set oob-br type bridge mcast_snooping 0
    ip link set oob-br address <that of oob-bo>
    ip link set oob-br up
    policy oob-bo: uplink in oob, vids 1,100, pvid 1, admit all
    attach uplink_in to oob-bo
    attach uplink_out to oob-bo
    ip link set oob-bo master oob-br
    bridge vlan add dev oob-bo vid 1 pvid untagged
    bridge vlan add dev oob-bo vid 100
    attach uplink_xdp to oob-bo
    policy oob-bo: uplink in oob, vids 1,100, pvid 1, admit all, early drop by XDP
    policy tap7: access in corp-net, vids 100, pvid 100, admit untagged-and-priority
    attach port_in to tap7
    attach port_out to tap7
    ip link set tap7 master oob-br
    bridge vlan add dev tap7 vid 100 pvid untagged
    ");
}

#[test]
fn plan_for_a_settled_node_is_empty() {
    let (observed, datapath) = settled();
    assert_eq!(steps(&desired(OOB), &observed, &datapath), "");
}

#[test]
fn option_that_needs_the_bond_down_names_its_impact() {
    let (mut observed, datapath) = settled();
    let Kind::Bond(state) = &mut observed.links.get_mut(&name("oob-bo")).unwrap().kind else {
        panic!("is a bond")
    };
    state.options.push(BondOption::LacpRate(LacpRate::Slow));
    let desired = desired(&OOB.replace("mode: 802.3ad", "mode: 802.3ad, lacpRate: fast"));
    insta::assert_snapshot!(steps(&desired, &observed, &datapath), @r"
    ip link set oob-bo down
    ip link set oob-bo type bond lacp_rate fast
    ip link set oob-bo up
    # bond oob-bo: lacp_rate slow → fast: needs the bond down; ports without uplink meanwhile: 1
    ");
}

#[test]
fn change_of_mode_releases_the_members_and_keeps_the_bond() {
    let (observed, datapath) = settled();
    let desired = desired(&OOB.replace("802.3ad", "balance-tlb, allowMacRewrite: true"));
    let plan = steps(&desired, &observed, &datapath);
    assert!(!plan.contains("delete"), "{plan}");
    insta::assert_snapshot!(plan, @r"
    detach uplink_xdp from oob-bo
    ip link set eth2 nomaster up
    ip link set eth3 nomaster up
    ip link set oob-bo down
    ip link set oob-bo type bond mode balance-tlb
    ip link set oob-bo type bond miimon 100
    ip link set eth2 down master oob-bo
    ip link set eth3 down master oob-bo
    ip link set oob-bo up
    policy oob-bo: uplink in oob, vids 1,100, pvid 1, admit all
    # bond oob-bo: mode 802.3ad → balance-tlb: needs the bond down and its members (2) out; ports without uplink meanwhile: 1
    ");
}

#[test]
fn change_of_one_vlan_touches_only_its_port_and_the_uplink() {
    let (observed, datapath) = settled();
    let desired = desired(&OOB.replace("vlan: 100", "vlan: 200"));
    insta::assert_snapshot!(steps(&desired, &observed, &datapath), @r"
    policy oob-bo: uplink in oob, vids 1,200, pvid 1, admit all, early drop by XDP
    bridge vlan del dev oob-bo vid 100
    bridge vlan add dev oob-bo vid 200
    policy tap7: access in corp-net, vids 200, pvid 200, admit untagged-and-priority
    bridge vlan del dev tap7 vid 100
    bridge vlan add dev tap7 vid 200 pvid untagged
    # oob-bo: VLAN 1,100 → 1,200
    # tap7: VLAN 100 → 200
    ");
}

#[test]
fn ports_that_release_counters_come_first() {
    let before = OOB.replace("vlan: 100", "trunk: 100-110, native: none");
    let after = OOB.replace("ports:", "  lab: { clusterNetwork: oob, trunk: 200-299 }\nports:");
    let observed = settled().0;
    let datapath = carried_out(&desired(&before), &observed);
    let steps = steps(&desired(&after), &observed, &datapath);
    let policies: Vec<_> = steps.lines().filter(|step| step.starts_with("policy")).collect();
    assert!(policies[0].starts_with("policy tap7"), "{policies:?}");
    assert!(policies[1].starts_with("policy oob-bo"), "{policies:?}");
}

#[test]
fn undesired_links_are_deleted_and_foreign_links_stay() {
    let (mut observed, datapath) = settled();
    observed.links.insert(name("virbr0"), link(30, Kind::Bridge(BridgeState::default())));
    insta::assert_snapshot!(steps(&desired("{}"), &observed, &datapath), @r"
    ip link set oob-bo nomaster up
    policy oob-bo: remove, with its programs
    ip link set tap7 nomaster up
    policy tap7: remove, with its programs
    ip link delete oob-br
    ip link set eth2 nomaster up
    ip link set eth3 nomaster up
    ip link delete oob-bo
    # bond oob-bo is deleted; NICs released: 2
    # guarded: oob-br
    ");
}

#[test]
fn device_with_an_old_name_and_a_new_index_gets_a_new_policy() {
    let (mut observed, datapath) = settled();
    let tap = link(10, Kind::Other("tun".to_owned()));
    observed.links.insert(name("tap7"), tap);
    insta::assert_snapshot!(steps(&desired(OOB), &observed, &datapath), @r"
    policy tap7: access in corp-net, vids 100, pvid 100, admit untagged-and-priority
    attach port_in to tap7
    attach port_out to tap7
    ip link set tap7 master oob-br
    bridge vlan add dev tap7 vid 100 pvid untagged
    ");
}

#[test]
fn bond_options_are_changed_live_if_the_kernel_permits() {
    let (observed, datapath) = settled();
    let yaml =
        OOB.replace("mode: 802.3ad", "mode: 802.3ad, miimon: 50ms, xmitHashPolicy: layer3+4");
    let plan = steps(&desired(&yaml), &observed, &datapath);
    assert!(!plan.contains(" down") && !plan.contains("nomaster"), "{plan}");
}

/// Without XDP, TC forwards, and a port with `fastPath: xdp` has a finding with the reason.
#[test]
fn xdp_is_attached_to_bonds_that_support_it() {
    for (keys, why) in [
        ("bond: { mode: 802.3ad }", None),
        ("bond: { mode: balance-rr }", None),
        ("bond: { mode: active-backup }", None),
        ("bond: { mode: balance-xor, xmitHashPolicy: layer3+4 }", None),
        (
            "bond: { mode: balance-xor, xmitHashPolicy: vlan+srcmac }",
            Some("a bond with xmit_hash_policy vlan+srcmac does not support XDP"),
        ),
        ("bond: { mode: broadcast }", Some("a bond with mode broadcast does not support XDP")),
        (
            "bond: { mode: balance-tlb, allowMacRewrite: true }",
            Some("a bond with mode balance-tlb does not support XDP"),
        ),
        (
            "bond: { mode: balance-alb, allowMacRewrite: true }",
            Some("a bond with mode balance-alb does not support XDP"),
        ),
        ("bond: { mode: 802.3ad }, xdp: off", Some("the file has `xdp: off`")),
    ] {
        let yaml = OOB.replace("bond: { mode: 802.3ad }", keys);
        let yaml = yaml.replace("{ uplink:", "{ fastPath: xdp, uplink:");
        let mut observed = fresh();
        observed.links.get_mut(&name("tap7")).unwrap().takes_xdp_frames = true;
        let plan = planned(&desired(&yaml), &observed, &ObservedDatapath::default());
        let hook = Hook::UplinkXdp;
        let attaches = |change: &Change| matches!(change, Change::Datapath(DatapathChange::Attach(_, on, _)) if *on == hook);
        assert_eq!(changes(&plan).iter().any(attaches), why.is_none(), "{keys}");
        let warnings = found(&plan, Code::XdpUnavailable);
        assert_eq!(warnings.len(), usize::from(why.is_some()), "{keys}: {warnings:?}");
        assert!(warnings.iter().all(|text| text.contains(why.unwrap_or_default())), "{warnings:?}");
    }
    let (mut observed, mut datapath) = settled();
    datapath.ports.get_mut(&name("oob-bo")).unwrap().xdp_refused = true;
    observed.links.get_mut(&name("tap7")).unwrap().takes_xdp_frames = false;
    let yaml = OOB.replace("{ uplink:", "{ fastPath: xdp, uplink:");
    let plan = planned(&desired(&yaml), &observed, &datapath);
    insta::assert_snapshot!(found(&plan, Code::XdpUnavailable).join("\n"), @"
    oob-bo: `fastPath: xdp` is unavailable, using the TC fast path: the driver of a NIC refused the program: set `fastPath: tc`, or `netagent reload` to try again
    tap7: `fastPath: xdp` is unavailable, using the TC fast path: the device does not support XDP_REDIRECT (a tap does; a veth whose peer has GRO on does, from Linux 6.3): set `fastPath: tc`
    ");
}

/// It is neither refused for good nor replaced: when it goes, ours is attached.
#[test]
fn an_xdp_program_of_others_is_named_and_ours_follows_it() {
    let yaml = OOB.replace("{ uplink:", "{ fastPath: xdp, uplink:");
    let (mut observed, mut datapath) = settled();
    observed.links.get_mut(&name("tap7")).unwrap().takes_xdp_frames = true;
    let uplink = datapath.ports.get_mut(&name("oob-bo")).unwrap();
    uplink.attached.remove(&Hook::UplinkXdp);
    let xdp = |observed: &Observed| {
        let plan = planned(&desired(&yaml), observed, &datapath);
        let change = changes(&plan);
        let attach = |change: &Change| {
            matches!(change, Change::Datapath(DatapathChange::Attach(_, Hook::UplinkXdp, _)))
        };
        (change.iter().any(attach), found(&plan, Code::XdpUnavailable).join("\n"))
    };
    assert_eq!(xdp(&observed), (true, String::new()));
    observed.links.get_mut(&name("eth3")).unwrap().xdp = Some(77);
    let (attaches, text) = xdp(&observed);
    assert!(!attaches);
    insta::assert_snapshot!(text, @"oob-bo: `fastPath: xdp` is unavailable, using the TC fast path: eth3 has another XDP program, with ID 77: detach that one (`bpftool net` shows it), or set `fastPath: tc`");
}

/// During a change of the policy the programs support the old and the new one: every frame meets
/// one whole policy.
#[test]
fn programs_have_a_check_while_the_policy_may_need_it() {
    let (observed, plain) = settled();
    let guarded = OOB.replace(
        "device: tap7, network: corp-net",
        "device: tap7, network: corp-net, security: { dhcpGuard: true }",
    );
    assert_ne!(guarded, OOB);
    insta::assert_snapshot!(steps(&desired(&guarded), &observed, &plain), @"
    attach port_in to tap7 with dhcpGuard
    policy tap7: access in corp-net, vids 100, pvid 100, admit untagged-and-priority, dhcpGuard
    ");
    let with_guard = carried_out(&desired(&guarded), &observed);
    insta::assert_snapshot!(steps(&desired(OOB), &observed, &with_guard), @"
    policy tap7: access in corp-net, vids 100, pvid 100, admit untagged-and-priority
    attach port_in to tap7
    ");
    let limited = guarded.replace("dhcpGuard: true", "maxMacs: 4");
    insta::assert_snapshot!(steps(&desired(&limited), &observed, &with_guard), @"
    attach port_in to tap7 with maxMacs, dhcpGuard
    policy tap7: access in corp-net, vids 100, pvid 100, admit untagged-and-priority, maxMacs
    attach port_in to tap7 with maxMacs
    ");
}
