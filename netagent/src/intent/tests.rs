//! The judgement of several sources. Each check of a single item has its case in
//! `config/tests/refused`.

use netagent_common::{MAX_MACS, MAX_PORTS};

use super::{
    Compiled, Devices, Intent, Item, LeaseIntent, Origin, PortIntent, SecurityIntent, Sourced,
};
use crate::{
    config,
    names::{Family, IfName, Mac},
    state::{Dhcp, Lifetime},
};

/// Two cluster networks, of which `small` has an MTU of 1000.
const FILE: &str = "\
clusterNetworks:
  oob: { uplink: { nics: [eth2] }, host: { vlan: 10, address: 10.0.0.5/24 } }
  small: { uplink: { nics: [eth3], mtu: 1000 } }
networks:
  corp: { clusterNetwork: oob, vlan: 100 }
  lab: { clusterNetwork: oob, trunk: 200-299 }
  low: { clusterNetwork: small, vlan: 100 }
  service: { clusterNetwork: oob, qinq: 300 }
ports:
  - { device: tap1, network: corp }
  - { device: tap2, network: lab }
";

fn file() -> Intent {
    config::parse(FILE, "node.yaml").unwrap().intent
}

/// A source whose items are not judged by itself, as those of a Kubernetes resource.
fn later(text: &str) -> Intent {
    config::unchecked(text, "later")
}

/// On a node without a device that matches a pattern.
fn compile(intents: &[Intent]) -> Compiled {
    super::compile(intents, &Devices::default())
}

fn name(name: &str) -> IfName {
    name.parse().unwrap()
}

fn port(device: &str, network: &str) -> PortIntent {
    PortIntent {
        hairpin: None,
        port_isolation: None,
        silent: None,
        device: name(device),
        network: network.to_owned(),
        mtu: None,
        security: SecurityIntent::default(),
    }
}

fn socket(port: PortIntent) -> Intent {
    Intent::port(Origin::Socket, port)
}

fn problems(compiled: &Compiled) -> Vec<String> {
    let rejected = compiled.rejected.iter();
    rejected.map(|it| format!("{}: {}: {}", it.origin, it.item, it.problem)).collect()
}

/// The file's own state with the ports of other sources, and the problems of the rejected ports.
fn assert_added(others: &[Intent], added: &[&str], rejected: &[&str]) {
    let alone = compile(&[file()]);
    assert_eq!(problems(&alone), [""; 0]);
    let all = compile(&[&[file()], others].concat());
    assert_eq!(problems(&all), rejected);
    let (wanted, mut has) = (alone.desired, all.desired);
    let ports: Vec<_> =
        added.iter().map(|port| (name(port), has.ports.remove(&name(port)))).collect();
    assert!(ports.iter().all(|(_, port)| port.is_some()), "{ports:?}");
    assert_eq!(has, wanted);
}

#[test]
fn a_port_of_the_socket_joins_those_of_the_file() {
    assert_added(&[socket(port("tap9", "corp"))], &["tap9"], &[]);
    let compiled = compile(&[file(), socket(port("tap9", "low"))]);
    let ports = compiled.desired.ports;
    let origins = ["tap1", "tap9", "oob-bo"].map(|port| ports[&name(port)].origin.as_str());
    assert_eq!(origins, ["node.yaml:10:5", "control socket", "node.yaml:2:3"]);
    assert_eq!(compiled.desired.bridges[&name("small-br")].segment, "small");
}

