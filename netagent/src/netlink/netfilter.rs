//! Chains and flow tables of nftables that see the frames of single devices, or of bridges (`nft
//! list chains`, `nft list flowtables`): families netdev, inet and bridge, from nfnetlink
//! (include/uapi/linux/netfilter/nf_tables.h).

use std::{collections::BTreeSet, sync::Arc};

use rtnetlink::packet_core::NlaBuffer;

use super::{Failure, Netlink, request::Request, socket::Reply, wire};
use crate::{
    names::IfName,
    state::{Place, Rule},
};

/// `NFNL_SUBSYS_NFTABLES << 8`
const NFTABLES: u16 = 10 << 8;
/// `NFT_MSG_NEWCHAIN`, `NFT_MSG_DELCHAIN`, `NFT_MSG_NEWFLOWTABLE`, `NFT_MSG_DELFLOWTABLE`
const CHANGES: [u16; 4] = [NFTABLES + 3, NFTABLES + 5, NFTABLES + 22, NFTABLES + 24];
/// `NFT_MSG_GETCHAIN`
const GET_CHAIN: u16 = NFTABLES + 4;
/// `NFT_MSG_GETFLOWTABLE`
const GET_FLOWTABLE: u16 = NFTABLES + 23;
/// `NFNLGRP_NFTABLES`
pub(super) const GROUP: u32 = 7;

/// `struct nfgenmsg`
const HEADER_BYTES: usize = 4;
/// `NFPROTO_INET`, `NFPROTO_NETDEV` and `NFPROTO_BRIDGE`
const INET: u8 = 1;
const NETDEV: u8 = 5;
const BRIDGE: u8 = 7;
/// `NFTA_CHAIN_TABLE`, `NFTA_CHAIN_NAME`, `NFTA_CHAIN_HOOK`; a flow table has the first two as
/// well.
const TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const FLOWTABLE_NAME: u16 = 2;
const FLOWTABLE_HOOK: u16 = 3;
/// `NFTA_HOOK_HOOKNUM`, `NFTA_HOOK_DEV`, `NFTA_HOOK_DEVS`; `NFTA_FLOWTABLE_HOOK_DEVS` is the third
/// as well.
const HOOK_NUMBER: u16 = 1;
const HOOK_DEVICE: u16 = 3;
const CHAIN_DEVICES: u16 = 4;
const FLOWTABLE_DEVICES: u16 = 3;
/// `NFTA_DEVICE_NAME`, and `NFTA_DEVICE_PREFIX` (6.16)
const DEVICE_NAME: u16 = 1;
const DEVICE_PREFIX: u16 = 2;
/// `NF_NETDEV_EGRESS`; the ingress hook is 0, in the family inet 5.
const EGRESS: u32 = 1;

/// What sees the frames of some devices.
#[derive(Debug)]
pub(super) struct Chain {
    rule: Rule,
    /// Each a name, or the beginning of names.
    devices: Vec<(String, bool)>,
}

impl Chain {
    /// The rule, if it sees the frames of this device.
    fn rule_of(&self, device: &str) -> Option<Rule> {
        let is_this = |(name, is_prefix): &(String, bool)| {
            if *is_prefix { device.starts_with(name) } else { device == name }
        };
        self.devices.iter().any(is_this).then(|| self.rule.clone())
    }
}

/// Reads the attributes of a message.
type Read = fn(&[u8]) -> Option<Chain>;

/// The rules of chains that see the frames of a device.
pub(super) fn rules_of(chains: &[Chain], device: &IfName) -> BTreeSet<Rule> {
    chains.iter().filter_map(|chain| chain.rule_of(device.as_str())).collect()
}

impl Netlink {
    /// The chains, as they were read last.
    pub(super) fn known_chains(&self) -> Arc<[Chain]> {
        self.chains.lock().map(|known| Arc::clone(&known)).unwrap_or_default()
    }

