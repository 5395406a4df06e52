//! One file with every kind of item, and every field of the desired state that it gives.

use netagent_common::vlan::Vid;

use super::{accepted, name, names, vid};
use crate::{
    bond::{BondOption, LacpRate, Mode, XmitHashPolicy},
    state::{Admit, Bond, Bridge, FastPath, Filtering, Host, Port, PriorityTags, Role, Security},
    vids::VidSet,
};

const EXAMPLE: &str = r#"clusterNetworks:
  mgmt:
    uplink:
      nics: [eth0, eth1]
      bond: { mode: active-backup, miimon: 100ms }
    host: { vlan: 10, address: 10.0.0.5/24 }
  oob:
    uplink:
      nics: [eth2, eth3]
      bond: { mode: 802.3ad, lacpRate: fast, xmitHashPolicy: layer3+4 }
      mtu: 9000
      native: 1
networks:
  corp-net:  { clusterNetwork: oob, vlan: 100 }
  lab:       { clusterNetwork: oob, trunk: "200-299,500", native: none }
  plain:     { clusterNetwork: oob }            # untagged: the uplink's native VLAN
ports:
  - { device: tap7, network: corp-net }
metrics: { listen: "127.0.0.1:9469" }
"#;

#[test]
fn a_file_becomes_bonds_bridges_hosts_and_ports() {
    let config = accepted(EXAMPLE);
    let (desired, metrics) = (config.desired(), config.metrics);
    assert_eq!(metrics, Some("127.0.0.1:9469".parse().unwrap()));
    assert_eq!(desired.bonds.keys().collect::<Vec<_>>(), [&name("mgmt-bo"), &name("oob-bo")]);
    let bond = Bond {
        members: names(&["eth2", "eth3"]),
        options: vec![
            BondOption::Mode(Mode::Lacp),
            BondOption::Miimon(100),
            BondOption::XmitHashPolicy(XmitHashPolicy::Layer34),
            BondOption::LacpRate(LacpRate::Fast),
        ],
        mtu: Some(9000),
        txqlen: None,
        mac: None,
    };
    assert_eq!(desired.bonds[&name("oob-bo")], bond);
    assert_eq!(
        desired.bonds[&name("mgmt-bo")].options,
        [BondOption::Mode(Mode::ActiveBackup), BondOption::Miimon(100)]
    );
    let bridge = Bridge {
        segment: "oob".to_owned(),
        filtering: Filtering::Auto,
        snooping: None,
        mtu: Some(9000),
        native: Vid::new(1),
        mac_of: Some(name("oob-bo")),
        promiscuous: false,
    };
    assert_eq!(desired.bridges[&name("oob-br")], bridge);
    assert_eq!(desired.bridges.len(), 2);
    let host = Host {
        bridge: name("mgmt-br"),
        vid: Vid::new(10).unwrap(),
        tagged: true,
        mtu: None,
        addresses: ["10.0.0.5/24".parse().unwrap()].into(),
        routes: <_>::default(),
        metric: None,
        dhcp: <_>::default(),
        accept_ra: None,
        keep_foreign: true,
    };
    assert_eq!(desired.hosts, [(name("mgmt-br.10"), host)].into());
    let uplink = Port {
        origin: "f.yaml:7:3".to_owned(),
        bridge: name("oob-br"),
        network: "oob".to_owned(),
        role: Role::Uplink { nics: names(&["eth2", "eth3"]), xdp: true },
        pvid: vid(1),
        pvid_tagged: false,
        vids: "1,100,200-299,500".parse().unwrap(),
        admit: Admit::All,
        priority_tags: PriorityTags::Never,
        customer_vids: VidSet::default(),
        services: VidSet::default(),
        security: Security::default(),
        fast_path: FastPath::Tc,
        mtu: None,
        hairpin: None,
        port_isolation: None,
        silent: false,
        pod: None,
    };
    assert_eq!(desired.ports[&name("oob-bo")], uplink);
    assert_eq!(desired.ports[&name("mgmt-bo")].vids.to_string(), "1,10");
    let vm = Port {
        origin: "f.yaml:18:5".to_owned(),
        bridge: name("oob-br"),
        network: "corp-net".to_owned(),
        role: Role::Access,
        pvid: vid(100),
        pvid_tagged: false,
        vids: "100".parse().unwrap(),
        admit: Admit::UntaggedAndPriority,
        priority_tags: PriorityTags::Never,
        customer_vids: VidSet::default(),
        services: VidSet::default(),
        security: Security::default(),
        fast_path: FastPath::Tc,
        mtu: None,
        hairpin: None,
        port_isolation: None,
        silent: false,
        pod: None,
    };
    assert_eq!(desired.ports[&name("tap7")], vm);
    assert_eq!(desired.ports.len(), 3);
    assert_eq!(desired.protected, names(&["mgmt-br", "mgmt-bo", "mgmt-br.10"]));
}
