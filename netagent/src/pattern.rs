//! Patterns of device names, as a shell has them.

use std::{fmt, str::FromStr};

use crate::names::IfName;

/// A pattern of names of network interfaces: `*` stands for any characters, `?` for one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DevicePattern(String);

impl DevicePattern {
    /// Whether a text is to be read as a pattern.
    pub fn is_meant(text: &str) -> bool {
        text.contains(['*', '?'])
    }

    /// Whether a device has such a name.
    pub fn matches(&self, name: &IfName) -> bool {
        matches(self.0.as_bytes(), name.as_str().as_bytes())
    }
}

/// Both have at most 15 characters.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], name) => name.is_empty(),
        ([b'*', rest @ ..], name) => (0..=name.len()).any(|end| matches(rest, &name[end..])),
        ([byte, rest @ ..], [first, others @ ..]) => {
            (*byte == b'?' || byte == first) && matches(rest, others)
        }
        (_, []) => false,
    }
}

impl FromStr for DevicePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Each character of a name that is not a wildcard stands for itself.
        text.parse::<IfName>()?;
        if text.contains(['[', ']', '{', '}']) {
            return Err(format!(
                "pattern {text:?} has brackets; the wildcards are \"*\" (any characters) and \
                 \"?\" (one character)"
            ));
        }
        if text.bytes().all(|byte| byte == b'*' || byte == b'?') {
            return Err(format!(
                "pattern {text:?} names no device; begin it as the names of the VMs' devices \
                 begin (\"vnet*\")"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for DevicePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_any_characters_and_for_one() {
        for (pattern, matching, others) in [
            ("vnet*", &["vnet0", "vnet12", "vnet"][..], &["xvnet0", "vne", "Vnet0"][..]),
            ("vnet?", &["vnet0", "vnetx"], &["vnet", "vnet10"]),
            ("*-nic", &["4f2-nic", "-nic", "-nic-nic"], &["-nic0", "nic"]),
            ("t*p?.*", &["tap7.10", "tp7.", "top.p7.x"], &["tap.10", "tap7"]),
            ("*a*a*a*a*a*a*b", &["aaaaaaaaaaaaaab"], &["aaaaaaaaaaaaaaa"]),
        ] {
            let pattern: DevicePattern = pattern.parse().unwrap();
            let is_matching = |name: &&str| pattern.matches(&name.parse().unwrap());
            assert!(matching.iter().all(is_matching), "{pattern}: {matching:?}");
            assert!(!others.iter().any(is_matching), "{pattern}: {others:?}");
        }
    }

    #[test]
    fn patterns_that_name_nothing_are_refused() {
        for text in ["*", "?", "**?", "", "vnet*/", "vnet *", "sixteen-letters*", "vnet[0-9]*"] {
            assert!(text.parse::<DevicePattern>().is_err(), "{text:?}");
        }
        assert!(DevicePattern::is_meant("vnet?") && !DevicePattern::is_meant("vnet0"));
    }
}
