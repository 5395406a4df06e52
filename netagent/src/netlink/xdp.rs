//! Which devices transmit what XDP redirects to them: the netdev family of generic netlink
//! (Documentation/netlink/specs/netdev.yaml), since 6.3. A veth does if its peer polls: with GRO on, or an XDP program there.

use std::{collections::BTreeSet, io};

use libc::{
    CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME, CTRL_CMD_GETFAMILY, GENL_ID_CTRL, NLM_F_DUMP,
    NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

use super::wire;

/// `struct nlmsghdr`, then `struct genlmsghdr`.
const HEADER_BYTES: usize = 16;
const GENERIC_BYTES: usize = 4;
const NETDEV: &[u8] = b"netdev\0\0";
/// `NETDEV_CMD_DEV_GET`, `NETDEV_A_DEV_IFINDEX`, `NETDEV_A_DEV_XDP_FEATURES`, `NETDEV_XDP_ACT_NDO_XMIT`
const DEV_GET: u8 = 1;
const IFINDEX: u16 = 1;
const XDP_FEATURES: u16 = 3;
const NDO_XMIT: u32 = 1 << 2;

/// Their interface indexes; none on a kernel that does not say.
pub(super) fn transmitters() -> BTreeSet<u32> {
    ask().unwrap_or_default()
}

fn ask() -> io::Result<BTreeSet<u32>> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    let name = attribute(u16::try_from(CTRL_ATTR_FAMILY_NAME).unwrap_or_default(), NETDEV);
    let getfamily = u8::try_from(CTRL_CMD_GETFAMILY).unwrap_or_default();
    let control = u16::try_from(GENL_ID_CTRL).unwrap_or_default();
    send(&socket, control, getfamily, 0, &name)?;
    let mut family = None;
    receive(&socket, false, |attributes| {
        let id = wire::find(attributes, u16::try_from(CTRL_ATTR_FAMILY_ID).unwrap_or_default());
        family = id.and_then(|id| wire::u16_at(id, 0));
    })?;
    let family = family.ok_or(io::ErrorKind::Unsupported)?;
    send(&socket, family, DEV_GET, NLM_F_DUMP, &[])?;
    let mut devices = BTreeSet::new();
    receive(&socket, true, |attributes| {
        let features = wire::find(attributes, XDP_FEATURES)
            .and_then(|value| Some(u64::from_ne_bytes(*value.first_chunk()?)));
        if features.unwrap_or_default() & u64::from(NDO_XMIT) != 0 {
            devices.extend(wire::find_u32(attributes, IFINDEX));
        }
    })?;
    Ok(devices)
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or_default();
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
}

fn send(
    socket: &Socket,
    family: u16,
    command: u8,
    flags: i32,
    attributes: &[u8],
) -> io::Result<()> {
    let length = u32::try_from(HEADER_BYTES + GENERIC_BYTES + attributes.len()).unwrap_or_default();
    let flags = u16::try_from(NLM_F_REQUEST | flags).unwrap_or_default();
    let (sequence, port) = ([0; 4], [0; 4]);
    let generic = [command, 1, 0, 0];
    let message = [
        &length.to_ne_bytes()[..],
        &family.to_ne_bytes(),
        &flags.to_ne_bytes(),
        &sequence,
        &port,
        &generic,
        attributes,
    ];
    socket.send_to(&message.concat(), &SocketAddr::new(0, 0), 0)?;
    Ok(())
}

/// Hands over the attributes of each answer: of one, or of a dump until its end.
fn receive(socket: &Socket, dump: bool, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while let Some(length) = wire::u32_at(rest, 0) {
            let length = usize::try_from(length).unwrap_or_default().max(HEADER_BYTES);
            match i32::from(wire::u16_at(rest, 4).unwrap_or_default()) {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return Err(io::ErrorKind::Unsupported.into()),
                _ => {
                    let attributes = rest.get(HEADER_BYTES + GENERIC_BYTES..length);
                    take(attributes.ok_or(io::ErrorKind::InvalidData)?);
                }
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        if !dump {
            return Ok(());
        }
    }
}
