//! VLAN identifiers and tags (IEEE 802.1Q-2022 §9).

use core::fmt;

/// TPID of a C-tag, the only one that an 802.1Q bridge looks at (IEEE 802.1Q-2022 table 9-1).
pub const TPID_C: u16 = 0x8100;
/// TPID of an S-tag (802.1ad).
pub const TPID_S: u16 = 0x88a8;
/// The VID that stands for "no VLAN, priority only" on the wire.
pub const PRIORITY_VID: u16 = 0;
/// The VID that must never be configured or transmitted (IEEE 802.1Q-2022 table 9-2).
pub const RESERVED_VID: u16 = 4095;
/// The VID bits of a TCI; the others are PCP and DEI.
pub const VID_MASK: u16 = 0x0fff;

/// A VLAN identifier that can be configured: 1 to 4094.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "user",
    derive(serde::Serialize, serde::Deserialize),
    serde(into = "u16", try_from = "u16")
)]
pub struct Vid(u16);

#[cfg(feature = "user")]
impl From<Vid> for u16 {
    fn from(vid: Vid) -> Self {
        vid.0
    }
}

#[cfg(feature = "user")]
impl TryFrom<u16> for Vid {
    type Error = &'static str;

    fn try_from(vid: u16) -> Result<Self, Self::Error> {
        Self::new(vid).ok_or("a VID is a number from 1 to 4094")
    }
}

impl Vid {
    /// The lowest VID.
    pub const MIN: Self = Self(1);
    /// The highest VID.
    pub const MAX: Self = Self(4094);

    /// `None` for 0, 4095 and everything above.
    pub const fn new(vid: u16) -> Option<Self> {
        if vid >= Self::MIN.0 && vid <= Self::MAX.0 { Some(Self(vid)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Vid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether an Ethertype announces another tag.
#[inline(always)]
pub const fn is_tpid(ethertype: u16) -> bool {
    ethertype == TPID_C || ethertype == TPID_S
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;

    use super::*;

    #[test]
    fn the_ends_of_the_range_are_no_vids() {
        assert_eq!(Vid::new(0), None);
        assert_eq!(Vid::new(1).map(Vid::get), Some(1));
        assert_eq!(Vid::new(4094).map(Vid::get), Some(4094));
        assert_eq!(Vid::new(4095), None);
    }

    #[test]
    fn a_vid_is_written_as_its_number() {
        assert_eq!(format!("{},{:>5}", Vid::MIN, Vid::MAX), "1, 4094");
    }

    #[cfg(feature = "user")]
    #[test]
    fn a_file_has_vids_as_numbers() {
        assert_eq!([Vid::MIN, Vid::MAX].map(u16::from), [1, 4094]);
        assert_eq!(Vid::try_from(4094), Ok(Vid::MAX));
        assert_eq!(Vid::try_from(4095), Err("a VID is a number from 1 to 4094"));
    }

    #[test]
    fn only_c_tags_and_s_tags_are_tags() {
        let tpids = [0, TPID_C, TPID_S, 0x9100, 0x0800, TPID_C + 1, TPID_S + 1];
        assert_eq!(tpids.map(is_tpid), [false, true, true, false, false, false, false]);
    }
}
