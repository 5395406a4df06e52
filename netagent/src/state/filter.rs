//! TC filters, which hold the programs on kernels without TCX.

use std::collections::BTreeMap;

/// A side of clsact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClsactSide {
    /// `ingress`
    Ingress,
    /// `egress`
    Egress,
}

/// A filter of clsact that runs a BPF program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcFilter {
    /// The side of clsact.
    pub side: ClsactSide,
    /// `pref`
    pub priority: u16,
    /// `handle`
    pub handle: u32,
    /// Id of the BPF program.
    pub program: u32,
}

impl TcFilter {
    /// The priority of the agent's filters. The kernel has none before it; a filter that somebody
    /// adds later with the same priority and another handle runs first (`cls_bpf_change`).
    pub const PRIORITY: u16 = 1;
    /// The handles of the agent's filters: "na" and "nb", which no other filter gets by chance. A
    /// filter that moves before all others changes its handle.
    pub const HANDLES: [u32; 2] = [0x6e61, 0x6e62];

    /// Whether it is the agent's.
    pub fn is_ours(&self) -> bool {
        self.priority == Self::PRIORITY && Self::HANDLES.contains(&self.handle)
    }
}

/// Filters by the interface index of their device; only on kernels without TCX.
pub type TcFilters = BTreeMap<u32, Vec<TcFilter>>;
