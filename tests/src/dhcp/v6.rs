//! The node's own address by DHCPv6, with leases that are short enough to see them end.

use std::net::Ipv6Addr;

use serde_json::Value;

use super::{
    Monitor, is_ready,
    server6::{
        self, Behaviour, CONFIRM, DECLINE, Heard, NO_BINDING, NOT_ON_LINK, REBIND, RELEASE, RENEW,
        REQUEST, SOLICIT, Server,
    },
    status, waits,
};
use crate::{
    lab::{Netns, seen, wait_for, wait_until_eq},
    node::Node,
    once,
};

const CONFIG: &str = "
clusterNetworks:
  mgmt:
    uplink: { nics: [eth0], bond: { mode: none } }
    host: { dhcp: v6 }
";
const ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfd00, 7, 0, 0, 0, 0, 0, 0x50);
const OTHER: Ipv6Addr = Ipv6Addr::new(0xfd00, 7, 0, 0, 0, 0, 0, 0x51);

/// A server that gives an address for this time, with T1 and T2, in seconds.
fn behaviour([valid, t1, t2]: [u32; 3]) -> Behaviour {
    Behaviour {
        address: ADDRESS,
        times: [t1, t2, valid - 1, valid],
        answers: |_| true,
        renewal: 0,
        confirmation: 0,
        before: |_| vec![],
    }
}

/// Switches IPv6 on in a namespace. Without duplicate address detection, its links are ready at
/// once.
pub fn with_ipv6(netns: &Netns, dad: bool) {
    netns.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0");
    if !dad {
        netns.sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
    }
}

/// A node whose NIC leads to another namespace.
fn node() -> (Node, Netns) {
    let (node, wire) = (Node::new(), Netns::new("wire"));
    with_ipv6(&node.netns, true);
    with_ipv6(&wire, false);
    node.netns.veth("eth0", &wire, "eth0");
    node.configure(CONFIG);
    (node, wire)
}

/// The global IPv6 addresses of the bridge.
pub fn addresses(node: &Node) -> Vec<Value> {
    let output = node.netns.output("ip -j -6 address show dev mgmt-br scope global");
    let links: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let of_link = |link: &Value| link["addr_info"].as_array().cloned().unwrap_or_default();
    let all = links.iter().flat_map(of_link);
    all.filter(|address| address["local"].is_string()).collect()
}

fn locals(node: &Node) -> Vec<String> {
    let text = |address: &Value| address["local"].as_str().unwrap().to_owned();
    addresses(node).iter().map(text).collect()
}

/// Waits until the bridge has this address, and the kernel has found no other station with it.
pub fn has(node: &Node, address: Ipv6Addr) {
    wait_until_eq("the address", &vec![(address.to_string(), false)], || {
        let known = addresses(node);
        let text = |address: &Value| address["local"].as_str().unwrap().to_owned();
        known.iter().map(|it| (text(it), it["tentative"].as_bool() == Some(true))).collect()
    });
}

/// The seconds for which the kernel keeps the address.
pub fn left(node: &Node) -> u64 {
    addresses(node).first().map_or(0, |address| address["valid_life_time"].as_u64().unwrap())
}

/// Waits until the server has heard such a message, and returns it.
fn hears(server: &Server, kind: u8) -> Heard {
    server.hears(&format!("message {kind}"), |heard| heard.kind == kind)
}

