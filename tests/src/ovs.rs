//! Open vSwitch as a second oracle: its port modes and netagent's, with one set of frames for both.
//! `ofproto/trace` gives its answer (userspace datapath, no kernel module). The kinds of port and
//! frame are those of Open vSwitch's own VLAN tests (tests/ofproto-dpif.at), with QinQ. `differs`
//! gives the reason for each deliberate difference.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use crate::{
    Feature,
    frame::{C, Frame, S, TEST},
    lab::{Netns, output, sh},
    needs, needs_program,
    node::Node,
    once,
    wire::Wire,
};

/// A kind of port: netagent's network, and the settings of Open vSwitch.
struct Kind {
    name: &'static str,
    ours: &'static str,
    theirs: &'static str,
}

const fn kind(name: &'static str, ours: &'static str, theirs: &'static str) -> Kind {
    Kind { name, ours, theirs }
}

/// The first kind is the uplink.
const KINDS: [Kind; 13] = [
    kind("wire", "", "vlan_mode=native-untagged tag=1 trunks=1,10,11,12,3000"),
    kind("access", "vlan: 10", "tag=10"),
    kind(
        "access-if",
        "vlan: 10, priorityTags: if-nonzero",
        "tag=10 other-config:priority-tags=if-nonzero",
    ),
    kind(
        "access-always",
        "vlan: 10, priorityTags: always",
        "tag=10 other-config:priority-tags=always",
    ),
    kind("other", "vlan: 11", "tag=11"),
    kind("trunk", "trunk: '10,12'", "trunks=10,12"),
    kind("untag", "trunk: '10,12', native: 10", "vlan_mode=native-untagged tag=10 trunks=10,12"),
    kind(
        "untag-if",
        "trunk: '10,12', native: 10, priorityTags: if-nonzero",
        "vlan_mode=native-untagged tag=10 trunks=10,12 other-config:priority-tags=if-nonzero",
    ),
    kind(
        "untag-always",
        "trunk: '10,12', native: 10, priorityTags: always",
        "vlan_mode=native-untagged tag=10 trunks=10,12 other-config:priority-tags=always",
    ),
    kind(
        "tagged",
        "trunk: '10,12', native: 10, nativeTagged: true",
        "vlan_mode=native-tagged tag=10 trunks=10,12",
    ),
    kind("plain", "", "tag=1"),
    kind(
        "tunnel",
        "qinq: 3000",
        "vlan_mode=dot1q-tunnel tag=3000 other-config:qinq-ethtype=802.1ad",
    ),
    kind(
        "tunnel-some",
        "qinq: 3000, customerVids: 10",
        "vlan_mode=dot1q-tunnel tag=3000 cvlans=10 other-config:qinq-ethtype=802.1ad",
    ),
];

/// Tags from the outer to the inner.
const FRAMES: [&[(u16, u16)]; 12] = [
    &[],
    &[(C, 0)],
    &[(C, 0x2000)],
    &[(C, 10)],
    &[(C, 0xa00a)],
    &[(C, 11)],
    &[(C, 0x200c)],
    &[(C, 0x700d)],
    &[(C, 12), (C, 10)],
    &[(C, 10), (C, 12)],
    &[(S, 3000)],
    &[(S, 3000), (C, 0x600a)],
];

type Tags = Vec<(u16, u16)>;

/// Whether the answers for a frame from a port can be compared.
fn comparable(from: &Kind, sent: &[(u16, u16)]) -> bool {
    let tunnel = from.name.starts_with("tunnel");
    match sent {
        // Open vSwitch treats an S-tag as a VLAN tag on every port. To a bridge of C-tags an S-tag
        // is payload.
        [(S, _), ..] => from.name == "wire",
        // Open vSwitch does not keep a third tag, the service tag.
        [_, _, ..] => !tunnel,
        _ => true,
    }
}

