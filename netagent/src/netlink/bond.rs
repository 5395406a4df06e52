//! Bond options to and from the kernel's attributes, and the state of bonds and members.

use std::collections::BTreeSet;

use libc::IFLA_MASTER;
use rtnetlink::{
    packet_core::Parseable,
    packet_route::{
        RouteNetlinkMessage,
        link::{BondAdInfo, BondPortState, InfoBond, InfoBondPort, LinkAttribute, MiiStatus},
    },
};

use super::{Failure, Netlink, link::Header, message, socket::Reply, wire};
use crate::{
    bond::{AdSelect, BondOption, FailOverMac, LacpRate, Mode, XmitHashPolicy},
    names::{IfName, Mac},
    state::{BondState, Member},
};

impl Netlink {
    /// The attribute that sets an option.
    pub(super) async fn bond_attribute(&self, option: &BondOption) -> Result<InfoBond, Failure> {
        Ok(match option {
            BondOption::Mode(mode) => InfoBond::Mode(mode.number().into()),
            BondOption::Miimon(ms) => InfoBond::MiiMon(*ms),
            BondOption::Updelay(ms) => InfoBond::UpDelay(*ms),
            BondOption::Downdelay(ms) => InfoBond::DownDelay(*ms),
            BondOption::ArpInterval(ms) => InfoBond::ArpInterval(*ms),
            BondOption::ArpTargets(targets) => InfoBond::ArpIpTarget(targets.clone()),
            BondOption::Primary(None) => InfoBond::Primary(0),
            BondOption::Primary(Some(name)) => InfoBond::Primary(self.index(name).await?),
            BondOption::FailOverMac(policy) => InfoBond::FailOverMac(policy.number().into()),
            BondOption::XmitHashPolicy(policy) => InfoBond::XmitHashPolicy(policy.number().into()),
            BondOption::NumGratArp(count) => InfoBond::NumPeerNotif(*count),
            BondOption::MinLinks(count) => InfoBond::MinLinks(*count),
            BondOption::LacpRate(rate) => InfoBond::AdLacpRate(rate.number().into()),
            BondOption::AdSelect(policy) => InfoBond::AdSelect(policy.number().into()),
        })
    }

    /// `ip -details link show master BOND`: the members that it receives from, by interface index. What the others receive it
    /// drops: those that stand by (active-backup), or are in no aggregator or another (802.3ad).
    pub async fn active_members(&self, bond: u32) -> Result<BTreeSet<u32>, Failure> {
        let message = message(0, vec![LinkAttribute::Controller(bond)]);
        let replies = self.socket.dump(RouteNetlinkMessage::GetLink(message)).await?;
        let links = replies.iter().filter_map(Reply::new_link).filter_map(Header::read);
        Ok(links
            .filter(|link| wire::find_u32(link.attributes, IFLA_MASTER) == Some(bond))
            .filter(|link| link.member().is_some_and(|member| member.active))
            .map(|link| link.index)
            .collect())
    }
}

/// The option that an attribute reports. `None`: one that we do not manage, or a value that is newer
/// than we are.
fn option(attribute: InfoBond, name_of: &dyn Fn(u32) -> Option<IfName>) -> Option<BondOption> {
    Some(match attribute {
        InfoBond::Mode(mode) => BondOption::Mode(Mode::from_number(mode.into())?),
        InfoBond::MiiMon(ms) => BondOption::Miimon(ms),
        InfoBond::UpDelay(ms) => BondOption::Updelay(ms),
        InfoBond::DownDelay(ms) => BondOption::Downdelay(ms),
        InfoBond::ArpInterval(ms) => BondOption::ArpInterval(ms),
        InfoBond::ArpIpTarget(targets) => BondOption::ArpTargets(targets),
        InfoBond::Primary(index) => BondOption::Primary(Some(name_of(index)?)),
        InfoBond::FailOverMac(policy) => {
            BondOption::FailOverMac(FailOverMac::from_number(policy.into())?)
        }
        InfoBond::XmitHashPolicy(policy) => {
            BondOption::XmitHashPolicy(XmitHashPolicy::from_number(policy.into())?)
        }
        InfoBond::NumPeerNotif(count) => BondOption::NumGratArp(count),
        InfoBond::MinLinks(count) => BondOption::MinLinks(count),
        InfoBond::AdLacpRate(rate) => BondOption::LacpRate(LacpRate::from_number(rate.into())?),
        InfoBond::AdSelect(policy) => BondOption::AdSelect(AdSelect::from_number(policy.into())?),
        _ => return None,
    })
}

/// A bond's state from its `IFLA_INFO_DATA`.
pub(super) fn state(data: &[u8], name_of: &dyn Fn(u32) -> Option<IfName>) -> BondState {
    let mut state = BondState::default();
    for attribute in wire::attributes(data).filter_map(|nla| InfoBond::parse(&nla).ok()) {
        match attribute {
            InfoBond::ActivePort(index) => state.active = name_of(index),
            InfoBond::AdInfo(infos) => {
                for info in infos {
                    match info {
                        BondAdInfo::NumPorts(count) => state.aggregated = Some(count),
                        BondAdInfo::PartnerMac(mac) => state.partner = Some(Mac(mac)),
                        _ => {}
                    }
                }
            }
            attribute => state.options.extend(option(attribute, name_of)),
        }
    }
    state
}

/// A member's state from its `IFLA_INFO_SLAVE_DATA`.
pub(super) fn member(data: &[u8]) -> Member {
    let mut member = Member { mii_up: false, active: false, failures: 0, aggregator: None };
    for attribute in wire::attributes(data).filter_map(|nla| InfoBondPort::parse(&nla).ok()) {
        match attribute {
            InfoBondPort::MiiStatus(status) => member.mii_up = status == MiiStatus::Up,
            InfoBondPort::BondPortState(state) => member.active = state == BondPortState::Active,
            InfoBondPort::LinkFailureCount(count) => member.failures = count,
            InfoBondPort::AdAggregatorId(id) => member.aggregator = Some(id),
            _ => {}
        }
    }
    member
}
