//! The three bridges side by side. They are created once, and get one policy after another.

use std::{collections::HashMap, fmt::Write as _, time::Duration};

use super::{
    batch::batches,
    output::{Output, Outputs},
    policy::{PORTS, Policy},
    sent::Sent,
    socket::{Outgoing, Socket},
};
use crate::{
    fence::Fence,
    lab::{Netns, stay_on_one_processor},
    node::Node,
};

/// The kernel's own bridge, netagent over a VLAN-aware bridge, netagent over a VLAN-unaware bridge.
/// Names of their devices begin with these letters.
pub const BRIDGES: [char; 3] = ['k', 'a', 'u'];
/// Frames under way at a time: no queue (the shortest has 256 entries) may overflow.
const BATCH: usize = 32;

pub struct Bridges {
    kernel: Netns,
    node: Node,
    /// The peers of all ports.
    ends: Netns,
    socket: Socket,
    /// Interface indexes of the peers by bridge and port: for tags in the bytes, for hidden tags.
    ways_in: Vec<[i32; 2]>,
    places: HashMap<i32, (usize, usize)>,
    fence: Fence,
    number: u32,
    /// Total of lost frames at the last call of `lost`.
    lost: u64,
}

impl Bridges {
    pub fn new() -> Self {
        stay_on_one_processor();
        let (kernel, node, ends) = (Netns::new("kernel"), Node::new(), Netns::new("ends"));
        links(&BRIDGES[..1], &kernel, &ends);
        links(&BRIDGES[1..], &node.netns, &ends);
        let fence = Fence::new(&ends);
        [&ends, &kernel, &node.netns].into_iter().for_each(Netns::wait_for_carriers);
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
        Self { kernel, node, ends, socket, ways_in, places, fence, number: 0, lost: 0 }
    }

    /// Applies a policy to all three bridges, which forget all stations.
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

    /// Sends frames to all three bridges. Returns the outputs, and the number of the first frame.
    pub fn send(&mut self, frames: &[Sent], batch: Option<usize>) -> (Outputs, u32) {
        let first = self.number;
        let mut outputs = Outputs::default();
        for batch in batches(frames, batch.unwrap_or(BATCH)) {
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
            self.fence.pass();
            self.collect(&mut outputs, Duration::ZERO);
        }
        (outputs, first)
    }

    /// Adds outputs until none arrives within the time.
    pub fn collect(&mut self, outputs: &mut Outputs, patience: Duration) {
        loop {
            let received = self.socket.receive(patience);
            if received.is_empty() {
                return;
            }
            for received in received {
                // Frames also arrive at other links of the namespace.
                if let Some((bridge, port)) = self.places.get(&received.ifindex)
                    && let Some(output) = Output::new(received)
                {
                    outputs.add(*bridge, *port, output);
                }
            }
        }
    }

    /// Frames that the kernel has lost since the last call, because a queue was full.
    pub fn lost(&mut self) -> u64 {
        let netns = [&self.ends, &self.kernel, &self.node.netns];
        let lost = netns.map(Netns::lost).iter().sum::<u64>();
        lost - std::mem::replace(&mut self.lost, lost) + self.socket.lost()
    }

    /// The agent's drop counters, printed with a failure.
    pub fn drops(&self) -> String {
        self.node.ok("show drops")
    }
}

/// Links between bridges and their peers. Each has a second link for hidden tags: a frame that
/// enters `<name>-hide` leaves `<name>-seek`, where the kernel moves the tag from the bytes to the
/// metadata, and is redirected to the port. A few processes create all links: an emulated machine
/// starts processes slowly.
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
        // Every other port gets frames with their tags in the bytes.
        if port % 2 == 0 {
            let off = "txvlan off tx-vlan-stag-hw-insert off";
            writeln!(offloads, "ethtool -K {name} {off} >/dev/null").unwrap();
        }
    }
    ends.sh(&format!("ip -batch - <<END && tc -batch - <<END\n{links}END\n{filters}END"));
    netns.sh(&format!("ip -batch - <<END\n{ups}END\n{offloads}"));
}
