//! One change of links, in as many messages as the kernel needs. Each message equals one `ip` or
//! `bridge` command. An error quotes the command that the change prints as.

use std::time::Duration;

use netagent_common::vlan::Vid;
use rtnetlink::{
    LinkBond, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVlan,
    packet_core::{DefaultNla, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE},
    packet_route::{
        RouteNetlinkMessage,
        link::{InfoKind, LinkAttribute, LinkMessage},
    },
};
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{
    Failure, Netlink, address, neighbour, request,
    request::Request,
    route, sysctl,
    vlan::{self, Side},
};
use crate::{
    bond::BondOption,
    change::{LinkChange, detour},
    clock::boot_seconds,
    names::{Cidr, IfName},
    state::{Address, Neighbour, OWNED, PortFlag, Route, VlanFlags},
};

/// How long a link may need for its carrier: longer than 1000BASE-T needs to negotiate.
const CARRIER: Duration = Duration::from_secs(5);

impl Netlink {
    /// Carries out one change. A change that is already in effect (the address exists, the link to
    /// delete does not) is not an error.
    ///
    /// The caller names the change that failed.
    ///
    /// `index` is that of the device to plug in, if its name may belong to another device now.
    pub async fn apply(&self, change: &LinkChange, index: Option<u32>) -> anyhow::Result<()> {
        debug!("netlink: {change}");
        match (change, index) {
            (LinkChange::AddPort(_, bridge), Some(index)) => self.set_bridge(index, bridge).await?,
            _ => self.carry_out(change).await?,
        }
        Ok(())
    }

    /// `ip link set NAME promisc on`
    async fn set_promiscuous(&self, name: &IfName, on: bool) -> Result<(), Failure> {
        self.set(name, |link| link.promiscuous(on)).await
    }

    /// `bridge link set dev PORT FLAG on`
    async fn set_port_flag(&self, port: &IfName, flag: PortFlag, on: bool) -> Result<(), Failure> {
        let port = LinkBridgePort::new(self.index(port).await?);
        let port = match flag {
            PortFlag::Hairpin => port.hairpin(on),
            PortFlag::Isolated => port.isolated(on),
        };
        self.change(port.build()).await
    }

    /// `ip link set PORT type bridge_slave group_fwd_mask MASK`
    async fn set_group_forward(&self, port: &IfName, mask: u16) -> Result<(), Failure> {
        let port = LinkBridgePort::new(self.index(port).await?);
        self.change(port.group_fwd_mask(mask).build()).await
    }

    /// `ip link set NAME nomaster`
    async fn release(&self, name: &IfName) -> Result<(), Failure> {
        let found = self.find(name).await?;
        self.set(name, LinkMessageBuilder::nocontroller).await?;
        // A bond sets a member down when it releases it.
        if found.up || found.is_member {
            self.set(name, LinkMessageBuilder::up).await
        } else {
            Ok(())
        }
    }

    async fn set_bridge(&self, port: u32, bridge: &IfName) -> Result<(), Failure> {
        let bridge = self.index(bridge).await?;
        self.change(LinkUnspec::new_with_index(port).controller(bridge).build()).await
    }

