//! The control socket: ports that come at run time, reload, and what a failed reload leaves.

use std::os::unix::fs::PermissionsExt as _;

use super::{Lab, metric, state, status, wait_for_state};
use crate::{
    lab::{seen, wait_for},
    once,
};

#[test]
fn a_port_that_is_added_at_run_time_is_as_good_as_one_of_the_file() {
    once();
    let lab = Lab::new(2);
    lab.node.configure(&Lab::file(&[("vm0", "")]));
    let daemon = lab.node.run();
    lab.node.ok("port add vm1 --network n100");
    lab.wait_for_ping(0, 1);
    // It survives a restart of the agent, is filtered without it, and stays when the file is
    // applied.
    daemon.kill();
    lab.wait_for_ping(0, 1);
    assert_eq!(lab.node.ok(&format!("apply -c {}", lab.node.config())), "nothing to do\n");
    lab.wait_for_ping(0, 1);
    let daemon = lab.node.run();
    let node = &lab.node;
    assert_eq!(state(&status(node), "ports", "vm1"), "Ready");
    node.netns.sh("ip link set vm1 nomaster");
    lab.wait_for_ping(0, 1);
    let list = node.ok("port list");
    assert!(list.contains("control socket") && list.contains("node.yaml:"), "{list}");
    // What contradicts something is refused with its reason, and changes nothing.
    for (arguments, reason) in [
        ("port add vm0 --network n100", "it is already a port of network n100"),
        ("port add vm9 --network other", "there is no network \"other\""),
        ("port add lab-br --network n100", "the bridge of cluster network lab"),
        ("port add vm9 --network n100 --mtu 1", "mtu"),
        ("port del vm0", "comes from"),
        ("port del vm9", "there is no port vm9"),
    ] {
        let complaint = node.refused(arguments);
        assert!(complaint.contains(reason), "{arguments}: {complaint}");
        assert_eq!(node.ok("port list"), list, "{arguments}");
    }
    // A file that names the device later is not shadowed, and the added port is the one refused.
    node.configure(&Lab::file(&[("vm0", ""), ("vm1", "")]));
    let reload = node.netagent("reload");
    let complaint = String::from_utf8_lossy(&reload.stderr).into_owned();
    assert_eq!(reload.status.code(), Some(3), "{complaint}");
    assert!(complaint.contains("vm1") && complaint.contains("control socket"), "{complaint}");
    lab.wait_for_ping(0, 1);
    node.configure(&Lab::file(&[("vm0", "")]));
    node.ok("reload");
    lab.wait_for_ping(0, 1);
    // It ends with its device: another device of that name is not plugged in.
    node.netns.sh("ip link del vm1");
    wait_for("vm1 is gone", || {
        let list = lab.node.ok("port list");
        let gone = !list.contains("vm1");
        seen(list, gone)
    });
    lab.node.netns.veth("vm1", &lab.vms[1], "eth0");
    lab.vms[1].sh("ip address add 10.0.0.2/24 dev eth0");
    // The new device has another MAC.
    lab.vms[0].sh("ip neighbour flush all");
    lab.node.ok("port add vm1 --network n100");
    lab.wait_for_ping(0, 1);
    lab.node.ok("port del vm1");
    assert_eq!(lab.node.netns.link("vm1")["master"], serde_json::Value::Null);
    let socket = std::fs::metadata(lab.node.socket()).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    daemon.kill();
}

