use std::collections::BTreeMap;

use super::*;
use crate::state::{BondState, BridgeState, sample::link};

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn vid(number: u16) -> Vid {
    Vid::new(number).unwrap()
}

fn text(changes: &[Change]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

fn node() -> Observed {
    let mut observed = Observed::default();
    let bond = BondState { options: vec![BondOption::Miimon(100)], ..BondState::default() };
    observed.links.insert(name("bo"), link(1, Kind::Bond(bond)));
    observed.links.insert(name("br"), link(2, Kind::Bridge(BridgeState::default())));
    let pvid = VlanFlags { pvid: true, untagged: true };
    let mut port = link(3, Kind::Other("tun".to_owned()));
    port.controller = Some(name("br"));
    port.vlans = BTreeMap::from([(vid(1), pvid), (vid(3), VlanFlags::default())]);
    observed.links.insert(name("tap"), port);
    let mut nic = link(4, Kind::Other(String::new()));
    nic.controller = Some(name("bo"));
    observed.links.insert(name("eth"), nic);
    observed
}

#[test]
fn inverse_restores_the_previous_values() {
    let node = node();
    let before = |change| text(&of_link(&change, &node));
    let cases = [
        (LinkChange::SetMtu(name("bo"), 9000), vec!["ip link set bo mtu 1500"]),
        (
            LinkChange::SetBondOption(name("bo"), BondOption::Miimon(50)),
            vec!["ip link set bo type bond miimon 100"],
        ),
        (
            LinkChange::SetBondOption(name("bo"), BondOption::NsTargets(vec![])),
            vec!["ip link set bo type bond ns_ip6_target "],
        ),
        (LinkChange::SetAcceptRa(name("br"), 2), vec!["sysctl -w net/ipv6/conf/br/accept_ra=1"]),
        (LinkChange::SetDown(name("bo")), vec!["ip link set bo up"]),
        (LinkChange::SetUp(name("bo")), vec![]),
        (LinkChange::Release(name("eth")), vec!["ip link set eth down master bo"]),
        (LinkChange::Release(name("tap")), vec!["ip link set tap master br"]),
        (LinkChange::AddPort(name("bo"), name("br")), vec!["ip link set bo nomaster up"]),
        (
            LinkChange::AddVids(name("tap"), vid(1), vid(4), VlanFlags::default()),
            vec![
                "bridge vlan add dev tap vid 1 pvid untagged",
                "bridge vlan del dev tap vid 2",
                "bridge vlan add dev tap vid 3",
                "bridge vlan del dev tap vid 4",
            ],
        ),
        (
            LinkChange::Delete(name("br")),
            vec![
                "ip link add br type bridge",
                "ip link set br address 02:00:00:00:00:01",
                "ip link set br alias ''",
                "ip link set br up",
            ],
        ),
        (LinkChange::AddBridge(name("new"), None), vec!["ip link delete new"]),
    ];
    for (change, expected) in cases {
        let printed = change.to_string();
        assert_eq!(before(change), expected, "{printed}");
    }
}