#[test]
fn lease6_is_renewed_rebound_and_lost_without_a_server() {
    once();
    let (node, wire) = node();
    let server = Server::start(&wire, "eth0", behaviour([8, 2, 4]));
    let _daemon = node.start();
    has(&node, ADDRESS);
    is_ready(&node);
    let address = &addresses(&node)[0];
    assert_eq!((&address["prefixlen"], address["dynamic"].as_bool()), (&128.into(), Some(true)));
    let preferred = address["preferred_life_time"].as_u64().unwrap();
    assert_eq!(address["valid_life_time"].as_u64().unwrap() - preferred, 1);
    let heard = server.heard();
    let kinds: Vec<u8> = heard.iter().map(|heard| heard.kind).collect();
    assert_eq!(kinds[..2], [SOLICIT, REQUEST]);
    // No Reconfigure Accept, no Rapid Commit, no unicast.
    assert_eq!(heard[0].options, [1, 8, 6, 3]);

    let monitor = Monitor::start(&node, 6);
    // T1: the server alone.
    let renewal = hears(&server, RENEW);
    assert_eq!((renewal.to_server, renewal.address), (true, Some(ADDRESS)));
    wait_for("a longer time", || seen(left(&node), left(&node) >= 7));
    // T2: everybody, as this server does not answer itself alone.
    server.set(|behaviour| behaviour.answers = |kind| kind != RENEW);
    server.forget();
    let rebinding = hears(&server, REBIND);
    assert_eq!((rebinding.to_server, rebinding.address), (false, Some(ADDRESS)));
    wait_for("a longer time", || seen(left(&node), left(&node) >= 7));
    let metrics = node.netns.sh("curl -s --max-time 5 http://127.0.0.1:9469/metrics");
    let series =
        "netagent_dhcp_lease_expiry_timestamp_seconds{interface=\"mgmt-br\",family=\"ipv6\"}";
    assert!(metrics.contains(series), "{metrics}");
    assert_eq!(monitor.removed(), [""; 0], "renewed in place");

    server.set(|behaviour| behaviour.answers = |_| false);
    wait_until_eq("it ends", &Vec::<String>::new(), || locals(&node));
    let lost = ("Degraded".to_owned(), vec!["lease-lost".to_owned()]);
    wait_until_eq("it is reported", &lost, || status(&node));
    server.set(|behaviour| behaviour.answers = |_| true);
    has(&node, ADDRESS);
    is_ready(&node);
}

#[test]
fn lease6_that_the_server_forgot_is_requested_and_one_of_another_link_goes() {
    once();
    let (node, wire) = node();
    let server = Server::start(&wire, "eth0", behaviour([600, 2, 500]));
    server.set(|behaviour| behaviour.renewal = NO_BINDING);
    let daemon = node.start();
    has(&node, ADDRESS);
    hears(&server, RENEW);
    server.forget();
    let request = hears(&server, REQUEST);
    assert_eq!((request.to_server, request.address), (true, Some(ADDRESS)));
    // It knows it again. The lease is not asked for before T1 any more.
    server.set(|behaviour| {
        behaviour.renewal = 0;
        behaviour.times = [300, 500, 900, 900];
    });
    wait_for("a longer time", || seen(left(&node), left(&node) > 600));
    daemon.kill();
    // The node has moved to another link.
    server.set(|behaviour| {
        behaviour.confirmation = NOT_ON_LINK;
        behaviour.address = OTHER;
    });
    let _daemon = node.start();
    has(&node, OTHER);
    is_ready(&node);
}

#[test]
fn agent_that_was_killed_confirms_its_lease6() {
    once();
    let (node, wire) = node();
    let server = Server::start(&wire, "eth0", behaviour([600, 300, 500]));
    let daemon = node.start();
    has(&node, ADDRESS);
    is_ready(&node);
    let client = server.heard()[0].client.clone();
    // The bridge has the random MAC address of a veth: DUID-UUID.
    assert_eq!((client.len(), &client[..2]), (18, &[0, 4][..]));
    daemon.kill();
    has(&node, ADDRESS);
    let monitor = Monitor::start(&node, 6);
    // Without the daemon, the lease is left alone.
    node.ok(&format!("apply -c {}", node.config()));
    node.assert_settled();
    server.forget();
    let _daemon = node.start();
    is_ready(&node);
    let confirm = hears(&server, CONFIRM);
    assert_eq!((confirm.to_server, confirm.address), (false, Some(ADDRESS)));
    assert_eq!(confirm.client, client, "another identifier");
    is_ready(&node);
    // The NIC is plugged into another switch, perhaps.
    server.forget();
    wire.sh("ip link set eth0 down");
    // The kernel notifies of the carrier when it updates this.
    let state = || node.netns.link("mgmt-br")["operstate"].clone();
    wait_until_eq("no carrier", &"DOWN".into(), state);
    wait_for("the daemon has looked", || {
        let status = node.netagent("status").stdout;
        let text = String::from_utf8_lossy(&status).into_owned();
        seen(text.clone(), text.contains("eth0: the uplink has no link"))
    });
    // At the bridge, too, whose notification may come later.
    node.netagent("reload");
    wire.sh("ip link set eth0 up");
    hears(&server, CONFIRM);
    has(&node, ADDRESS);
    is_ready(&node);
    assert_eq!(monitor.removed(), [""; 0]);
    let kinds: Vec<u8> = server.heard().iter().map(|heard| heard.kind).collect();
    assert!(kinds.iter().all(|kind| *kind == CONFIRM), "{kinds:?}");
}