/// Each source is told about its own port.
#[test]
fn the_second_source_of_a_device_is_listed_with_its_reason() {
    once();
    let lab = Lab::new(1);
    let node = &lab.node;
    node.configure(&Lab::file(&[]).replace("ports:", ""));
    let daemon = node.run();
    node.ok("port add vm0 --network n100");
    node.configure(&Lab::file(&[("vm0", "")]));
    assert_eq!(node.netagent("reload").status.code(), Some(3));
    let ports: serde_json::Value = serde_json::from_str(&node.ok("port list -j")).unwrap();
    let ports = ports.as_array().unwrap();
    let rows: Vec<_> = ports.iter().map(|row| (&row["network"], &row["state"])).collect();
    assert_eq!(
        format!("{rows:?}"),
        r#"[(String("n100"), String("Ready")), (String("n100"), String("Refused"))]"#
    );
    assert_eq!(ports[1]["origin"], "control socket");
    assert!(ports[1]["findings"][0]["text"].to_string().contains("node.yaml:"), "{ports:?}");
    let series = "netagent_unwell{subject=\"port\",name=\"vm0\",state=\"refused\"}";
    assert_eq!(metric(&daemon, series), "1");
    let deleted = node.ok("port del vm0");
    assert!(deleted.contains("it stays a port of ") && deleted.contains("node.yaml:"), "{deleted}");
    assert_eq!(metric(&daemon, series), "");
    // Its network is gone.
    node.configure(&Lab::file(&[]).replace("ports:", ""));
    node.ok("reload");
    node.ok("port add vm0 --network n100");
    node.configure(&Lab::file(&[]).replace("ports:", "").replace("n100", "n200"));
    assert_eq!(node.netagent("reload").status.code(), Some(3));
    let list = node.ok("port list");
    let row = list.lines().nth(1).unwrap();
    assert!(row.contains("n100") && row.contains("control socket"), "{list}");
}

