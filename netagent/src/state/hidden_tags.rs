//! The tags that a NIC moves from received frames to the metadata, where XDP does not see them.

use serde::{Deserialize, Serialize};

/// By type of tag: whether it is hidden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HiddenTags {
    /// C-tags (`ethtool -k`: rx-vlan-offload).
    pub c: bool,
    /// S-tags (rx-vlan-stag-hw-parse).
    pub s: bool,
}

impl HiddenTags {
    /// No tags.
    pub const NONE: Self = Self { c: false, s: false };

    /// Whether there are such tags.
    pub const fn any(self) -> bool {
        self.c || self.s
    }

    /// Those that are not among others.
    #[must_use]
    pub const fn except(self, others: Self) -> Self {
        Self { c: self.c && !others.c, s: self.s && !others.s }
    }

    /// The offloads, as `ethtool -k` names them.
    pub const fn text(self) -> &'static str {
        match (self.c, self.s) {
            (true, true) => "rx-vlan-offload and rx-vlan-stag-hw-parse",
            (true, false) => "rx-vlan-offload",
            (false, true) => "rx-vlan-stag-hw-parse",
            (false, false) => "no offload",
        }
    }

    /// The options of `ethtool -K DEV` that switch the offloads `on` or `off`.
    pub fn option(self, to: &str) -> String {
        let c = if self.c { format!(" rxvlan {to}") } else { String::new() };
        if self.s { format!("{c} rx-vlan-stag-hw-parse {to}") } else { c }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const C: HiddenTags = HiddenTags { c: true, s: false };
    const S: HiddenTags = HiddenTags { c: false, s: true };
    const BOTH: HiddenTags = HiddenTags { c: true, s: true };

    #[test]
    fn offloads_are_named_by_their_tags() {
        let all = [HiddenTags::NONE, C, S, BOTH];
        assert_eq!(all.map(HiddenTags::any), [false, true, true, true]);
        assert_eq!(
            all.map(HiddenTags::text),
            [
                "no offload",
                "rx-vlan-offload",
                "rx-vlan-stag-hw-parse",
                "rx-vlan-offload and rx-vlan-stag-hw-parse",
            ]
        );
        assert_eq!(
            all.map(|tags| tags.option("off")),
            [
                "",
                " rxvlan off",
                " rx-vlan-stag-hw-parse off",
                " rxvlan off rx-vlan-stag-hw-parse off",
            ]
        );
    }

    #[test]
    fn what_others_have_is_left_out() {
        for (one, other, left) in [
            (BOTH, HiddenTags::NONE, BOTH),
            (BOTH, C, S),
            (BOTH, S, C),
            (C, S, C),
            (S, BOTH, HiddenTags::NONE),
        ] {
            assert_eq!(one.except(other), left, "{one:?} {other:?}");
        }
    }
}
