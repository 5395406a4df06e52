//! The node's own address by DHCP, with leases that are short enough to see them end.

mod monitor;
mod real;
mod server;
mod server6;
mod serving;
mod v6;
mod vlans;

use std::net::Ipv4Addr;

use serde_json::Value;

use self::monitor::Monitor;
pub use self::monitor::Process;
use self::server::{Behaviour, DECLINE, DISCOVER, RELEASE, REQUEST, SERVER, Server};
use crate::{
    lab::{Netns, seen, sh, wait_for, wait_until_eq},
    node::Node,
    once,
};

const CONFIG: &str = "
clusterNetworks:
  mgmt:
    uplink: { nics: [eth0], bond: { mode: none } }
    host: { dhcp: v4 }
";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);

/// A server that gives 10.0.0.50 for this time, with T1 and T2, in seconds, and itself as the
/// router.
fn behaviour(times: [u32; 3]) -> Behaviour {
    Behaviour {
        address: ADDRESS,
        times,
        answers: true,
        answers_unicast: true,
        refuses: false,
        options: vec![(3, SERVER.octets().to_vec())],
        overload: [vec![], vec![]],
    }
}

/// A node whose NIC leads to another namespace.
fn node() -> (Node, Netns) {
    let (node, wire) = (Node::new(), Netns::new("wire"));
    node.netns.veth("eth0", &wire, "eth0");
    node.configure(CONFIG);
    (node, wire)
}

/// The IPv4 addresses of the bridge.
fn addresses(node: &Node) -> Vec<Value> {
    let output = node.netns.output("ip -j -4 address show dev mgmt-br");
    let links: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let of_link = |link: &Value| link["addr_info"].as_array().cloned().unwrap_or_default();
    links.iter().flat_map(of_link).collect()
}

fn locals(node: &Node) -> Vec<String> {
    let text = |address: &Value| address["local"].as_str().unwrap().to_owned();
    addresses(node).iter().map(text).collect()
}

fn has(node: &Node, address: Ipv4Addr) {
    wait_until_eq("the address", &vec![address.to_string()], || locals(node));
}

fn routes(node: &Node) -> Vec<String> {
    let text = node.netns.sh("ip -4 route show proto dhcp");
    text.lines().map(|line| line.trim().to_owned()).collect()
}

/// The seconds for which the kernel keeps the address.
fn left(node: &Node) -> u64 {
    addresses(node).first().map_or(0, |address| address["valid_life_time"].as_u64().unwrap())
}

/// The codes of the findings of `mgmt`, and its state.
fn status(node: &Node) -> (String, Vec<String>) {
    let status: Value =
        serde_json::from_slice(&node.netagent("status -j").stdout).unwrap_or_default();
    let findings = status["findings"].as_array().cloned().unwrap_or_default();
    let of_leases = |finding: &Value| {
        let code = finding["code"].as_str()?.to_owned();
        code.starts_with("lease").then_some(code)
    };
    let state = status["segments"][0]["state"].as_str().unwrap_or_default().to_owned();
    (state, findings.iter().filter_map(of_leases).collect())
}

fn is_ready(node: &Node) {
    wait_until_eq("ready", &("Ready".to_owned(), vec![]), || status(node));
}

