use insta::assert_snapshot;
use netagent_common::counters::{Direction, Reason};

use super::{classic, samples};
use crate::{
    show::sample::{drops, name, node},
    state::DeviceDrops,
};

#[test]
fn drop_series_exist_before_the_first_drop() {
    let text = classic(node());
    assert_snapshot!(samples(&text, "netagent_transmit_drop_packets_total"), @r#"
    netagent_transmit_drop_packets_total{device="oob-bo",vlan="none",reason="malformed"} 0
    netagent_transmit_drop_packets_total{device="oob-bo",vlan="none",reason="link-local"} 0
    netagent_transmit_drop_packets_total{device="oob-bo",vlan="1",reason="stacked-tag"} 0
    netagent_transmit_drop_packets_total{device="oob-bo",vlan="other",reason="egress-filtered"} 0
    netagent_transmit_drop_packets_total{device="oob-bo",vlan="1",reason="tag-failed"} 0
    netagent_transmit_drop_packets_total{device="oob-bo",vlan="1",reason="too-long"} 0
    netagent_transmit_drop_packets_total{device="tap7",vlan="none",reason="malformed"} 0
    netagent_transmit_drop_packets_total{device="tap7",vlan="none",reason="link-local"} 1
    netagent_transmit_drop_packets_total{device="tap7",vlan="100",reason="stacked-tag"} 0
    netagent_transmit_drop_packets_total{device="tap7",vlan="other",reason="egress-filtered"} 0
    netagent_transmit_drop_packets_total{device="tap7",vlan="100",reason="tag-failed"} 0
    netagent_transmit_drop_packets_total{device="tap7",vlan="100",reason="too-long"} 0
    netagent_transmit_drop_packets_total{device="tap8",vlan="none",reason="malformed"} 0
    netagent_transmit_drop_packets_total{device="tap8",vlan="none",reason="link-local"} 0
    netagent_transmit_drop_packets_total{device="tap8",vlan="other",reason="stacked-tag"} 0
    netagent_transmit_drop_packets_total{device="tap8",vlan="other",reason="egress-filtered"} 0
    netagent_transmit_drop_packets_total{device="tap8",vlan="other",reason="tag-failed"} 0
    netagent_transmit_drop_packets_total{device="tap8",vlan="other",reason="too-long"} 0
    "#);
    assert_snapshot!(samples(&text, "netagent_receive_drop_packets_total{device=\"tap7\""), @r#"
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
    "#);
}

#[test]
fn counted_drop_replaces_its_zero() {
    let mut node = node();
    let counted = drops(Direction::Receive, Reason::VlanNotAllowed, None, 9);
    node.counters.ports.get_mut(&name("tap8")).unwrap().drops = [counted].into();
    let text = classic(node);
    let found = samples(
        &text,
        "netagent_receive_drop_packets_total{device=\"tap8\",vlan=\"other\",reason=\"vlan-not",
    );
    assert_snapshot!(found, @r#"netagent_receive_drop_packets_total{device="tap8",vlan="other",reason="vlan-not-allowed"} 9"#);
}

#[test]
fn drops_of_devices_have_a_family_of_their_own() {
    let mut node = node();
    for (device, receive, transmit) in [("eth2", 5, 0), ("tap7", 0, 59_008)] {
        node.counters.devices.insert(name(device), DeviceDrops { receive, transmit });
    }
    assert_snapshot!(samples(&classic(node), "netagent_device_drop_packets_total"), @r#"
    netagent_device_drop_packets_total{device="eth2",direction="receive"} 5
    netagent_device_drop_packets_total{device="eth2",direction="transmit"} 0
    netagent_device_drop_packets_total{device="tap7",direction="receive"} 0
    netagent_device_drop_packets_total{device="tap7",direction="transmit"} 59008
    "#);
}
