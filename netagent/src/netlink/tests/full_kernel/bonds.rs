//! Bonds and their members.

use crate::{
    bond::{AdSelect, ArpValidate, BondOption, FailOverMac, LacpRate, Mode, XmitHashPolicy},
    change::LinkChange,
    names::IfName,
    netlink::{
        Netlink,
        tests::{in_namespace, name},
    },
    state::{BondState, Kind},
};

impl Netlink {
    async fn bond_now(&self, name: &str) -> BondState {
        match self.link_now(name).await.kind {
            Kind::Bond(state) => state,
            kind => panic!("{name} is not a bond: {kind:?}"),
        }
    }

    async fn assert_options(&self, name: &str, expected: &[BondOption]) {
        let reported = self.bond_now(name).await.options;
        for option in expected {
            assert!(reported.contains(option), "{option:?} is not in {reported:?}");
        }
    }

    /// A bond with two members that have a carrier.
    async fn add_bond_of_two(&self, bond: &IfName, options: Vec<BondOption>) {
        self.add_veth("nic0", "sw0").await;
        self.add_veth("nic1", "sw1").await;
        self.apply_all([
            LinkChange::SetUp(name("sw0")),
            LinkChange::SetUp(name("sw1")),
            // A NIC is usually up before.
            LinkChange::SetUp(name("nic0")),
            LinkChange::AddBond(bond.clone(), options),
            LinkChange::AddMember(name("nic0"), bond.clone()),
            LinkChange::AddMember(name("nic1"), bond.clone()),
            LinkChange::SetUp(bond.clone()),
        ])
        .await;
    }
}

#[test]
#[ignore = "needs root and a kernel with everything"]
fn an_802_3ad_bond_reports_the_options_that_it_was_given() {
    in_namespace(|netlink| {
        Box::pin(async move {
            let mut options = vec![
                BondOption::Mode(Mode::Lacp),
                BondOption::Miimon(50),
                BondOption::Updelay(200),
                BondOption::Downdelay(100),
                BondOption::FailOverMac(FailOverMac::None),
                BondOption::XmitHashPolicy(XmitHashPolicy::Layer34),
                BondOption::NumGratArp(3),
                BondOption::MinLinks(1),
                BondOption::LacpRate(LacpRate::Fast),
                BondOption::AdSelect(AdSelect::Bandwidth),
            ];
            netlink.apply_all([LinkChange::AddBond(name("bo"), options.clone())]).await;
            let link = netlink.link_now("bo").await;
            assert!(link.is_owned() && !link.up, "{link:?}");
            netlink.assert_options("bo", &options).await;
            let everything = netlink.bond_now("bo").await.options;

            // Set one by one on another bond, they have the same result.
            netlink.apply_all([LinkChange::AddBond(name("bo2"), vec![])]).await;
            for option in options.drain(..) {
                netlink.apply_all([LinkChange::SetBondOption(name("bo2"), option)]).await;
            }
            assert_eq!(netlink.bond_now("bo2").await.options, everything);
        })
    });
}

#[test]
#[ignore = "needs root and a kernel with everything"]
fn a_bond_can_have_every_mode_and_every_hash_policy() {
    in_namespace(|netlink| {
        Box::pin(async move {
            for mode in Mode::NAMES {
                let option = BondOption::Mode(mode.parse().unwrap());
                netlink.apply_all([LinkChange::AddBond(name("bo"), vec![option.clone()])]).await;
                netlink.assert_options("bo", &[option]).await;
                netlink.apply_all([LinkChange::Delete(name("bo"))]).await;
            }
            netlink.apply_all([LinkChange::AddBond(name("bo"), vec![])]).await;
            let delay = LinkChange::SetBondOption(name("bo"), BondOption::Updelay(100));
            assert!(netlink.error_of(delay).await.contains("miimon above 0"));
            for policy in XmitHashPolicy::NAMES {
                let option = BondOption::XmitHashPolicy(policy.parse().unwrap());
                let set = LinkChange::SetBondOption(name("bo"), option.clone());
                netlink.apply_all([set]).await;
                netlink.assert_options("bo", &[option]).await;
            }
        })
    });
}

#[test]
#[ignore = "needs root and a kernel with everything"]
fn an_active_backup_bond_follows_its_primary() {
    in_namespace(|netlink| {
        Box::pin(async move {
            let bond = name("bo");
            let primary = BondOption::Primary(Some(name("nic1")));
            let options = vec![
                BondOption::Mode(Mode::ActiveBackup),
                BondOption::Miimon(100),
                BondOption::FailOverMac(FailOverMac::Active),
                // Ignored while the bond has no members.
                primary.clone(),
            ];
            netlink.add_bond_of_two(&bond, options.clone()).await;
            let set = LinkChange::SetBondOption(bond.clone(), primary.clone());
            netlink.apply_all([set]).await;
            netlink.assert_options("bo", &options).await;
            let observed = netlink
                .until(|observed| match &observed.links[&bond].kind {
                    Kind::Bond(state) => state.active == Some(name("nic1")),
                    _ => false,
                })
                .await;
            let active = |nic: &str| observed.links[&name(nic)].member.as_ref().unwrap().active;
            assert!(active("nic1") && !active("nic0"));

            let arp = [
                BondOption::Miimon(0),
                BondOption::ArpInterval(250),
                BondOption::ArpTargets(vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()]),
                BondOption::NsTargets(vec!["fd00::1".parse().unwrap()]),
                BondOption::ArpValidate(ArpValidate::Backup),
            ];
            for option in arp.clone() {
                netlink.apply_all([LinkChange::SetBondOption(bond.clone(), option)]).await;
            }
            netlink.assert_options("bo", &arp).await;
        })
    });
}

#[test]
#[ignore = "needs root and a kernel with everything"]
fn a_member_comes_up_and_stays_up_when_it_is_released() {
    in_namespace(|netlink| {
        Box::pin(async move {
            let bond = name("bo");
            let options = vec![BondOption::Mode(Mode::Lacp), BondOption::Miimon(100)];
            netlink.add_bond_of_two(&bond, options).await;
            let nic = name("nic0");
            let observed = netlink
                .until(|observed| {
                    let member = observed.links[&nic].member.as_ref();
                    member.is_some_and(|member| member.mii_up && member.aggregator.is_some())
                })
                .await;
            assert!(observed.links[&nic].up && observed.links[&nic].carrier);
            assert_eq!(observed.ports_of(&bond).count(), 2);
            let Kind::Bond(state) = &observed.links[&bond].kind else { panic!("not a bond") };
            assert_eq!(state.partner.map(|mac| mac.0), Some([0; 6]), "there is no LACP partner");
            assert!(state.aggregated.is_some());

            let error = netlink
                .error_of(LinkChange::SetBondOption(
                    bond.clone(),
                    BondOption::Mode(Mode::BalanceXor),
                ))
                .await;
            assert!(error.contains("ip link set bo type bond mode balance-xor: "), "{error}");
            assert!(error.contains("members"), "{error}");

            // A link that cannot be a member (a loop) is left as it was.
            let port = LinkChange::AddPort(bond.clone(), name("br"));
            netlink.apply_all([LinkChange::AddBridge(name("br"), None), port]).await;
            netlink.error_of(LinkChange::AddMember(name("br"), bond.clone())).await;
            assert!(netlink.link_now("br").await.up);

            netlink.apply_all([LinkChange::Release(nic.clone())]).await;
            let link = netlink.link_now("nic0").await;
            assert!(link.up && link.controller.is_none() && link.member.is_none(), "{link:?}");
        })
    });
}