    async fn carry_out(&self, change: &LinkChange) -> Result<(), Failure> {
        match change {
            LinkChange::AddBond(name, options) => self.add_bond(name, options).await,
            LinkChange::AddBridge(name, filtering) => {
                // Sets it up as well.
                let mut bridge = LinkBridge::new(name.as_str());
                if let Some(on) = filtering {
                    bridge = bridge.vlan_filtering(*on).vlan_default_pvid(0);
                }
                self.add(name, bridge.build()).await
            }
            LinkChange::AddVlan(name, parent, vid) => {
                let parent = self.index(parent).await?;
                self.add(name, LinkVlan::new(name.as_str(), parent, vid.get()).up().build()).await
            }
            LinkChange::Delete(name) => match self.delete(name).await {
                Err(Failure::NoLink(_)) => Ok(()),
                deleted => deleted,
            },
            LinkChange::SetBondOption(name, option) => self.set_bond_option(name, option).await,
            LinkChange::SetMtu(name, mtu) => self.set(name, |link| link.mtu(*mtu)).await,
            LinkChange::HoldMtu(name, mtu) => self.hold_mtu(name, *mtu).await,
            LinkChange::SetTxqlen(name, packets) => {
                self.set(name, |link| link.txqueuelen(*packets)).await
            }
            LinkChange::SetAcceptRa(name, value) => sysctl::set_accept_ra(name, *value),
            LinkChange::SetMac(name, mac) => {
                self.set(name, |link| link.address(mac.0.to_vec())).await
            }
            LinkChange::CopyMac(name, from) => {
                let mac = self.find(from).await?.mac;
                self.set(name, |link| link.address(mac.0.to_vec())).await
            }
            LinkChange::SetAlias(name, alias) => {
                // Without the terminating NUL, which the kernel would keep.
                let alias = DefaultNla::new(libc::IFLA_IFALIAS, alias.clone().into_bytes());
                self.set(name, |link| link.append_extra_attribute(LinkAttribute::Other(alias)))
                    .await
            }
            LinkChange::SetPromiscuous(name, on) => self.set_promiscuous(name, *on).await,
            LinkChange::SetPortFlag(port, flag, on) => self.set_port_flag(port, *flag, *on).await,
            LinkChange::SetGroupForward(port, mask) => self.set_group_forward(port, *mask).await,
            LinkChange::SetUp(name) => self.set(name, LinkMessageBuilder::up).await,
            LinkChange::SetDown(name) => self.set(name, LinkMessageBuilder::down).await,
            LinkChange::AddMember(nic, bond) => self.add_member(nic, bond).await,
            LinkChange::Release(name) => self.release(name).await,
            LinkChange::AddPort(port, bridge) => {
                let index = self.index(port).await?;
                self.set_bridge(index, bridge).await
            }
            LinkChange::SetFiltering(name, on) => {
                let bridge = self.existing::<LinkBridge>(name, InfoKind::Bridge).await?;
                self.change(bridge.vlan_filtering(*on).build()).await
            }
            LinkChange::SetDefaultPvid(name, pvid) => {
                let bridge = self.existing::<LinkBridge>(name, InfoKind::Bridge).await?;
                self.change(bridge.vlan_default_pvid(*pvid).build()).await
            }
            LinkChange::SetSnooping(name, snooping) => self.set_snooping(name, *snooping).await,
            LinkChange::AddVids(port, first, last, flags) => {
                self.add_vids(port, Side::Port, (*first, *last), *flags).await
            }
            LinkChange::RemoveVids(port, first, last) => {
                self.remove_vids(port, Side::Port, (*first, *last)).await
            }
            LinkChange::AddSelfVid(bridge, vid, flags) => {
                self.add_vids(bridge, Side::Own, (*vid, *vid), *flags).await
            }
            LinkChange::RemoveSelfVid(bridge, vid) => {
                self.remove_vids(bridge, Side::Own, (*vid, *vid)).await
            }
            LinkChange::AddAddress(name, cidr) => {
                let request = address::owned(self.index(name).await?, *cidr);
                self.create(request, NLM_F_EXCL).await
            }
            LinkChange::RestoreAddress(name, _, known) => self.restore(name, known).await,
            LinkChange::CopyAddress(from, to, address) => {
                self.copy_address(from, to, *address).await
            }
            LinkChange::Lease(name, cidr, lifetime) => {
                let request = address::leased(self.index(name).await?, *cidr, *lifetime);
                self.create(request, NLM_F_REPLACE).await
            }
            LinkChange::RemoveAddress(name, address) => self.remove_address(name, *address).await,
            LinkChange::AddRoute(route) => {
                let index = self.index(&route.device).await?;
                self.create(route::request(libc::RTM_NEWROUTE, route, index), NLM_F_APPEND).await
            }
            LinkChange::RemoveRoute(route) => self.remove_route(route).await,
            LinkChange::AddNeighbour(Neighbour { device, address, mac }) => {
                let request = neighbour::add(self.index(device).await?, *address, *mac);
                self.create(request, NLM_F_REPLACE).await
            }
            LinkChange::RemoveNeighbour(neighbour) => self.remove_neighbour(neighbour).await,
            LinkChange::AwaitCarrier(name) => self.await_carrier(name).await,
            LinkChange::Resolve(name, neighbour) => {
                let message = request::resolve(self.index(name).await?, *neighbour);
                self.create(RouteNetlinkMessage::NewNeighbour(message), NLM_F_REPLACE).await
            }
        }
    }

