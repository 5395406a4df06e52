//! The round trip: what is imported from a node is accepted, and its plan changes no link, apart
//! from what the comments explain.

use std::collections::{BTreeMap, BTreeSet};

use netagent_common::vlan::Vid;

use super::{Choices, file};
use crate::{
    bond::{AdSelect, ArpValidate, BondOption, FailOverMac, LacpRate, Mode, XmitHashPolicy},
    change::Change,
    config,
    managers::Managers,
    names::{Cidr, IfName},
    plan::{Permission, plan},
    state::{
        Address, BondState, BridgeState, Kernel, Kind, Link, Observed, ObservedDatapath, Route,
        VlanFlags, sample::link,
    },
};

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// Addresses that do not expire.
fn lasting(addresses: &[&str]) -> BTreeMap<Cidr, Address> {
    addresses.iter().map(|text| (text.parse().unwrap(), Address::default())).collect()
}

/// `ip route add default via 10.0.0.1 dev DEVICE`
fn default_route(device: &str) -> Route {
    let via = "10.0.0.1".parse().unwrap();
    Route { protocol: 3, ..Route::desired(&name(device), Route::everywhere(via), Some(via)) }
}

/// VLANs as `bridge vlan` prints them: `1pu 100 200-202`.
fn vlans(text: &str) -> BTreeMap<Vid, VlanFlags> {
    let mut vlans = BTreeMap::new();
    for word in text.split_whitespace() {
        let numbers = word.trim_end_matches(['p', 'u']);
        let flags = VlanFlags { pvid: word.contains('p'), untagged: word.contains('u') };
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let (first, last): (u16, u16) = (first.parse().unwrap(), last.parse().unwrap());
        vlans.extend((first..=last).map(|vid| (Vid::new(vid).unwrap(), flags)));
    }
    vlans
}

/// A node, made link by link.
struct Node(Observed);

impl Node {
    fn new() -> Self {
        let kernel =
            Kernel { bonding: true, vlan_devices: true, bridge: true, vlan_filtering: true };
        Self(Observed { kernel, ..Observed::default() })
    }

    fn add(mut self, text: &str, kind: Kind, change: impl FnOnce(&mut Link)) -> Self {
        let index = u32::try_from(self.0.links.len()).unwrap() + 2;
        let mut link = link(index, kind);
        change(&mut link);
        self.0.links.insert(name(text), link);
        self
    }

    fn port(self, text: &str, kind: &str, controller: &str, vids: &str) -> Self {
        self.add(text, Kind::Other(kind.to_owned()), |link| {
            link.controller = (!controller.is_empty()).then(|| name(controller));
            link.vlans = vlans(vids);
        })
    }

    fn bridge(self, text: &str, filtering: bool, own: &str, addresses: &[&str]) -> Self {
        let state =
            BridgeState { vlan_filtering: Some(filtering), default_pvid: Some(0), snooping: None };
        self.add(text, Kind::Bridge(state), |link| {
            link.vlans = vlans(own);
            link.addresses = lasting(addresses);
        })
    }

    fn vlan(self, text: &str, parent: &str, vid: u16, addresses: &[&str]) -> Self {
        let kind = Kind::Vlan { parent: Some(name(parent)), vid: Vid::new(vid).unwrap() };
        self.add(text, kind, |link| {
            link.addresses = lasting(addresses);
        })
    }

    fn bond(self, text: &str, controller: &str, vids: &str, options: Vec<BondOption>) -> Self {
        let mut all = options;
        let mode = all.iter().find_map(|option| match option {
            BondOption::Mode(mode) => Some(*mode),
            _ => None,
        });
        // The kernel reports every option.
        let defaults = BondOption::defaults(mode.unwrap()).into_iter();
        for default in defaults.chain([BondOption::Miimon(0), BondOption::ArpInterval(0)]) {
            if !all.iter().any(|option| option.same_option(&default)) {
                all.push(default);
            }
        }
        let state = BondState { options: all, ..BondState::default() };
        self.add(text, Kind::Bond(state), |link| {
            link.controller = Some(name(controller));
            link.vlans = vlans(vids);
        })
    }

    fn import(&self, choices: &Choices) -> String {
        file(&self.0, &ObservedDatapath::default(), &Managers::default(), choices)
    }

    /// The changes of links that the imported file would make.
    fn changes(&self, text: &str) -> Vec<String> {
        let config =
            config::parse(text, "imported").unwrap_or_else(|error| panic!("{error}\n{text}"));
        let nothing = ObservedDatapath::default();
        let plan = plan(&config.desired(), &self.0, &nothing, &Permission::default());
        let steps = plan.units.iter().flat_map(|unit| &unit.steps);
        let links = steps.filter_map(|step| match &step.change {
            Change::Link(change) => Some(change.to_string()),
            Change::Datapath(_) => None,
        });
        links.collect()
    }
}