#[test]
fn address6_that_somebody_has_is_declined() {
    once();
    let (node, wire) = node();
    let server = Server::start(&wire, "eth0", behaviour([600, 300, 500]));
    wire.sh(&format!("ip address add {ADDRESS}/128 dev eth0 nodad"));
    let _daemon = node.start();
    let decline = hears(&server, DECLINE);
    assert_eq!((decline.to_server, decline.address), (true, Some(ADDRESS)));
    server.set(|behaviour| behaviour.address = OTHER);
    has(&node, OTHER);
    is_ready(&node);
}

/// Malformed and foreign messages, made of the right answer.
fn hostile(answer: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = vec![vec![], vec![7], vec![10, 0, 0, 0], vec![0xff; 2000]];
    // Cut off, and filled with options up to the end of a datagram.
    messages.extend((4..answer.len()).step_by(3).map(|length| answer[..length].to_vec()));
    messages.push([answer, &[0, 13, 0xff, 0xff, 0, 0]].concat());
    messages.push([answer, &answer[4..]].concat());
    messages.push([answer, &[0, 99, 0, 4, 1, 2, 3, 4].repeat(180)].concat());
    // Another transaction, another client, Reconfigure.
    for place in [1, 10] {
        let mut other = answer.to_vec();
        other[place] ^= 0xff;
        messages.push(other);
    }
    messages.push([&[10], &answer[1..]].concat());
    // Every length says too much.
    let mut place = 4;
    for (_, data) in server6::options(&answer[4..]) {
        let mut lie = answer.to_vec();
        lie[place + 2] = 0x7f;
        messages.push(lie);
        place += 4 + data.len();
    }
    messages
}

#[test]
fn hostile_messages_before_each_answer_change_nothing() {
    once();
    let (node, wire) = node();
    let server = Server::start(&wire, "eth0", behaviour([600, 2, 500]));
    server.set(|behaviour| behaviour.before = hostile);
    let daemon = node.start();
    has(&node, ADDRESS);
    hears(&server, RENEW);
    let memory = || {
        let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = memory();
    let many = |answer: &[u8]| {
        let all = hostile(answer);
        all.iter().cycle().take(40 * all.len()).cloned().collect()
    };
    server.set(|behaviour| behaviour.before = many);
    server.forget();
    for _ in 0..3 {
        server.forget();
        hears(&server, RENEW);
    }
    is_ready(&node);
    assert_eq!(locals(&node), [ADDRESS.to_string()]);
    let after = memory();
    assert!(after < before + 4096, "{before} KiB → {after} KiB");
}

#[test]
fn lease6_that_leaves_the_file_is_released() {
    once();
    let (node, wire) = node();
    let server = Server::start(&wire, "eth0", behaviour([600, 300, 500]));
    let daemon = node.start();
    has(&node, ADDRESS);
    is_ready(&node);
    node.configure(&CONFIG.replace("dhcp: v6", "address: fd00:7::9/64"));
    daemon.hangup();
    waits(&node);
    node.netagent("confirm mgmt-br");
    let release = hears(&server, RELEASE);
    assert_eq!((release.to_server, release.address), (true, Some(ADDRESS)));
    wait_until_eq("it has gone", &vec!["fd00:7::9".to_owned()], || locals(&node));
    // The server has answered the first message.
    let releases = server.heard().iter().filter(|heard| heard.kind == RELEASE).count();
    assert_eq!(releases, 1);
}
