//! Frames of pods, in VLANs. The bridges filter VLANs.

use serde_json::{Value, json};

use super::{
    Row, differs, same,
    side::{Side, first, network},
};
use crate::{frame::Frame, wire::Wire};

const ADMIT: &str =
    "a port of one VLAN takes untagged frames only: a second tag can lead into another VLAN";

pub const ROWS: &[Row] = &[
    same("vlan 100: untagged", |side| exchange(side, &json!({"vlan": 100}), &[], &[100])),
    same("vlan 100: a frame of VLAN 200 arrives", |side| {
        exchange(side, &json!({"vlan": 100}), &[], &[200])
    }),
    same("vlan 100: an untagged frame arrives", |side| {
        exchange(side, &json!({"vlan": 100}), &[], &[])
    }),
    same("vlan 100: the pod sends into VLAN 200", |side| {
        exchange(side, &json!({"vlan": 100}), &[200], &[100])
    }),
    differs(
        "vlan 100: the pod tags its frames with 100",
        |side| exchange(side, &json!({"vlan": 100}), &[100], &[100]),
        "the wire: 100, back: untagged",
        "the wire: nothing, back: untagged",
        ADMIT,
    ),
    differs(
        "vlan 100: the pod sends two tags",
        |side| exchange(side, &json!({"vlan": 100}), &[100, 200], &[100]),
        "the wire: 100+200, back: untagged",
        "the wire: nothing, back: untagged",
        ADMIT,
    ),
    differs(
        "vlan 100, preserveDefaultVlan: an untagged frame arrives",
        |side| exchange(side, &json!({"vlan": 100, "preserveDefaultVlan": true}), &[], &[]),
        "the wire: 100, back: untagged",
        "the wire: 100, back: nothing",
        "a port never has a VLAN that the configuration does not name",
    ),
    same("no vlan: untagged", |side| exchange(side, &json!({}), &[], &[])),
    same("no vlan: the pod sends into VLAN 100", |side| exchange(side, &json!({}), &[100], &[100])),
    same("vlanTrunk 100: tagged", |side| exchange(side, &trunk(), &[100], &[100])),
    same("vlanTrunk 100: untagged", |side| exchange(side, &trunk(), &[], &[])),
    same("vlanTrunk 100: VLAN 200", |side| exchange(side, &trunk(), &[200], &[200])),
    same("vlanTrunk 100 and vlan 200: untagged", |side| {
        exchange(side, &json!({"vlan": 200, "vlanTrunk": [{"id": 100}]}), &[], &[200])
    }),
    same("vlanTrunk 100 and vlan 200: tagged", |side| {
        exchange(side, &json!({"vlan": 200, "vlanTrunk": [{"id": 100}]}), &[100], &[100])
    }),
    differs(
        "vlanTrunk 100, \"netagent\": {\"native\": \"none\"}: untagged",
        |side| {
            let keys = json!({"vlanTrunk": [{"id": 100}], "netagent": {"native": "none"}});
            exchange(side, &keys, &[], &[])
        },
        "the wire: untagged, back: untagged",
        "the wire: nothing, back: nothing",
        "the bridge plugin has no trunk without a native VLAN",
    ),
    differs(
        "vlan 100 with a gateway",
        gateway,
        "mgmt-br.100 is a veth, 4 interfaces in the result, the pod reaches it",
        "mgmt-br.100 is a vlan, 3 interfaces in the result, the pod reaches it",
        "a node with netagent has VLAN interfaces; the result lists what belongs to the pod",
    ),
    same("two pods of vlan 100", |side| between(side, 100, 100)),
    same("pods of vlan 100 and vlan 200", |side| between(side, 100, 200)),
    same("two pods of vlan 100 with portIsolation", |side| {
        two(
            side,
            &json!({"vlan": 100, "portIsolation": true}),
            &json!({"vlan": 100, "portIsolation": true}),
        )
    }),
];

fn trunk() -> Value {
    json!({"vlanTrunk": [{"id": 100}]})
}

/// What a pod with this network and the wire hear of each other.
fn exchange(side: &Side, keys: &Value, from_pod: &[u16], from_wire: &[u16]) -> String {
    let (pod, conf) = (side.pod(), network(keys));
    pod.add(&conf);
    let seen = side.exchange(&pod, from_pod, from_wire);
    pod.del(&conf);
    seen
}

/// A pod whose gateway is the node, in a VLAN.
fn gateway(side: &Side) -> String {
    let keys = json!({
        "vlan": 100, "isDefaultGateway": true,
        "ipam": {"type": "host-local", "dataDir": side.lab.plugins().join("kept"),
                 "ranges": [[{"subnet": "10.89.0.0/24"}]]},
    });
    let (pod, conf) = (side.pod(), network(&keys));
    let result = pod.add(&conf);
    let kind = side.lab.node.netns.link("mgmt-br.100")["linkinfo"]["info_kind"].clone();
    let reached = (0..20).any(|_| pod.netns.output("ping -q -c 1 -W 1 10.89.0.1").status.success());
    pod.del(&conf);
    // The bridge plugin leaves its pair.
    if kind == "veth" {
        side.lab.node.netns.sh("ip link delete mgmt-br.100");
    }
    format!(
        "mgmt-br.100 is a {}, {} interfaces in the result, the pod {} it",
        kind.as_str().unwrap_or("nothing"),
        result["interfaces"].as_array().unwrap().len(),
        if reached { "reaches" } else { "does not reach" }
    )
}

fn between(side: &Side, one: u16, other: u16) -> String {
    two(side, &json!({"vlan": one}), &json!({"vlan": other}))
}

/// What one pod hears of another.
fn two(side: &Side, one: &Value, other: &Value) -> String {
    let pods = [side.pod(), side.pod()];
    let confs = [network(one), network(other)];
    for (pod, conf) in pods.iter().zip(&confs) {
        pod.add(conf);
    }
    let [from, to]: [Wire; 2] = [pods[0].wire(), pods[1].wire()];
    let seen = first(&from, &to, &Frame::numbered(13, &[]));
    for (pod, conf) in pods.iter().zip(&confs) {
        pod.del(conf);
    }
    seen
}
