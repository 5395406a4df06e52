//! A port that gets the number of a port that is gone inherits nothing of it: addresses, limits,
//! silence, counters.

use crate::{
    Feature,
    counters::{
        lab::{Address, Lab, station},
        segments::Sender,
    },
    frame::{BROADCAST, C, Frame},
    lab::wait_until_eq,
    needs, once, silent,
};

/// Of a frame that uses up the limit of a minute.
const SEGMENTS: usize = 60;
/// The removal of most ports would have to be confirmed.
const OTHERS: [&str; 3] = ["vm-a", "vm-b", "vm-c"];

fn config(filtering: &str, ports: Option<[&str; 2]>) -> String {
    let others = OTHERS.map(|vm| format!("  - {{ device: {vm}, network: v100 }}\n")).concat();
    let ports = ports.map_or_else(String::new, |[port, mute]| {
        format!(
            "  - {{ device: {port}, network: v100, security: {{ maxMacs: 2, storm: {{ broadcast: 1 }} }} }}
  - {{ device: {mute}, network: v100, silent: true }}
"
        )
    });
    format!(
        "
clusterNetworks:
  oob: {{ vlanFiltering: {filtering}, uplink: {{ nics: [eth2], bond: {{ mode: none }}, xdp: off }} }}
networks: {{ v100: {{ clusterNetwork: oob, vlan: 100 }} }}
ports:
{others}{ports}"
    )
}

/// An ARP request, which a VM broadcasts for itself (gratuitous) or to find another.
fn arp(mac: Address, target: u8) -> Frame {
    silent::arp(mac, [10, 0, 0, 1], [10, 0, 0, target])
}

/// Uses up all that a port has, and fills its counters.
fn use_up(lab: &Lab, [port, mute]: [&str; 2]) {
    let wire = station(1);
    lab.learn("eth2", &[(C, 100)], wire);
    let sender = Sender::new(&lab.others, port, station(2));
    for address in [2, 3] {
        lab.learn(port, &[], station(address));
        wait_until_eq("a frame takes the fast path", &true, || {
            let before = lab.forwarded(port, "tc");
            let frame = lab.send(port, &[], [station(address), wire]);
            lab.up_to("eth2", &frame);
            lab.forwarded(port, "tc") > before
        });
    }
    lab.send(port, &[], [station(4), wire]);
    for vid in 1000..1060 {
        lab.send(port, &[(C, vid)], [station(2), wire]);
    }
    // For a minute all broadcasts are above the limit.
    sender.send(BROADCAST, SEGMENTS);
    sender.send(BROADCAST, SEGMENTS);
    lab.wire(mute).send(&arp(station(5), 1));
    lab.wire(mute).send(&arp(station(5), 9));
    lab.wire(mute).send(&arp(station(5), 1));
    lab.fence.pass();
    let of_frame = u64::try_from(SEGMENTS).unwrap();
    for (port, reason, packets) in
        [(port, "mac-limit", 1), (port, "broadcast-storm", of_frame), (mute, "silent", 1)]
    {
        let kind = (port.to_owned(), reason.to_owned());
        wait_until_eq(reason, &Some(packets), || lab.node.drops().get(&kind).copied());
    }
}

/// What the port before has used up is there again.
fn assert_new(lab: &Lab, [port, mute]: [&str; 2]) {
    let drops = lab.node.drops();
    assert!(!drops.keys().any(|(device, _)| [port, mute].contains(&device.as_str())), "{drops:?}");
    let counted = lab.traffic(port, "100");
    assert_eq!((counted.received, counted.transmitted), ([0, 0], [0, 0]));
    assert_eq!(["bridge", "tc", "xdp"].map(|path| lab.forwarded(port, path)), [0; 3]);
    let broadcast = lab.send(port, &[], [station(6), BROADCAST]);
    lab.up_to("eth2", &broadcast);
    let other = lab.send(port, &[], [station(7), station(1)]);
    lab.up_to("eth2", &other);
    for vid in 1000..1010 {
        lab.send(port, &[(C, vid)], [station(6), station(1)]);
    }
    lab.wire(mute).send(&arp(station(8), 1));
    lab.fence.pass();
    let vlans: Vec<String> = lab
        .drops()
        .into_keys()
        .map(|[device, _, vlan, reason]| if device == mute { reason } else { vlan })
        .collect();
    let expected = (1000..1010).map(|vid| vid.to_string()).chain(["silent".to_owned()]);
    assert_eq!(vlans, expected.collect::<Vec<_>>());
}

fn inherits_nothing(filtering: &str, old: [&str; 2], new: [&str; 2]) {
    let lab = Lab::new(&[&["eth2"], &OTHERS[..], &old[..]].concat());
    lab.node.configure(&config(filtering, Some(old)));
    let daemon = lab.node.run();
    use_up(&lab, old);
    let numbers = old.map(|port| lab.number(port));
    for port in old {
        lab.unplug(port);
    }
    // Another device with the name is another port as well.
    if old != new {
        lab.node.configure(&config(filtering, None));
        lab.node.netagent("reload");
        lab.node.wait_until_settled("the ports are gone");
    }
    for port in new {
        lab.plug(port, None);
    }
    lab.node.configure(&config(filtering, Some(new)));
    lab.node.netagent("reload");
    daemon.wait_until_ready();
    lab.node.wait_until_settled("the ports are there");
    lab.node.netns.wait_for_bridge_ports();
    assert_eq!(new.map(|port| lab.number(port)), numbers, "the numbers are used again");
    assert_new(&lab, new);
}

#[test]
fn port_with_a_reused_number_inherits_nothing_on_an_unaware_bridge() {
    once();
    inherits_nothing("off", ["old", "old-mute"], ["new", "new-mute"]);
}

#[test]
fn port_with_a_reused_number_inherits_nothing_on_an_aware_bridge() {
    once();
    if needs(&[Feature::VlanFiltering]) {
        inherits_nothing("on", ["old", "old-mute"], ["new", "new-mute"]);
    }
}

#[test]
fn port_with_a_reused_name_inherits_nothing() {
    once();
    inherits_nothing("off", ["same", "same-mute"], ["same", "same-mute"]);
}

/// A VLAN that a port loses and gets again, one of very many. Those that it keeps count on.
#[test]
fn vlan_that_comes_back_counts_from_zero() {
    once();
    let lab = Lab::new(&["eth2", "trunk"]);
    let apply = |vids: &str| {
        lab.node.apply(&format!(
            "
clusterNetworks:
  oob: {{ vlanFiltering: off, uplink: {{ nics: [eth2], bond: {{ mode: none }}, xdp: off }} }}
networks: {{ many: {{ clusterNetwork: oob, trunk: '{vids}', native: none }} }}
ports: [{{ device: trunk, network: many }}]
"
        ));
        lab.node.assert_settled();
    };
    let count = |vid: u16| {
        let frame = lab.send("trunk", &[(C, vid)], [station(1), BROADCAST]);
        lab.up_to("eth2", &frame);
        let [one, other] = ["trunk", "eth2"].map(|port| lab.traffic(port, &vid.to_string()));
        assert_eq!(one.received, other.transmitted);
        one.received
    };
    apply("1000-1399");
    assert_eq!([count(1000), count(1399)], [[1, 60]; 2]);
    apply("1000");
    assert_eq!(count(1000), [2, 120]);
    apply("1000-1399");
    assert_eq!([count(1000), count(1399)], [[3, 180], [1, 60]]);
}