    /// `ip link set NAME mtu OTHER && ip link set NAME mtu MTU`
    async fn hold_mtu(&self, name: &IfName, mtu: u32) -> Result<(), Failure> {
        self.set(name, |link| link.mtu(detour(mtu))).await?;
        self.set(name, |link| link.mtu(mtu)).await
    }

    /// `ip link add NAME type bond OPTION VALUE ...`
    async fn add_bond(&self, name: &IfName, options: &[BondOption]) -> Result<(), Failure> {
        let mut bond = LinkBond::new(name.as_str());
        for option in options {
            // The primary must be a member, and a new bond has none.
            if !matches!(option, BondOption::Primary(_)) {
                bond = self.with_option(bond, option).await?;
            }
        }
        self.add(name, bond.build()).await
    }

    /// `ip link set NAME type bond OPTION VALUE`
    async fn set_bond_option(&self, name: &IfName, option: &BondOption) -> Result<(), Failure> {
        let bond = self.existing::<LinkBond>(name, InfoKind::Bond).await?;
        let bond = self.with_option(bond, option).await?;
        match (self.change(bond.build()).await, option) {
            (Err(failure), BondOption::Updelay(_) | BondOption::Downdelay(_))
                if failure.is(libc::EPERM) =>
            {
                Err(Failure::NoMiimon)
            }
            (set, _) => set,
        }
    }

    /// `ip link set NIC down`, `ip link set NIC master BOND`, `ip link set NIC up`
    ///
    /// Not in one message: since Linux 6.1, a message with both a controller and IFF_UP leaves the
    /// member down permanently.
    async fn add_member(&self, nic: &IfName, bond: &IfName) -> Result<(), Failure> {
        let bond = self.index(bond).await?;
        let was_up = self.find(nic).await?.up;
        self.set(nic, LinkMessageBuilder::down).await?;
        if let Err(failure) = self.set(nic, |link| link.controller(bond)).await {
            // The NIC may carry traffic of its own.
            if was_up {
                self.set(nic, LinkMessageBuilder::up).await?;
            }
            return Err(failure);
        }
        self.set(nic, LinkMessageBuilder::up).await
    }

    /// `ip link add NAME ...`, `ip link set NAME alias netagent`
    async fn add(&self, name: &IfName, link: LinkMessage) -> Result<(), Failure> {
        let request = RouteNetlinkMessage::NewLink(link);
        self.socket.request(request, NLM_F_CREATE | NLM_F_EXCL).await?;
        // The kernel ignores an alias in the message that creates a link. A link without the alias
        // would never be deleted.
        if let Err(failure) = self.set(name, |link| link.alias(OWNED)).await {
            self.delete(name).await?;
            return Err(failure);
        }
        Ok(())
    }

    /// `ip link delete NAME`
    async fn delete(&self, name: &IfName) -> Result<(), Failure> {
        let link = LinkUnspec::new_with_index(self.index(name).await?).build();
        self.send(RouteNetlinkMessage::DelLink(link)).await
    }

    /// `ip link set NAME ...`
    async fn set(
        &self,
        name: &IfName,
        with: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec>,
    ) -> Result<(), Failure> {
        let link = LinkUnspec::new_with_index(self.index(name).await?);
        self.change(with(link).build()).await
    }

    /// The beginning of `ip link set NAME type KIND ...`
    pub(super) async fn existing<T: Default>(
        &self,
        name: &IfName,
        kind: InfoKind,
    ) -> Result<LinkMessageBuilder<T>, Failure> {
        let index = self.index(name).await?;
        Ok(LinkMessageBuilder::new_with_info_kind(kind).index(index))
    }

    /// With `RTM_NEWLINK`: `RTM_SETLINK` ignores the options of a bond or bridge.
    pub(super) async fn change(&self, link: LinkMessage) -> Result<(), Failure> {
        self.send(RouteNetlinkMessage::NewLink(link)).await
    }

    /// `bridge vlan add dev NAME vid FIRST-LAST [pvid] [untagged] [self]`
    async fn add_vids(
        &self,
        name: &IfName,
        side: Side,
        vids: (Vid, Vid),
        flags: VlanFlags,
    ) -> Result<(), Failure> {
        let message = vlan::range(self.index(name).await?, side, vids, flags);
        self.send(RouteNetlinkMessage::SetLink(message)).await
    }