    /// `nft list chains` and `nft list flowtables`, as far as they name devices.
    pub(super) async fn read_chains(&self) -> Result<Arc<[Chain]>, Failure> {
        let mut found = Vec::new();
        let Some(socket) = &self.netfilter else { return Ok(found.into()) };
        for (kind, family, read) in [
            (GET_CHAIN, NETDEV, chain as Read),
            (GET_CHAIN, INET, chain),
            (GET_CHAIN, BRIDGE, of_bridges),
            (GET_FLOWTABLE, 0, flow_table),
        ] {
            match socket.dump(Request::new(kind, vec![family, 0, 0, 0])).await {
                // The kernel has no nftables.
                Err(failure) if failure.is(libc::EINVAL) || failure.is(libc::EOPNOTSUPP) => {}
                replies => {
                    let attributes = |reply: &Reply| read(reply.payload.get(HEADER_BYTES..)?);
                    found.extend(replies?.iter().filter_map(attributes));
                }
            }
        }
        let found: Arc<[Chain]> = found.into();
        if let Ok(mut known) = self.chains.lock() {
            *known = Arc::clone(&found);
        }
        Ok(found)
    }
}

/// Whether a notification is about a chain or a flow table that may have devices.
pub(super) fn is_change(kind: u16, payload: &[u8]) -> bool {
    let of_flow_table = kind >= CHANGES[2];
    let of_family = payload.first().is_some_and(|family| [NETDEV, INET, BRIDGE].contains(family));
    CHANGES.contains(&kind) && (of_flow_table || of_family)
}

/// A chain of the family bridge that has a hook: it sees the frames of every bridge.
fn of_bridges(attributes: &[u8]) -> Option<Chain> {
    wire::find(attributes, CHAIN_HOOK)?;
    let name = name(attributes, CHAIN_NAME)?;
    let rule = Rule::new(Place::Bridge, format!("nftables chain bridge {name}"));
    // The beginning of every name.
    Some(Chain { rule, devices: vec![(String::new(), true)] })
}

fn chain(attributes: &[u8]) -> Option<Chain> {
    let hook = wire::find(attributes, CHAIN_HOOK)?;
    let name = name(attributes, CHAIN_NAME)?;
    let number = wire::find(hook, HOOK_NUMBER)?.first_chunk().copied().map(u32::from_be_bytes)?;
    let devices = devices(hook, CHAIN_DEVICES);
    let place = if number == EGRESS { Place::EgressHook } else { Place::Ingress };
    let rule = Rule::new(place, format!("nftables chain {name}"));
    (!devices.is_empty()).then_some(Chain { rule, devices })
}

fn flow_table(attributes: &[u8]) -> Option<Chain> {
    let hook = wire::find(attributes, FLOWTABLE_HOOK)?;
    let name = name(attributes, FLOWTABLE_NAME)?;
    let rule = Rule::new(Place::Ingress, format!("nftables flow table {name}"));
    Some(Chain { rule, devices: devices(hook, FLOWTABLE_DEVICES) })
}

/// Table and name.
fn name(attributes: &[u8], kind: u16) -> Option<String> {
    let table = wire::find_text(attributes, TABLE)?;
    Some(format!("{table}/{}", wire::find_text(attributes, kind)?))
}

fn devices(hook: &[u8], list: u16) -> Vec<(String, bool)> {
    // With one device, a chain has it twice.
    if list == CHAIN_DEVICES
        && let Some(device) = wire::find_text(hook, HOOK_DEVICE)
    {
        return vec![(device, false)];
    }
    let list = wire::find(hook, list).unwrap_or_default();
    let device = |attribute: NlaBuffer<&[u8]>| {
        let is_prefix = match attribute.kind() {
            DEVICE_NAME => false,
            DEVICE_PREFIX => true,
            _ => return None,
        };
        let name = String::from_utf8_lossy(wire::value(attribute)).into_owned();
        Some((name.trim_end_matches('\0').to_owned(), is_prefix))
    };
    wire::attributes(list).filter_map(device).collect()
}