/// The reason why the answers for a frame that leaves a port must differ, and netagent's answer.
fn differs(
    from: &Kind,
    sent: &[(u16, u16)],
    to: &Kind,
    theirs: Option<&Tags>,
) -> Option<(&'static str, Option<Tags>)> {
    let is_tunnel = |kind: &Kind| kind.name.starts_with("tunnel");
    let of_some = from.name == "tunnel-some" || to.name == "tunnel-some";
    let customers = if is_tunnel(from) { sent } else { sent.get(1..).unwrap_or_default() };
    let priority = customers.first().map_or(0, |(_, tci)| tci & 0xf000);
    if of_some && theirs.is_none() && (is_tunnel(from) || sent.first() == Some(&(S, 3000))) {
        // The list of Open vSwitch has VID 0 for untagged frames; netagent has `admit`.
        let untagged = customers.first().is_none_or(|(_, tci)| tci % 4096 == 0);
        let ours = match to.name {
            "wire" => Some([&[(S, priority + 3000)], customers].concat()),
            name if name.starts_with("tunnel") => Some(customers.to_vec()),
            _ => None,
        };
        return ours
            .filter(|_| untagged)
            .map(|ours| ("customerVids lists no untagged frames", Some(ours)));
    }
    match theirs {
        // VLAN hopping: the inner tag becomes visible. Open vSwitch permits it.
        Some(tags) if !is_tunnel(to) && !is_tunnel(from) && sent.len() == 2 && tags.len() == 1 => {
            Some(("an inner tag never becomes visible", None))
        }
        Some(tags) if is_tunnel(from) && to.name == "wire" && priority != 0 => {
            let mut ours = tags.clone();
            ours[0].1 |= priority;
            Some(("a service tag has the priority of the customer's tag", Some(ours)))
        }
        Some(tags) if to.name.ends_with("-always") && tags.is_empty() => {
            Some(("priority-tags=always of Open vSwitch omits priority 0", Some(vec![(C, 0)])))
        }
        Some(tags) if is_tunnel(from) && to.name == "wire" && tags.len() == sent.len() => {
            let ours = [&tags[..], sent].concat();
            (!sent.is_empty()).then_some(("a customer's priority tag is kept", Some(ours)))
        }
        _ => None,
    }
}

/// An Open vSwitch with a directory of its own.
struct Switch {
    directory: PathBuf,
    indexes: BTreeMap<String, usize>,
}

impl Switch {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("na-ovs-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let indexes = KINDS.iter().zip(0..).map(|(_, index)| ((index + 1).to_string(), index));
        let switch = Self { directory, indexes: indexes.collect() };
        switch.sh("ovsdb-tool create conf.db /usr/share/openvswitch/vswitch.ovsschema");
        switch.sh("ovsdb-server --detach --no-chdir --pidfile=db.pid --log-file=db.log --unixctl=$PWD/db.ctl --remote=punix:db.sock conf.db");
        switch.sh("ovs-vsctl --db=unix:db.sock --no-wait init -- set Open_vSwitch . other_config:vlan-limit=2");
        switch.sh("ovs-vswitchd --detach --no-chdir --pidfile=$PWD/v.pid --log-file=v.log --unixctl=$PWD/v.ctl --enable-dummy=override --disable-system unix:db.sock");
        switch.sh("ovs-vsctl --db=unix:db.sock add-br br0 -- set bridge br0 datapath-type=dummy fail-mode=standalone");
        for (kind, number) in KINDS.iter().zip(1..) {
            let Kind { name, theirs, .. } = kind;
            switch.sh(&format!(
                "ovs-vsctl --db=unix:db.sock add-port br0 {name} {theirs} -- set Interface {name} type=dummy ofport_request={number}"
            ));
        }
        switch
    }

    fn sh(&self, line: &str) -> String {
        sh(&format!("cd {} && export OVS_RUNDIR=$PWD && {line} 2>&1", self.directory.display()))
    }

    /// The ports and tags with which a broadcast frame leaves.
    fn trace(&self, from: usize, tags: &[(u16, u16)]) -> BTreeMap<usize, Tags> {
        // The frame in bytes: the flow notation would lose tags.
        let bytes = Frame::numbered(1, tags).to_bytes();
        let bytes: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let bytes = bytes.concat();
        let answer = self.sh(&format!(
            "ovs-appctl -t $PWD/v.ctl ofproto/trace br0 in_port={} {bytes}",
            from + 1
        ));
        let actions = answer.lines().find_map(|line| line.strip_prefix("Datapath actions: "));
        let actions = actions.unwrap_or_else(|| panic!("{answer}"));
        let (mut stack, mut leaves) = (tags.to_vec(), BTreeMap::new());
        for action in split(actions) {
            if let Some(tag) = action.strip_prefix("push_vlan(") {
                let field = |name: &str| {
                    tag.trim_end_matches(')').split(',').find_map(|field| field.strip_prefix(name))
                };
                let number =
                    |text: Option<&str>| text.map_or(0, |text| text.parse::<u16>().unwrap());
                let tpid =
                    field("tpid=0x").map_or(C, |tpid| u16::from_str_radix(tpid, 16).unwrap());
                stack.insert(0, (tpid, number(field("pcp=")) << 13 | number(field("vid="))));
            } else if action == "pop_vlan" {
                stack.remove(0);
            } else if let Some(port) = self.indexes.get(action) {
                leaves.insert(*port, stack.clone());
            } else {
                // The bridge's own port, or the action of a frame that is not forwarded.
                assert!(matches!(action, "100" | "drop"), "{answer}");
            }
        }
        leaves
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _gone = output(&format!("cd {} && kill $(cat v.pid db.pid)", self.directory.display()));
        let _gone = fs::remove_dir_all(&self.directory);
    }
}