#[test]
fn what_takes_a_restart_or_cannot_be_written_shows() {
    once();
    let lab = Lab::new(1);
    let (node, good) = (&lab.node, Lab::file(&[("vm0", "")]));
    node.configure(&good);
    let daemon = node.run();
    let reload = |file: &str| {
        node.configure(file);
        let output = node.netagent("reload");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = reload(&good.replace("9469", "9470"));
    assert!(code == Some(3) && said.contains("on 127.0.0.1:9469, not on 127.0.0.1:9470"), "{said}");
    assert_eq!(reload(&good), (Some(0), String::new()));
    // The file cannot be written, and later it can.
    let confirmed = node.state().join("confirmed.json");
    let temporary = confirmed.with_extension(format!("new-{}", daemon.child.id()));
    std::fs::create_dir(&temporary).unwrap();
    let other = format!("{good}# other\n");
    let (code, said) = reload(&other);
    assert!(code == Some(3) && said.contains("confirmed.json: is not up to date"), "{said}");
    std::fs::remove_dir(&temporary).unwrap();
    assert_eq!(reload(&other), (Some(0), String::new()));
    assert!(std::fs::read_to_string(&confirmed).unwrap().contains("# other"));
}

#[test]
fn a_device_that_is_gone_or_renamed_is_no_port_that_is_ready() {
    once();
    let lab = Lab::new(2);
    let node = &lab.node;
    node.configure(&Lab::file(&[("vm0", ""), ("vm1", "")]));
    let daemon = node.run();
    node.netns.sh("ip link set vm1 down && ip link set vm1 name was1 && ip link set was1 up");
    wait_for("the renamed port shows", || {
        let output = node.netagent("status");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let shows = output.status.code() == Some(3) && text.contains("is called was1 now");
        seen(text, shows)
    });
    let table = node.ok("show ports");
    let row = table.lines().find(|line| line.starts_with("vm1 ")).unwrap();
    assert!(row.contains("lab-br") && !row.contains("missing"), "{table}");
    daemon.kill();
    node.netns.sh("ip link del vm0");
    let found = status(node);
    assert_eq!(state(&found, "ports", "vm0"), "Waiting", "{found}");
}

/// What was added at run time is unplugged by a command only, never by a file that is damaged.
#[test]
fn a_damaged_list_of_added_ports_stops_neither_the_start_nor_the_ports() {
    once();
    let lab = Lab::new(3);
    let node = &lab.node;
    node.configure(&Lab::file(&[("vm0", "")]));
    let daemon = node.run();
    node.ok("port add vm1 --network n100");
    node.ok("port add vm2 --network n100");
    daemon.kill();
    let list = node.socket().with_file_name("ports.json");
    let aside = list.with_extension("json.damaged");
    let good = std::fs::read(&list).unwrap();
    std::fs::write(&list, &good[..good.len() / 2]).unwrap();
    // An apply without the daemon, which leaves the file alone.
    let apply = node.netagent(&format!("apply -c {}", node.config()));
    let said = String::from_utf8_lossy(&apply.stderr).into_owned();
    assert!(apply.status.code() == Some(3) && said.contains("ports.json: is damaged"), "{said}");
    assert!(said.contains("port vm1 is left as it is"), "{said}");
    lab.wait_for_ping(1, 2);
    let daemon = node.run();
    lab.wait_for_ping(1, 2);
    assert!(!list.exists() && aside.exists());
    let found = status(node);
    assert!(found["findings"].to_string().contains("state-damaged"), "{found}");
    for (port, wanted) in [("vm0", "Ready"), ("vm1", "Waiting"), ("vm2", "Waiting")] {
        assert_eq!(state(&found, "ports", port), wanted, "{port}");
    }
    // The state survives a restart, and its ways out work: add it again, confirm, remove the file.
    daemon.kill();
    let daemon = node.run();
    node.ok("port add vm1 --network n100");
    assert_eq!(state(&status(node), "ports", "vm1"), "Ready");
    let master = |port: &str| node.netns.link(port)["master"].clone();
    assert_eq!(master("vm2"), "lab-br");
    std::fs::remove_file(&aside).unwrap();
    node.ok("reload");
    assert_eq!(master("vm2"), serde_json::Value::Null);
    lab.wait_for_ping(0, 1);
    assert!(!status(node)["findings"].to_string().contains("state-damaged"));
    daemon.kill();
    // Whatever is in the place of the file.
    std::fs::remove_file(&list).unwrap();
    std::fs::create_dir(&list).unwrap();
    let daemon = node.run();
    lab.wait_for_ping(0, 1);
    node.ok("confirm vm1");
    assert_eq!(master("vm1"), serde_json::Value::Null);
    assert!(aside.is_dir());
    // A port that cannot be kept is not added.
    let temporary = list.with_extension(format!("new-{}", daemon.child.id()));
    std::fs::create_dir(temporary).unwrap();
    let refused = node.refused("port add vm2 --network n100");
    assert!(refused.contains("ports.json"), "{refused}");
    assert_eq!(state(&status(node), "ports", "vm2"), "absent");
}

#[test]
fn damaged_originals_stop_nothing() {
    once();
    let lab = Lab::new(1);
    let node = &lab.node;
    node.configure(&Lab::file(&[("vm0", "")]));
    std::fs::create_dir_all(node.state()).unwrap();
    std::fs::write(node.state().join("originals.json"), "").unwrap();
    let _daemon = node.run();
    let found = status(node)["findings"].to_string();
    assert!(found.contains("state-damaged") && found.contains("originals.json.damaged"), "{found}");
    assert_eq!(state(&status(node), "ports", "vm0"), "Ready");
    std::fs::remove_file(node.state().join("originals.json.damaged")).unwrap();
    node.ok("reload");
    assert!(!status(node)["findings"].to_string().contains("state-damaged"));
}

#[test]
fn a_reload_of_a_broken_file_is_answered_and_shows_until_the_file_is_correct() {
    once();
    let lab = Lab::new(1);
    let (node, good) = (&lab.node, Lab::file(&[("vm0", "")]));
    node.configure(&good);
    let daemon = node.run();
    let successful = || metric(&daemon, "netagent_config_last_reload_successful");
    assert_eq!(successful(), "1");
    for by_signal in [false, true] {
        node.configure("networks: { n100: { vlan: 4095 } }\n");
        if by_signal {
            daemon.hangup();
        } else {
            let complaint = node.refused("reload");
            assert!(complaint.contains("node.yaml:1:"), "{complaint}");
        }
        wait_for("the failed reload shows", || {
            let text = node.netagent("status").stdout;
            let text = String::from_utf8_lossy(&text).into_owned();
            let shows = text.contains("node.yaml:1:") && successful() == "0";
            seen(text, shows)
        });
        assert!(daemon.get("readyz").starts_with("ready\n"));
        wait_for_state(node, "ports", "vm0", "Ready");
        node.configure(&good);
        node.ok("reload");
        assert_eq!(successful(), "1");
        assert_eq!(node.netagent("status").status.code(), Some(0));
    }
}

/// The description of the control socket is what the server does.
#[test]
fn each_path_of_the_description_answers() {
    once();
    let lab = Lab::new(1);
    let node = &lab.node;
    node.configure(&Lab::file(&[("vm0", "")]));
    let _daemon = node.run();
    let curl = |arguments: &str| {
        let line = format!("curl -s --unix-socket {} {arguments}", node.socket().display());
        node.netns.sh(&line)
    };
    let text = curl("http://localhost/v1/openapi.json");
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut paths = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if !operations["get"].is_object() {
            continue;
        }
        for what in ["ports", "vlans", "bonds", "drops", "fdb"] {
            let path = path.replace("{what}", what);
            let answer = curl(&format!("--fail http://localhost{path}"));
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            let schema = &operations["get"]["responses"]["200"]["content"]["application/json"];
            check(&document, &schema["schema"], &answer, &path);
            paths += 1;
        }
    }
    assert!(paths > 5);
    let unknown = curl("http://localhost/v2/status");
    assert!(unknown.contains("\"error\""), "{unknown}");
    let bad = curl(
        "-X POST -d '{\"device\":\"vm9\",\"network\":\"n100\",\"vlan\":1}' http://localhost/v1/ports",
    );
    assert!(bad.contains("unknown field `vlan`"), "{bad}");
    let broken = r"printf '\377' |";
    let giant = "head -c 3000000 /dev/zero |";
    for (source, status) in [(broken, "400"), (giant, "413")] {
        let socket = node.socket().display().to_string();
        let answer = node.netns.sh(&format!(
            "{source} curl -s -w ' %{{http_code}}' --unix-socket {socket} --data-binary @- \
             http://localhost/v1/ports"
        ));
        assert!(answer.starts_with("{\"error\":") && answer.ends_with(status), "{answer}");
    }
    let of_file = curl("-w ' %{http_code}' -X DELETE http://localhost/v1/ports/vm0");
    assert!(of_file.ends_with(" 409"), "{of_file}");
}