#[test]
fn the_second_of_two_sources_that_claim_one_device_is_rejected() {
    let devices = ["tap1", "eth2", "oob-bo", "oob-br", "oob-br.10", "lo"];
    let others = devices.map(|device| socket(port(device, "lab")));
    assert_added(
        &others,
        &[],
        &[
            "control socket: port tap1: device: \"tap1\" cannot be a port of network lab: it is \
             already a port of network corp (node.yaml:10:5)",
            "control socket: port eth2: device: \"eth2\" cannot be a port of network lab: it is \
             already a NIC of cluster network oob (node.yaml:2:3)",
            "control socket: port oob-bo: device: \"oob-bo\" cannot be a port of network lab: it \
             is already the bond of cluster network oob (node.yaml:2:3)",
            "control socket: port oob-br: device: \"oob-br\" cannot be a port of network lab: it \
             is already the bridge of cluster network oob (node.yaml:2:3)",
            "control socket: port oob-br.10: device: \"oob-br.10\" cannot be a port of network \
             lab: it is already the host interface of cluster network oob (node.yaml:2:3)",
            "control socket: port lo: device: \"lo\" is reserved by the kernel; use another name",
        ],
    );
    assert_added(
        &[later(
            "ports: [{ device: tap9, network: corp }, { device: tap9, network: lab }, { device: \
             tap8, network: corp }]",
        )],
        &["tap9", "tap8"],
        &["later:1:42: port tap9: device: \"tap9\" cannot be a port of network lab: it is \
             already a port of network corp (later:1:9)"],
    );
}

#[test]
fn a_bad_port_of_the_socket_is_rejected_alone() {
    let mtu = |device, network, mtu| PortIntent { mtu: Some(mtu), ..port(device, network) };
    let security = |device, macs: &[&str], max_macs| PortIntent {
        security: SecurityIntent {
            macs: Some(macs.iter().map(|mac| mac.parse().unwrap()).collect()),
            max_macs,
            ..SecurityIntent::default()
        },
        ..port(device, "corp")
    };
    let (a, b) = ("02:00:00:00:00:01", "02:00:00:00:00:02");
    let others = [
        socket(port("tap3", "nowhere")),
        socket(mtu("tap4", "low", 1400)),
        socket(mtu("tap5", "corp", 70_000)),
        socket(mtu("tap6", "corp", 10)),
        socket(security("tap7", &[a, a], None)),
        socket(security("tap8", &[], None)),
        socket(security("tap9", &[a, b], Some(1))),
        socket(security("tap10", &[a], Some(0))),
        socket(port("tap11", "service")),
        socket(port("tap12", "corp")),
    ];
    assert_added(
        &others,
        &["tap12"],
        &[
            "control socket: port tap3: network: there is no network \"nowhere\"; defined: corp, \
             lab, low, service",
            "control socket: port tap4: mtu: 1400 is above the 1000 of cluster network small; \
             lower it, or raise uplink.mtu there",
            "control socket: port tap5: mtu: 70000 is not an MTU in bytes from 576 to 65535",
            "control socket: port tap6: mtu: 10 is not an MTU in bytes from 576 to 65535",
            "control socket: port tap7: security.macs[1]: 02:00:00:00:00:01 is in the list twice; \
             remove one",
            "control socket: port tap8: security.macs: is empty; list the VM's addresses, or \
             remove it",
            "control socket: port tap9: security.macs: 2 addresses; a port may have 1",
            "control socket: port tap10: security.maxMacs: 0 is not a number of addresses from 1 \
             to 32",
            "control socket: port tap11: device: frames of 1500 bytes and the customer's tag need \
             1504 bytes, and cluster network oob has 1500; raise uplink.mtu there, or give the \
             port a lower mtu",
        ],
    );
}

#[test]
fn a_rejected_port_does_not_keep_its_device_from_a_good_one() {
    // Each is rejected after the check of its device.
    let macs = vec![Mac([2, 0, 0, 0, 0, 1]); 2];
    let twice = SecurityIntent { macs: Some(macs), ..SecurityIntent::default() };
    for bad in [
        port("tap9", "nowhere"),
        PortIntent { mtu: Some(9000), ..port("tap9", "corp") },
        PortIntent { security: twice, ..port("tap9", "corp") },
        port("tap9", "service"),
    ] {
        let compiled = compile(&[file(), socket(bad), socket(port("tap9", "lab"))]);
        assert_eq!(compiled.rejected.len(), 1, "{:?}", compiled.rejected);
        assert_eq!(compiled.desired.ports[&name("tap9")].network, "lab");
    }
}

