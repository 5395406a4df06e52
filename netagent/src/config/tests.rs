//! Files that are accepted. Files that are refused are in `refused`.

use std::{fs, path::Path};

use netagent_common::vlan::Vid;

use super::{Config, load, parse};
use crate::{
    bond::BondOption,
    names::IfName,
    state::{Admit, Port, Role},
};

mod example;
mod refused;
mod schema;
mod values;

fn accepted(text: &str) -> Config {
    parse(text, "f.yaml").unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn name(name: &str) -> IfName {
    name.parse().unwrap()
}

fn names<C: FromIterator<IfName>>(names: &[&str]) -> C {
    names.iter().map(|one| name(one)).collect()
}

fn vid(vid: u16) -> Option<Vid> {
    Vid::new(vid)
}

/// The options of a bond over eth2 and eth3.
fn options(bond: &str) -> Vec<BondOption> {
    let text =
        format!("clusterNetworks: {{ oob: {{ uplink: {{ nics: [eth2, eth3], bond: {bond} }} }} }}");
    accepted(&text).desired().bonds[&name("oob-bo")].options.clone()
}

/// The only VM port, in a network with the second keys, on an uplink with the first.
fn port(uplink: &str, network: &str) -> Port {
    let text = format!(
        "clusterNetworks: {{ oob: {{ uplink: {{ nics: [eth2], {uplink} }} }} }}\n\
         networks: {{ a: {{ clusterNetwork: oob, {network} }} }}\n\
         ports: [{{ device: tap7, network: a }}]"
    );
    accepted(&text).desired().ports[&name("tap7")].clone()
}

fn uplink(keys: &str) -> Port {
    let text = format!("clusterNetworks: {{ oob: {{ uplink: {{ nics: [eth2], {keys} }} }} }}");
    let mut ports = accepted(&text).desired().ports.into_values();
    ports.next().unwrap()
}

#[test]
fn every_example_is_accepted() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let examples: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|ext| ext == "yaml")).collect();
    assert!(examples.len() >= 3, "{examples:?}");
    for example in examples {
        load(&example).unwrap();
    }
}

#[test]
fn times_are_milliseconds_or_have_a_unit() {
    for (text, millis) in
        [("250ms", 250), ("1s", 1000), ("250", 250), ("\"250\"", 250), ("3600s", 3_600_000)]
    {
        let options = options(&format!("{{ miimon: {text} }}"));
        assert_eq!(options[1], BondOption::Miimon(millis), "{text}");
    }
}

#[test]
fn bond_options_come_in_the_order_of_the_kernel() {
    let names = |bond| options(bond).iter().map(BondOption::name).collect::<Vec<_>>().join(" ");
    assert_eq!(
        names("{ numGratArp: 2, primary: eth3, downdelay: 1s, updelay: 1s, failOverMac: active }"),
        "mode miimon updelay downdelay primary fail_over_mac num_grat_arp"
    );
    assert_eq!(
        names(
            "{ arpTargets: [10.0.0.1, 10.0.0.2], mode: balance-xor, xmitHashPolicy: layer2+3, \
             arpInterval: 1s }"
        ),
        "mode arp_interval arp_ip_target xmit_hash_policy"
    );
    assert_eq!(
        names("{ adSelect: count, lacpRate: fast, minLinks: 2, mode: 802.3ad }"),
        "mode miimon min_links lacp_rate ad_select"
    );
    assert_eq!(
        names("{ arpValidate: all, nsTargets: 'fd00::1', arpInterval: 1s }"),
        "mode arp_interval ns_ip6_target arp_validate"
    );
    // `miimon: 0` is the kernel's default, and so is not an option.
    assert_eq!(
        names("{ arpInterval: 1s, arpTargets: 10.0.0.1, miimon: 0 }"),
        "mode arp_interval arp_ip_target"
    );
}

