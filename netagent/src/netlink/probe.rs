//! The optional parts of this kernel, found without a change of the node: a request for each kind
//! of link, with a name that no link can have. A kernel with that kind refuses the name; a kernel
//! without it refuses the kind first. The request loads the module of the kind, as creating a link
//! would.

use std::sync::OnceLock;

use libc::{EINVAL, EOPNOTSUPP, EPROTONOSUPPORT};
use rtnetlink::{
    LinkBond, LinkBridge, LinkMessageBuilder, LinkVlan,
    packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL},
    packet_route::{
        RouteNetlinkMessage,
        link::{InfoBridge, LinkMessage},
    },
};

use super::{Failure, Netlink};
use crate::state::Kernel;

/// The name of a link cannot have a slash (`dev_valid_name` in net/core/dev.c).
const IMPOSSIBLE_NAME: &str = "/";

/// `IFLA_BR_VLAN_PROTOCOL`, with a value that is not a VLAN protocol.
const IMPOSSIBLE_PROTOCOL: (u16, [u8; 2]) = (8, [0xff, 0xff]);

static KERNEL: OnceLock<Kernel> = OnceLock::new();

impl Netlink {
    /// The optional parts of this kernel, read once in the life of the process.
    pub(super) async fn probe(&self) -> Result<Kernel, Failure> {
        if let Some(kernel) = KERNEL.get() {
            return Ok(*kernel);
        }
        // Only a kernel with the VLAN filter checks the protocol (br_validate in
        // net/bridge/br_netlink.c), and it does so before it checks the name.
        let (kind, value) = IMPOSSIBLE_PROTOCOL;
        let protocol = InfoBridge::Other(DefaultNla::new(kind, value.to_vec()));
        let bridge = LinkMessageBuilder::<LinkBridge>::new(IMPOSSIBLE_NAME);
        let bridge = self.attempt(bridge.append_info_data(protocol).build()).await?;
        let bond = self.attempt(LinkBond::new(IMPOSSIBLE_NAME).build()).await?;
        // Refused for the lack of a parent, before the name is checked.
        let vlan = LinkMessageBuilder::<LinkVlan>::new(IMPOSSIBLE_NAME).id(1);
        let vlan = self.attempt(vlan.build()).await?;
        Ok(*KERNEL.get_or_init(|| Kernel {
            bonding: bond != EOPNOTSUPP,
            vlan_devices: vlan != EOPNOTSUPP,
            bridge: bridge != EOPNOTSUPP,
            vlan_filtering: bridge == EPROTONOSUPPORT,
        }))
    }

    /// The error with which a request to create a link fails, if it is one of those expected.
    async fn attempt(&self, link: LinkMessage) -> Result<i32, Failure> {
        let request = RouteNetlinkMessage::NewLink(link);
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