#[test]
fn a_port_without_room_is_rejected_alone_and_takes_no_room() {
    // Two uplinks and two VM ports are there already.
    let fill: Vec<_> =
        (4..MAX_PORTS).map(|number| socket(port(&format!("vm{number}"), "corp"))).collect();
    let all = [&[file()], &*fill, &[socket(port("tap9", "corp"))]].concat();
    let compiled = compile(&all);
    assert_eq!(compiled.desired.ports.len(), MAX_PORTS as usize);
    assert_eq!(
        problems(&compiled),
        ["control socket: port tap9: device: with tap9 the ports so far need 1025 ports \
             (uplinks included); a node has room for 1024: remove some"]
    );
    assert_eq!(compile(&all[..all.len() - 1]), Compiled { rejected: Vec::new(), ..compiled });

    // A port that needs too many addresses leaves the room to the next, which needs fewer.
    let macs = |port: u8, count: u8| {
        let macs = (0..count).map(|number| Mac([2, 0, 0, 0, port, number])).collect();
        SecurityIntent { macs: Some(macs), ..SecurityIntent::default() }
    };
    let ports_in_full = u8::try_from(MAX_MACS / 2 / 64).unwrap();
    let mut ports: Vec<_> = (1..=ports_in_full)
        .map(|number| PortIntent {
            security: macs(number, 64),
            ..port(&format!("vm{number}"), "corp")
        })
        .collect();
    ports[0].security = macs(1, 63);
    for (device, count) in [("tap8", 2), ("tap9", 1)] {
        ports.push(PortIntent { security: macs(200, count), ..port(device, "corp") });
    }
    let sources: Vec<_> = [file()].into_iter().chain(ports.into_iter().map(socket)).collect();
    let compiled = compile(&sources);
    assert_eq!(
        problems(&compiled),
        ["control socket: port tap8: device: with tap8 the ports so far need 8193 addresses; a \
             node has room for 8192: list fewer"]
    );
    assert!(compiled.desired.ports.contains_key(&name("tap9")));
}

#[test]
fn the_order_of_good_items_does_not_matter() {
    let sources = [
        socket(port("tap7", "corp")),
        socket(port("tap8", "lab")),
        later("ports: [{ device: tap9, network: low }, { device: tap10, network: corp }]"),
        socket(port("tap11", "nowhere")),
    ];
    let forward = compile(&[&[file()], &sources[..]].concat()).desired;
    let backward: Vec<_> = [file()].into_iter().chain(sources.into_iter().rev()).collect();
    assert_eq!(forward, compile(&backward).desired);
    let mut reversed = file();
    reversed.segments.reverse();
    reversed.networks.reverse();
    reversed.ports.reverse();
    reversed.hosts.reverse();
    assert_eq!(compile(&[reversed]).desired, compile(&[file()]).desired);
}

