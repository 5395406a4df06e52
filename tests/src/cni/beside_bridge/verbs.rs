//! What runtimes do, and what they are told. The bridge need not filter VLANs.

use serde_json::{Value, json};

use super::{
    Row, differs, same,
    side::{Side, answer, first, network},
};
use crate::{
    cni::lab::Pod,
    frame::Frame,
    lab::{seen, wait_for},
};

const CODES: &str =
    "the specification has a code for it; the bridge plugin answers 999 to everything of its own";

pub const ROWS: &[Row] = &[
    same("ADD: the result", |side| {
        let pod = side.pod();
        let result = pod.add(&network(&json!({"cniVersion": "0.3.1"})));
        normalised(&result, &pod)
    }),
    same("ADD with a gateway and a default route: the result", gateway),
    same("ADD twice", |side| {
        let pod = with(side, &json!({}));
        let again = pod.call("ADD", &network(&json!({})));
        format!("{}, {} interfaces", answer(&again), side.veths())
    }),
    same("ADD where the pod has such an interface of its own", |side| {
        let pod = side.pod();
        pod.netns.sh("ip link add net1 type veth peer name far");
        let added = answer(&pod.call("ADD", &network(&json!({}))));
        format!("{added}, {}", there(&pod, "net1"))
    }),
    differs(
        "ADD that fails, then DEL",
        |side| {
            let (pod, conf) = (side.pod(), network(&json!({"ipam": {"type": "absent"}})));
            let added = answer(&pod.call("ADD", &conf));
            let after = side.veths();
            // Without the plugin for addresses, DEL cannot release them.
            let deleted = answer(&pod.call("DEL", &network(&json!({}))));
            format!("{added}, {after} left; DEL {deleted}, {} left", side.veths())
        },
        "error 999, 1 left; DEL ok, 0 left",
        "error 999, 0 left; DEL ok, 0 left",
        "an ADD that fails undoes what it has done",
    ),
    same("CHECK", |side| {
        let pod = side.pod();
        let result = pod.add(&network(&json!({})));
        check(&pod, &result)
    }),
    same("CHECK after the pod has got another MAC address", |side| {
        let pod = side.pod();
        let result = pod.add(&network(&json!({})));
        pod.netns.sh("ip link set net1 address 02:00:00:00:00:99");
        check(&pod, &result)
    }),
    differs(
        "CHECK after the port has left the bridge",
        |side| {
            let pod = side.pod();
            let result = pod.add(&network(&json!({})));
            let device = result["interfaces"][1]["name"].as_str().unwrap();
            side.lab.node.netns.sh(&format!("ip link set {device} nomaster"));
            // The agent needs some milliseconds.
            let repaired = (0..250).any(|_| {
                check(&pod, &result) == "ok" && {
                    !side.lab.node.netns.link(device)["master"].is_null()
                }
            });
            let after = check(&pod, &result);
            format!("{after}, {}", if repaired { "repaired" } else { "not repaired" })
        },
        "error 999, not repaired",
        "ok, repaired",
        "the agent repairs the port",
    ),
    same("STATUS", |side| answer(&side.pod().call("STATUS", &network(&json!({}))))),
    same("VERSION", |side| {
        side.pod().call("VERSION", &network(&json!({}))).map_or_else(
            |error| error.to_string(),
            |text| serde_json::from_str::<Value>(&text).unwrap()["supportedVersions"].to_string(),
        )
    }),
    differs(
        "GC without valid attachments",
        |side| {
            let _pod = with(side, &json!({}));
            let gc = side.pod().call("GC", &network(&json!({"cni.dev/valid-attachments": []})));
            format!("{}, {} left", answer(&gc), side.veths())
        },
        "ok, 1 left",
        "ok, 0 left",
        "the bridge plugin collects nothing",
    ),
    same("MAC in CNI_ARGS, whose keys are repeated", |side| {
        mac(
            side,
            "IgnoreUnknown=true;MAC=02:00:00:00:00:01;K8S_POD_NAME=a;IgnoreUnknown=1",
            &json!({}),
        )
    }),
    same("MAC twice in CNI_ARGS", |side| {
        mac(side, "IgnoreUnknown=1;MAC=02:00:00:00:00:01;MAC=02:00:00:00:00:05", &json!({}))
    }),
    same("MAC in CNI_ARGS and args.cni", |side| {
        let keys = json!({"args": {"cni": {"mac": "02:00:00:00:00:02"}}});
        mac(side, "IgnoreUnknown=1;MAC=02:00:00:00:00:01", &keys)
    }),
    same("MAC in CNI_ARGS, args.cni and runtimeConfig", |side| {
        let keys = json!({
            "args": {"cni": {"mac": "02:00:00:00:00:02"}},
            "runtimeConfig": {"mac": "02:00:00:00:00:03"},
        });
        mac(side, "IgnoreUnknown=1;MAC=02:00:00:00:00:01", &keys)
    }),
    differs(
        "an unknown key in CNI_ARGS, without IgnoreUnknown",
        |side| mac(side, "COLOUR=red", &json!({})),
        "error 999",
        "ok",
        "the specification lets a plugin ignore keys that it does not know",
    ),
    same("hairpinMode, portIsolation, mtu, promiscMode", |side| {
        let pod = side.pod();
        let result =
            pod.add(&network(&json!({"hairpinMode": true, "portIsolation": true, "mtu": 1400})));
        let device = result["interfaces"][1]["name"].as_str().unwrap();
        let port = side.lab.node.netns.sh(&format!("bridge -d link show dev {device}"));
        let is_on = |flag: &str| port.contains(&format!("{flag} on"));
        let mtus = [side.lab.node.netns.link(device), pod.netns.link("net1")]
            .map(|it| it["mtu"].to_string());
        let other = side.pod();
        other.add(&network(&json!({"promiscMode": true})));
        let bridge = side.lab.node.netns.link("mgmt-br");
        format!(
            "hairpin {}, isolated {}, {mtus:?}, promiscuous {}",
            is_on("hairpin"),
            is_on("isolated"),
            bridge["promiscuity"]
        )
    }),
    same("macspoofchk: what the wire hears of the pod, and of another address", spoof),
    same("disableContainerInterface", |side| {
        let pod = with(side, &json!({"disableContainerInterface": true}));
        pod.netns.link("net1")["operstate"].to_string()
    }),
    differs(
        "the MAC address of a bridge that the plugin has made, as pods come and go",
        |side| {
            let conf = network(&json!({"bridge": "kv-br"}));
            let addresses = [0, 1, 2].map(|_| {
                let pod = side.pod();
                pod.add(&conf);
                let address = side.lab.node.netns.link("kv-br")["address"].to_string();
                pod.del(&conf);
                address
            });
            let stays = addresses.iter().all(|it| *it == addresses[0]);
            if stays { "stays" } else { "changes" }.to_owned()
        },
        "changes",
        "stays",
        "stations need not learn the bridge's address again",
    ),
    differs("vlan 5000", |side| error(side, &json!({"vlan": 5000})), "error 999", "error 7", CODES),
    differs(
        "hairpinMode and promiscMode",
        |side| error(side, &json!({"hairpinMode": true, "promiscMode": true})),
        "error 999",
        "error 7",
        CODES,
    ),
    differs(
        "vlanTrunk without maxID",
        |side| error(side, &json!({"vlanTrunk": [{"minID": 5}]})),
        "error 999",
        "error 7",
        CODES,
    ),
    same("a version of the specification that does not exist", |side| {
        error(side, &json!({"cniVersion": "9.0.0"}))
    }),
    same("CNI_NETNS that does not exist", |side| {
        answer(&side.pod().call_in("ADD", &network(&json!({})), "/run/netns/nowhere", ""))
    }),
    same("no CNI_NETNS", |side| answer(&side.pod().call_in("ADD", &network(&json!({})), "", ""))),
    same("a configuration that is no JSON", |side| answer(&side.pod().call("ADD", "nonsense"))),
];

