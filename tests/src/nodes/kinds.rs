//! The kinds of node.

pub mod bonds;
pub mod bridges;
pub mod nics;

use crate::{Feature, adopt::lab::Vm, takeover::lab::PORTS};

/// A kind of node.
pub struct Kind {
    pub name: &'static str,
    pub needs: &'static [Feature],
    pub nics: &'static [&'static str],
    /// How the NICs are joined to the switch.
    pub joined: &'static str,
    /// What else there is outside.
    pub outside: &'static str,
    /// What is in the namespace of the VMs.
    pub inside: &'static str,
    pub vms: fn() -> Vec<Vm>,
    /// How its manager leaves the node.
    pub found: &'static str,
    /// Whether a router sends advertisements.
    pub advertised: bool,
    /// Who asks, and whom.
    pub reached: &'static [(&'static str, &'static str)],
    /// Whom rules of the node protect: they must not answer.
    pub silent: &'static [(&'static str, &'static str)],
    /// The options of `netagent import`.
    pub import: &'static str,
    /// The file; empty: the imported one.
    pub file: &'static str,
    /// Lines of the node's state when it is taken over.
    pub moved: &'static [&'static str],
    /// The segments of the file.
    pub segments: &'static [&'static str],
    /// What an operator changes: text in the file, and its replacement.
    pub change: (&'static str, &'static str),
    /// An address that others add while the change is on trial, and the interface.
    pub others: (&'static str, &'static str),
    /// The interface that has the address after the roll back.
    pub others_back: &'static str,
    pub by_hand: ByHand,
}

/// The commands of a careful operator.
pub struct ByHand {
    pub apply: &'static str,
    pub back: &'static str,
    pub change: &'static str,
    /// Undoes `change` and `apply`.
    pub release: &'static str,
}

/// Where the world asks from.
pub const WORLD: &str = crate::takeover::lab::WORLD;

/// A node with one NIC and no VM, of which everything is still to be said.
const PLAIN: Kind = Kind {
    name: "",
    needs: &[],
    nics: &["eth0"],
    joined: PORTS,
    outside: "",
    inside: "",
    vms: Vec::new,
    found: "",
    advertised: false,
    reached: &[(WORLD, "10.0.0.5")],
    silent: &[],
    import: "",
    file: "",
    moved: &[],
    segments: &["mgmt"],
    change: ("", ""),
    others: ("", ""),
    others_back: "",
    // Nothing is left to do on a bridge that has everything.
    by_hand: ByHand { apply: "", back: "", change: "", release: "" },
};
