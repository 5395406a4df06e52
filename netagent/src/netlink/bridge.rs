//! Bridges: their options, from and to a link message.

use rtnetlink::{
    LinkBridge,
    packet_core::Parseable,
    packet_route::link::{BridgeBooleanOptionFlags, BridgeBooleanOptions, InfoBridge, InfoKind},
};

use super::{Failure, Netlink, wire};
use crate::{
    names::IfName,
    state::{BridgeState, Snooping},
};

impl Netlink {
    /// `ip link set NAME type bridge mcast_snooping ON mcast_vlan_snooping ON`
    ///
    /// A kernel without the VLAN filter has no snooping by VLAN to switch off.
    pub(super) async fn set_snooping(
        &self,
        name: &IfName,
        snooping: Snooping,
    ) -> Result<(), Failure> {
        let mask = BridgeBooleanOptionFlags::VlanMulticastSnooping;
        let by_vlan = |value| InfoBridge::MultiBoolOpt(BridgeBooleanOptions { value, mask });
        let bridge = self.existing::<LinkBridge>(name, InfoKind::Bridge).await?;
        let bridge = bridge.mcast_snooping(snooping != Snooping::Off);
        let bridge = match snooping {
            Snooping::Off => bridge,
            Snooping::Vlan => bridge.append_info_data(by_vlan(mask)),
            Snooping::Bridge => bridge.append_info_data(by_vlan(BridgeBooleanOptionFlags::empty())),
        };
        self.change(bridge.build()).await
    }
}

/// The options of a bridge, from its IFLA_INFO_DATA.
pub(super) fn state(data: &[u8]) -> BridgeState {
    let mut state = BridgeState::default();
    let mut by_vlan = false;
    for attribute in wire::attributes(data) {
        match InfoBridge::parse(&attribute) {
            Ok(InfoBridge::VlanFiltering(on)) => state.vlan_filtering = Some(on),
            Ok(InfoBridge::VlanDefaultPvid(pvid)) => state.default_pvid = Some(pvid),
            Ok(InfoBridge::MulticastSnooping(on)) => {
                state.snooping = Some(if on { Snooping::Bridge } else { Snooping::Off });
            }
            Ok(InfoBridge::MultiBoolOpt(options)) => {
                by_vlan = options.value.contains(BridgeBooleanOptionFlags::VlanMulticastSnooping);
            }
            // netagent does not manage the other options.
            Ok(_) | Err(_) => {}
        }
    }
    if by_vlan && state.snooping == Some(Snooping::Bridge) {
        state.snooping = Some(Snooping::Vlan);
    }
    state
}
