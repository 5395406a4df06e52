//! Devices that support XDP_REDIRECT (NETDEV_XDP_ACT_NDO_XMIT): the netdev family of generic
//! netlink (Documentation/netlink/specs/netdev.yaml), since Linux 6.3. A veth supports it while its
//! peer polls: with GRO on, or with an XDP program.

use std::{collections::BTreeSet, io};

use libc::{CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME, CTRL_CMD_GETFAMILY, GENL_ID_CTRL};
use rtnetlink::sys::protocols::NETLINK_GENERIC;
use tokio::sync::OnceCell;

use super::{
    Failure, request,
    socket::{Reply, Socket},
    wire,
};

/// `struct genlmsghdr`
const HEADER_BYTES: usize = 4;
const NETDEV: &[u8] = b"netdev\0";
/// `NETDEV_CMD_DEV_GET`
const DEV_GET: u8 = 1;
/// `NETDEV_CMD_DEV_CHANGE_NTF`
const DEV_CHANGED: u8 = 4;
/// `NETDEV_MCGRP_MGMT`
const GROUP: &str = "mgmt";
/// `CTRL_ATTR_MCAST_GROUPS`, and the attributes of each group in it
const GROUPS: u16 = 7;
const GROUP_NAME: u16 = 1;
const GROUP_ID: u16 = 2;
/// `NETDEV_A_DEV_IFINDEX`
const IFINDEX: u16 = 1;
/// `NETDEV_A_DEV_XDP_FEATURES`
const XDP_FEATURES: u16 = 3;
/// `NETDEV_XDP_ACT_NDO_XMIT`
const NDO_XMIT: u64 = 1 << 2;

/// The netdev family.
pub(super) struct Netdev {
    pub(super) socket: Socket,
    /// `None`: the kernel does not have the family.
    family: OnceCell<Option<Family>>,
}

/// The numbers of the family on this kernel.
#[derive(Clone, Copy)]
pub(super) struct Family {
    id: u16,
    /// Multicast group of notifications about devices.
    pub(super) group: Option<u32>,
}

impl Netdev {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(NETLINK_GENERIC)?, family: OnceCell::new() })
    }

    /// The interface indexes of all devices that support XDP_REDIRECT.
    pub(super) async fn transmitters(&self) -> Result<BTreeSet<u32>, Failure> {
        let Some(family) = self.family().await? else { return Ok(BTreeSet::new()) };
        let replies = self.socket.dump(request::generic(family.id, DEV_GET, None)).await?;
        Ok(replies.iter().filter_map(transmitter).collect())
    }

    /// Whether the device with this index supports XDP_REDIRECT.
    pub(super) async fn transmits(&self, index: u32) -> Result<bool, Failure> {
        let Some(family) = self.family().await? else { return Ok(false) };
        let device = index.to_ne_bytes();
        let request = request::generic(family.id, DEV_GET, Some((IFINDEX, &device)));
        let replies = self.socket.request(request, 0).await?;
        Ok(replies.iter().filter_map(transmitter).any(|found| found == index))
    }

    pub(super) async fn family(&self) -> Result<Option<Family>, Failure> {
        self.family.get_or_try_init(|| self.find_family()).await.copied()
    }

    async fn find_family(&self) -> Result<Option<Family>, Failure> {
        let name = (short(CTRL_ATTR_FAMILY_NAME), NETDEV);
        let get = u8::try_from(CTRL_CMD_GETFAMILY).unwrap_or_default();
        let request = request::generic(short(GENL_ID_CTRL), get, Some(name));
        match self.socket.request(request, 0).await {
            Ok(replies) => {
                let family = replies.iter().find_map(|reply| read_family(&reply.payload));
                family.map(Some).ok_or(Failure::Malformed)
            }
            Err(failure) if failure.is(libc::ENOENT) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

fn read_family(payload: &[u8]) -> Option<Family> {
    let attributes = payload.get(HEADER_BYTES..)?;
    let id = wire::u16_at(wire::find(attributes, short(CTRL_ATTR_FAMILY_ID))?, 0)?;
    let groups = wire::attributes(wire::find(attributes, GROUPS).unwrap_or_default());
    let group = groups
        .map(wire::value)
        .find(|group| wire::find_text(group, GROUP_NAME).as_deref() == Some(GROUP))
        .and_then(|group| wire::find_u32(group, GROUP_ID));
    Some(Family { id, group })
}

/// The index of the device whose features changed, in a notification.
pub(super) fn changed(payload: &[u8]) -> Option<u32> {
    let (header, attributes) = payload.split_at_checked(HEADER_BYTES)?;
    let is_change = header.first() == Some(&DEV_CHANGED);
    wire::find_u32(attributes, IFINDEX).filter(|_| is_change)
}

/// The index of the device in a reply, if the device supports XDP_REDIRECT.
fn transmitter(reply: &Reply) -> Option<u32> {
    let attributes = reply.payload.get(HEADER_BYTES..)?;
    let features = wire::find(attributes, XDP_FEATURES)?.first_chunk().copied()?;
    let transmits = u64::from_ne_bytes(features) & NDO_XMIT != 0;
    wire::find_u32(attributes, IFINDEX).filter(|_| transmits)
}

/// libc has the 16-bit constants of generic netlink as `int`.
fn short(constant: libc::c_int) -> u16 {
    u16::try_from(constant).unwrap_or_default()
}
