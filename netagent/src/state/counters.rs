//! What was counted: traffic by VLAN, drops by kind, frames by path.

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

/// Drops of one kind. `vid` is `None` for VIDs beyond those that are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DropKind {
    /// Direction.
    pub direction: Direction,
    /// Reason.
    pub reason: Reason,
    /// The frame's VID; 0: it had none.
    pub vid: Option<u16>,
}

impl DropKind {
    /// The VLAN in metrics and tables: the VID, "none" of untagged frames, "other" of VIDs that are not kept apart.
    pub fn vlan(&self) -> Cow<'static, str> {
        match self.vid {
            None => "other".into(),
            Some(0) => "none".into(),
            Some(vid) => vid.to_string().into(),
        }
    }
}

/// What one port has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// By VID; 0: link-local frames.
    pub vlans: BTreeMap<u16, Traffic>,
    /// Drops.
    pub drops: BTreeMap<DropKind, Count>,
    /// Frames that it received and that went past the bridge.
    pub forwarded: Forwarded,
}

/// Frames past the bridge, by the way that they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Forwarded {
    /// TC redirect.
    pub tc: u64,
    /// XDP redirect.
    pub xdp: u64,
}

/// Everything that was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By device.
    pub ports: BTreeMap<IfName, PortCounters>,
    /// Drops on devices without a policy, or beyond the size of the map.
    pub elsewhere: BTreeMap<DropKind, Count>,
    /// How many drops are counted apart.
    pub drop_keys: usize,
}
