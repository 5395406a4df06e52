//! Warnings about a bond's options.

use super::*;

fn file(bond: &str, rest: &str) -> String {
    let bond = format!("uplink: {{ nics: [eth2, eth3], bond: {{ {bond} }} }}");
    format!("clusterNetworks: {{ oob: {{ {bond}{rest} }} }}\n")
}

fn warned(yaml: &str, code: Code, change: impl FnOnce(&mut Observed)) -> Vec<String> {
    let mut observed = fresh();
    change(&mut observed);
    found(&planned(&desired(yaml), &observed, &ObservedDatapath::default()), code)
}

#[test]
fn arp_target_without_an_address_on_its_link_is_warned_of() {
    let arp = "arpInterval: 1s, arpTargets: [10.0.50.1]";
    let with = |text: &str, address: &str, lower: Option<&str>| {
        let mut link = link(50, Kind::Other(String::new()));
        link.addresses = [(address.parse().unwrap(), Address::default())].into();
        link.lower = lower.map(name);
        (name(text), link)
    };
    let of = |rest: &str, others: &[(IfName, Link)]| {
        warned(&file(arp, rest), Code::ArpTarget, |observed| {
            observed.links.extend(others.iter().cloned());
        })
    };
    let untagged = "oob-bo: no interface of the node on oob-br has an address in the subnet of \
                    10.0.50.1: the kernel asks for it untagged: give the node an address in its VLAN";
    assert_eq!(of("", &[]), [untagged]);
    assert_eq!(of(", host: { vlan: 50, address: 10.0.50.5/24 }", &[]), [""; 0]);
    // The lease is not there yet.
    assert_eq!(of(", host: { vlan: 50, dhcp: v4 }", &[]), [untagged]);
    let leased = with("oob-br.50", "10.0.50.7/24", Some("oob-br"));
    assert_eq!(of(", host: { vlan: 50, dhcp: v4 }", &[leased]), [""; 0]);
    let elsewhere = with("eth9", "10.0.50.9/24", None);
    assert_eq!(
        of("", &[elsewhere]),
        ["oob-bo: the route to 10.0.50.1 is over eth9: the kernel does not ask for it: give the \
             node an address in its VLAN"]
    );
    let local = file("arpInterval: 1s, nsTargets: ['fe80::1']", "");
    assert_eq!(warned(&local, Code::ArpTarget, |_| {}), [""; 0]);
}

#[test]
fn bond_that_replaces_source_addresses_is_warned_of_where_vms_are() {
    let allowed = |mode: &str| format!("mode: {mode}, allowMacRewrite: true");
    for mode in ["balance-tlb", "balance-alb"] {
        let text = format!(
            "oob-bo: mode {mode} replaces the source MAC address of VMs' frames: use \
             active-backup, or 802.3ad with a switch that has LACP"
        );
        let with_vms = OOB.replace("mode: 802.3ad", &allowed(mode));
        assert_eq!(warned(&with_vms, Code::MacRewrite, |_| {}), [text.as_str()]);
        let alone = file(&allowed(mode), "");
        assert_eq!(warned(&alone, Code::MacRewrite, |_| {}), [""; 0], "the node itself");
        let stranger = warned(&alone, Code::MacRewrite, |observed| {
            let mut tap = link(50, Kind::Other("tun".to_owned()));
            tap.controller = Some(name("oob-br"));
            observed.links.insert(name("vnet0"), tap);
        });
        assert_eq!(stranger, [text.as_str()], "a port that no source names");
    }
    assert_eq!(warned(OOB, Code::MacRewrite, |_| {}), [""; 0]);
}
