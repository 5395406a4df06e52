//! Sets of VIDs and their notation: "100,200-299".

use std::{collections::BTreeSet, fmt, str::FromStr};

use netagent_common::vlan::Vid;
use serde::{Deserialize, Serialize};

/// A set of VIDs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VidSet(BTreeSet<Vid>);

impl VidSet {
    /// Adds a VID.
    pub fn insert(&mut self, vid: Vid) {
        self.0.insert(vid);
    }

    /// Whether a VID is in the set.
    pub fn contains(&self, vid: Vid) -> bool {
        self.0.contains(&vid)
    }

    /// Whether no VID is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many VIDs are in the set.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The VIDs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Vid> + '_ {
        self.0.iter().copied()
    }

    /// The ranges of consecutive VIDs, ascending.
    pub fn ranges(&self) -> Vec<(Vid, Vid)> {
        let mut ranges: Vec<(Vid, Vid)> = Vec::new();
        for vid in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if last.get() + 1 == vid.get() => *last = vid,
                _ => ranges.push((vid, vid)),
            }
        }
        ranges
    }
}

impl FromIterator<Vid> for VidSet {
    fn from_iter<I: IntoIterator<Item = Vid>>(vids: I) -> Self {
        Self(vids.into_iter().collect())
    }
}

impl Extend<Vid> for VidSet {
    fn extend<I: IntoIterator<Item = Vid>>(&mut self, vids: I) {
        self.0.extend(vids);
    }
}

impl FromStr for VidSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut set = Self::default();
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (parse_vid(first.trim())?, parse_vid(last.trim())?);
            if first > last {
                return Err(format!("VID range {part:?} runs backwards"));
            }
            set.extend((first.get()..=last.get()).filter_map(Vid::new));
        }
        Ok(set)
    }
}

/// Parses a VID in decimal digits.
pub fn parse_vid(text: &str) -> Result<Vid, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.and_then(Vid::new).ok_or_else(|| format!("VID {text:?} is not in 1 to 4094"))
}

impl fmt::Display for VidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.ranges().into_iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation_is_canonical() {
        let set: VidSet = "500, 200-202,201,203".parse().unwrap();
        assert_eq!(set.to_string(), "200-203,500");
        assert_eq!(set.len(), 5);
        assert_eq!("1-4094".parse::<VidSet>().unwrap().len(), 4094);
    }

    #[test]
    fn invalid_notations_are_refused() {
        for bad in ["", ",", "0", "4095", "1-", "-1", "5-4", "1-4095", "a", "+5", "1-2-3", "99999"]
        {
            assert!(bad.parse::<VidSet>().is_err(), "{bad}");
        }
    }
}
