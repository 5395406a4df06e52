//! Links for the tests of plans and findings.

use std::collections::BTreeMap;

use super::{Kind, Link};
use crate::names::Mac;

/// A link that is up, without a controller.
pub fn link(index: u32, kind: Kind) -> Link {
    Link {
        index,
        up: true,
        carrier: true,
        mtu: 1500,
        txqlen: 1000,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        controller: None,
        alias: None,
        kind,
        lower: None,
        accept_ra: Some(1),
        addresses: BTreeMap::new(),
        vlans: BTreeMap::new(),
        member: None,
        rules: <_>::default(),
        takes_xdp_frames: false,
        xdp: None,
        promiscuous: false,
        port_flags: <_>::default(),
        group_fwd_mask: 0,
        leads_elsewhere: false,
        altnames: <_>::default(),
    }
}
