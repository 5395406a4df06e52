//! NICs whose offloads hide tags from XDP.

use super::*;

const C: HiddenTags = HiddenTags { c: true, s: false };
const S: HiddenTags = HiddenTags { c: false, s: true };

#[test]
fn offloads_that_hide_tags_are_switched_off_before_xdp_is_trusted() {
    for (hidden, options) in [
        (C, "rxvlan off"),
        (S, "rx-vlan-stag-hw-parse off"),
        (HIDDEN, "rxvlan off rx-vlan-stag-hw-parse off"),
    ] {
        let (observed, mut datapath) = settled();
        datapath.rx_vlan.insert(name("eth3"), hidden);
        let steps = steps(&desired(OOB), &observed, &datapath);
        let trusts = |step: &str| step.ends_with("early drop by XDP");
        let steps: Vec<&str> = steps.lines().collect();
        let switch = format!("ethtool -K eth3 {options}");
        let at =
            steps.iter().position(|step| *step == switch).unwrap_or_else(|| panic!("{steps:?}"));
        assert!(!steps[..at].iter().any(|step| trusts(step)), "{steps:?}");
        assert!(steps[at..].iter().any(|step| trusts(step)), "{steps:?}");
    }
}

#[test]
fn a_nic_that_goes_on_hiding_tags_is_named() {
    let yaml = OOB.replace("{ uplink:", "{ fastPath: xdp, uplink:");
    for (hidden, reason) in [
        (HiddenTags::NONE, "the driver of a NIC refused the program"),
        (C, "eth3 hides tags from XDP: rx-vlan-offload stays on"),
        (S, "eth3 hides tags from XDP: rx-vlan-stag-hw-parse stays on"),
    ] {
        let (mut observed, mut datapath) = settled();
        observed.links.get_mut(&name("tap7")).unwrap().takes_xdp_frames = true;
        datapath.ports.get_mut(&name("oob-bo")).unwrap().xdp_refused = true;
        datapath.rx_vlan.insert(name("eth3"), hidden);
        let plan = planned(&desired(&yaml), &observed, &datapath);
        let text = found(&plan, Code::XdpUnavailable).join("\n");
        assert!(text.contains(&format!("TC fast path: {reason}: set `fastPath: tc`")), "{text}");
        let trusts = |change: &Change| change.to_string().ends_with("early drop by XDP");
        assert!(!changes(&plan).iter().any(trusts), "{hidden:?}");
    }
}

#[test]
fn a_veth_that_is_a_nic_is_warned_of_where_xdp_forwards() {
    for (path, kind, expected) in
        [("xdp", "veth", 1), ("tc", "veth", 0), ("off", "veth", 0), ("xdp", "", 0)]
    {
        let yaml = OOB.replace("{ uplink:", &format!("{{ fastPath: {path}, uplink:"));
        let (mut observed, datapath) = settled();
        observed.links.get_mut(&name("eth3")).unwrap().kind = Kind::Other(kind.to_owned());
        let plan = planned(&desired(&yaml), &observed, &datapath);
        assert_eq!(found(&plan, Code::PeerHidesTags).len(), expected, "{path} {kind}");
    }
}