#[test]
fn the_examples_of_the_documentation_work() {
    once();
    let lab = Lab::new(0);
    let node = &lab.node;
    node.netns.sh("ip link add tap8 type veth peer name peer8");
    node.configure(&Lab::file(&[]).replace("n100:", "corp-net:").replace("ports:", ""));
    let _daemon = node.run();
    let text = include_str!("../../../docs/control.md");
    let commands: Vec<&str> = text.lines().filter(|line| line.starts_with("curl ")).collect();
    assert!(commands.len() > 5, "{commands:?}");
    for command in commands {
        let command = command.replacen("curl ", "curl -s --fail-with-body ", 1);
        let socket = node.socket();
        let answer =
            node.netns.sh(&format!("export NETAGENT_SOCKET={}; {command}", socket.display()));
        assert!(!answer.is_empty(), "{command}");
    }
}

/// Compares the kinds of values, and the fields that must be there, with a schema.
fn check(
    document: &serde_json::Value,
    schema: &serde_json::Value,
    value: &serde_json::Value,
    place: &str,
) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        return check(document, &document["components"]["schemas"][name], value, place);
    }
    if let Some(kind) = schema["type"].as_str() {
        let fits = match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            _ => true,
        };
        assert!(fits, "{place}: {value} is not of type {kind}");
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        let required = required.as_str().unwrap();
        assert!(!value[required].is_null() || value.get(required).is_some(), "{place}.{required}");
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            check(document, schema, value, &format!("{place}.{name}"));
        }
    }
    if let Some(values) = value.as_array() {
        values.iter().for_each(|value| check(document, &schema["items"], value, place));
    }
}
