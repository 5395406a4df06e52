//! Rules that others have on a device. The fast path must not lead frames past them.

use std::fmt;

/// Where a rule sees frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Frames from the device, behind the programs of the agent: TC, or netfilter's ingress hook.
    Ingress,
    /// Frames to the device: TC.
    Egress,
    /// Frames to the device: its queueing discipline.
    Queue,
    /// Frames to the device: netfilter's egress hook, which frames that TC redirects do not pass
    /// (`nf_skip_egress`, kernel commit 42df6e1d221d).
    EgressHook,
    /// Frames that the bridge forwards.
    Bridge,
}

/// A rule, or a place for rules, on a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Where it sees frames.
    pub place: Place,
    /// What it is: "filter u32", "chain t/c of nftables".
    pub what: String,
}

impl Rule {
    /// A rule.
    pub fn new(place: Place, what: impl Into<String>) -> Self {
        Self { place, what: what.into() }
    }

    /// Whether it sees only frames that the bridge forwards. The others see those that TC redirects
    /// to the device, too, and not those that XDP redirects, or TC to the other end of a veth pair.
    pub const fn needs_bridge(&self) -> bool {
        matches!(self.place, Place::Ingress | Place::EgressHook | Place::Bridge)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Place::Ingress => " at ingress",
            Place::Egress | Place::EgressHook => " at egress",
            Place::Queue | Place::Bridge => "",
        };
        write!(f, "{}{place}", self.what)
    }
}
