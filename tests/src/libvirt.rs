//! Debian's libvirtd with netagent's hook, and QEMU without libvirt. The guests run without KVM,
//! and say on their console what they reach.

mod guest;
mod host;

use serde_json::Value;

use self::{
    guest::{Beat, Guest},
    host::{Host, lab},
};
use crate::{
    lab::{seen, succeeded, wait_for},
    once,
};

const MAC: &str = "52:54:00:00:00:01";

/// The guest of the lab is in VLAN 100 only.
fn is_in_vlan_100(guest: &Guest) {
    guest.wait_for_beat("it has an address, and reaches VLAN 100 only", |beat| {
        *beat
            == Beat {
                number: beat.number,
                carrier: true,
                address: "10.0.0.50".to_owned(),
                reaches: [true, false, false],
            }
    });
}

#[test]
fn a_domain_gets_its_ports_by_the_hook_and_loses_them_when_it_stops() {
    once();
    let Some(lab) = lab("") else { return };
    let host = Host::start(&lab, "libvirt");
    let daemon = lab.node.run();
    let guest = Guest::new(&host, "one");
    let interface = format!("<interface type='ethernet'><mac address='{MAC}'/></interface>");
    let port = format!("<n:port mac='{MAC}' network='n100' onlyMac='yes'/>");
    host.virsh(&format!("create {}", guest.domain(&port, &interface)));
    let device = host.device("one", MAC);
    assert_eq!(lab.ports(), [format!("{device} n100 control socket Ready")]);
    let kept = || std::fs::read_to_string(lab.node.socket().with_file_name("ports.json")).unwrap();
    assert!(kept().contains(&format!("\"macs\":[\"{MAC}\"]")), "{}", kept());
    // A start that cannot have its ports is refused, and leaves nothing.
    let refused = Guest::new(&host, "two");
    let ports = "<n:port mac='52:54:00:00:00:02' network='n100'/>
                 <n:port mac='52:54:00:00:00:03' network='n300'/>";
    let two = ["02", "03"].map(|last| interface.replace(":01'", &format!(":{last}'"))).concat();
    let said = host.refused(&format!("create {}", refused.domain(ports, &two)));
    let reason = "for network n300: port vnet2: network: there is no network \"n300\"; defined: \
                  n100, n200";
    assert!(said.contains("domain two: vnet2") && said.contains(reason), "{said}");
    assert_eq!(lab.ports().len(), 1);

    is_in_vlan_100(&guest);
    lab.station(100).sh("ping -c 1 -W 2 10.0.0.50");
    assert!(!lab.station(200).output("ping -c 1 -W 1 10.0.0.50").status.success());
    let drops = lab.node.drops();
    assert!(drops[&(device.clone(), "vlan-not-allowed".to_owned())] > 0, "{drops:?}");

    set_link_down_and_up(&lab, &host, &guest, &device);

    // libvirtd starts without the agent. A hook that fails would kill the VM.
    daemon.kill();
    host.restart_libvirtd();
    assert!(host.virsh("list --name").contains("one"));
    let _daemon = lab.node.run();
    lab.node.ok(&format!("port del {device}"));
    assert_eq!(lab.ports(), [""; 0]);
    host.restart_libvirtd();
    assert_eq!(lab.ports(), [format!("{device} n100 control socket Ready")]);
    // The operator has moved it: a restart of libvirtd does not move it back.
    lab.node.ok(&format!("port add {device} --network n200"));
    host.restart_libvirtd();
    assert_eq!(lab.ports(), [format!("{device} n200 control socket Ready")]);
    host.virsh("destroy one");
    wait_for("its port is gone", || seen(lab.ports(), lab.ports().is_empty()));
    assert_eq!(kept(), "[]");
    // The tap of the operator stays, and is unplugged.
    lab.node.netns.sh("ip tuntap add tap9 mode tap && ip link set tap9 up");
    let target = "<target dev='tap9' managed='no'/></interface>";
    let interface = interface.replace("</interface>", target);
    let third = Guest::new(&host, "three");
    host.virsh(&format!("create --paused {}", third.domain(&port, &interface)));
    assert_eq!(lab.ports(), ["tap9 n100 control socket Ready"]);
    host.virsh("destroy three");
    wait_for("its port is gone", || seen(lab.ports(), lab.ports().is_empty()));
    assert_eq!(lab.node.netns.link("tap9")["master"], Value::Null);
    assert_eq!(lab.node.netns.link("tap9")["ifname"], "tap9");
}

