//! Attachment points of the programs.

use netagent_common::{guard, policy};
use serde::{Deserialize, Serialize};

use super::ClsactSide;

/// An attachment point. Each has exactly one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Hook {
    /// `uplink_xdp`
    UplinkXdp,
    /// `uplink_in`
    UplinkIn,
    /// `uplink_out`
    UplinkOut,
    /// `port_in`
    PortIn,
    /// `port_out`
    PortOut,
}

impl Hook {
    /// All hooks.
    pub const ALL: [Self; 5] =
        [Self::UplinkXdp, Self::UplinkIn, Self::UplinkOut, Self::PortIn, Self::PortOut];

    /// Whether the program runs on uplinks.
    pub const fn is_of_uplink(self) -> bool {
        matches!(self, Self::UplinkXdp | Self::UplinkIn | Self::UplinkOut)
    }

    /// The optional flags of a port that the program on this hook implements.
    pub const fn optional(self, flags: u32) -> u32 {
        flags
            & match self {
                Self::UplinkXdp => policy::SERVICES | policy::FAST_XDP,
                Self::UplinkIn | Self::UplinkOut => policy::SERVICES,
                Self::PortIn => {
                    policy::TUNNEL
                        | guard::GUARDS
                        | policy::MAC_LIMIT
                        | policy::STORM
                        | policy::SILENT
                }
                Self::PortOut => {
                    policy::TUNNEL
                        | policy::ISOLATION
                        | policy::PRIORITY_IF_NONZERO
                        | policy::PRIORITY_ALWAYS
                }
            }
    }

    /// The side of the device on which the program runs; `None` for XDP.
    pub const fn side(self) -> Option<ClsactSide> {
        match self {
            Self::UplinkXdp => None,
            Self::UplinkIn | Self::PortIn => Some(ClsactSide::Ingress),
            Self::UplinkOut | Self::PortOut => Some(ClsactSide::Egress),
        }
    }

    /// The program's name.
    pub const fn program(self) -> &'static str {
        match self {
            Self::UplinkXdp => "uplink_xdp",
            Self::UplinkIn => "uplink_in",
            Self::UplinkOut => "uplink_out",
            Self::PortIn => "port_in",
            Self::PortOut => "port_out",
        }
    }
}