/// A pod that has an interface.
pub fn with(side: &Side, keys: &Value) -> Pod {
    let pod = side.pod();
    pod.add(&network(keys));
    pod
}

/// A result without what is another each time.
fn normalised(result: &Value, pod: &Pod) -> String {
    let mut text = result.to_string().replace(&pod.path(), "SANDBOX");
    for interface in result["interfaces"].as_array().unwrap() {
        text = text.replace(interface["mac"].as_str().unwrap(), "MAC");
        let name = interface["name"].as_str().unwrap();
        if name.starts_with("veth") {
            text = text.replace(name, "VETH");
        }
    }
    text
}

/// host-local with files of its own.
pub fn ipam(side: &Side) -> Value {
    json!({"type": "host-local", "dataDir": side.lab.plugins().join("kept"),
           "ranges": [[{"subnet": "10.88.0.0/24"}]]})
}

fn gateway(side: &Side) -> String {
    let (pod, conf) = (
        side.pod(),
        network(&json!({
            "bridge": "gw-br", "isDefaultGateway": true, "ipam": ipam(side), "name": "gateway",
            "dns": {"nameservers": ["10.88.0.1"]},
        })),
    );
    let result = pod.add(&conf);
    let routes = pod.netns.sh("ip route");
    let gateway = side.lab.node.netns.sh("ip -br -4 address show dev gw-br");
    pod.del(&conf);
    let gateway: Vec<&str> = gateway.split_whitespace().skip(2).collect();
    format!("{}; {}; {gateway:?}", normalised(&result, &pod), routes.trim().replace('\n', ","))
}

fn check(pod: &Pod, result: &Value) -> String {
    answer(&pod.call("CHECK", &network(&json!({"prevResult": result}))))
}

/// `NAME is gone` or `NAME is there`.
pub fn there(pod: &Pod, name: &str) -> String {
    let is = if pod.netns.link(name).is_null() { "gone" } else { "there" };
    format!("{name} is {is}")
}

/// The MAC address that a pod gets, or the error.
fn mac(side: &Side, args: &str, keys: &Value) -> String {
    let mut pod = side.pod();
    args.clone_into(&mut pod.args);
    let added = pod.call("ADD", &network(keys));
    if args.contains("MAC") {
        added.unwrap();
        pod.netns.link("net1")["address"].to_string()
    } else {
        answer(&added)
    }
}

fn error(side: &Side, keys: &Value) -> String {
    answer(&side.pod().call("ADD", &network(keys)))
}

/// What the wire hears of a pod whose addresses are checked.
fn spoof(side: &Side) -> String {
    let pod = with(side, &json!({"macspoofchk": true}));
    let address = pod.netns.link("net1")["address"].as_str().unwrap().to_owned();
    let own: Vec<u8> =
        address.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let (port, nic) = (pod.wire(), crate::wire::Wire::open(&side.lab.switch, "eth0"));
    let frame = Frame { source: own.try_into().unwrap(), ..Frame::numbered(21, &[]) };
    let own = wait_for("the wire hears the pod", || {
        let heard = first(&port, &nic, &frame);
        seen(heard.clone(), heard != "nothing")
    });
    let other = first(&port, &nic, &Frame::numbered(22, &[]));
    pod.del(&network(&json!({"macspoofchk": true})));
    format!("{own}, {other}")
}