/// `virsh domif-setlink`: the tap stays up, and QEMU drops the frames of both directions.
fn set_link_down_and_up(lab: &host::Lab, host: &Host, guest: &Guest, device: &str) {
    let flags = || lab.node.netns.link(device)["flags"].clone();
    let (up, history) = (flags(), lab.node.ok("history"));
    assert!(up.to_string().contains("LOWER_UP"), "{up}");
    host.virsh(&format!("domif-setlink one {MAC} down"));
    let after = guest.wait_for_beat("no carrier", |beat| !beat.carrier && !beat.reaches[0]);
    let received = lab.node.packets(device, "100").0;
    assert!(!lab.station(100).output("ping -c 2 -W 1 10.0.0.50").status.success());
    guest.wait_for_beat("more time without a carrier", |beat| beat.number > after.number + 1);
    assert_eq!(lab.node.packets(device, "100").0, received, "no frame came from the guest");
    assert_eq!(flags(), up, "the tap of the node is as it was");
    assert_eq!(lab.node.ok("history"), history, "netagent has done nothing");
    host.virsh(&format!("domif-setlink one {MAC} up"));
    is_in_vlan_100(guest);
    // A tap that somebody sets down stays down, until somebody sets it up.
    lab.node.netns.sh(&format!("ip link set {device} down"));
    wait_for("the finding", || {
        let text = lab.node.ok("status");
        let found = text.contains("was set down after it was plugged in");
        seen(text, found)
    });
    assert_ne!(flags(), up);
    lab.node.netns.sh(&format!("ip link set {device} up"));
    wait_for("the tap is up", || seen(flags(), flags() == up));
    is_in_vlan_100(guest);
}

#[test]
fn the_taps_of_domains_without_metadata_are_those_of_a_pattern() {
    once();
    let Some(lab) = lab("  - { device: \"vnet*\", network: n100 }\n") else { return };
    let host = Host::start(&lab, "libvirt");
    let _daemon = lab.node.run();
    lab.node.netns.sh("ip link add virbr0 type bridge && ip link set virbr0 up");
    let guest = Guest::new(&host, "one");
    let interfaces = "
        <interface type='ethernet'><mac address='52:54:00:00:00:01'/></interface>
        <interface type='bridge'><source bridge='virbr0'/>
          <mac address='52:54:00:00:00:02'/></interface>
        <interface type='bridge'><source bridge='lab-br'/>
          <mac address='52:54:00:00:00:03'/></interface>";
    host.virsh(&format!("create --paused {}", guest.domain("", interfaces)));
    let of_pattern =
        |device: &str| format!("{device} n100 {}:9:5 (vnet*) Ready", lab.node.config());
    let wanted = vec![of_pattern("vnet0"), of_pattern("vnet2")];
    wait_for("its ports", || seen(lab.ports(), lab.ports() == wanted));
    let master = |device: &str| lab.node.netns.link(device)["master"].clone();
    assert_eq!(["vnet0", "vnet1", "vnet2"].map(master), ["lab-br", "virbr0", "lab-br"]);
    let history = lab.node.ok("history");
    assert!(!history.contains("vnet1"), "{history}");
    // libvirt has no hook for interfaces that come later.
    let more = guest.file(
        "more.xml",
        "<interface type='ethernet'><mac address='52:54:00:00:00:04'/></interface>",
    );
    host.virsh(&format!("attach-device one {more}"));
    wait_for("its port", || seen(lab.ports(), lab.ports().contains(&of_pattern("vnet3"))));
    host.virsh("destroy one");
    wait_for("no ports", || seen(lab.ports(), lab.ports().is_empty()));
}

#[test]
fn a_guest_of_qemu_alone_has_the_tap_of_a_pattern() {
    once();
    let Some(lab) = lab("  - { device: \"vm?\", network: n100 }\n") else { return };
    let host = Host::start(&lab, "qemu");
    let _daemon = lab.node.run();
    let guest = Guest::new(&host, "one");
    lab.node.netns.sh("ip tuntap add vm1 mode tap && ip link set vm1 up");
    let _qemu = guest.start_qemu("vm1");
    is_in_vlan_100(&guest);
    let status: Value = serde_json::from_str(&lab.node.ok("status -j")).unwrap();
    assert_eq!(status["ready"], true, "{status}");
    // The tap stays when QEMU ends.
    wait_for("the pattern keeps it", || {
        succeeded(&lab.node.netns.output("ip link show vm1"))?;
        let ports = lab.ports();
        let kept = ports.len() == 1 && ports[0].starts_with("vm1 n100 ");
        seen(ports, kept)
    });
}
