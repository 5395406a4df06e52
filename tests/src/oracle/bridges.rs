//! The three bridges side by side, made once and told one policy after another.

use std::{collections::HashMap, fmt::Write as _, time::Duration};

use super::{
    output::{Output, Outputs},
    policy::{PORTS, Policy},
    sent::Sent,
    socket::{Outgoing, Socket},
};
use crate::{lab::Netns, node::Node};

/// The kernel's own bridge, netagent over a VLAN-aware one, netagent over a VLAN-unaware one. Their devices start with
/// these letters.
pub const BRIDGES: [char; 3] = ['k', 'a', 'u'];
/// Frames under way at a time: no queue on their way (the shortest has 256) may overflow.
const BATCH: usize = 32;

pub struct Bridges {
    kernel: Netns,
    node: Node,
    /// The other ends of all links.
    _ends: Netns,
    socket: Socket,
    /// Interface indexes of the other ends: by bridge and port, in the bytes or hidden.
    ways_in: Vec<[i32; 2]>,
    places: HashMap<i32, (usize, usize)>,
    number: u32,
}

impl Bridges {
    pub fn new() -> Self {
        let (kernel, node, ends) = (Netns::new("kernel"), Node::new(), Netns::new("ends"));
        links(&BRIDGES[..1], &kernel, &ends);
        links(&BRIDGES[1..], &node.netns, &ends);
        ends.wait_for_carriers();
        let mut indexes = HashMap::new();
        for link in ends.json("ip -j link show up").as_array().unwrap() {
            let index = i32::try_from(link["ifindex"].as_i64().unwrap()).unwrap();
            indexes.insert(link["ifname"].as_str().unwrap().to_owned(), index);
        }
        let mut ways_in = Vec::new();
        let mut places = HashMap::new();
        for (bridge, letter) in BRIDGES.into_iter().enumerate() {
            for port in 0..PORTS {
                let name = format!("{letter}{port}");
                ways_in.push([indexes[&name], indexes[&format!("{name}-hide")]]);
                places.insert(indexes[&name], (bridge, port));
            }
        }
        let socket = Socket::open(&ends);
        Self { kernel, node, _ends: ends, socket, ways_in, places, number: 0 }
    }

    /// Tells them a policy. They forget all stations.
    pub fn apply(&self, policy: &Policy) {
        let mut yaml = ["clusterNetworks:\n", "networks:\n", "ports:\n"].map(str::to_owned);
        for (letter, filtering) in [(BRIDGES[1], "on"), (BRIDGES[2], "off")] {
            for (section, part) in yaml.iter_mut().zip(policy.yaml(letter, filtering)) {
                section.push_str(&part);
            }
        }
        self.node.apply(&yaml.concat());
        let [kernel, aware, unaware] = BRIDGES;
        let flush =
            [aware, unaware].map(|letter| format!("link set {letter}-br type bridge fdb_flush\n"));
        self.node.netns.sh(&format!("ip -batch - <<END\n{}END", flush.concat()));
        let [links, vlans] = policy.commands(kernel);
        self.kernel.sh(&format!(
            "ip link delete {kernel}-br 2>/dev/null\n\
             ip -batch - <<END && bridge -batch - <<END\n{links}END\n{vlans}END"
        ));
    }

    /// Sends frames to all three, and returns what came out, by bridge. Their numbers start with the second of the pair.
    pub fn send(&mut self, frames: &[Sent], batch: Option<usize>) -> (Outputs, u32) {
        let first = self.number;
        let mut outputs = Outputs::default();
        for batch in frames.chunks(batch.unwrap_or(BATCH)) {
            let numbers = self.number..;
            let bytes: Vec<_> =
                batch.iter().zip(numbers).map(|(sent, number)| sent.to_bytes(number)).collect();
            let mut outgoing = Vec::new();
            for (sent, (bytes, virtio)) in batch.iter().zip(&bytes) {
                for bridge in 0..BRIDGES.len() {
                    let ifindex =
                        self.ways_in[bridge * PORTS + sent.from][usize::from(sent.hidden)];
                    outgoing.push(Outgoing { ifindex, virtio, bytes });
                }
            }
            self.socket.send(&outgoing);
            self.number += u32::try_from(batch.len()).unwrap();
            self.collect(&mut outputs, Duration::ZERO);
        }
        (outputs, first)
    }

    /// Adds what comes out within a time.
    pub fn collect(&mut self, outputs: &mut Outputs, patience: Duration) {
        for received in self.socket.receive(patience) {
            // The hidden ways' ends in between see frames as well.
            if let Some((bridge, port)) = self.places.get(&received.ifindex)
                && let Some(output) = Output::new(received)
            {
                outputs.add(*bridge, *port, output);
            }
        }
    }

    /// What the agent says of itself, to go with a failure.
    pub fn drops(&self) -> String {
        self.node.ok("show drops")
    }
}

/// Links from bridges to their other ends, each with a way for hidden tags: what goes into `<name>-hide` comes out of
/// `<name>-seek`, where the kernel takes the tag out of the bytes, and from there goes into the link. All of them at
/// once, as processes are what takes an emulated machine long.
fn links(letters: &[char], netns: &Netns, ends: &Netns) {
    let (mut links, mut filters, mut ups, mut offloads) =
        <(String, String, String, String)>::default();
    for (letter, port) in
        letters.iter().flat_map(|letter| (0..PORTS).map(move |port| (letter, port)))
    {
        let name = format!("{letter}{port}");
        let inside = format!("{name} netns {}", netns.name);
        for (end, other) in [(&name, &inside), (&format!("{name}-hide"), &format!("{name}-seek"))] {
            writeln!(links, "link add {end} mtu 9000 type veth peer mtu 9000 name {other}")
                .unwrap();
            writeln!(links, "link set {end} up").unwrap();
        }
        writeln!(links, "link set {name}-seek up").unwrap();
        writeln!(ups, "link set {name} up").unwrap();
        writeln!(filters, "qdisc add dev {name}-seek clsact").unwrap();
        let redirect = format!("matchall action mirred egress redirect dev {name}");
        writeln!(filters, "filter add dev {name}-seek ingress {redirect}").unwrap();
        // What goes to every other port has its tag in the bytes.
        if port % 2 == 0 {
            let off = "txvlan off tx-vlan-stag-hw-insert off";
            writeln!(offloads, "ethtool -K {name} {off} >/dev/null").unwrap();
        }
    }
    ends.sh(&format!("ip -batch - <<END && tc -batch - <<END\n{links}END\n{filters}END"));
    netns.sh(&format!("ip -batch - <<END\n{ups}END\n{offloads}"));
}