#[test]
fn items_of_a_later_source_do_not_replace_those_of_an_earlier_one() {
    let other = later(
        "clusterNetworks:
  oob: { uplink: { nics: [eth7] } }
  new: { uplink: { nics: [eth8, eth2] } }
  fine: { uplink: { nics: [eth8, eth9], native: none }, host: { vlan: 20, address: 10.0.4.6/24 } }
  third: { host: { address: 10.0.0.6/16 } }
networks:
  corp: { clusterNetwork: fine, vlan: 200 }
  stranded: { clusterNetwork: oob, vlan: 200 }
  more: { clusterNetwork: fine, vlan: 150 }
ports:
  - { device: vm1, network: corp }
  - { device: vm2, network: more }
",
    );
    let compiled = compile(&[file(), other]);
    assert_eq!(
        problems(&compiled),
        [
            "later:2:3: cluster network oob: another cluster network has this name (node.yaml:2:3)",
            "later:3:3: cluster network new: uplink.nics[1]: \"eth2\" cannot be a NIC of cluster \
             network new: it is already a NIC of cluster network oob (node.yaml:2:3)",
            "later:5:3: host of cluster network third: address[0]: the node would not know where \
             to send: 10.0.0.6/16 overlaps with 10.0.0.5/24 of oob-br.10 (node.yaml:2:3)",
            "later:7:3: network corp: another network has this name (node.yaml:5:3)",
            "later:8:3: network stranded: clusterNetwork: cluster network oob is itself rejected; \
             correct it first",
            "later:11:5: port vm1: network: network corp is itself rejected; correct it first",
        ]
    );
    let alone = compile(&[file()]).desired;
    let desired = compiled.desired;
    assert!(alone.bonds.iter().all(|(name, bond)| desired.bonds.get(name) == Some(bond)));
    assert!(alone.ports.iter().all(|(name, port)| desired.ports.get(name) == Some(port)));
    let bridges: Vec<_> = desired.bridges.keys().map(IfName::as_str).collect();
    assert_eq!(bridges, ["fine-br", "oob-br", "small-br", "third-br"]);
    assert_eq!(desired.ports[&name("fine-bo")].vids.to_string(), "20,150");
    assert_eq!(desired.ports[&name("vm2")].network, "more");
}

#[test]
fn a_vlan_on_one_wire_is_either_a_service_vlan_or_a_vlan() {
    let parts = [
        "networks: { n: { clusterNetwork: oob, qinq: 10 } }",
        "networks: { n: { clusterNetwork: oob, qinq: 250 } }",
        "networks: { n: { clusterNetwork: oob, trunk: 290-310 } }",
        "networks: { n: { clusterNetwork: oob, qinq: 300, tpid: 802.1Q } }",
        "networks: { n: { clusterNetwork: oob, qinq: 300 } }",
        "networks: { n: { clusterNetwork: small, trunk: 300 } }",
        "clusterNetworks: { oob: { host: { vlan: 300, address: 10.3.0.1/24 } } }",
    ];
    let has = parts.map(|part| {
        let mut part = later(part);
        part.segments.clear();
        problems(&compile(&[file(), part])).concat()
    });
    assert_eq!(
        has,
        [
            "later:1:13: network n: its service VLAN 10 is the node's own; use another \
             (node.yaml:2:3)",
            "later:1:13: network n: its service VLAN 250 is a VLAN of network lab too; use another \
             for one of them",
            "later:1:13: network n: its VLAN 300 is the service VLAN of network service too; use \
             another for one of them",
            "later:1:13: network n: its VLAN 300 is the service VLAN of network service too; use \
             another for one of them",
            "",
            "",
            "later:1:20: host of cluster network oob: vlan: 300 is the service VLAN of network \
             service (node.yaml:8:3)",
        ]
    );
}

#[test]
fn names_of_devices_that_the_agent_creates_have_priority_within_a_source() {
    let items = later(
        "clusterNetworks:
  a: { uplink: { nics: [b-bo] } }
  c: { uplink: { nics: [b-br.5] } }
  b: { uplink: { nics: [eth5] }, host: { vlan: 5, address: 10.0.0.5/24 } }
",
    );
    let compiled = compile(&[items]);
    let rejected: Vec<_> = compiled.rejected.into_iter().map(|rejected| rejected.item).collect();
    assert_eq!(rejected, ["a", "c"].map(|name| Item::Segment(name.to_owned())));
    assert_eq!(compiled.desired.hosts.keys().collect::<Vec<_>>(), [&name("b-br.5")]);
}

