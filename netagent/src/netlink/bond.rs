//! Bond options to and from the kernel's attributes, and the state of bonds and their members.

use std::collections::BTreeSet;

use libc::{IFF_RUNNING, IFLA_MASTER};
use rtnetlink::{
    LinkBond, LinkMessageBuilder, LinkUnspec,
    packet_core::Parseable,
    packet_route::{
        RouteNetlinkMessage,
        link::{BondAdInfo, BondPortState, InfoBond, InfoBondPort, MiiStatus},
    },
};

use super::{Failure, Netlink, link::Header, socket::Reply, wire};
use crate::{
    bond::{AdSelect, ArpValidate, BondOption, FailOverMac, LacpRate, Mode, XmitHashPolicy},
    names::{IfName, Mac},
    state::{BondState, Member},
};

impl Netlink {
    /// The message with one more option.
    pub(super) async fn with_option(
        &self,
        bond: LinkMessageBuilder<LinkBond>,
        option: &BondOption,
    ) -> Result<LinkMessageBuilder<LinkBond>, Failure> {
        Ok(match option {
            BondOption::Mode(mode) => bond.mode(mode.number().into()),
            BondOption::Miimon(ms) => bond.miimon(*ms),
            BondOption::Updelay(ms) => bond.updelay(*ms),
            BondOption::Downdelay(ms) => bond.downdelay(*ms),
            BondOption::ArpInterval(ms) => bond.arp_interval(*ms),
            BondOption::ArpTargets(targets) => bond.arp_ip_target(targets.clone()),
            BondOption::NsTargets(targets) => bond.ns_ip6_target(targets.clone()),
            BondOption::ArpValidate(which) => bond.arp_validate(u32::from(which.number()).into()),
            BondOption::Primary(None) => bond.primary(0),
            BondOption::Primary(Some(name)) => bond.primary(self.index(name).await?),
            BondOption::FailOverMac(policy) => bond.fail_over_mac(policy.number().into()),
            BondOption::XmitHashPolicy(policy) => bond.xmit_hash_policy(policy.number().into()),
            BondOption::NumGratArp(count) => bond.num_peer_notif(*count),
            BondOption::MinLinks(count) => bond.min_links(*count),
            BondOption::LacpRate(rate) => bond.ad_lacp_rate(rate.number().into()),
            BondOption::AdSelect(policy) => bond.ad_select(policy.number().into()),
        })
    }

    /// `ip -details link show master BOND`: the interface indexes of the members that the bond
    /// receives from. It drops frames from backup members (active-backup) and from members that are
    /// not in the active aggregator (802.3ad).
    pub async fn active_members(&self, bond: u32) -> Result<BTreeSet<u32>, Failure> {
        self.members(bond, |_, member| member.active).await
    }

    /// The interface indexes of the members that the traffic of a bond takes; none: the bond has no
    /// carrier, or its queue is not activated yet.
    pub async fn carriers(&self, bond: u32) -> Result<BTreeSet<u32>, Failure> {
        let reply = self.link_reply(bond).await?;
        let link = reply.as_ref().and_then(Reply::new_link).and_then(Header::read);
        let Some(link) = link.filter(|link| link.is(IFF_RUNNING)) else {
            return Ok(BTreeSet::new());
        };
        // In balance-tlb and balance-alb all members are active, and one takes what is flooded.
        let only = link.active_member();
        self.members(bond, |link, member| {
            let is_active = only.map_or(member.active, |only| only == link.index);
            is_active && member.mii_up && link.is(IFF_RUNNING)
        })
        .await
    }

    async fn members(
        &self,
        bond: u32,
        wanted: impl Fn(&Header<'_>, &Member) -> bool,
    ) -> Result<BTreeSet<u32>, Failure> {
        let filter = LinkMessageBuilder::<LinkUnspec>::new().controller(bond).build();
        let replies = self.socket.dump(RouteNetlinkMessage::GetLink(filter)).await?;
        let links = replies.iter().filter_map(Reply::new_link).filter_map(Header::read);
        Ok(links
            .filter(|link| wire::find_u32(link.attributes, IFLA_MASTER) == Some(bond))
            .filter(|link| link.member().is_some_and(|member| wanted(link, &member)))
            .map(|link| link.index)
            .collect())
    }
}

/// The interface index of the active member from a bond's `IFLA_INFO_DATA`, in modes that have one.
pub(super) fn active_member(data: &[u8]) -> Option<u32> {
    let mut attributes = wire::attributes(data).filter_map(|nla| InfoBond::parse(&nla).ok());
    attributes.find_map(|attribute| match attribute {
        InfoBond::ActivePort(index) => Some(index),
        _ => None,
    })
}

/// The option that an attribute reports. `None` for an option that netagent does not manage, and
/// for a value that it does not know.
fn option(attribute: InfoBond, name_of: &dyn Fn(u32) -> Option<IfName>) -> Option<BondOption> {
    Some(match attribute {
        InfoBond::Mode(mode) => BondOption::Mode(Mode::from_number(mode.into())?),
        InfoBond::MiiMon(ms) => BondOption::Miimon(ms),
        InfoBond::UpDelay(ms) => BondOption::Updelay(ms),
        InfoBond::DownDelay(ms) => BondOption::Downdelay(ms),
        InfoBond::ArpInterval(ms) => BondOption::ArpInterval(ms),
        InfoBond::ArpIpTarget(targets) => BondOption::ArpTargets(targets),
        InfoBond::NsIp6Target(targets) => BondOption::NsTargets(targets),
        InfoBond::ArpValidate(which) => {
            BondOption::ArpValidate(ArpValidate::from_number(u8::try_from(u32::from(which)).ok()?)?)
        }
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
