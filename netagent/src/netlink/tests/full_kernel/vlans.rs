//! VLAN-aware bridges and VLAN interfaces.

use std::{collections::BTreeMap, time::Duration};

use netagent_common::vlan::Vid;

use crate::{
    change::LinkChange,
    netlink::{
        Watch,
        tests::{cidr, in_namespace, name},
    },
    state::{BridgeState, Kind, Snooping, VlanFlags},
};

const TAGGED: VlanFlags = VlanFlags { pvid: false, untagged: false };
const NATIVE: VlanFlags = VlanFlags { pvid: true, untagged: true };

fn vid(number: u16) -> Vid {
    Vid::new(number).unwrap()
}

#[test]
#[ignore = "needs root and a kernel with everything"]
fn a_vlan_aware_bridge_has_exactly_the_configured_vids() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.add_veth("vm0", "vm0-peer").await;
            netlink
                .apply_all([
                    LinkChange::AddBridge(name("br"), Some(true)),
                    LinkChange::AddPort(name("vm0"), name("br")),
                ])
                .await;
            let bridge = netlink.link_now("br").await;
            let snooping = Some(Snooping::Bridge);
            let state = BridgeState { vlan_filtering: Some(true), default_pvid: Some(0), snooping };
            assert_eq!(bridge.kind, Kind::Bridge(state));
            assert!(bridge.is_owned() && bridge.up && bridge.vlans.is_empty(), "{bridge:?}");
            assert_eq!(netlink.link_now("vm0").await.vlans, BTreeMap::new(), "no VLAN 1");

            let untagged = VlanFlags { pvid: false, untagged: true };
            let tagged_pvid = VlanFlags { pvid: true, untagged: false };
            let add =
                |first, last, flags| LinkChange::AddVids(name("vm0"), vid(first), vid(last), flags);
            let added = [add(1, 1, NATIVE), add(100, 100, untagged), add(200, 299, TAGGED)];
            let expected: BTreeMap<Vid, VlanFlags> = [(vid(1), NATIVE), (vid(100), untagged)]
                .into_iter()
                .chain((200..=299).map(|number| (vid(number), TAGGED)))
                .collect();
            for _ in 0..2 {
                netlink.apply_all(added.clone()).await;
                assert_eq!(netlink.link_now("vm0").await.vlans, expected);
            }
            netlink
                .apply_all([
                    LinkChange::RemoveVids(name("vm0"), vid(200), vid(298)),
                    LinkChange::RemoveVids(name("vm0"), vid(100), vid(100)),
                    // The PVID moves, and VLAN 1 keeps the flags with which it is added again.
                    add(299, 299, tagged_pvid),
                    add(1, 1, TAGGED),
                ])
                .await;
            let expected = BTreeMap::from([(vid(1), TAGGED), (vid(299), tagged_pvid)]);
            assert_eq!(netlink.link_now("vm0").await.vlans, expected);

            netlink
                .apply_all([
                    LinkChange::AddSelfVid(name("br"), vid(10), TAGGED),
                    LinkChange::AddSelfVid(name("br"), vid(1), NATIVE),
                ])
                .await;
            let expected = BTreeMap::from([(vid(1), NATIVE), (vid(10), TAGGED)]);
            assert_eq!(netlink.link_now("br").await.vlans, expected);
            netlink.apply_all([LinkChange::RemoveSelfVid(name("br"), vid(1))]).await;
            let expected = BTreeMap::from([(vid(10), TAGGED)]);
            assert_eq!(netlink.link_now("br").await.vlans, expected);

            netlink
                .apply_all([
                    LinkChange::SetFiltering(name("br"), false),
                    LinkChange::SetDefaultPvid(name("br"), 7),
                ])
                .await;
            let state =
                BridgeState { vlan_filtering: Some(false), default_pvid: Some(7), snooping };
            assert_eq!(netlink.link_now("br").await.kind, Kind::Bridge(state));
        })
    });
}

#[test]
#[ignore = "needs root and a kernel with everything"]
fn a_port_can_have_every_other_vid() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.apply_all([LinkChange::AddBridge(name("br"), Some(true))]).await;
            let expected: BTreeMap<Vid, VlanFlags> =
                (1..=4094).step_by(2).map(|number| (vid(number), TAGGED)).collect();
            for port in ["vm0", "vm1", "vm2"] {
                netlink.add_veth(port, &format!("{port}-peer")).await;
                netlink.apply_all([LinkChange::AddPort(name(port), name("br"))]).await;
                for vid in expected.keys() {
                    let add = LinkChange::AddVids(name(port), *vid, *vid, TAGGED);
                    netlink.apply_all([add]).await;
                }
            }
            let observed = netlink.observe().await.unwrap();
            for port in ["vm0", "vm1", "vm2"] {
                assert_eq!(observed.links[&name(port)].vlans, expected);
            }
        })
    });
}

#[test]
#[ignore = "needs root and a kernel with everything"]
fn a_vlan_interface_has_its_parent_and_its_addresses() {
    in_namespace(|netlink| {
        Box::pin(async move {
            let host = name("br.10");
            let addresses = [cidr("10.0.0.5/24"), cidr("fd00::5/64")];
            netlink
                .apply_all([
                    LinkChange::AddBridge(name("br"), Some(true)),
                    LinkChange::AddSelfVid(name("br"), vid(10), TAGGED),
                    LinkChange::AddVlan(host.clone(), name("br"), vid(10)),
                ])
                .await;
            for address in addresses {
                netlink.apply_all([LinkChange::AddAddress(host.clone(), address)]).await;
            }
            let link = netlink.link_now("br.10").await;
            assert!(link.is_owned() && link.up, "{link:?}");
            assert_eq!(link.kind, Kind::Vlan { parent: Some(name("br")), vid: vid(10) });
            assert_eq!(link.addresses.into_keys().collect::<Vec<_>>(), addresses);
        })
    });
}

#[test]
#[ignore = "needs root and a kernel with everything"]
fn changed_vlans_name_their_port_or_bridge() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.apply_all([LinkChange::AddBridge(name("br"), Some(true))]).await;
            netlink.add_veth("vm0", "vm0-peer").await;
            netlink.apply_all([LinkChange::AddPort(name("vm0"), name("br"))]).await;
            let bridge = netlink.index(&name("br")).await.unwrap();
            let port = netlink.index(&name("vm0")).await.unwrap();
            let mut watch = Watch::open().unwrap();
            for (change, index) in [
                (LinkChange::AddVids(name("vm0"), vid(10), vid(10), NATIVE), port),
                (LinkChange::RemoveVids(name("vm0"), vid(10), vid(10)), port),
                (LinkChange::AddSelfVid(name("br"), vid(10), TAGGED), bridge),
                (LinkChange::RemoveSelfVid(name("br"), vid(10)), bridge),
                (LinkChange::SetFiltering(name("br"), false), bridge),
            ] {
                netlink.apply(&change, None).await.unwrap();
                let seen = tokio::time::timeout(Duration::from_secs(5), watch.changed()).await;
                assert!(seen.unwrap().unwrap().links.contains(&index), "{change}");
            }
        })
    });
}
