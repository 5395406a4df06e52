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

/// `oob-br` of the agent, or of somebody else, as it is.
fn with_bridge(vlan_filtering: bool, snooping: Option<Snooping>, is_owned: bool) -> Observed {
    let (mut observed, _) = settled();
    let bridge = observed.links.get_mut(&name("oob-br")).unwrap();
    let vlan_filtering = Some(vlan_filtering);
    bridge.kind = Kind::Bridge(BridgeState { vlan_filtering, default_pvid: Some(0), snooping });
    bridge.alias = is_owned.then(|| "netagent".to_owned());
    observed
}

fn snooping_steps(file: &str, observed: &Observed) -> Vec<String> {
    let (_, datapath) = settled();
    let text = steps(&desired(file), observed, &datapath);
    let is_snooping = |line: &&str| line.contains("snooping") || line.contains("vlan_filtering");
    text.lines().filter(is_snooping).map(str::to_owned).collect()
}

const NONE: [&str; 0] = [];
const OFF: &str = "ip link set oob-br type bridge mcast_snooping 0";
const BY_VLAN: &str = "ip link set oob-br type bridge mcast_snooping 1 mcast_vlan_snooping 1";
const SHARED: &str = "ip link set oob-br type bridge mcast_snooping 1 mcast_vlan_snooping 0";

fn asks_for(snooping: &str) -> String {
    OOB.replace("{ uplink:", &format!("{{ multicastSnooping: {snooping}, uplink:"))
}

#[test]
fn snooping_is_as_the_file_says_or_off_on_bridges_of_the_agent() {
    let (off, vlan, bridge) = (Some(Snooping::Off), Some(Snooping::Vlan), Some(Snooping::Bridge));
    for (file, found, expected) in [
        (OOB.to_owned(), off, vec![]),
        (OOB.to_owned(), bridge, vec![OFF]),
        (OOB.to_owned(), vlan, vec![OFF]),
        // The kernel has no snooping.
        (OOB.to_owned(), None, vec![]),
        (asks_for("off"), bridge, vec![OFF]),
        (asks_for("vlan"), off, vec![BY_VLAN]),
        (asks_for("vlan"), bridge, vec![BY_VLAN]),
        (asks_for("vlan"), vlan, vec![]),
        (asks_for("bridge"), off, vec![SHARED]),
        (asks_for("bridge"), vlan, vec![SHARED]),
        (asks_for("bridge"), bridge, vec![]),
    ] {
        assert_eq!(snooping_steps(&file, &with_bridge(true, found, true)), expected, "{file}");
    }
}

#[test]
fn a_new_bridge_does_not_snoop_unless_the_file_asks_for_it() {
    let of = |file: &str, observed: &Observed| {
        let text = steps(&desired(file), observed, &ObservedDatapath::default());
        let lines = text.lines().filter(|line| line.contains("mcast"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of(OOB, &fresh()), [OFF]);
    assert_eq!(of(&asks_for("vlan"), &fresh()), [BY_VLAN]);
    assert_eq!(of(&asks_for("bridge"), &fresh()), NONE, "the kernel's default");
    let mut old = fresh();
    old.kernel.vlan_filtering = false;
    assert_eq!(of(&asks_for("vlan"), &old), [OFF], "no VLAN filter");
}

/// The kernel refuses snooping by VLAN before the filter is on.
#[test]
fn snooping_by_vlan_follows_the_vlan_filter() {
    let filter = "ip link set oob-br type bridge vlan_filtering 1";
    let observed = with_bridge(false, Some(Snooping::Bridge), true);
    assert_eq!(snooping_steps(&asks_for("vlan"), &observed), [filter, BY_VLAN]);
    // Without the filter, the kernel would make it that of all VLANs.
    let off = OOB.replace("{ uplink:", "{ vlanFiltering: off, uplink:");
    let observed = with_bridge(true, Some(Snooping::Vlan), false);
    let no_filter = "ip link set oob-br type bridge vlan_filtering 0";
    assert_eq!(snooping_steps(&off, &observed), [OFF, no_filter]);
}

#[test]
fn snooping_of_a_bridge_that_was_found_stays_with_a_warning_if_vlans_share_it() {
    let warned = |file: &str, snooping| {
        let observed = with_bridge(true, Some(snooping), false);
        let (_, datapath) = settled();
        let plan = planned(&desired(file), &observed, &datapath);
        (snooping_steps(file, &observed), found(&plan, Code::SharedSnooping).len())
    };
    assert_eq!(warned(OOB, Snooping::Bridge), (vec![], 1));
    assert_eq!(warned(OOB, Snooping::Vlan), (vec![], 0));
    assert_eq!(warned(OOB, Snooping::Off), (vec![], 0));
    assert_eq!(warned(&asks_for("off"), Snooping::Bridge), (vec![OFF.to_owned()], 0));
    assert_eq!(warned(&asks_for("bridge"), Snooping::Bridge), (vec![], 0), "asked for");
    let one_vlan = OOB.replace("vlan: 100", "vlan: 1");
    assert_eq!(warned(&one_vlan, Snooping::Bridge).1, 0, "one VLAN");
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
