//! The pins in bpffs: readable by bpftool, not trusted if somebody else may have made them, removed
//! by detach.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
};

use crate::{
    Feature,
    lab::{seen, wait_for},
    needs, once,
    restart::Lab,
};

#[test]
fn pins_that_somebody_else_may_have_made_are_refused() {
    once();
    let lab = Lab::new();
    let apply = format!("apply -c {}", lab.node.config());
    let pins = &lab.node.pins;
    fs::create_dir(pins).unwrap();
    for (mode, owner) in [(0o777, 0), (0o720, 0), (0o700, 65534)] {
        fs::set_permissions(pins, fs::Permissions::from_mode(mode)).unwrap();
        chown(pins, Some(owner), None).unwrap();
        let complaint = lab.node.refused(&apply);
        assert!(
            complaint.contains(pins.to_str().unwrap()) && complaint.contains("remove it"),
            "{complaint}"
        );
        assert!(lab.node.netns.link("oob-br").is_null(), "no step was taken");
    }
    chown(pins, Some(0), None).unwrap();
    lab.node.ok(&apply);
    lab.assert_filters();
}

#[test]
fn pinned_map_of_another_size_is_refused_and_detach_removes_it() {
    once();
    let lab = Lab::new();
    let apply = format!("apply -c {}", lab.node.config());
    lab.node.ok(&apply);
    let pin = lab.node.pin("maps/DROP_QUOTA");
    lab.node.netns.sh(&format!(
        "rm {pin} && bpftool map create {pin} type array key 4 value 8 entries 7 name DROP_QUOTA"
    ));
    for arguments in [&apply, "show vlans"] {
        let complaint = lab.node.refused(arguments);
        for part in
            ["DROP_QUOTA: value size 8 instead of 4", "entries 7 instead of", "netagent detach"]
        {
            assert!(complaint.contains(part), "{complaint}");
        }
    }
    lab.node.ok("detach");
    lab.node.ok(&apply);
    lab.node.assert_settled();
    lab.assert_filters();
}

#[test]
fn detach_removes_every_program_and_keeps_the_links() {
    let lab = Lab::new();
    lab.node.ok(&format!("apply -c {}", lab.node.config()));
    let links = || {
        let links = lab.node.netns.json("ip -j link");
        let links = links.as_array().unwrap().iter();
        links
            .map(|link| format!("{} {} {}", link["ifname"], link["master"], link["flags"]))
            .collect::<Vec<_>>()
    };
    lab.node.netns.wait_for_carriers();
    let before = links();
    assert!(lab.node.netns.sh("ip link show eth2").contains("xdp"), "XDP is on the uplink");
    lab.node.ok("detach");
    assert_eq!(links(), before);
    assert!(!lab.node.pins.exists());
    // The kernel frees a link that has lost its last pin in a work item, that is, later.
    wait_for("no program is left", || {
        let left = lab.node.netns.sh("ip link; for dev in eth2 a100 a200; do
                tc filter show dev $dev ingress; tc filter show dev $dev egress
             done");
        let none = !["xdp", "port_", "uplink_"].iter().any(|name| left.contains(name));
        seen(left, none)
    });
    assert_eq!(lab.node.ok("detach"), "", "a second detach finds nothing");
}

#[test]
fn links_and_programs_have_names_in_bpftool() {
    let lab = Lab::new();
    lab.node.ok(&format!("apply -c {}", lab.node.config()));
    let show = |what: &str, pin: &str| {
        lab.node.netns.json(&format!("bpftool -j {what} show pinned {}", lab.node.pin(pin)))
    };
    let programs = lab.node.netns.sh(&format!("ls -d {}", lab.node.pin("programs/*")));
    for name in ["uplink_xdp", "uplink_in", "uplink_out", "port_in", "port_out"] {
        let program =
            lab.node.netns.json(&format!("bpftool -j prog show pinned {}/{name}", programs.trim()));
        assert!(program["name"] == name && program["btf_id"].is_u64(), "{program}");
    }
    for name in ["VLAN_STATS", "DROPS", "POLICY", "PORT_INDEX"] {
        let map = show("map", &format!("maps/{name}"));
        assert!(map["name"] == name && map["btf_id"].is_u64(), "{map}");
    }
    let xdp = show("link", "links/eth2/uplink_xdp");
    assert_eq!(xdp["type"], "xdp", "{xdp}");
    if needs(&[Feature::Tcx]) {
        let link = show("link", "links/a100/port_in");
        assert!(link["prog_id"].is_u64(), "{link}");
    }
}
