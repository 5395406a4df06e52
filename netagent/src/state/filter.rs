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

/// Filters by the interface index of their device; only on kernels without TCX.
pub type TcFilters = BTreeMap<u32, Vec<TcFilter>>;
