//! DEL, whatever was before it.

use super::{
    Row, differs, same,
    side::{Side, answer, network},
    verbs::{ipam, there, with},
};
use crate::cni::lab::Pod;
use serde_json::json;

const DEL: &str =
    "DEL finds the node's end by the container and the interface, whatever is left of the pod";

pub const ROWS: &[Row] = &[
    same("DEL twice", |side| {
        let pod = with(side, &json!({}));
        let path = pod.path();
        del_twice(side, &pod, &path)
    }),
    same("DEL without ADD", |side| {
        let pod = side.pod();
        let path = pod.path();
        del_twice(side, &pod, &path)
    }),
    differs(
        "DEL with an empty CNI_NETNS",
        |side| {
            let pod = with(side, &json!({}));
            del_twice(side, &pod, "")
        },
        "ok, ok, 1 left",
        "ok, ok, 0 left",
        DEL,
    ),
    differs(
        "DEL with a path that is no namespace",
        |side| {
            let pod = with(side, &json!({}));
            del_twice(side, &pod, "/proc/self/exe")
        },
        "error 999, error 999, 1 left",
        "ok, ok, 0 left",
        DEL,
    ),
    differs(
        "DEL with a path that does not exist",
        |side| {
            let pod = with(side, &json!({}));
            del_twice(side, &pod, "/run/netns/nowhere")
        },
        "ok, ok, 1 left",
        "ok, ok, 0 left",
        DEL,
    ),
    differs(
        "DEL after KubeVirt has renamed the pod's end and given its name to another device",
        kubevirt,
        "ok, 0a1b2c-nic is there, net1 is gone",
        "ok, 0a1b2c-nic is gone, net1 is there",
        DEL,
    ),
    differs(
        "DEL with a configuration that is no JSON",
        |side| {
            let pod = with(side, &json!({}));
            let deleted = answer(&pod.call("DEL", "nonsense"));
            format!("{deleted}, {} left", side.veths())
        },
        "error 6, 1 left",
        "ok, 0 left",
        DEL,
    ),
    same("DEL releases the address", |side| {
        let conf = network(&json!({"ipam": ipam(side)}));
        let addresses = [0, 1].map(|_| {
            let pod = side.pod();
            let result = pod.add(&conf);
            pod.del(&conf);
            result["ips"][0]["address"].to_string()
        });
        // host-local gives the next address, and keeps a file for each that is in use.
        let kept = crate::lab::sh(&format!("ls {}/one", side.lab.plugins().join("kept").display()));
        let kept = kept.lines().filter(|line| line.starts_with("10.")).count();
        format!("{}, {kept} kept", addresses.join(" "))
    }),
];

fn del_twice(side: &Side, pod: &Pod, netns: &str) -> String {
    let deleted = [0, 1].map(|_| answer(&pod.call_in("DEL", &network(&json!({})), netns, "")));
    format!("{}, {} left", deleted.join(", "), side.veths())
}

/// What KubeVirt does to the pod's end (bridge binding).
fn kubevirt(side: &Side) -> String {
    let pod = with(side, &json!({}));
    pod.netns.sh("ip link set net1 down && ip link set net1 name 0a1b2c-nic
         ip link add k6t-0a1b2c type bridge && ip link set k6t-0a1b2c up
         ip link set 0a1b2c-nic master k6t-0a1b2c && ip link set 0a1b2c-nic up
         ip link add net1 type veth peer name placeholder");
    let deleted = answer(&pod.call("DEL", &network(&json!({}))));
    format!("{deleted}, {}, {}", there(&pod, "0a1b2c-nic"), there(&pod, "net1"))
}