#[test]
fn lease_is_renewed_rebound_and_lost_without_a_server() {
    once();
    let (node, wire) = node();
    let server = Server::start(&wire, "eth0", behaviour([16, 4, 8]));
    let _daemon = node.start();
    has(&node, ADDRESS);
    is_ready(&node);
    let address = &addresses(&node)[0];
    assert_eq!((&address["prefixlen"], address["dynamic"].as_bool()), (&24.into(), Some(true)));
    let expected = ["default via 10.0.0.1 dev mgmt-br src 10.0.0.50 metric 1024".to_owned()];
    wait_until_eq("the route", &expected.to_vec(), || routes(&node));
    node.netns.sh("ping -q -c 1 -W 5 10.0.0.1");
    let kinds: Vec<u8> = server.heard().iter().map(|heard| heard.kind).collect();
    assert_eq!(kinds[..2], [DISCOVER, REQUEST]);

    let monitor = Monitor::start(&node, 4);
    // T1: the server alone.
    let renewal = server.hears("a renewal", |heard| heard.unicast);
    assert_eq!((renewal.kind, renewal.own, renewal.wanted), (REQUEST, ADDRESS, None));
    wait_for("a longer time", || seen(left(&node), left(&node) >= 14));
    // T2: everybody, as this server does not answer itself alone.
    server.set(|behaviour| behaviour.answers_unicast = false);
    server.forget();
    let rebinding = server.hears("a rebinding", |heard| !heard.unicast);
    assert_eq!((rebinding.kind, rebinding.own, rebinding.server), (REQUEST, ADDRESS, None));
    wait_for("a longer time", || seen(left(&node), left(&node) >= 14));
    let metrics = sh_metrics(&node);
    assert!(metrics.contains(
        "netagent_dhcp_lease_expiry_timestamp_seconds{interface=\"mgmt-br\",family=\"ipv4\"}"
    ));
    assert_eq!(monitor.removed(), [""; 0], "renewed in place");

    server.set(|behaviour| behaviour.answers = false);
    wait_until_eq("it ends", &Vec::<String>::new(), || locals(&node));
    let lost = ("Degraded".to_owned(), vec!["lease-lost".to_owned()]);
    wait_until_eq("it is reported", &lost, || status(&node));
    assert_eq!(routes(&node), [""; 0]);
    server.set(|behaviour| behaviour.answers = true);
    has(&node, ADDRESS);
    is_ready(&node);
}

fn sh_metrics(node: &Node) -> String {
    node.netns.sh("curl -s --max-time 5 http://127.0.0.1:9469/metrics")
}

#[test]
fn refused_lease_goes_at_once() {
    once();
    let (node, wire) = node();
    let server = Server::start(&wire, "eth0", behaviour([600, 5, 500]));
    let _daemon = node.start();
    has(&node, ADDRESS);
    // The server has forgotten its leases, and has given this address to another client.
    let other = Ipv4Addr::new(10, 0, 0, 51);
    server.set(|behaviour| behaviour.address = other);
    has(&node, other);
    assert!(left(&node) > 500, "{}", left(&node));
    let expected = ["default via 10.0.0.1 dev mgmt-br src 10.0.0.51 metric 1024".to_owned()];
    wait_until_eq("the route", &expected.to_vec(), || routes(&node));
    is_ready(&node);
}

#[test]
fn agent_that_was_killed_continues_with_its_lease() {
    let (node, wire) = node();
    let server = Server::start(&wire, "eth0", behaviour([600, 300, 500]));
    let daemon = node.start();
    has(&node, ADDRESS);
    is_ready(&node);
    let file = node.state().join("leases.json");
    wait_until_eq("the file", &true, || file.exists());
    daemon.kill();
    has(&node, ADDRESS);
    let monitor = Monitor::start(&node, 4);
    // Without the daemon, the lease is left alone.
    node.ok(&format!("apply -c {}", node.config()));
    node.assert_settled();
    // Neither server nor daemon: the lease is in force, and status says so at once.
    server.set(|behaviour| behaviour.answers = false);
    server.forget();
    let daemon = node.start();
    is_ready(&node);
    let first = server.hears("INIT-REBOOT", |_| true);
    let expected = (REQUEST, Some(ADDRESS), None, Ipv4Addr::UNSPECIFIED);
    assert_eq!((first.kind, first.wanted, first.server, first.own), expected);
    daemon.kill();
    server.set(|behaviour| behaviour.answers = true);
    // More time must have gone than makes no difference.
    wait_for("time", || seen(left(&node), left(&node) < 596));
    let before = left(&node);
    server.forget();
    let _daemon = node.start();
    wait_for("a longer time", || seen(left(&node), left(&node) > before));
    is_ready(&node);
    assert!(server.heard().iter().all(|heard| heard.kind == REQUEST), "{:?}", server.heard());
    assert_eq!(monitor.removed(), [""; 0]);
}

#[test]
fn lease_ends_by_itself_without_an_agent() {
    let (node, wire) = node();
    let _server = Server::start(&wire, "eth0", behaviour([6, 3, 5]));
    let daemon = node.start();
    has(&node, ADDRESS);
    wait_until_eq("the route", &1, || routes(&node).len());
    daemon.kill();
    wait_until_eq("it ends", &Vec::<String>::new(), || locals(&node));
    assert_eq!(routes(&node), [""; 0]);
}