#[test]
fn lists_of_vids_are_strings_numbers_or_both() {
    for trunk in [
        "\"10-12,20\"",
        "\" 20, 10 - 12 \"",
        "[10, 11, 12, 20]",
        "[10-12, 20]",
        "[\"10-11,20\", 12]",
    ] {
        assert_eq!(
            port("mtu: 1500", &format!("trunk: {trunk}")).vids.to_string(),
            "10-12,20",
            "{trunk}"
        );
    }
    assert_eq!(port("mtu: 1500", "trunk: 20").vids.to_string(), "20");
}

#[test]
fn a_trunk_has_no_native_vlan_by_default() {
    let trunk = port("mtu: 1500", "trunk: 10-12");
    assert_eq!((trunk.role, trunk.pvid, trunk.admit), (Role::Trunk, None, Admit::All));
    let trunk = port("mtu: 1500", "trunk: 10-12, native: 5, nativeTagged: true, admit: tagged");
    assert_eq!((trunk.pvid, trunk.pvid_tagged, trunk.admit), (vid(5), true, Admit::Tagged));
    assert_eq!(trunk.vids.to_string(), "5,10-12");
}

#[test]
fn an_untagged_network_is_the_native_vlan_of_the_uplink() {
    assert_eq!(port("mtu: 1500", "").pvid, vid(1));
    let plain = port("native: 7", "admit: all");
    assert_eq!((plain.role, plain.pvid, plain.admit), (Role::Access, vid(7), Admit::All));
    assert_eq!(plain.vids.to_string(), "7");
}

#[test]
fn an_uplink_without_bond_is_the_nic() {
    let nic = uplink("bond: { mode: none }, mtu: 9000, native: none");
    assert_eq!(nic.role, Role::Uplink { nics: names(&["eth2"]), xdp: true });
    assert_eq!((nic.mtu, nic.pvid, nic.vids.is_empty()), (Some(9000), None, true));
}

#[test]
fn xdp_is_on_by_default() {
    for (keys, expected) in [
        ("mtu: 1500", true),
        ("bond: { mode: balance-xor, xmitHashPolicy: layer2 }", true),
        ("bond: { mode: none }, xdp: auto", true),
        ("xdp: off", false),
        ("bond: { mode: none }, xdp: off", false),
    ] {
        assert!(matches!(uplink(keys).role, Role::Uplink { xdp, .. } if xdp == expected), "{keys}");
    }
}

#[test]
fn a_host_without_vlan_has_its_address_on_the_bridge() {
    let text = "clusterNetworks: { mgmt: { bridge: br0, \
                uplink: { nics: [eth0], native: 3, bond: { mode: none } },\n\
                host: { address: [10.0.0.5/24, 10.0.0.6/24, \"fd00::5/64\"] } } }";
    let desired = accepted(text).desired();
    let host = &desired.hosts[&name("br0")];
    assert_eq!((host.vid.get(), host.tagged, host.addresses.len()), (3, false, 3));
    assert_eq!(desired.protected, names(&["br0", "eth0"]));
}

#[test]
fn metrics_are_served_on_the_loopback_by_default() {
    for (text, expected) in [
        ("ports: []", Some("127.0.0.1:9469")),
        ("metrics: {}", Some("127.0.0.1:9469")),
        ("metrics: { listen: \"[::]:9000\" }", Some("[::]:9000")),
        ("metrics: { listen: none }", None),
    ] {
        assert_eq!(
            accepted(text).metrics.map(|address| address.to_string()).as_deref(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn empty_sections_and_anchors_are_accepted() {
    assert_eq!(
        accepted("clusterNetworks:\nnetworks:\nports:\nmetrics:\n").desired(),
        <_>::default()
    );
    let text = "clusterNetworks:\n  \
                a: { uplink: { nics: [eth0], bond: &fast { mode: 802.3ad, lacpRate: fast } } }\n  \
                b: { uplink: { nics: [eth1], bond: *fast } }\n";
    let bonds = accepted(text).desired().bonds;
    assert_eq!(bonds[&name("a-bo")].options, bonds[&name("b-bo")].options);
}
