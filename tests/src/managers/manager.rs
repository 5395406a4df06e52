//! The managers: their files for a node with a bridge, and how they are started.

use crate::lab::Netns;

/// A manager.
pub struct Manager {
    pub name: &'static str,
    /// The devices that it has.
    pub devices: &'static [&'static str],
    /// Its files, by path without the first slash.
    pub files: &'static [(&'static str, &'static str)],
    /// The processes, one after the other, and what succeeds when each is at work.
    pub start: &'static [[&'static str; 2]],
    /// What an operator types so that it does all again.
    pub reload: &'static [&'static str],
    /// Whether it says of a device that it manages it.
    pub manages: fn(&Netns, &str) -> bool,
}

/// It is at work when each device is configured or unmanaged.
const NETWORKD_STARTS: [&str; 2] = [
    "rm -rf /run/systemd/netif/links/*
     exec $(command -v systemd-networkd || echo /lib/systemd/systemd-networkd)",
    "test $(cat /run/systemd/netif/links/* | grep -Ec 'ADMIN_STATE=(configured|unm)') \
     = $(ip -o link | wc -l)",
];

fn networkd_manages(netns: &Netns, name: &str) -> bool {
    let index = netns.link(name)["ifindex"].clone();
    let line = format!("grep -q ADMIN_STATE=configured /run/systemd/netif/links/{index}");
    netns.output(&line).status.success()
}

/// systemd-networkd with a bond of two NICs beneath a bridge that filters VLANs.
pub const NETWORKD_WITH_BOND: Manager = Manager {
    devices: &["bond0", "br0", "eth0", "eth1"],
    files: &[
        (
            "etc/systemd/network/10-bond0.netdev",
            "[NetDev]\nName=bond0\nKind=bond\n[Bond]\nMode=active-backup\nMIIMonitorSec=100ms\n",
        ),
        (
            "etc/systemd/network/10-br0.netdev",
            "[NetDev]\nName=br0\nKind=bridge\n[Bridge]\nVLANFiltering=yes\n",
        ),
        ("etc/systemd/network/20-eth.network", "[Match]\nName=eth0 eth1\n[Network]\nBond=bond0\n"),
        ("etc/systemd/network/25-bond0.network", "[Match]\nName=bond0\n[Network]\nBridge=br0\n"),
        NETWORKD.files[2],
    ],
    ..NETWORKD
};

/// systemd-networkd, without D-Bus.
pub const NETWORKD: Manager = Manager {
    name: "systemd-networkd",
    devices: &["br0", "eth0"],
    files: &[
        ("etc/systemd/network/10-br0.netdev", "[NetDev]\nName=br0\nKind=bridge\n"),
        ("etc/systemd/network/20-eth0.network", "[Match]\nName=eth0\n[Network]\nBridge=br0\n"),
        (
            "etc/systemd/network/30-br0.network",
            "[Match]\nName=br0\n[Network]\nAddress=10.9.0.5/24\nGateway=10.9.0.1\n\
             LinkLocalAddressing=no\nIPv6AcceptRA=no\n",
        ),
    ],
    start: &[NETWORKD_STARTS],
    reload: &[],
    manages: networkd_manages,
};

/// NetworkManager, with a D-Bus of its own.
pub const NETWORK_MANAGER: Manager = Manager {
    name: "NetworkManager",
    devices: &["br0", "eth0"],
    files: &[
        (
            "etc/dbus.conf",
            "<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen>\
             <auth>EXTERNAL</auth><policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>\
             <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/></policy>\
             </busconfig>\n",
        ),
        (
            "etc/NetworkManager/NetworkManager.conf",
            "[main]\nplugins=keyfile\ndns=none\nrc-manager=unmanaged\n",
        ),
        (
            "etc/NetworkManager/system-connections/br0.nmconnection",
            "[connection]\nid=br0\ntype=bridge\ninterface-name=br0\n[bridge]\nstp=false\n\
             [ipv4]\nmethod=manual\naddress1=10.9.0.5/24,10.9.0.1\n[ipv6]\nmethod=disabled\n",
        ),
        (
            "etc/NetworkManager/system-connections/eth0.nmconnection",
            "[connection]\nid=eth0\ntype=ethernet\ninterface-name=eth0\nmaster=br0\n\
             slave-type=bridge\n",
        ),
    ],
    start: &[
        [
            "rm -rf /run/dbus/*; exec dbus-daemon --config-file=/etc/dbus.conf --nofork",
            "test -S /run/dbus/system_bus_socket",
        ],
        ["exec NetworkManager --no-daemon", "test \"$(nmcli -g STARTUP general)\" = started"],
    ],
    reload: &["nmcli general reload", "nmcli connection reload"],
    manages: |netns, name| {
        let output = netns.output(&format!("nmcli -g GENERAL.STATE device show {name}"));
        String::from_utf8_lossy(&output.stdout).contains("(connected)")
    },
};

/// ifupdown, which has no process of its own.
pub const IFUPDOWN: Manager = Manager {
    name: "ifupdown",
    devices: &["br0", "eth0"],
    files: &[(
        "etc/network/interfaces",
        "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet manual\nauto br0\n\
         iface br0 inet static\n  address 10.9.0.5/24\n  gateway 10.9.0.1\n  bridge_ports eth0\n  \
         bridge_stp off\n  bridge_fd 0\n",
    )],
    start: &[["ifup -a && touch /run/started", "test -e /run/started"]],
    reload: &["ifup -a", "ifup --force -a"],
    manages: |netns, name| {
        let state = netns.output("cat /run/network/ifstate");
        String::from_utf8_lossy(&state.stdout).contains(&format!("{name}={name}"))
    },
};