/// netagent's file: a network and a port of each kind.
fn config() -> String {
    let of_kinds = |line: &dyn Fn(&Kind) -> String| KINDS[1..].iter().map(line).collect::<String>();
    let networks = of_kinds(&|Kind { name, ours, .. }| match *ours {
        "" => format!("  {name}: {{ clusterNetwork: oob }}\n"),
        ours => format!("  {name}: {{ clusterNetwork: oob, {ours} }}\n"),
    });
    let ports =
        of_kinds(&|Kind { name, .. }| format!("  - {{ device: {name}, network: {name} }}\n"));
    format!(
        "clusterNetworks:\n  oob: {{ vlanFiltering: off, uplink: {{ nics: [wire], bond: {{ mode: none }}, mtu: 1504 }} }}\n\
         networks:\n{networks}ports:\n{ports}"
    )
}

/// Splits at the commas outside parentheses.
fn split(actions: &str) -> Vec<&str> {
    let mut depth = 0;
    actions
        .split(|letter| {
            depth += i32::from(letter == '(') - i32::from(letter == ')');
            letter == ',' && depth == 0
        })
        .collect()
}

#[test]
fn netagent_agrees_with_open_vswitch() {
    once();
    if !needs_program("ovs-vswitchd") || !needs(&[Feature::StackedTags]) {
        return;
    }
    let switch = Switch::new();
    let (node, others) = (Node::new(), Netns::new("others"));
    KINDS.iter().for_each(|kind| node.netns.veth(kind.name, &others, kind.name));
    node.apply(&config());
    let wires: Vec<_> = KINDS.iter().map(|kind| Wire::open(&others, kind.name)).collect();

    let (mut alike, mut different) = (0, BTreeMap::<_, u32>::new());
    let mut expected = vec![BTreeMap::new(); KINDS.len()];
    let mut number = 0;
    for (from, wire) in wires.iter().enumerate() {
        for tags in FRAMES {
            number += 1;
            if !comparable(&KINDS[from], tags) {
                continue;
            }
            wire.send(&Frame::numbered(number, tags));
            let theirs = switch.trace(from, tags);
            for (to, expected) in expected.iter_mut().enumerate().filter(|(to, _)| *to != from) {
                let theirs = theirs.get(&to);
                let ours =
                    if let Some((why, ours)) = differs(&KINDS[from], tags, &KINDS[to], theirs) {
                        *different.entry(why).or_default() += 1;
                        ours
                    } else {
                        alike += 1;
                        theirs.cloned()
                    };
                if let Some(tags) = ours {
                    expected.insert(number, tags);
                }
            }
        }
    }
    let mut odd = Vec::new();
    for ((wire, to), expected) in wires.iter().zip(&KINDS).zip(expected) {
        let mut got = BTreeMap::new();
        let mut patience = Duration::from_secs(2);
        while let Some(bytes) = wire.receive(patience) {
            if let Some(frame) = Frame::from_bytes(&bytes).filter(|frame| frame.ethertype == TEST) {
                got.insert(frame.number(), frame.tags);
            }
            if got.len() >= expected.len() {
                patience = Duration::from_millis(200);
            }
        }
        for number in 1..=number {
            let (ours, theirs) = (got.get(&number), expected.get(&number));
            if ours != theirs {
                let (from, frame) =
                    ((number as usize - 1) / FRAMES.len(), (number as usize - 1) % FRAMES.len());
                odd.push(format!(
                    "{} sends {:x?}: {} gets {ours:x?} instead of {theirs:x?}",
                    KINDS[from].name, FRAMES[frame], to.name
                ));
            }
        }
    }
    assert!(odd.is_empty(), "{}", odd.join("\n"));
    println!("oracle: Open vSwitch: {alike} equal answers, deliberate differences: {different:?}");
}
