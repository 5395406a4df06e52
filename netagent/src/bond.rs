//! Bond modes and options, by their names in `ip link add type bond` and
//! Documentation/networking/bonding.rst.

use std::{
    fmt,
    mem::discriminant,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::names::IfName;

/// Defines an enum whose variants have a name and a number in the kernel's interface.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[doc = concat!("`", $text, "`")] $variant,)+ }

        impl $name {
            /// All names, in the kernel's order.
            pub const NAMES: &[&str] = &[$($text),+];

            /// The name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The kernel's number (include/uapi/linux/if_bonding.h).
            pub const fn number(self) -> u8 {
                match self { $(Self::$variant => $number),+ }
            }

            /// The variant with this number in the kernel.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(format!("{text:?} is not one of {}", Self::NAMES.join(", "))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

named! {
    /// How a bond distributes frames over its members.
    Mode {
        BalanceRr = 0 "balance-rr",
        ActiveBackup = 1 "active-backup",
        BalanceXor = 2 "balance-xor",
        Broadcast = 3 "broadcast",
        Lacp = 4 "802.3ad",
        BalanceTlb = 5 "balance-tlb",
        BalanceAlb = 6 "balance-alb",
    }
}

named! {
    /// The rate of LACPDUs that the bond requests: one in 30 seconds, or one per second.
    LacpRate { Slow = 0 "slow", Fast = 1 "fast", }
}

named! {
    /// The fields of a frame that select a member.
    XmitHashPolicy {
        Layer2 = 0 "layer2",
        Layer34 = 1 "layer3+4",
        Layer23 = 2 "layer2+3",
        Encap23 = 3 "encap2+3",
        Encap34 = 4 "encap3+4",
        VlanSrcmac = 5 "vlan+srcmac",
    }
}

named! {
    /// How an 802.3ad bond selects its aggregator.
    AdSelect { Stable = 0 "stable", Bandwidth = 1 "bandwidth", Count = 2 "count", }
}

named! {
    /// Whether the members share the bond's MAC address.
    FailOverMac { None = 0 "none", Active = 1 "active", Follow = 2 "follow", }
}

named! {
    /// Of which members the answers to the ARP check are verified, and other frames ignored.
    ArpValidate {
        None = 0 "none",
        Active = 1 "active",
        Backup = 2 "backup",
        All = 3 "all",
        Filter = 4 "filter",
        FilterActive = 5 "filter_active",
        FilterBackup = 6 "filter_backup",
    }
}

impl Mode {
    /// The configuration that this mode needs on the switch (bonding.rst, "Switch Configuration").
    pub const fn switch_side(self) -> &'static str {
        match self {
            Self::BalanceRr | Self::BalanceXor | Self::Broadcast => "static link aggregation",
            Self::Lacp => "LACP",
            Self::ActiveBackup | Self::BalanceTlb | Self::BalanceAlb => "none",
        }
    }

    /// Whether the driver supports XDP in this mode (`bond_xdp_check`, since 5.15, kernel commit
    /// 39a0876d595b).
    pub const fn takes_xdp(self) -> bool {
        matches!(self, Self::BalanceRr | Self::ActiveBackup | Self::BalanceXor | Self::Lacp)
    }
}

/// The modes in which the driver replaces the source MAC address of frames that do not leave by the
/// active member, also of those that come from a bridge (`bond_do_alb_xmit` in
/// drivers/net/bonding/bond_alb.c).
pub const REWRITING_MODES: &[Mode] = &[Mode::BalanceTlb, Mode::BalanceAlb];
/// The modes with a preferred member.
pub const PRIMARY_MODES: &[Mode] = &[Mode::ActiveBackup, Mode::BalanceTlb, Mode::BalanceAlb];
/// The modes with ARP monitoring.
pub const ARP_MODES: &[Mode] =
    &[Mode::BalanceRr, Mode::ActiveBackup, Mode::BalanceXor, Mode::Broadcast];
/// The modes that select a member by a hash.
pub const HASH_MODES: &[Mode] = &[Mode::BalanceXor, Mode::Lacp, Mode::BalanceTlb];

/// An option of a bond with its value. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BondOption {
    /// `mode`
    Mode(Mode),
    /// `miimon`: interval of the link check; 0: no link check.
    Miimon(u32),
    /// `updelay`: a multiple of `miimon`.
    Updelay(u32),
    /// `downdelay`: a multiple of `miimon`.
    Downdelay(u32),
    /// `arp_interval`: interval of ARP monitoring; 0: no ARP monitoring.
    ArpInterval(u32),
    /// `arp_ip_target`
    ArpTargets(Vec<Ipv4Addr>),
    /// `ns_ip6_target` (since 5.18)
    NsTargets(Vec<Ipv6Addr>),
    /// `arp_validate`
    ArpValidate(ArpValidate),
    /// `primary`; `None`: no member is preferred.
    Primary(Option<IfName>),
    /// `fail_over_mac`
    FailOverMac(FailOverMac),
    /// `xmit_hash_policy`
    XmitHashPolicy(XmitHashPolicy),
    /// `num_grat_arp` (`num_unsol_na`, IFLA_BOND_NUM_PEER_NOTIF)
    NumGratArp(u8),
    /// `min_links`
    MinLinks(u32),
    /// `lacp_rate`
    LacpRate(LacpRate),
    /// `ad_select`
    AdSelect(AdSelect),
}