/// A node with a NIC without a bond and a bridge that does not filter.
fn plain() -> Node {
    let mut node = Node::new()
        .port("eth0", "", "vmbr0", "1pu")
        .port("eth9", "", "", "")
        .bridge("vmbr0", false, "", &["192.0.2.5/24", "2001:db8::5/64"])
        .port("tap1", "tun", "vmbr0", "1pu")
        .port("veth2", "veth", "vmbr0", "1pu")
        .vlan("vmbr0.7", "vmbr0", 7, &["10.7.0.1/24"]);
    // As the kernel makes it.
    let state = BridgeState { vlan_filtering: Some(false), default_pvid: Some(1), snooping: None };
    node.0.links.get_mut(&name("vmbr0")).unwrap().kind = Kind::Bridge(state);
    node
}

/// Harvester's management network, and a network of VMs.
fn harvester() -> Node {
    let mgmt = vec![
        BondOption::Mode(Mode::ActiveBackup),
        BondOption::Miimon(100),
        BondOption::Primary(Some(name("eno1"))),
        BondOption::FailOverMac(FailOverMac::Follow),
        BondOption::NumGratArp(5),
    ];
    let lacp = vec![
        BondOption::Mode(Mode::Lacp),
        BondOption::Miimon(50),
        BondOption::Updelay(200),
        BondOption::Downdelay(100),
        BondOption::XmitHashPolicy(XmitHashPolicy::Layer34),
        BondOption::LacpRate(LacpRate::Fast),
        BondOption::AdSelect(AdSelect::Bandwidth),
        BondOption::MinLinks(2),
    ];
    Node::new()
        .port("eno1", "", "mgmt-bo", "")
        .port("eno2", "", "mgmt-bo", "")
        .bond("mgmt-bo", "mgmt-br", "1pu 2021", mgmt)
        .bridge("mgmt-br", true, "1pu 2021", &[])
        .vlan("mgmt-br.2021", "mgmt-br", 2021, &["10.115.1.5/24"])
        .port("eno3", "", "bond7", "")
        .port("eno4", "", "bond7", "")
        .bond("bond7", "br-storage", "1pu 50 100-102 2021", lacp)
        .bridge("br-storage", true, "", &[])
        .port("tap50", "tun", "br-storage", "50pu")
        .port("tap51", "tun", "br-storage", "50pu")
        .port("tap60", "tun", "br-storage", "100-102")
        .port("tap61", "tun", "br-storage", "1pu 100-102")
        .port("tap62", "tun", "br-storage", "100p 101")
}

/// Bonds with ARP monitoring, without any, and in other modes; NICs with VLANs beneath bridges.
fn others() -> Node {
    let arp = vec![
        BondOption::Mode(Mode::BalanceXor),
        BondOption::ArpInterval(500),
        BondOption::ArpTargets(vec!["10.3.0.8".parse().unwrap(), "10.3.0.9".parse().unwrap()]),
        BondOption::NsTargets(vec!["fd00::1".parse().unwrap()]),
        BondOption::ArpValidate(ArpValidate::All),
        BondOption::XmitHashPolicy(XmitHashPolicy::VlanSrcmac),
    ];
    let mut node = Node::new()
        .port("eth0", "", "bond0", "")
        .bond("bond0", "br0", "300 400", arp)
        .bridge("br0", true, "300", &[])
        .vlan("br0.300", "br0", 300, &["10.3.0.1/24", "10.3.0.2/24"])
        .port("eth1", "", "", "")
        .vlan("eth1.7", "eth1", 7, &[])
        .bridge("lan_%x", false, "", &[])
        .port("eth2", "", "BR-LONG-NAME-15", "9pu 10")
        .bridge("BR-LONG-NAME-15", true, "9pu", &["10.9.0.1/24"]);
    node.0.links.get_mut(&name("eth1.7")).unwrap().controller = Some(name("lan_%x"));
    for link in ["bond0", "br0"] {
        let link = node.0.links.get_mut(&name(link)).unwrap();
        (link.mtu, link.txqlen) = (9000, 5000);
    }
    node
}

#[test]
fn the_plan_of_an_imported_file_changes_no_link() {
    for (title, node) in [("plain", plain()), ("harvester", harvester())] {
        let text = node.import(&Choices::default());
        assert_eq!(node.changes(&text), [""; 0], "{title}:\n{text}");
        assert_eq!(text, node.import(&Choices::default()), "deterministic");
    }
    // A bridge with a '%' in its name is none that netagent can have.
    let mut node = others();
    let text = node.import(&Choices::default());
    assert!(text.contains("must be corrected first") && text.contains("'%'"), "{text}");
    node.0.links.remove(&name("lan_%x"));
    let text = node.import(&Choices::default());
    assert_eq!(node.changes(&text), [""; 0], "{text}");
}

