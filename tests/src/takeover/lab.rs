//! A node that lives on its NICs, and what is outside.

use std::process::{Child, Stdio};

use crate::{
    lab::{Netns, seen, sh, wait_for},
    node::Node,
};

/// What is on the NIC that the node lives on.
pub const NIC: &str = "ip address add 10.0.0.5/24 dev eth0; ip address add 10.0.0.6/24 dev eth0; \
                   ip address add fd00::5/64 dev eth0 nodad; \
                   ip route add default via 10.0.0.1 metric 100 mtu 1400; \
                   ip -6 route add default via fd00::1; \
                   ip route add 203.0.113.0/24 via 10.0.0.1 table 100";

/// A node that is reached over its NICs, as an operator finds it, and the switch, the gateway and
/// the world behind it.
pub struct Lab {
    pub node: Node,
    pub outside: Netns,
}

/// Where the node sends what is not for its neighbours.
pub const WORLD: &str = "198.51.100.1";

/// The other ends of the NICs are ports of the switch.
pub const PORTS: &str = "for nic in $nics; do ip link set $nic master sw; done";

impl Lab {
    pub fn new(nics: &[&str], set_up: &str) -> Self {
        Self::behind(PORTS, nics, set_up)
    }

    /// A node whose NICs are joined to the switch `sw` by these lines.
    pub fn behind(joined: &str, nics: &[&str], set_up: &str) -> Self {
        let lab = Self { node: Node::new(), outside: Netns::new("outside") };
        let (node, outside) = (&lab.node.netns, &lab.outside);
        node.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0");
        outside
            .sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0");
        outside.sh("ip link add sw type bridge && ip link set sw up");
        for nic in nics {
            node.veth(nic, outside, nic);
        }
        outside.sh(&format!("nics='{}'; {joined}", nics.join(" ")));
        outside.sh(&format!(
            "ip address add 10.0.0.1/24 dev sw; ip address add fd00::1/64 dev sw nodad; \
             ip address add {WORLD}/32 dev lo"
        ));
        node.sh(set_up);
        node.wait_for_carriers();
        outside.wait_for_bridge_ports();
        lab
    }

    /// Waits until the node is reached at an address, and reaches the world.
    pub fn wait_until_reached(&self, address: &str) {
        for (netns, to) in [(&self.outside, address), (&self.node.netns, WORLD)] {
            wait_for(&format!("an answer from {to}"), || {
                let output = netns.output(&format!("ping -c 1 -W 1 {to}"));
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                seen(
                    format!("{text}\n{}", self.node.netns.sh("ip address; ip route; ip -6 route")),
                    output.status.success(),
                )
            });
        }
    }

    /// Applies a file with confirmations while the node is pinged from outside. Returns how many
    /// answers were missed, one of them each 20 ms.
    pub fn take_over(&self, yaml: &str, confirm: &str, address: &str) -> u32 {
        self.wait_until_reached(address);
        let pinger = Pinger::start(&self.outside, address);
        self.node.configure(yaml);
        let plan = self.node.netagent(&format!("plan -c {}", self.node.config()));
        let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
        let waits = self.node.netagent(&format!("apply -c {}", self.node.config()));
        assert_eq!(waits.status.code(), Some(3), "unconfirmed: {plan}");
        let applied =
            self.node.ok(&format!("apply -c {} --no-rollback {confirm}", self.node.config()));
        self.wait_until_reached(address);
        let missed = pinger.missed();
        self.node.assert_settled();
        println!("takeover: {missed} of the answers missed, one each 20 ms\n{applied}");
        missed
    }

    /// Removes the segment from the file: the NIC has everything again, and the node is reached.
    pub fn give_back(&self, confirm: &str) {
        self.node.configure("clusterNetworks: { other: {} }\n");
        let plan = self.node.netagent(&format!("plan -c {}", self.node.config()));
        let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
        assert!(plan.contains("mgmt-br → eth0: 10.0.0.6/24 moves back"), "{plan}");
        let pinger = Pinger::start(&self.outside, "10.0.0.5");
        self.node.ok(&format!("apply -c {} --no-rollback {confirm}", self.node.config()));
        self.wait_until_reached("10.0.0.5");
        println!("given back: {} of the answers missed, one each 20 ms", pinger.missed());
        self.wait_until_reached("10.0.0.6");
        self.wait_until_reached("fd00::5");
        assert!(self.node.netns.link("mgmt-br").is_null());
        let shown =
            self.node.netns.sh("ip -o address show dev eth0; ip route show table all dev eth0; \
             ip -6 route show dev eth0");
        for there in ["203.0.113.0/24 via 10.0.0.1", "metric 100 mtu 1400", "default via fd00::1"] {
            assert!(shown.contains(there), "{there}\n{shown}");
        }
        self.node.assert_settled();
    }

    /// Panics unless everything of [`NIC`] is on this interface.
    pub fn assert_moved(&self, to: &str) {
        let node = &self.node.netns;
        assert_eq!(node.sh("ip -o address show dev eth0 scope global").trim(), "");
        assert_eq!(node.sh("ip route show dev eth0; ip -6 route show dev eth0 default"), "");
        let expect = |line: &str, words: &str| {
            let shown = node.sh(line);
            assert!(shown.contains(words), "{line}: {words}\n{shown}");
        };
        expect(&format!("ip route show default dev {to}"), "via 10.0.0.1 metric 100 mtu 1400");
        // After an interruption, the metric that the route has until the NIC has joined may stay.
        expect(&format!("ip -6 route show default dev {to}"), "via fd00::1 metric 102");
        expect("ip route show table 100", &format!("203.0.113.0/24 via 10.0.0.1 dev {to}"));
        for address in ["10.0.0.5/24", "10.0.0.6/24", "fd00::5/64"] {
            expect(&format!("ip address show dev {to}"), address);
        }
        let defaults = node.sh("ip route show default; ip -6 route show default");
        assert_eq!(defaults.lines().count(), 2, "{defaults}");
    }
}

/// Pings an address each 20 ms.
pub struct Pinger(Child);

impl Pinger {
    pub fn start(netns: &Netns, to: &str) -> Self {
        let mut ping = netns.command(&format!("exec ping -q -i 0.02 {to}"));
        Self(ping.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Ends, and returns how many answers are missing.
    pub fn missed(self) -> u32 {
        sh(&format!("kill -INT {}", self.0.id()));
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.contains("packets transmitted")).unwrap();
        let numbers: Vec<u32> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        // The last request may still be on its way.
        (numbers[0] - numbers[1]).saturating_sub(1)
    }
}
