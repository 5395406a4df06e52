//! What this kernel has, found out without touching the node: each kind of link is asked for under a
//! name that no link can have. A kernel that has the kind gets as far as the name; one that has not
//! says so before. This loads the kind's module, as creating a link would.

use std::sync::OnceLock;

use libc::{EINVAL, EOPNOTSUPP, EPROTONOSUPPORT};
use rtnetlink::{
    packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL},
    packet_route::{
        RouteNetlinkMessage,
        link::{InfoBridge, InfoData, InfoKind, InfoVlan, LinkAttribute, LinkInfo},
    },
};

use super::{Failure, Netlink, message};
use crate::state::Kernel;

/// No link's name has a slash (`dev_valid_name` in net/core/dev.c).
const IMPOSSIBLE_NAME: &str = "/";

/// `IFLA_BR_VLAN_PROTOCOL`, with a value that is no VLAN protocol.
const IMPOSSIBLE_PROTOCOL: (u16, [u8; 2]) = (8, [0xff, 0xff]);

static KERNEL: OnceLock<Kernel> = OnceLock::new();

impl Netlink {
    /// What this kernel has, asked once in the life of the process.
    pub(super) async fn probe(&self) -> Result<Kernel, Failure> {
        if let Some(kernel) = KERNEL.get() {
            return Ok(*kernel);
        }
        // Only a kernel with the VLAN filter looks at the protocol (br_validate in
        // net/bridge/br_netlink.c), and before it looks at the name.
        let (kind, value) = IMPOSSIBLE_PROTOCOL;
        let protocol = InfoBridge::Other(DefaultNla::new(kind, value.to_vec()));
        let bridge = self.attempt(InfoKind::Bridge, InfoData::Bridge(vec![protocol])).await?;
        let bond = self.attempt(InfoKind::Bond, InfoData::Bond(vec![])).await?;
        // Without a link beneath; the name does not even come into it.
        let vlan = InfoData::Vlan(vec![InfoVlan::Id(1)]);
        let vlan = self.attempt(InfoKind::Vlan, vlan).await?;
        Ok(*KERNEL.get_or_init(|| Kernel {
            bonding: bond != EOPNOTSUPP,
            vlan_devices: vlan != EOPNOTSUPP,
            bridge: bridge != EOPNOTSUPP,
            vlan_filtering: bridge == EPROTONOSUPPORT,
        }))
    }

    /// `ip link add / type KIND`: with which error it fails, of those that answer the question.
    async fn attempt(&self, kind: InfoKind, data: InfoData) -> Result<i32, Failure> {
        let attributes = vec![
            LinkAttribute::IfName(IMPOSSIBLE_NAME.to_owned()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]),
        ];
        let request = RouteNetlinkMessage::NewLink(message(0, attributes));
        match self.socket.request(request, NLM_F_CREATE | NLM_F_EXCL).await {
            Err(Failure::Refused {
                errno: errno @ (EINVAL | EOPNOTSUPP | EPROTONOSUPPORT),
                ..
            }) => Ok(errno),
            Err(failure) => Err(failure),
            Ok(_) => Err(Failure::Malformed),
        }
    }
}