#[test]
fn an_address_that_expires_becomes_dhcp() {
    let mut node = plain();
    let link = node.0.links.get_mut(&name("vmbr0")).unwrap();
    for (cidr, address) in &mut link.addresses {
        address.until = cidr.address.is_ipv4().then_some(4000);
    }
    let text = node.import(&Choices::default());
    assert!(text.contains("      - { address: \"2001:db8::5/64\", dhcp: v4 }\n"), "{text}");
    assert_eq!(node.changes(&text), [""; 0], "{text}");
}

#[test]
fn bridge_without_filter() {
    insta::assert_snapshot!(plain().import(&Choices::default()));
}

#[test]
fn bonds_and_vlans() {
    insta::assert_snapshot!(harvester().import(&Choices::default()));
}

#[test]
fn what_cannot_be_expressed_is_left_out_and_named() {
    let node = Node::new()
        .port("eth0", "", "br0", "1pu 100-130")
        .port("eth1", "", "br1", "1pu")
        .port("eth2", "", "br1", "1pu")
        .bridge("br0", true, "5pu", &["10.0.0.5/24"])
        .bridge("br1", true, "", &[])
        .bridge("virbr0", false, "", &["192.168.122.1/24"])
        .port("tap1", "tun", "br0", "100pu 101u")
        .port("tap2", "tun", "br0", "")
        .port("tap3", "tun", "br0", "100pu")
        .port("vx4", "vxlan", "br0", "100pu")
        .vlan("office", "br0", 110, &["10.1.0.1/24"])
        .vlan("br0.120", "br0", 120, &["10.2.0.1/24"])
        .vlan("br0.121", "br0", 121, &["10.3.0.1/24"])
        .vlan("br0.122", "br0", 122, &[]);
    let text = node.import(&Choices::default());
    for part in [
        "tap1 on br0: VLAN 101 leaves untagged",
        "tap2 on br0: has no VLAN",
        "vx4 on br0: is not a tap or veth",
        "the addresses of br0: its own PVID is 5, and that of its uplink 1",
        "office: the interface of VLAN 110 must be br0.110",
        "    host:\n      - { vlan: 120, address: 10.2.0.1/24 }\n      - { vlan: 121, address: 10.3.0.1/24 }\n",
        "br0.122: has no address",
        "bridge br1: has several ports that could be its uplink: choose one by --uplink eth1 or",
        "bridge virbr0: has no uplink; netagent import --bridge virbr0",
        "trunk: \"101-119,122-130\" }  # no port has it now",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    // The VLANs of the interfaces that are expressed.
    let added = [120, 121].map(|vid| format!("bridge vlan add dev br0 vid {vid} self"));
    assert_eq!(node.changes(&text), added, "{text}");
    let choices = Choices {
        uplinks: BTreeSet::from([name("eth2")]),
        bridges: BTreeSet::from([name("br1"), name("virbr0")]),
    };
    let text = node.import(&choices);
    assert!(text.contains("nics: [eth2]") && text.contains("  virbr0:\n"), "{text}");
    assert_eq!(node.changes(&text), [""; 0], "{text}");
}

#[test]
fn each_difference_that_is_left_is_explained() {
    let mode = vec![BondOption::Mode(Mode::BalanceRr)];
    let mut node = Node::new()
        .port("eth0", "", "oob-bo", "")
        .bond("oob-bo", "oob-br", "1pu", mode)
        .bridge("oob-br", true, "", &[])
        .port("tap1", "tun", "oob-br", "100pu")
        .port("tap2", "tun", "oob-br", "1pu");
    let bridge = node.0.links.get_mut(&name("oob-br")).unwrap();
    bridge.kind = Kind::Bridge(BridgeState {
        vlan_filtering: Some(true),
        default_pvid: Some(1),
        snooping: None,
    });
    let text = node.import(&Choices::default());
    let (_, left) = text.split_once("# What netagent changes at the first apply:\n").unwrap();
    insta::assert_snapshot!(left);
    for change in node.changes(&text) {
        assert!(left.contains(&format!("# - {change}: ")), "{change}: {left}");
    }
}

#[test]
fn what_needs_confirmation_and_what_is_not_read_is_said() {
    // A bond without a link check gets one.
    let mut node = Node::new()
        .port("eth0", "", "oob-bo", "")
        .bond("oob-bo", "oob-br", "1pu", vec![BondOption::Mode(Mode::BalanceRr)])
        .bridge("oob-br", true, "1pu", &["10.0.0.5/24"]);
    node.0.routes.insert(default_route("oob-br"));
    let text = node.import(&Choices::default());
    assert!(
        text.contains("\n# - oob-bo carries the node itself: apply needs --confirm oob-bo\n"),
        "{text}"
    );
    assert!(text.contains("gateway: 10.0.0.1"), "{text}");
    let node = plain();
    let mut datapath = ObservedDatapath::default();
    datapath.ports.insert(name("tap1"), crate::state::ObservedPort::default());
    let text = file(&node.0, &datapath, &Managers::default(), &Choices::default());
    assert!(text.contains("keep the file that they come from"), "{text}");
}