#[test]
fn a_port_has_one_form_in_json() {
    let security = r#"{"macs":["02:00:00:00:00:0a"],"maxMacs":2,"storm":{"broadcast":100}}"#;
    let text = format!(r#"{{"device":"tap7","network":"corp","mtu":1400,"security":{security}}}"#);
    let read: PortIntent = serde_json::from_str(&text).unwrap();
    assert_eq!(read.device, name("tap7"));
    assert_eq!(read.security.storm.broadcast, Some(100));
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    let short = r#"{"device":"tap7","network":"corp"}"#;
    let read: PortIntent = serde_json::from_str(short).unwrap();
    assert_eq!(read, port("tap7", "corp"));
    assert_eq!(serde_json::to_string(&read).unwrap(), short);
    for (bad, complaint) in [
        (r#"{"device":"tap7","network":"corp","vlan":5}"#, "unknown field `vlan`"),
        (r#"{"device":"tap/7","network":"corp"}"#, "interface name \"tap/7\" has a character"),
        (
            r#"{"device":"tap7","network":"corp","security":{"macs":["01:00:00:00:00:00"]}}"#,
            "is a group address",
        ),
        (r#"{"device":"tap7","network":"corp","security":{"mac":[]}}"#, "unknown field `mac`"),
    ] {
        let error = serde_json::from_str::<PortIntent>(bad).unwrap_err().to_string();
        assert!(error.contains(complaint), "{bad}: {error}");
    }
}

/// A lease of `oob-br.10`.
fn lease(address: &str, ended: Option<&str>) -> Intent {
    let value = LeaseIntent {
        interface: name("oob-br.10"),
        address: address.parse().unwrap(),
        lifetime: Lifetime::until(4000),
        routes: vec![("10.1.0.0/16".parse().unwrap(), Some("10.9.0.1".parse().unwrap()))],
        replaces: None,
        ended: ended.map(str::to_owned),
    };
    let origin = Origin::Lease(value.interface.clone(), Family::V4);
    Intent { leases: vec![Sourced { origin, value }], ..Intent::default() }
}

#[test]
fn a_lease_is_part_of_its_host() {
    let file = |keys: &str| {
        let text = "clusterNetworks:\n  oob: { uplink: { nics: [eth2] }, host: [{ vlan: 10, KEYS }, \
                    { vlan: 11, address: 10.3.0.5/24 }] }\n";
        config::parse(&text.replace("KEYS", keys), "node.yaml").unwrap().intent
    };
    let dhcp = |compiled: &Compiled| {
        compiled.desired.hosts[&name("oob-br.10")].dhcp.get(&Family::V4).cloned()
    };
    let with = |keys, address, ended| compile(&[file(keys), lease(address, ended)]);
    let good = with("dhcp: v4, metric: 7", "10.9.0.5/24", None);
    assert_eq!(problems(&good), [""; 0]);
    let Some(Dhcp::Leased(lease)) = dhcp(&good) else { panic!("{good:?}") };
    let routes: Vec<String> = lease.routes.iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["10.1.0.0/16 via 10.9.0.1 dev oob-br.10 metric 7"]);
    assert_eq!(lease.lifetime.until, 4000);

    let overlaps = with("dhcp: v4", "10.3.0.9/16", None);
    assert_eq!(
        problems(&overlaps),
        [
            "DHCP lease of oob-br.10: DHCP lease of oob-br.10: address[0]: the node would not know where \
          to send: 10.3.0.9/16 overlaps with 10.3.0.5/24 of oob-br.11 (node.yaml:2:3)"
        ]
    );
    assert_eq!(dhcp(&overlaps), Some(Dhcp::Unknown));
    let ended = with("dhcp: v4", "10.3.0.9/16", Some("expired"));
    assert!(matches!(dhcp(&ended), Some(Dhcp::Ended { .. })), "{ended:?}");
    let former = with("address: 10.9.0.5/24", "10.9.0.6/24", None);
    assert_eq!((problems(&former).len(), dhcp(&former)), (0, None));
    let [(interface, lease)] = &former.desired.former_leases[..] else { panic!("{former:?}") };
    assert_eq!((interface.as_str(), lease.lifetime.until), ("oob-br.10", 4000));
    let over = with("address: 10.9.0.5/24", "10.9.0.6/24", Some("expired"));
    assert_eq!(over.desired.former_leases, []);
}
