use insta::assert_snapshot;

use super::{classic, samples};
use crate::{
    show::sample::{name, traffic},
    snapshot::Snapshot,
    state::PortCounters,
};

#[test]
fn cap_folds_the_largest_trunks_and_keeps_sums() {
    let mut node = Snapshot::default();
    let trunk = || PortCounters {
        vlans: (0..=4094).map(|vid| (vid, traffic(u64::from(vid) + 1, 1))).collect(),
        ..PortCounters::default()
    };
    node.counters.ports =
        [(name("tap1"), PortCounters { vlans: [(5, traffic(1, 2))].into(), ..Default::default() })]
            .into();
    for device in ["b-bo", "c-bo"] {
        node.counters.ports.insert(name(device), trunk());
    }
    let limited = |text: &str| samples(text, "netagent_vlan_series_limited");
    assert_eq!(limited(&classic(node.clone())), "netagent_vlan_series_limited 0");
    node.counters.ports.insert(name("a-bo"), trunk());
    let text = classic(node.clone());
    assert_eq!(limited(&text), "netagent_vlan_series_limited 1");
    let receive = "netagent_vlan_receive_packets_total{device=\"";
    assert_snapshot!(samples(&text, &format!("{receive}a-bo")), @r#"
    netagent_vlan_receive_packets_total{device="a-bo",vlan="link-local"} 1
    netagent_vlan_receive_packets_total{device="a-bo",vlan="other"} 8386559
    "#);
    for (family, sum) in
        [("receive_bytes", 838_655_900), ("transmit_packets", 4094), ("transmit_bytes", 409_400)]
    {
        let series = format!("netagent_vlan_{family}_total{{device=\"a-bo\",vlan=\"other\"}}");
        assert_eq!(samples(&text, &series), format!("{series} {sum}"));
    }
    assert_eq!(samples(&text, receive).lines().count(), 2 + 2 * 4095 + 1);
    let sum: u64 = samples(&text, receive)
        .lines()
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        .sum();
    assert_eq!(sum, 3 * (4095 * 4096 / 2) + 1);
    node.counters.ports.insert(name("d-bo"), trunk());
    assert_eq!(samples(&classic(node), receive).lines().count(), 2 + 2 + 2 * 4095 + 1);
}
