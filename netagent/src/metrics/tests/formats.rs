use insta::assert_snapshot;

use super::{super::*, classic, samples};
use crate::{show::sample::node, state::Address};

#[test]
#[expect(clippy::too_many_lines, reason = "one text")]
fn openmetrics_of_a_small_node() {
    let mut small = node();
    small.datapath.ports.retain(|device, _| device.as_str() == "tap7");
    small.counters.ports.retain(|device, _| device.as_str() == "tap7");
    let text = render(small, Format::OpenMetrics).unwrap();
    assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "VERSION"), @r#"
    # HELP netagent_vlan_receive_packets Frames from the VM or the wire that passed the policy, by VLAN or link-local
    # TYPE netagent_vlan_receive_packets counter
    netagent_vlan_receive_packets_total{device="tap7",vlan="100"} 4000
    # HELP netagent_vlan_receive_bytes Bytes of frames from the VM or the wire that passed the policy, without VLAN tag and FCS
    # TYPE netagent_vlan_receive_bytes counter
    netagent_vlan_receive_bytes_total{device="tap7",vlan="100"} 400000
    # HELP netagent_vlan_transmit_packets Frames to the VM or the wire that passed the policy, by VLAN or link-local
    # TYPE netagent_vlan_transmit_packets counter
    netagent_vlan_transmit_packets_total{device="tap7",vlan="100"} 5000
    # HELP netagent_vlan_transmit_bytes Bytes of frames to the VM or the wire that passed the policy, without VLAN tag and FCS
    # TYPE netagent_vlan_transmit_bytes counter
    netagent_vlan_transmit_bytes_total{device="tap7",vlan="100"} 500000
    # HELP netagent_forward_packets Frames from the VM or the wire that passed the policy, by path: bridge, TC redirect or XDP redirect
    # TYPE netagent_forward_packets counter
    netagent_forward_packets_total{device="tap7",path="bridge"} 4000
    netagent_forward_packets_total{device="tap7",path="tc"} 0
    netagent_forward_packets_total{device="tap7",path="xdp"} 0
    # HELP netagent_port_mac_moves Stations that moved to the port from another port of its bridge, as the bridge's FDB tells
    # TYPE netagent_port_mac_moves counter
    netagent_port_mac_moves_total{device="tap7"} 1
    # HELP netagent_vlan_series_limited Whether there are too many VLAN series: if so, the largest trunks have one series, vlan other
    # TYPE netagent_vlan_series_limited gauge
    netagent_vlan_series_limited 0
    # HELP netagent_receive_drop_packets Dropped frames from the VM or the wire; vlan is none for untagged frames
    # TYPE netagent_receive_drop_packets counter
    netagent_receive_drop_packets_total{device="other",vlan="other",reason="no-policy"} 2
    netagent_receive_drop_packets_total{device="tap7",vlan="none",reason="untagged"} 0
    netagent_receive_drop_packets_total{device="tap7",vlan="other",reason="vlan-not-allowed"} 0
    netagent_receive_drop_packets_total{device="tap7",vlan="200",reason="vlan-not-allowed"} 12
    netagent_receive_drop_packets_total{device="tap7",vlan="300",reason="vlan-not-allowed"} 40
    netagent_receive_drop_packets_total{device="tap7",vlan="100",reason="tagged-on-access"} 3
    netagent_receive_drop_packets_total{device="tap7",vlan="4095",reason="reserved-vid"} 0
    netagent_receive_drop_packets_total{device="tap7",vlan="none",reason="malformed"} 0
    netagent_receive_drop_packets_total{device="tap7",vlan="none",reason="link-local"} 0
    netagent_receive_drop_packets_total{device="tap7",vlan="100",reason="stacked-tag"} 0
    netagent_receive_drop_packets_total{device="tap7",vlan="100",reason="tag-failed"} 0
    # HELP netagent_receive_drop_bytes Bytes of dropped frames from the VM or the wire
    # TYPE netagent_receive_drop_bytes counter
    netagent_receive_drop_bytes_total{device="other",vlan="other",reason="no-policy"} 128
    netagent_receive_drop_bytes_total{device="tap7",vlan="none",reason="untagged"} 0
    netagent_receive_drop_bytes_total{device="tap7",vlan="other",reason="vlan-not-allowed"} 0
    netagent_receive_drop_bytes_total{device="tap7",vlan="200",reason="vlan-not-allowed"} 768
    netagent_receive_drop_bytes_total{device="tap7",vlan="300",reason="vlan-not-allowed"} 2560
    netagent_receive_drop_bytes_total{device="tap7",vlan="100",reason="tagged-on-access"} 192
    netagent_receive_drop_bytes_total{device="tap7",vlan="4095",reason="reserved-vid"} 0
    netagent_receive_drop_bytes_total{device="tap7",vlan="none",reason="malformed"} 0
    netagent_receive_drop_bytes_total{device="tap7",vlan="none",reason="link-local"} 0
    netagent_receive_drop_bytes_total{device="tap7",vlan="100",reason="stacked-tag"} 0
    netagent_receive_drop_bytes_total{device="tap7",vlan="100",reason="tag-failed"} 0
    # HELP netagent_transmit_drop_packets Dropped frames to the VM or the wire; vlan is none for untagged frames
    # TYPE netagent_transmit_drop_packets counter
    netagent_transmit_drop_packets_total{device="tap7",vlan="none",reason="malformed"} 0
    netagent_transmit_drop_packets_total{device="tap7",vlan="none",reason="link-local"} 1
    netagent_transmit_drop_packets_total{device="tap7",vlan="100",reason="stacked-tag"} 0
    netagent_transmit_drop_packets_total{device="tap7",vlan="other",reason="egress-filtered"} 0
    netagent_transmit_drop_packets_total{device="tap7",vlan="100",reason="tag-failed"} 0
    netagent_transmit_drop_packets_total{device="tap7",vlan="100",reason="too-long"} 0
    # HELP netagent_transmit_drop_bytes Bytes of dropped frames to the VM or the wire
    # TYPE netagent_transmit_drop_bytes counter
    netagent_transmit_drop_bytes_total{device="tap7",vlan="none",reason="malformed"} 0
    netagent_transmit_drop_bytes_total{device="tap7",vlan="none",reason="link-local"} 64
    netagent_transmit_drop_bytes_total{device="tap7",vlan="100",reason="stacked-tag"} 0
    netagent_transmit_drop_bytes_total{device="tap7",vlan="other",reason="egress-filtered"} 0
    netagent_transmit_drop_bytes_total{device="tap7",vlan="100",reason="tag-failed"} 0
    netagent_transmit_drop_bytes_total{device="tap7",vlan="100",reason="too-long"} 0
    # HELP netagent_port Network, mode, PVID and admitted frame types of a port, and its pod
    # TYPE netagent_port info
    netagent_port_info{device="tap7",network="corp-net",mode="access",pvid="100",admit="untagged-and-priority",namespace="",pod="",interface=""} 1
    # HELP netagent_port_attached Whether a netagent program is attached to the port; only uplink_xdp is optional
    # TYPE netagent_port_attached gauge
    netagent_port_attached{device="tap7",program="port_in"} 1
    netagent_port_attached{device="tap7",program="port_out"} 1
    # HELP netagent_link_up Whether the device of a port exists and has a carrier
    # TYPE netagent_link_up gauge
    netagent_link_up{device="tap7"} 1
    # HELP netagent_bond Mode of a bond, and the configuration that the mode needs on the switch
    # TYPE netagent_bond info
    netagent_bond_info{device="oob-bo",mode="802.3ad",switch_side="LACP"} 1
    # HELP netagent_bond_members NICs in the bond
    # TYPE netagent_bond_members gauge
    netagent_bond_members{device="oob-bo"} 2
    # HELP netagent_bond_members_active NICs of the bond that are up and carry traffic: one in active-backup, all in other modes
    # TYPE netagent_bond_members_active gauge
    netagent_bond_members_active{device="oob-bo"} 1
    # HELP netagent_bond_lacp_partner Whether the switch answers LACP on an 802.3ad bond
    # TYPE netagent_bond_lacp_partner gauge
    netagent_bond_lacp_partner{device="oob-bo"} 1
    # HELP netagent_bond_member_up Whether the link of a NIC in a bond is up (MII status)
    # TYPE netagent_bond_member_up gauge
    netagent_bond_member_up{device="oob-bo",member="eth2"} 1
    netagent_bond_member_up{device="oob-bo",member="eth3"} 0
    # HELP netagent_bond_member_link_failures Link failures of a NIC in a bond
    # TYPE netagent_bond_member_link_failures counter
    netagent_bond_member_link_failures_total{device="oob-bo",member="eth2"} 0
    netagent_bond_member_link_failures_total{device="oob-bo",member="eth3"} 3
    # HELP netagent_map_entries Used entries of a BPF map, by its name in bpftool
    # TYPE netagent_map_entries gauge
    netagent_map_entries{map="POLICY"} 3
    netagent_map_entries{map="MORE_DROPS"} 25
    # HELP netagent_map_capacity Maximum number of entries of a BPF map
    # TYPE netagent_map_capacity gauge
    netagent_map_capacity{map="POLICY"} 1024
    netagent_map_capacity{map="MORE_DROPS"} 15360
    # HELP netagent_build The version of this agent
    # TYPE netagent_build info
    netagent_build_info{version="VERSION"} 1
    # HELP netagent_ready Whether /readyz answers 200; its body gives the reasons if it does not
    # TYPE netagent_ready gauge
    netagent_ready 0
    # HELP netagent_problems Findings about the node, by severity and code (netagent status gives their text)
    # TYPE netagent_problems gauge
    netagent_problems{severity="critical",code="first-apply"} 0
    netagent_problems{severity="critical",code="look-failed"} 0
    netagent_problems{severity="warning",code="no-answer"} 0
    netagent_problems{severity="warning",code="reload-failed"} 0
    netagent_problems{severity="warning",code="restart-needed"} 0
    netagent_problems{severity="error",code="not-listening"} 0
    netagent_problems{severity="error",code="state-damaged"} 0
    netagent_problems{severity="warning",code="state-not-written"} 0
    netagent_problems{severity="error",code="rejected"} 0
    netagent_problems{severity="error",code="refused"} 0
    netagent_problems{severity="warning",code="confirmation-needed"} 0
    netagent_problems{severity="warning",code="on-trial"} 0
    netagent_problems{severity="error",code="rolled-back"} 0
    netagent_problems{severity="info",code="released"} 0
    netagent_problems{severity="info",code="device-missing"} 0
    netagent_problems{severity="error",code="nic-missing"} 0
    netagent_problems{severity="error",code="alternative-name"} 0
    netagent_problems{severity="error",code="nic-in-use"} 0
    netagent_problems{severity="warning",code="member-down"} 0
    netagent_problems{severity="error",code="lacp-no-partner"} 0
    netagent_problems{severity="warning",code="lacp-split"} 0
    netagent_problems{severity="critical",code="segment-down"} 0
    netagent_problems{severity="critical",code="program-missing"} 1
    netagent_problems{severity="critical",code="not-first"} 0
    netagent_problems{severity="critical",code="vlan-missing"} 0
    netagent_problems{severity="error",code="not-on-bridge"} 0
    netagent_problems{severity="error",code="step-failed"} 0
    netagent_problems{severity="error",code="unsettled"} 0
    netagent_problems{severity="warning",code="blocked"} 0
    netagent_problems{severity="info",code="lease-missing"} 0
    netagent_problems{severity="error",code="lease-lost"} 0
    netagent_problems{severity="warning",code="mtu-low"} 0
    netagent_problems{severity="warning",code="mtu-high"} 0
    netagent_problems{severity="info",code="xdp-unavailable"} 0
    netagent_problems{severity="warning",code="peer-hides-tags"} 0
    netagent_problems{severity="warning",code="mac-rewrite"} 0
    netagent_problems{severity="warning",code="arp-target"} 0
    netagent_problems{severity="info",code="rules-of-others"} 0
    netagent_problems{severity="warning",code="unmanaged-port"} 0
    netagent_problems{severity="info",code="left-alone"} 0
    netagent_problems{severity="info",code="link-local-kept"} 0
    netagent_problems{severity="info",code="port-down"} 0
    netagent_problems{severity="info",code="silent"} 0
    netagent_problems{severity="warning",code="address-on-port"} 0
    netagent_problems{severity="warning",code="shared-snooping"} 0
    netagent_problems{severity="warning",code="other-manager"} 0
    netagent_problems{severity="warning",code="renamed"} 0
    # HELP netagent_unwell Segments and ports that are not Ready, with their state; always 1
    # TYPE netagent_unwell gauge
    netagent_unwell{subject="port",name="tap8",state="degraded"} 1
    # HELP netagent_unwell_omitted Segments and ports that are not Ready and have no series in netagent_unwell
    # TYPE netagent_unwell_omitted gauge
    netagent_unwell_omitted 0
    # HELP netagent_segment_nics_wanted NICs that the uplink of a segment is to have
    # TYPE netagent_segment_nics_wanted gauge
    netagent_segment_nics_wanted{segment="oob"} 2
    # HELP netagent_segment_nics_present NICs that exist and belong to the uplink of a segment
    # TYPE netagent_segment_nics_present gauge
    netagent_segment_nics_present{segment="oob"} 2
    # HELP netagent_segment_nics_up NICs of the uplink of a segment that have a link
    # TYPE netagent_segment_nics_up gauge
    netagent_segment_nics_up{segment="oob"} 1
    # HELP netagent_snapshot_age_seconds Age of all values of this scrape: not 0 while the agent's loop waits for the kernel
    # TYPE netagent_snapshot_age_seconds gauge
    netagent_snapshot_age_seconds 0.0
    # HELP netagent_reconcile_success Applies after which every part of the node was as desired
    # TYPE netagent_reconcile_success counter
    netagent_reconcile_success_total 4
    # HELP netagent_reconcile_failures Applies after which a part of the node was not as desired
    # TYPE netagent_reconcile_failures counter
    netagent_reconcile_failures_total 1
    # HELP netagent_reconcile_last_success_timestamp_seconds Unix time of the end of the last apply after which every part was as desired; 0 if none
    # TYPE netagent_reconcile_last_success_timestamp_seconds gauge
    netagent_reconcile_last_success_timestamp_seconds 1790000000.25
    # HELP netagent_reconcile_last_duration_seconds Duration of the last apply
    # TYPE netagent_reconcile_last_duration_seconds gauge
    netagent_reconcile_last_duration_seconds 0.012
    # HELP netagent_config_last_reload_successful Whether the last reload of the configuration file succeeded
    # TYPE netagent_config_last_reload_successful gauge
    netagent_config_last_reload_successful 1
    # HELP netagent_config_last_reload_success_timestamp_seconds Unix time of the last successful reload of the configuration file
    # TYPE netagent_config_last_reload_success_timestamp_seconds gauge
    netagent_config_last_reload_success_timestamp_seconds 5.0
    # HELP netagent_drift_repair_attempts Attempted steps to restore what others changed on the node, by kind
    # TYPE netagent_drift_repair_attempts counter
    netagent_drift_repair_attempts_total{kind="address"} 0
    netagent_drift_repair_attempts_total{kind="attribute"} 0
    netagent_drift_repair_attempts_total{kind="link"} 0
    netagent_drift_repair_attempts_total{kind="membership"} 0
    netagent_drift_repair_attempts_total{kind="policy"} 0
    netagent_drift_repair_attempts_total{kind="program"} 0
    netagent_drift_repair_attempts_total{kind="vlan"} 3
    # HELP netagent_drift_repairs Successful steps to restore what others changed on the node, by kind
    # TYPE netagent_drift_repairs counter
    netagent_drift_repairs_total{kind="address"} 0
    netagent_drift_repairs_total{kind="attribute"} 0
    netagent_drift_repairs_total{kind="link"} 0
    netagent_drift_repairs_total{kind="membership"} 0
    netagent_drift_repairs_total{kind="policy"} 0
    netagent_drift_repairs_total{kind="program"} 0
    netagent_drift_repairs_total{kind="vlan"} 2
    # HELP netagent_drift_repair_failures Failed steps to restore what others changed on the node, by kind
    # TYPE netagent_drift_repair_failures counter
    netagent_drift_repair_failures_total{kind="address"} 0
    netagent_drift_repair_failures_total{kind="attribute"} 0
    netagent_drift_repair_failures_total{kind="link"} 0
    netagent_drift_repair_failures_total{kind="membership"} 0
    netagent_drift_repair_failures_total{kind="policy"} 0
    netagent_drift_repair_failures_total{kind="program"} 0
    netagent_drift_repair_failures_total{kind="vlan"} 1
    # EOF
    "#);
}

