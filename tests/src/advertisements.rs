//! IPv6 router advertisements on the node's own interface.

use crate::{
    lab::{Netns, seen, wait_for, wait_until_eq},
    node::Node,
    wire::Wire,
};

const CONFIG: &str = "
clusterNetworks:
  mgmt:
    uplink: { nics: [eth0], bond: { mode: none } }
    host: { acceptRa: true }
";

/// A router advertisement from fe80::1 with the prefix fd00:7::/64.
pub fn advertisement() -> Vec<u8> {
    let source = [0xfe80_u16, 0, 0, 0, 0, 0, 0, 1];
    let everybody = [0xff02_u16, 0, 0, 0, 0, 0, 0, 1];
    let octets = |words: [u16; 8]| words.map(u16::to_be_bytes).concat();
    let mut message = vec![134, 0, 0, 0, 64, 0, 7, 8];
    message.extend([0; 8]);
    // Prefix information: /64, on the link, for addresses; for an hour.
    message.extend([3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0]);
    message.extend(octets([0xfd00, 7, 0, 0, 0, 0, 0, 0]));
    let length = u16::try_from(message.len()).unwrap();
    let pseudo = [
        octets(source),
        octets(everybody),
        u32::from(length).to_be_bytes().to_vec(),
        vec![0, 0, 0, 58],
        message.clone(),
    ];
    let words = pseudo.concat();
    let sum: u32 = words.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let ethernet = [0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
    let ip = [vec![0x60, 0, 0, 0], length.to_be_bytes().to_vec(), vec![58, 255]];
    [ethernet.to_vec(), ip.concat(), octets(source), octets(everybody), message].concat()
}

#[test]
fn advertisements_are_accepted_as_the_file_says_though_the_node_forwards() {
    let (node, wire) = (Node::new(), Netns::new("wire"));
    node.netns
        .sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0");
    node.netns.sh("sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.forwarding=1");
    node.netns.veth("eth0", &wire, "eth0");
    node.configure(CONFIG);
    let accept_ra = || node.netns.sh("cat /proc/sys/net/ipv6/conf/mgmt-br/accept_ra");
    let daemon = node.run();
    assert_eq!(accept_ra(), "2\n");
    let router = Wire::open(&wire, "eth0");
    let address = || node.netns.sh("ip -6 -o address show dev mgmt-br scope global");
    wait_for("an address", || {
        router.send_bytes(&advertisement());
        seen(address(), address().contains("fd00:7:"))
    });
    let route = || node.netns.sh("ip -6 route show default");
    wait_for("a route", || seen(route(), route().contains("via fe80::1 dev mgmt-br proto ra")));
    // Nothing of it is taken away.
    node.assert_settled();
    // Nobody tells of this: it is found by the look at the whole node.
    node.netns.sh("sysctl -qw net.ipv6.conf.mgmt-br.accept_ra=1");
    wait_until_eq("repaired", &"2\n".to_owned(), accept_ra);
    node.configure(&CONFIG.replace("true", "false"));
    daemon.hangup();
    // The node's default route comes from advertisements.
    wait_for("waits", || {
        let status = node.netagent("status");
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        seen(text.clone(), text.contains("Waiting"))
    });
    assert_eq!(accept_ra(), "2\n");
    node.netagent("confirm mgmt-br");
    wait_until_eq("refused", &"0\n".to_owned(), accept_ra);
}