#[test]
fn classless_routes_replace_the_router() {
    once();
    let (node, wire) = node();
    let mut behaviour = behaviour([600, 300, 500]);
    // 10.8.0.0/16 by 10.0.0.7, and 10.9.9.9 on the link, by which 0.0.0.0/0 is reached.
    let classless = [16, 10, 8, 10, 0, 0, 7, 32, 10, 9, 9, 9, 0, 0, 0, 0, 0, 10, 9, 9, 9];
    behaviour.options.push((121, classless.to_vec()));
    behaviour.options.push((26, vec![4, 0]));
    let _server = Server::start(&wire, "eth0", behaviour);
    node.configure(&CONFIG.replace("v4 }", "v4, metric: 50 }"));
    let _daemon = node.start();
    has(&node, ADDRESS);
    let expected = [
        "default via 10.9.9.9 dev mgmt-br src 10.0.0.50 metric 50",
        "10.8.0.0/16 via 10.0.0.7 dev mgmt-br src 10.0.0.50 metric 50",
        "10.9.9.9 dev mgmt-br scope link src 10.0.0.50 metric 50",
    ];
    wait_until_eq("the routes", &expected.map(str::to_owned).to_vec(), || routes(&node));
    is_ready(&node);
    // Drift.
    node.netns.sh("ip route del 10.8.0.0/16 && ip address del 10.0.0.50/24 dev mgmt-br");
    has(&node, ADDRESS);
    wait_until_eq("the routes", &expected.map(str::to_owned).to_vec(), || routes(&node));
}

#[test]
fn address_that_somebody_has_is_declined() {
    once();
    let (node, wire) = node();
    let server = Server::start(&wire, "eth0", behaviour([600, 300, 500]));
    wire.sh("ip address add 10.0.0.50/32 dev eth0");
    let _daemon = node.start();
    let decline = server.hears("a decline", |heard| heard.kind == DECLINE);
    assert_eq!((decline.wanted, decline.server), (Some(ADDRESS), Some(SERVER)));
    assert_eq!(locals(&node), [""; 0]);
    let other = Ipv4Addr::new(10, 0, 0, 51);
    server.set(|behaviour| behaviour.address = other);
    has(&node, other);
}

#[test]
fn routes_in_overloaded_fields_are_read() {
    once();
    let (node, wire) = node();
    let mut behaviour = behaviour([600, 300, 500]);
    // The option begins in `file` and ends in `sname`.
    let classless = [16, 10, 8, 10, 0, 0, 7, 0, 10, 0, 0, 3];
    let (one, two) = classless.split_at(5);
    behaviour.overload = [vec![(121, one.to_vec())], vec![(121, two.to_vec())]];
    let _server = Server::start(&wire, "eth0", behaviour);
    let _daemon = node.start();
    has(&node, ADDRESS);
    let expected = [
        "default via 10.0.0.3 dev mgmt-br src 10.0.0.50 metric 1024",
        "10.8.0.0/16 via 10.0.0.7 dev mgmt-br src 10.0.0.50 metric 1024",
    ];
    wait_until_eq("the routes", &expected.map(str::to_owned).to_vec(), || routes(&node));
}

#[test]
fn lease_that_leaves_the_file_is_released() {
    once();
    let (node, wire) = node();
    let server = Server::start(&wire, "eth0", behaviour([8, 2, 6]));
    let mut daemon = node.start();
    has(&node, ADDRESS);
    is_ready(&node);
    // An agent that only stops keeps its lease.
    sh(&format!("kill -TERM {}", daemon.child.id()));
    daemon.child.wait().unwrap();
    has(&node, ADDRESS);
    let daemon = node.start();
    is_ready(&node);
    node.configure(&CONFIG.replace("dhcp: v4", "address: 10.7.0.9/24"));
    daemon.hangup();
    waits(&node);
    // The lease stays in force while its removal waits.
    for _ in 0..3 {
        server.forget();
        server.hears("a renewal", |heard| heard.unicast && heard.kind == REQUEST);
        wait_for("a longer time", || seen(left(&node), left(&node) >= 7));
    }
    assert!(server.heard().iter().all(|heard| heard.kind != RELEASE), "{:?}", server.heard());
    // The server's MAC address is to be resolved first.
    node.netns.sh("ip neigh flush dev mgmt-br");
    node.netagent("confirm mgmt-br");
    let release = server.hears("a release", |heard| heard.kind == RELEASE);
    assert!(release.unicast);
    assert_eq!((release.own, release.server), (ADDRESS, Some(SERVER)));
    wait_until_eq("it has gone", &vec!["10.7.0.9".to_owned()], || locals(&node));
}