    /// `bridge vlan del dev NAME vid FIRST-LAST [self]`
    async fn remove_vids(
        &self,
        name: &IfName,
        side: Side,
        vids: (Vid, Vid),
    ) -> Result<(), Failure> {
        let message = vlan::range(self.index(name).await?, side, vids, VlanFlags::default());
        self.send(RouteNetlinkMessage::DelLink(message)).await
    }

    /// Creates an address or a route, unless it exists.
    async fn create(&self, request: impl Into<Request>, flags: u16) -> Result<(), Failure> {
        match self.socket.request(request, NLM_F_CREATE | flags).await {
            Err(failure) if !failure.is(libc::EEXIST) => Err(failure),
            _ => Ok(()),
        }
    }

    /// `ip address add ADDRESS dev TO`, with the lifetime and the other attributes that the address
    /// has on another link.
    async fn copy_address(&self, from: &IfName, to: &IfName, cidr: Cidr) -> Result<(), Failure> {
        let (source, target) = (self.index(from).await?, self.index(to).await?);
        let replies = self.socket.dump(request::addresses(source)).await?;
        let mut payloads = replies.iter().filter_map(|reply| reply.of_kind(libc::RTM_NEWADDR));
        let is_it = |payload: &&[u8]| {
            address::read(payload).is_some_and(|(index, found, _)| (index, found) == (source, cidr))
        };
        match payloads.find(is_it) {
            Some(payload) => {
                self.create(address::copy(payload, target, from, to), NLM_F_EXCL).await
            }
            // It has expired, or somebody has removed it.
            None => Ok(()),
        }
    }

    /// A link without a carrier is not an error: what depends on it may work without.
    async fn await_carrier(&self, name: &IfName) -> Result<(), Failure> {
        let end = Instant::now() + CARRIER;
        while !self.find(name).await?.carrier && Instant::now() < end {
            sleep(CARRIER / 50).await;
        }
        Ok(())
    }

    /// `ip route del ROUTE`. The route of a link that is gone or down is gone as well.
    async fn remove_route(&self, route: &Route) -> Result<(), Failure> {
        let index = match self.index(&route.device).await {
            Err(Failure::NoLink(_)) => return Ok(()),
            index => index?,
        };
        match self.socket.request(route::request(libc::RTM_DELROUTE, route, index), 0).await {
            Err(failure) if !failure.is(libc::ESRCH) => Err(failure),
            _ => Ok(()),
        }
    }

    /// `ip neigh del NEIGHBOUR`. That of a link without addresses is gone.
    async fn remove_neighbour(&self, neighbour: &Neighbour) -> Result<(), Failure> {
        let index = match self.index(&neighbour.device).await {
            Err(Failure::NoLink(_)) => return Ok(()),
            index => index?,
        };
        match self.socket.request(neighbour::remove(index, neighbour.address), 0).await {
            Err(failure) if !failure.is(libc::ENOENT) => Err(failure),
            _ => Ok(()),
        }
    }

    /// `ip address del ADDRESS dev NAME`
    ///
    /// Without `promote_secondaries` (Documentation/networking/ip-sysctl.rst) the kernel removes
    /// the other addresses of the subnet as well. These are added again.
    async fn remove_address(&self, name: &IfName, address: Cidr) -> Result<(), Failure> {
        let index = self.index(name).await?;
        let before = self.addresses_of(index).await?;
        let message = request::address(index, address);
        match self.send(RouteNetlinkMessage::DelAddress(message)).await {
            Err(failure) if !failure.is(libc::EADDRNOTAVAIL) => return Err(failure),
            _ => {}
        }
        let secondary = |known: &&Address| known.secondary;
        if before.values().find(secondary).is_none() || !address.address.is_ipv4() {
            return Ok(());
        }
        let after = self.addresses_of(index).await?;
        let lost = before.iter().filter(|(cidr, _)| **cidr != address && !after.contains_key(cidr));
        for (_, known) in lost {
            self.restore(name, known).await?;
        }
        Ok(())
    }

    /// `ip address add ADDRESS dev NAME`, as it was. One that has expired meanwhile stays away.
    async fn restore(&self, name: &IfName, known: &Address) -> Result<(), Failure> {
        let index = self.index(name).await?;
        match address::restore(known, index, boot_seconds()) {
            Some(request) => self.create(request, NLM_F_EXCL).await,
            None => Ok(()),
        }
    }

    async fn send(&self, request: RouteNetlinkMessage) -> Result<(), Failure> {
        self.socket.request(request, 0).await.map(drop)
    }
}
