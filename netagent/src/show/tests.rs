use insta::assert_snapshot;

use super::{sample::*, *};
use crate::{
    bond::Mode,
    names::Mac,
    state::{Counters, DeviceDrops, Hook, Kind},
};

mod screens;

fn text(what: What, snapshot: &Snapshot) -> String {
    render(what, snapshot, false).unwrap()
}

fn json(what: What, snapshot: &Snapshot) -> serde_json::Value {
    serde_json::from_str(&render(what, snapshot, true).unwrap()).unwrap()
}

#[test]
fn ports_table() {
    assert_snapshot!(text(What::Ports, &node()), @"
    PORT    NETWORK   MODE    PVID  VIDS               ADMIT                  CHECKS  LINK     RX-DROPPED  TX-DROPPED  BRIDGE  PROGRAMS                   XDP
    oob-bo  oob       uplink     1  1,100,200-299,500  all                    -       up                -           -  oob-br  uplink_in, uplink_out      native
    tap7    corp-net  access   100  100                untagged-and-priority  -       up                -           -  oob-br  port_in, port_out          -
    tap8    lab       trunk      -  200-299,500        tagged                 -       missing           -           -  -       port_in, port_out MISSING  -
    ");
}

#[test]
fn what_a_device_drops_itself_is_in_the_row_of_its_port() {
    let mut node = node();
    let drops = DeviceDrops { receive: 3, transmit: 59_008 };
    node.counters.devices.insert(name("tap7"), drops);
    let ports = json(What::Ports, &node);
    let row = ports.as_array().unwrap().iter().find(|row| row["device"] == "tap7").unwrap();
    assert_eq!((&row["device_rx_dropped"], &row["device_tx_dropped"]), (&3.into(), &59_008.into()));
    assert!(text(What::Ports, &node).contains("up                3       59008  oob-br"));
}

#[test]
fn vlans_table() {
    assert_snapshot!(text(What::Vlans, &node()), @"
    PORT    NETWORK   MODE    VLAN               RX-PACKETS  RX-BYTES  TX-PACKETS  TX-BYTES  DROPS
    oob-bo  oob       uplink  1 PVID untagged             0         0           0         0  12 vlan-not-allowed(300)
    oob-bo  oob       uplink  100                      5000    500000        4000    400000
    oob-bo  oob       uplink  200-249 (idle)              0         0           0         0
    oob-bo  oob       uplink  250                         7       700           0         0
    oob-bo  oob       uplink  251-299 (idle)              0         0           0         0
    oob-bo  oob       uplink  500                         0         0           0         0
    oob-bo  oob       uplink  link-local                 30      3000          31      3100
    tap7    corp-net  access  100 PVID untagged        4000    400000        5000    500000  52 vlan-not-allowed(300,200), 3 tagged-on-access(100), 1 link-local
    tap8    lab       trunk   200-299 (idle)              0         0           0         0  -
    tap8    lab       trunk   500                         0         0           0         0

    RX: from the VM or the wire into the node. TX: from the node to the VM or the wire.
    ");
}

#[test]
fn drops_table() {
    assert_snapshot!(text(What::Drops, &node()), @"
    PORT    DIRECTION  VLAN   REASON            PACKETS  BYTES
    tap7    receive    300    vlan-not-allowed       40   2560
    oob-bo  receive    300    vlan-not-allowed       12    768
    tap7    receive    200    vlan-not-allowed       12    768
    tap7    receive    100    tagged-on-access        3    192
    other   receive    other  no-policy               2    128
    tap7    transmit   none   link-local              1     64

    receive: from the VM or the wire into the node; transmit: from the node to the VM or the wire
    other: no port with a policy, or a VLAN without a drop counter of its own
    vlan-not-allowed: tagged with a VID that is not in the port's allow-list
    tagged-on-access: tagged with a VLAN of the port, but the port admits only untagged frames
    link-local: STP, LACP, LLDP or similar (01:80:C2:00:00:00 to 0F), which VM ports do not pass
    no-policy: on a device for which the programs have no policy
    netagent explain REASON prints the cause and the remedy
    ");
}

#[test]
fn bonds_table() {
    let mut node = node();
    let lacp = |aggregated| {
        let Kind::Bond(mut bond) = bond(Mode::Lacp, Some(Mac([2; 6]))) else { unreachable!() };
        bond.aggregated = Some(aggregated);
        link(Kind::Bond(bond), None)
    };
    let mut standby = member("mgmt-bo", true, 0);
    standby.member.as_mut().unwrap().active = false;
    node.links.links.extend([
        (name("mgmt-bo"), link(bond(Mode::ActiveBackup, None), None)),
        (name("eth0"), member("mgmt-bo", true, 0)),
        (name("eth1"), standby),
        (name("mute-bo"), link(bond(Mode::Lacp, Some(Mac([0; 6]))), None)),
        (name("eth4"), member("mute-bo", true, 0)),
        (name("split-bo"), lacp(1)),
        (name("eth5"), member("split-bo", true, 0)),
        (name("eth6"), member("split-bo", true, 0)),
        (name("xor-bo"), link(bond(Mode::BalanceXor, None), None)),
        (name("eth7"), member("xor-bo", true, 0)),
        (name("dead-bo"), link(bond(Mode::BalanceAlb, None), None)),
        (name("eth8"), member("dead-bo", false, 1)),
        (name("bare-bo"), link(bond(Mode::BalanceRr, None), None)),
    ]);
    assert_snapshot!(text(What::Bonds, &node), @"
    BOND      MODE           SWITCH-SIDE              MEMBERS                                 LACP-PARTNER                           VERDICT
    bare-bo   balance-rr     static link aggregation  -                                       -                                      the bond has no members
    dead-bo   balance-alb    none                     eth8 down (failures 1)                  -                                      no member has a link: check the cables and the switch's ports
    mgmt-bo   active-backup  none                     eth0 up active, eth1 up standby         -                                      ok
    mute-bo   802.3ad        LACP                     eth4 up active                          none: the switch does not answer LACP  the switch does not answer LACP: configure LACP on the switch's ports, or use active-backup
    oob-bo    802.3ad        LACP                     eth2 up active, eth3 down (failures 3)  00:1b:21:00:00:01                      eth3 has no link: less redundancy and bandwidth: check the cables and the switch's ports
    split-bo  802.3ad        LACP                     eth5 up active, eth6 up active          02:02:02:02:02:02                      only 1 of 2 members with a link aggregate: put the switch's ports into one LACP group
    xor-bo    balance-xor    static link aggregation  eth7 up active                          -                                      ok; the node cannot see whether the switch aggregates the links
    ");
}

#[test]
fn json_has_one_object_per_port_bond_or_kind_of_drop() {
    let node = node();
    let ports = json(What::Ports, &node);
    assert_snapshot!(ports[0], @r#"{"admit":"all","bridge":"oob-br","checks":[],"device":"oob-bo","device_rx_dropped":null,"device_tx_dropped":null,"link":"up","missing":[],"mode":"uplink","network":"oob","outdated":[],"programs":["uplink_in","uplink_out"],"pvid":1,"vids":"1,100,200-299,500","xdp":"native"}"#);
    assert_snapshot!(ports[2], @r#"{"admit":"tagged","bridge":null,"checks":[],"device":"tap8","device_rx_dropped":null,"device_tx_dropped":null,"link":"missing","missing":["port_out"],"mode":"trunk","network":"lab","outdated":[],"programs":["port_in"],"pvid":null,"vids":"200-299,500","xdp":null}"#);
    let vlans = json(What::Vlans, &node);
    assert_snapshot!(vlans[1], @r#"{"device":"tap7","drops":[{"bytes":2560,"device":"tap7","direction":"receive","packets":40,"reason":"vlan-not-allowed","vlan":"300"},{"bytes":768,"device":"tap7","direction":"receive","packets":12,"reason":"vlan-not-allowed","vlan":"200"},{"bytes":192,"device":"tap7","direction":"receive","packets":3,"reason":"tagged-on-access","vlan":"100"},{"bytes":64,"device":"tap7","direction":"transmit","packets":1,"reason":"link-local","vlan":"none"}],"mode":"access","network":"corp-net","pvid":100,"vlans":[{"pvid":true,"rx_bytes":400000,"rx_packets":4000,"tx_bytes":500000,"tx_packets":5000,"untagged":true,"vlan":"100"}]}"#);
    assert_eq!(vlans[0]["vlans"].as_array().unwrap().len(), 104, "every VID, and link-local");
    assert_snapshot!(json(What::Bonds, &node), @r#"[{"bond":"oob-bo","lacp_partner":"00:1b:21:00:00:01","members":[{"active":true,"device":"eth2","failures":0,"up":true},{"active":false,"device":"eth3","failures":3,"up":false}],"missing":[],"mode":"802.3ad","ok":false,"switch_side":"LACP","verdict":"eth3 has no link: less redundancy and bandwidth: check the cables and the switch's ports"}]"#);
    assert_snapshot!(json(What::Drops, &node)[0], @r#"{"bytes":2560,"device":"tap7","direction":"receive","packets":40,"reason":"vlan-not-allowed","vlan":"300"}"#);
}

#[test]
fn only_the_table_shortens_allow_lists() {
    let mut node = Snapshot::default();
    node.datapath.ports = [(name("tap1"), port("odd", 0, 0, "1,3,5,7,9,11,13", &[]))].into();
    node.datapath.ports.get_mut(&name("tap1")).unwrap().outdated = [Hook::PortOut].into();
    assert_snapshot!(text(What::Ports, &node), @"
    PORT  NETWORK  MODE    PVID  VIDS                    ADMIT   CHECKS  LINK     RX-DROPPED  TX-DROPPED  BRIDGE  PROGRAMS                            XDP
    tap1  odd      access     -  1,3,5,7,9,... (7 VIDs)  tagged  -       missing           -           -  -       port_out OUTDATED, port_in MISSING  -
    ");
    assert_eq!(json(What::Ports, &node)[0]["vids"], "1,3,5,7,9,11,13");
}

#[test]
fn empty_tables_are_one_line() {
    let nothing = Snapshot::default();
    for what in [What::Ports, What::Vlans, What::Bonds, What::Drops] {
        assert_eq!(render(what, &nothing, true).unwrap(), "[]\n");
        assert_eq!(text(what, &nothing).lines().count(), 1);
    }
    let mut quiet = node();
    quiet.counters = Counters::default();
    assert_eq!(text(What::Drops, &quiet), "No frame was dropped.\n");
}
