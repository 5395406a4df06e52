//! One change of links, in as many messages as the kernel needs. Each is what the `ip` or `bridge`
//! command does that the change prints as, and that is how an error names it.

use anyhow::Context as _;
use netagent_common::vlan::Vid;
use rtnetlink::{
    packet_core::{NLM_F_CREATE, NLM_F_EXCL},
    packet_route::{
        RouteNetlinkMessage,
        link::{InfoBridge, InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo},
    },
};

use super::{
    Failure, Netlink, address, message,
    vlan::{self, Side},
};
use crate::{
    bond::BondOption,
    change::LinkChange,
    names::{Cidr, IfName},
    state::{OWNED, VlanFlags},
};

impl Netlink {
    /// Carries out one change. What is already as asked (an address that is there, a link to delete
    /// that is gone) is no error.
    pub async fn apply(&self, change: &LinkChange) -> anyhow::Result<()> {
        self.carry_out(change).await.with_context(|| change.to_string())
    }

    /// [`LinkChange::AddPort`] of the device with this index, and no other that has the port's name by now.
    pub async fn add_port(&self, port: &IfName, index: u32, bridge: &IfName) -> anyhow::Result<()> {
        let result = self.set_bridge(index, bridge).await;
        result.with_context(|| LinkChange::AddPort(port.clone(), bridge.clone()).to_string())
    }

    async fn set_bridge(&self, port: u32, bridge: &IfName) -> Result<(), Failure> {
        let bridge = self.index(bridge).await?;
        let attributes = vec![LinkAttribute::Controller(bridge)];
        self.send(RouteNetlinkMessage::NewLink(message(port, attributes))).await
    }

    async fn carry_out(&self, change: &LinkChange) -> Result<(), Failure> {
        match change {
            LinkChange::AddBond(name, options) => self.add_bond(name, options).await,
            LinkChange::AddBridge(name, filtering) => {
                let data = filtering.map_or_else(Vec::new, |on| {
                    vec![InfoBridge::VlanFiltering(on), InfoBridge::VlanDefaultPvid(0)]
                });
                self.add(name, None, InfoKind::Bridge, InfoData::Bridge(data)).await?;
                self.set_up(name).await
            }
            LinkChange::AddVlan(name, parent, vid) => {
                let parent = self.index(parent).await?;
                let data = InfoData::Vlan(vec![InfoVlan::Id(vid.get())]);
                self.add(name, Some(parent), InfoKind::Vlan, data).await?;
                self.set_up(name).await
            }
            LinkChange::Delete(name) => match self.delete(name).await {
                Err(Failure::NoLink(_)) => Ok(()),
                deleted => deleted,
            },
            LinkChange::SetBondOption(name, option) => self.set_bond_option(name, option).await,
            LinkChange::SetMtu(name, mtu) => self.set(name, LinkAttribute::Mtu(*mtu)).await,
            LinkChange::SetTxqlen(name, packets) => {
                self.set(name, LinkAttribute::TxQueueLen(*packets)).await
            }
            LinkChange::SetMac(name, mac) => {
                self.set(name, LinkAttribute::Address(mac.0.to_vec())).await
            }
            LinkChange::CopyMac(name, from) => {
                let mac = self.find(from).await?.mac;
                self.set(name, LinkAttribute::Address(mac.0.to_vec())).await
            }
            LinkChange::SetUp(name) => self.set_up(name).await,
            LinkChange::SetDown(name) => self.set_flags(name, LinkFlags::empty()).await,
            LinkChange::AddMember(nic, bond) => self.add_member(nic, bond).await,
            LinkChange::Release(name) => {
                self.set(name, LinkAttribute::Controller(0)).await?;
                // A bond sets down what it releases.
                self.set_up(name).await
            }
            LinkChange::AddPort(port, bridge) => {
                let index = self.index(port).await?;
                self.set_bridge(index, bridge).await
            }
            LinkChange::SetFiltering(name, on) => {
                let data = InfoData::Bridge(vec![InfoBridge::VlanFiltering(*on)]);
                self.set_data(name, InfoKind::Bridge, data).await
            }
            LinkChange::SetDefaultPvid(name, pvid) => {
                let data = InfoData::Bridge(vec![InfoBridge::VlanDefaultPvid(*pvid)]);
                self.set_data(name, InfoKind::Bridge, data).await
            }
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
            LinkChange::AddAddress(name, address) => self.add_address(name, *address).await,
            LinkChange::RemoveAddress(name, address) => self.remove_address(name, *address).await,
        }
    }