#[test]
fn classic_families_have_their_suffix_in_type_and_help() {
    let text = classic(node());
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    assert_snapshot!(types.collect::<Vec<_>>().join("\n"), @"
    netagent_vlan_receive_packets_total counter
    netagent_vlan_receive_bytes_total counter
    netagent_vlan_transmit_packets_total counter
    netagent_vlan_transmit_bytes_total counter
    netagent_forward_packets_total counter
    netagent_port_mac_moves_total counter
    netagent_vlan_series_limited gauge
    netagent_receive_drop_packets_total counter
    netagent_receive_drop_bytes_total counter
    netagent_transmit_drop_packets_total counter
    netagent_transmit_drop_bytes_total counter
    netagent_port_info gauge
    netagent_port_attached gauge
    netagent_link_up gauge
    netagent_bond_info gauge
    netagent_bond_members gauge
    netagent_bond_members_active gauge
    netagent_bond_lacp_partner gauge
    netagent_bond_member_up gauge
    netagent_bond_member_link_failures_total counter
    netagent_map_entries gauge
    netagent_map_capacity gauge
    netagent_build_info gauge
    netagent_ready gauge
    netagent_problems gauge
    netagent_unwell gauge
    netagent_unwell_omitted gauge
    netagent_segment_nics_wanted gauge
    netagent_segment_nics_present gauge
    netagent_segment_nics_up gauge
    netagent_snapshot_age_seconds gauge
    netagent_reconcile_success_total counter
    netagent_reconcile_failures_total counter
    netagent_reconcile_last_success_timestamp_seconds gauge
    netagent_reconcile_last_duration_seconds gauge
    netagent_config_last_reload_successful gauge
    netagent_config_last_reload_success_timestamp_seconds gauge
    netagent_drift_repair_attempts_total counter
    netagent_drift_repairs_total counter
    netagent_drift_repair_failures_total counter
    ");
    assert_snapshot!(samples(&text, "netagent_vlan_receive_packets_total"), @r#"
    netagent_vlan_receive_packets_total{device="oob-bo",vlan="link-local"} 30
    netagent_vlan_receive_packets_total{device="oob-bo",vlan="1"} 0
    netagent_vlan_receive_packets_total{device="oob-bo",vlan="100"} 5000
    netagent_vlan_receive_packets_total{device="oob-bo",vlan="250"} 7
    netagent_vlan_receive_packets_total{device="tap7",vlan="100"} 4000
    "#);
    assert_snapshot!(samples(&text, "netagent_port_"), @r#"
    netagent_port_mac_moves_total{device="oob-bo"} 4
    netagent_port_mac_moves_total{device="tap7"} 1
    netagent_port_mac_moves_total{device="tap8"} 0
    netagent_port_info{device="oob-bo",network="oob",mode="uplink",pvid="1",admit="all",namespace="",pod="",interface=""} 1
    netagent_port_info{device="tap7",network="corp-net",mode="access",pvid="100",admit="untagged-and-priority",namespace="",pod="",interface=""} 1
    netagent_port_info{device="tap8",network="lab",mode="trunk",pvid="none",admit="tagged",namespace="default",pod="vm8",interface="net1"} 1
    netagent_port_attached{device="oob-bo",program="uplink_xdp"} 1
    netagent_port_attached{device="oob-bo",program="uplink_in"} 1
    netagent_port_attached{device="oob-bo",program="uplink_out"} 1
    netagent_port_attached{device="tap7",program="port_in"} 1
    netagent_port_attached{device="tap7",program="port_out"} 1
    netagent_port_attached{device="tap8",program="port_in"} 1
    netagent_port_attached{device="tap8",program="port_out"} 0
    "#);
}

#[test]
fn empty_node_has_its_build_and_no_series_of_devices() {
    let text = classic(Snapshot::default()).replace(env!("CARGO_PKG_VERSION"), "VERSION");
    assert_snapshot!(text, @r#"
    # HELP netagent_vlan_series_limited Whether there are too many VLAN series: if so, the largest trunks have one series, vlan other
    # TYPE netagent_vlan_series_limited gauge
    netagent_vlan_series_limited 0
    # HELP netagent_build_info The version of this agent
    # TYPE netagent_build_info gauge
    netagent_build_info{version="VERSION"} 1
    "#);
}

#[test]
fn frames_that_took_no_fast_path_took_the_bridge() {
    let mut node = node();
    for (device, port) in &mut node.counters.ports {
        if device.as_str() == "tap7" {
            (port.forwarded.tc, port.forwarded.xdp) = (500, 7);
        }
    }
    let text = classic(node);
    assert_snapshot!(samples(&text, "netagent_forward_packets_total{device=\"tap7\""), @r#"
    netagent_forward_packets_total{device="tap7",path="bridge"} 3493
    netagent_forward_packets_total{device="tap7",path="tc"} 500
    netagent_forward_packets_total{device="tap7",path="xdp"} 7
    "#);
}

#[test]
fn leases_of_the_agent_have_the_time_of_their_end() {
    let mut node = node();
    let link = node.links.links.values_mut().next().unwrap();
    let address = |owned, until| Address { owned, until, ..Address::default() };
    link.addresses = [
        ("10.0.0.5/24", address(true, Some(1000))),
        ("fd00::5/64", address(true, Some(5000))),
        ("10.0.0.6/24", address(false, Some(7000))),
        ("10.0.0.7/24", address(true, None)),
    ]
    .map(|(cidr, address)| (cidr.parse().unwrap(), address))
    .into();
    let text = classic(node);
    let ends = |family: &str| {
        let samples = samples(&text, "netagent_dhcp_lease_expiry_timestamp_seconds");
        assert_eq!(samples.lines().count(), 2, "{samples}");
        let family = format!("family=\"{family}\"");
        let sample = samples.lines().find(|line| line.contains(&family)).unwrap();
        sample.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()
    };
    assert_eq!(ends("ipv6") - ends("ipv4"), 4000);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(ends("ipv4") <= now.as_secs() + 1000 && ends("ipv4") > 1000);
}