#[test]
fn lease_that_moves_back_to_its_nic_is_not_released() {
    once();
    for had_address in [true, false] {
        let (node, wire) = node();
        let server = Server::start(&wire, "eth0", behaviour([600, 300, 500]));
        if had_address {
            let address = "ip address add 10.0.0.50/24 dev eth0 valid_lft 100 preferred_lft 100";
            node.netns.sh(address);
        }
        node.ok(&format!("apply -c {} --no-rollback --confirm eth0", node.config()));
        let _daemon = node.start();
        wait_for("a lease of its own", || seen(left(&node), left(&node) > 500));
        is_ready(&node);
        node.netagent("release mgmt");
        wait_until_eq("the bridge has gone", &Value::Null, || {
            // What waits for the second one is known after the first.
            for link in ["mgmt-br", "eth0"] {
                node.netagent(&format!("confirm {link}"));
            }
            node.netns.link("mgmt-br")
        });
        let of_nic = node.netns.sh("ip -4 -br address show dev eth0");
        assert_eq!(of_nic.contains("10.0.0.50/24"), had_address, "{of_nic}");
        if had_address {
            let heard = server.heard();
            assert!(heard.iter().all(|heard| heard.kind != RELEASE), "{heard:?}");
        } else {
            server.hears("a release", |heard| heard.kind == RELEASE && heard.unicast);
        }
    }
}

/// Waits until the change of the interface that carries the node waits for confirmation.
pub fn waits(node: &Node) {
    wait_for("the change waits", || {
        let status = node.netagent("status");
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        seen(text.clone(), text.contains("Waiting"))
    });
}

#[test]
fn apply_builds_the_interface_and_says_who_gets_the_lease() {
    once();
    let (node, wire) = node();
    let _server = Server::start(&wire, "eth0", behaviour([600, 300, 500]));
    let text = node.apply(CONFIG);
    assert!(text.contains("# mgmt-br: no DHCP lease yet: `netagent run` gets one"), "{text}");
    assert_eq!(locals(&node), [""; 0]);
    node.assert_settled();
}

#[test]
fn lease_of_another_client_moves_with_its_nic() {
    let (node, wire) = node();
    let server = Server::start(&wire, "eth0", behaviour([600, 300, 500]));
    // As systemd-networkd has it.
    node.netns.sh("ip address add 10.0.0.50/24 dev eth0 valid_lft 100 preferred_lft 100 && \
         ip route add default via 10.0.0.1 dev eth0 proto dhcp src 10.0.0.50 metric 100");
    node.ok(&format!("apply -c {} --no-rollback --confirm eth0", node.config()));
    has(&node, ADDRESS);
    assert!((1..=100).contains(&left(&node)), "{}", left(&node));
    let monitor = Monitor::start(&node, 4);
    let _daemon = node.start();
    wait_for("a lease of its own", || seen(left(&node), left(&node) > 500));
    let first = &server.heard()[0];
    assert_eq!((first.kind, first.wanted, first.server), (REQUEST, Some(ADDRESS), None));
    assert_eq!(monitor.removed(), [""; 0]);
    // The kernel notes the carrier of a bridge a moment later.
    let expected = ["default via 10.0.0.1 dev mgmt-br src 10.0.0.50 metric 100".to_owned()];
    wait_until_eq("the moved route", &expected.to_vec(), || routes(&node));
    is_ready(&node);
}

#[test]
fn address_of_another_client_stays_until_there_is_another() {
    once();
    let (node, wire) = node();
    let server = Server::start(&wire, "eth0", behaviour([600, 300, 500]));
    node.netns.sh("ip address add 10.0.0.9/24 dev eth0 valid_lft 100 preferred_lft 100");
    node.ok(&format!("apply -c {} --no-rollback --confirm eth0", node.config()));
    server.set(|behaviour| behaviour.answers = false);
    let daemon = node.start();
    // The server refuses 10.0.0.9, as it has given it by another client identifier.
    server.hears("a request", |heard| heard.wanted == Some(Ipv4Addr::new(10, 0, 0, 9)));
    assert_eq!(locals(&node), ["10.0.0.9"]);
    server.set(|behaviour| behaviour.answers = true);
    has(&node, ADDRESS);
    is_ready(&node);
    drop(daemon);
}
