//! Reading links again after changes of VLANs and bonds.

use netagent_common::vlan::Vid;

use crate::{
    bond::{BondOption, Mode},
    change::LinkChange,
    netlink::tests::{again::Follower, in_namespace, name},
    state::VlanFlags,
};

const TAGGED: VlanFlags = VlanFlags { pvid: false, untagged: false };
const NATIVE: VlanFlags = VlanFlags { pvid: true, untagged: true };

fn vid(number: u16) -> Vid {
    Vid::new(number).unwrap()
}

#[test]
#[ignore = "needs root and a kernel with everything"]
fn vlans_of_ports_and_bridges_are_followed() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.add_veth("vm0", "vm0-peer").await;
            netlink.add_veth("vm1", "vm1-peer").await;
            netlink
                .apply_all([
                    LinkChange::AddBridge(name("br"), Some(true)),
                    LinkChange::AddPort(name("vm0"), name("br")),
                    LinkChange::AddPort(name("vm1"), name("br")),
                ])
                .await;
            let mut follower = Follower::new(netlink).await;
            let add =
                |first, last, flags| LinkChange::AddVids(name("vm0"), vid(first), vid(last), flags);
            for (change, link) in [
                (add(10, 10, TAGGED), "vm0"),
                (add(1, 1, NATIVE), "vm0"),
                (add(200, 299, TAGGED), "vm0"),
                // The PVID moves.
                (add(10, 10, NATIVE), "vm0"),
                (add(1, 1, TAGGED), "vm0"),
                (LinkChange::RemoveVids(name("vm0"), vid(210), vid(220)), "vm0"),
                // A PVID whose tag is kept, and a VID that follows it.
                (add(300, 300, VlanFlags { pvid: true, untagged: false }), "vm0"),
                (add(301, 301, TAGGED), "vm0"),
                (LinkChange::AddSelfVid(name("br"), vid(10), TAGGED), "br"),
                (LinkChange::AddSelfVid(name("br"), vid(1), NATIVE), "br"),
                (LinkChange::RemoveSelfVid(name("br"), vid(1)), "br"),
                (LinkChange::SetFiltering(name("br"), false), "br"),
                // The bridge adds this VLAN to all ports.
                (LinkChange::SetDefaultPvid(name("br"), 7), "vm1"),
                (LinkChange::SetDefaultPvid(name("br"), 0), "vm1"),
                (LinkChange::AddVlan(name("br.10"), name("br"), vid(10)), "br.10"),
            ] {
                let text = change.to_string();
                let named = follower.follow(change).await;
                assert!(named.contains(&follower.index(link)), "{text}: {named:?}");
            }
            follower.follow(LinkChange::Delete(name("br.10"))).await;
            follower.follow(LinkChange::Release(name("vm0"))).await;
            follower.follow(LinkChange::Delete(name("br"))).await;
        })
    });
}

#[test]
#[ignore = "needs root and a kernel with everything"]
fn bonds_and_their_members_are_followed() {
    in_namespace(|netlink| {
        Box::pin(async move {
            netlink.add_veth("nic0", "sw0").await;
            netlink.add_veth("nic1", "sw1").await;
            netlink
                .apply_all([LinkChange::SetUp(name("sw0")), LinkChange::SetUp(name("sw1"))])
                .await;
            let mut follower = Follower::new(netlink).await;
            let options = vec![BondOption::Mode(Mode::ActiveBackup), BondOption::Miimon(50)];
            for change in [
                LinkChange::AddBond(name("bo"), options),
                LinkChange::SetUp(name("bo")),
                LinkChange::AddMember(name("nic0"), name("bo")),
                LinkChange::AddMember(name("nic1"), name("bo")),
                LinkChange::SetBondOption(name("bo"), BondOption::Miimon(100)),
                LinkChange::SetBondOption(name("bo"), BondOption::Primary(Some(name("nic1")))),
                LinkChange::SetDown(name("sw1")),
                LinkChange::SetUp(name("sw1")),
                LinkChange::Release(name("nic1")),
                LinkChange::Delete(name("bo")),
            ] {
                follower.follow(change).await;
            }
        })
    });
}
