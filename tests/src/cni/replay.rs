//! The calls of Multus, KubeVirt and containerd, replayed from files (`tests/calls`).

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::lab::{Lab, Pod};
use crate::{
    lab::{seen, wait_for, wait_until_eq},
    once,
};

const CALLS: [&str; 7] = [
    include_str!("../../calls/containerd.json"),
    include_str!("../../calls/kubevirt.json"),
    include_str!("../../calls/multus-args.json"),
    include_str!("../../calls/multus-failed.json"),
    include_str!("../../calls/multus-list.json"),
    include_str!("../../calls/multus-lost-keys.json"),
    include_str!("../../calls/multus-thin.json"),
];

#[test]
fn calls_of_real_callers_are_replayed() {
    once();
    let lab = Lab::new();
    let file = std::env::temp_dir().join(format!("{}.file", lab.node.netns.name));
    fs::write(&file, "").unwrap();
    for text in CALLS {
        let caller: Value = serde_json::from_str(text).unwrap();
        println!("cni: {}", caller["caller"].as_str().unwrap());
        let pod = lab.pod();
        let mut places = BTreeMap::from([
            ("@FILE@", file.display().to_string()),
            ("@ID@", pod.id.clone()),
            ("@NETNS@", pod.path()),
        ]);
        for call in caller["calls"].as_array().unwrap() {
            replay(&lab, &pod, call, &mut places);
        }
        lab.assert_nothing_is_left();
    }
    fs::remove_file(file).unwrap();
}

/// Makes a call, and compares what it leaves.
fn replay(lab: &Lab, pod: &Pod, call: &Value, places: &mut BTreeMap<&str, String>) {
    let filled = |text: &str| {
        places.iter().fold(text.to_owned(), |text, (place, with)| text.replace(place, with))
    };
    for line in call["pod"].as_array().into_iter().flatten() {
        pod.netns.sh(line.as_str().unwrap());
    }
    let environment = call["env"].as_object().unwrap();
    let of = |name: &str| filled(environment.get(name).map_or("", |it| it.as_str().unwrap()));
    let stdin = match &call["stdin"] {
        Value::String(text) => filled(text),
        // A result is no text.
        json => filled(&json.to_string().replace("\"@RESULT@\"", "@RESULT@")),
    };
    let plugin = std::env::var("NETAGENT_CNI").expect("NETAGENT_CNI names the plugin");
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", lab.node.netns.name)).arg(plugin);
    // No other variables, as with the thick plugin's chroot.
    command.env_clear().env("NETAGENT_SOCKET", lab.node.socket());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.envs(environment.keys().map(|name| (name, of(name))));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start the plugin");
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    assert_eq!(output.status.success(), call["code"].is_null(), "{call:#}\n{text}");
    assert_eq!(answer["code"], call["code"], "{call:#}\n{text}");
    let ifname = of("CNI_IFNAME");
    look(lab, pod, call, &ifname);
    if of("CNI_COMMAND") == "ADD" && output.status.success() {
        places.insert("@RESULT@", text);
    }
}

/// Panics unless the node and the pod are as the call says.
fn look(lab: &Lab, pod: &Pod, call: &Value, ifname: &str) {
    if let Some(wanted) = call["attached"].as_array() {
        wait_until_eq("the interfaces are known", wanted, || lab.attached_interfaces());
    }
    if let Some(mac) = call["mac"].as_str() {
        assert_eq!(pod.netns.link(ifname)["address"], mac, "{call:#}");
    }
    for name in call["links"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap()) {
        let gone = name.strip_prefix('-');
        let link = pod.netns.link(gone.unwrap_or(name));
        assert_eq!(link.is_null(), gone.is_some(), "{name}: {call:#}");
    }
    if let Some(owner) = call["owner"].as_str() {
        wait_for("the port's owner is shown", || {
            let list = lab.node.ok("port list");
            seen(list.clone(), list.contains(&format!("CNI, {owner}")))
        });
    }
}
