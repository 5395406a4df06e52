//! Counters: traffic by VLAN, drops by kind, forwarded frames by path.

use std::{borrow::Cow, collections::BTreeMap};

use netagent_common::counters::{Direction, Reason};
use serde::Serialize;

use crate::names::IfName;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Frames.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Traffic of one VLAN at one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// From the VM or the wire.
    pub receive: Count,
    /// To the VM or the wire.
    pub transmit: Count,
}

/// A kind of drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DropKind {
    /// Direction.
    pub direction: Direction,
    /// Reason.
    pub reason: Reason,
    /// The VID of the frame; 0: untagged; `None`: the VID has no counter of its own.
    pub vid: Option<u16>,
}

impl DropKind {
    /// The VLAN in metrics and tables: the VID, "none" for untagged frames, "other" for VIDs
    /// without a counter of their own.
    pub fn vlan(&self) -> Cow<'static, str> {
        match self.vid {
            None => "other".into(),
            Some(0) => "none".into(),
            Some(vid) => vid.to_string().into(),
        }
    }
}

/// The counters of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Traffic by VID; 0: link-local frames.
    pub vlans: BTreeMap<u16, Traffic>,
    /// Drops by kind.
    pub drops: BTreeMap<DropKind, Count>,
    /// Received frames that bypassed the bridge.
    pub forwarded: Forwarded,
    /// Stations that moved here from another port of the bridge, while the agent follows the FDBs.
    pub mac_moves: u64,
}

/// Frames that bypassed the bridge, by path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Forwarded {
    /// Frames sent by TC redirect.
    pub tc: u64,
    /// Frames sent by XDP redirect.
    pub xdp: u64,
}

/// Frames that a device drops itself, before the programs receive them or after they have sent
/// them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceDrops {
    /// From the VM or the wire.
    pub receive: u64,
    /// To the VM or the wire.
    pub transmit: u64,
}

/// All counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Counters by device.
    pub ports: BTreeMap<IfName, PortCounters>,
    /// Drops on devices without a policy, and drops beyond the size of the map.
    pub elsewhere: BTreeMap<DropKind, Count>,
    /// Drops by the devices of ports, and by the NICs of their bonds.
    pub devices: BTreeMap<IfName, DeviceDrops>,
    /// Number of drops with a counter of their own.
    pub drop_keys: usize,
}