/// When the kernel permits a change of an option (BOND_OPTFLAG_* in
/// drivers/net/bonding/bond_options.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changeable {
    /// At any time.
    Live,
    /// While the bond is down (BOND_OPTFLAG_IFDOWN).
    BondDown,
    /// While the bond has no members (BOND_OPTFLAG_NOSLAVES). `mode` also needs the bond down.
    NoMembers,
}

impl BondOption {
    /// When this option can be changed.
    pub const fn changeable(&self) -> Changeable {
        match self {
            Self::Mode(_) | Self::FailOverMac(_) => Changeable::NoMembers,
            Self::LacpRate(_) | Self::AdSelect(_) => Changeable::BondDown,
            Self::Miimon(_)
            | Self::Updelay(_)
            | Self::Downdelay(_)
            | Self::ArpInterval(_)
            | Self::ArpTargets(_)
            | Self::NsTargets(_)
            | Self::ArpValidate(_)
            | Self::Primary(_)
            | Self::XmitHashPolicy(_)
            | Self::NumGratArp(_)
            | Self::MinLinks(_) => Changeable::Live,
        }
    }

    /// The options of a new bond in this mode, with the kernel's defaults.
    pub fn defaults(mode: Mode) -> Vec<Self> {
        let mut defaults = vec![
            Self::Updelay(0),
            Self::Downdelay(0),
            Self::ArpTargets(vec![]),
            Self::NsTargets(vec![]),
            Self::NumGratArp(1),
            Self::MinLinks(0),
            Self::FailOverMac(FailOverMac::None),
            Self::XmitHashPolicy(XmitHashPolicy::Layer2),
        ];
        // The kernel refuses it in the other modes, and resets it itself there.
        if ARP_MODES.contains(&mode) {
            defaults.push(Self::ArpValidate(ArpValidate::None));
        }
        if mode == Mode::Lacp {
            defaults.extend([Self::LacpRate(LacpRate::Slow), Self::AdSelect(AdSelect::Stable)]);
        }
        if matches!(mode, Mode::ActiveBackup | Mode::BalanceTlb | Mode::BalanceAlb) {
            defaults.push(Self::Primary(None));
        }
        defaults
    }

    /// Whether both are values of the same option.
    pub fn same_option(&self, other: &Self) -> bool {
        discriminant(self) == discriminant(other)
    }

    /// The option's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Mode(_) => "mode",
            Self::Miimon(_) => "miimon",
            Self::Updelay(_) => "updelay",
            Self::Downdelay(_) => "downdelay",
            Self::ArpInterval(_) => "arp_interval",
            Self::ArpTargets(_) => "arp_ip_target",
            Self::NsTargets(_) => "ns_ip6_target",
            Self::ArpValidate(_) => "arp_validate",
            Self::Primary(_) => "primary",
            Self::FailOverMac(_) => "fail_over_mac",
            Self::XmitHashPolicy(_) => "xmit_hash_policy",
            Self::NumGratArp(_) => "num_grat_arp",
            Self::MinLinks(_) => "min_links",
            Self::LacpRate(_) => "lacp_rate",
            Self::AdSelect(_) => "ad_select",
        }
    }

    /// The option's value, in the syntax of `ip`.
    pub fn value(&self) -> String {
        match self {
            Self::Mode(value) => value.to_string(),
            Self::Miimon(value)
            | Self::Updelay(value)
            | Self::Downdelay(value)
            | Self::ArpInterval(value)
            | Self::MinLinks(value) => value.to_string(),
            Self::ArpTargets(targets) => list(targets),
            Self::NsTargets(targets) => list(targets),
            Self::ArpValidate(value) => value.to_string(),
            Self::Primary(value) => {
                value.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
            }
            Self::FailOverMac(value) => value.to_string(),
            Self::XmitHashPolicy(value) => value.to_string(),
            Self::NumGratArp(value) => value.to_string(),
            Self::LacpRate(value) => value.to_string(),
            Self::AdSelect(value) => value.to_string(),
        }
    }
}

fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}