    /// `ip link add NAME type bond OPTION VALUE ...`
    async fn add_bond(&self, name: &IfName, options: &[BondOption]) -> Result<(), Failure> {
        let mut data = Vec::new();
        for option in options {
            // Its primary is one of the members, which it has not yet.
            if !matches!(option, BondOption::Primary(_)) {
                data.push(self.bond_attribute(option).await?);
            }
        }
        self.add(name, None, InfoKind::Bond, InfoData::Bond(data)).await
    }

    /// `ip link set NAME type bond OPTION VALUE`
    async fn set_bond_option(&self, name: &IfName, option: &BondOption) -> Result<(), Failure> {
        let data = InfoData::Bond(vec![self.bond_attribute(option).await?]);
        match (self.set_data(name, InfoKind::Bond, data).await, option) {
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
    /// Not in one message: since 6.1 one that has both leaves the member down for good.
    async fn add_member(&self, nic: &IfName, bond: &IfName) -> Result<(), Failure> {
        let bond = self.index(bond).await?;
        let was_up = self.find(nic).await?.up;
        self.set_flags(nic, LinkFlags::empty()).await?;
        if let Err(failure) = self.set(nic, LinkAttribute::Controller(bond)).await {
            // Outside the bond it may still carry something.
            if was_up {
                self.set_up(nic).await?;
            }
            return Err(failure);
        }
        self.set_up(nic).await
    }

    /// `ip link add [link PARENT] name NAME type KIND ...`, `ip link set NAME alias netagent`
    async fn add(
        &self,
        name: &IfName,
        parent: Option<u32>,
        kind: InfoKind,
        data: InfoData,
    ) -> Result<(), Failure> {
        let mut attributes = vec![LinkAttribute::IfName(name.to_string())];
        attributes.extend(parent.map(LinkAttribute::Link));
        attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]));
        let request = RouteNetlinkMessage::NewLink(message(0, attributes));
        self.socket.request(request, NLM_F_CREATE | NLM_F_EXCL).await?;
        // The kernel takes no alias when it creates a link. Without one it would look like someone
        // else's, and so stay for ever.
        if let Err(failure) = self.set(name, LinkAttribute::IfAlias(OWNED.to_owned())).await {
            self.delete(name).await?;
            return Err(failure);
        }
        Ok(())
    }

    /// `ip link delete NAME`
    async fn delete(&self, name: &IfName) -> Result<(), Failure> {
        let index = self.index(name).await?;
        self.send(RouteNetlinkMessage::DelLink(message(index, vec![]))).await
    }

    /// `ip link set NAME ...`
    async fn set(&self, name: &IfName, attribute: LinkAttribute) -> Result<(), Failure> {
        let index = self.index(name).await?;
        self.send(RouteNetlinkMessage::NewLink(message(index, vec![attribute]))).await
    }

    /// `ip link set NAME type KIND ...`. Not with `RTM_SETLINK`, which succeeds and changes nothing.
    async fn set_data(&self, name: &IfName, kind: InfoKind, data: InfoData) -> Result<(), Failure> {
        let info = vec![LinkInfo::Kind(kind), LinkInfo::Data(data)];
        self.set(name, LinkAttribute::LinkInfo(info)).await
    }

    /// `ip link set NAME up`
    async fn set_up(&self, name: &IfName) -> Result<(), Failure> {
        self.set_flags(name, LinkFlags::Up).await
    }

    /// `ip link set NAME up`, or `down` without the flag.
    async fn set_flags(&self, name: &IfName, flags: LinkFlags) -> Result<(), Failure> {
        let mut message = message(self.index(name).await?, vec![]);
        message.header.flags = flags;
        message.header.change_mask = LinkFlags::Up;
        self.send(RouteNetlinkMessage::NewLink(message)).await
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

    /// `ip address add ADDRESS dev NAME`
    async fn add_address(&self, name: &IfName, address: Cidr) -> Result<(), Failure> {
        let message = address::message(self.index(name).await?, address);
        let request = RouteNetlinkMessage::NewAddress(message);
        match self.socket.request(request, NLM_F_CREATE | NLM_F_EXCL).await {
            Err(failure) if !failure.is(libc::EEXIST) => Err(failure),
            _ => Ok(()),
        }
    }

    /// `ip address del ADDRESS dev NAME`
    async fn remove_address(&self, name: &IfName, address: Cidr) -> Result<(), Failure> {
        let message = address::message(self.index(name).await?, address);
        match self.send(RouteNetlinkMessage::DelAddress(message)).await {
            Err(failure) if !failure.is(libc::EADDRNOTAVAIL) => Err(failure),
            _ => Ok(()),
        }
    }

    async fn send(&self, request: RouteNetlinkMessage) -> Result<(), Failure> {
        self.socket.request(request, 0).await.map(drop)
    }
}
