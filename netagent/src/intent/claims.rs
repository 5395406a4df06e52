//! Device names and their uses: a device has one use.

use std::collections::BTreeMap;

use super::{
    Item,
    problem::{Problem, Site},
};
use crate::{names::IfName, pattern::DevicePattern};

/// Names that the kernel uses otherwise: the loopback device, and entries of
/// `/proc/sys/net/ipv4/conf` and `/sys/class/net`.
const RESERVED: &[&str] = &["lo", "all", "default", "bonding_masters"];

/// The use of a device, and the key that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The device.
    pub device: IfName,
    /// The use, such as "a NIC of cluster network oob".
    pub purpose: String,
    /// The key that names the device.
    pub site: Site,
}

/// The uses of all devices.
#[derive(Default)]
pub struct Claims {
    /// Claims of accepted items.
    taken: BTreeMap<IfName, Claim>,
    /// Claims of the current source's items to devices that the agent creates.
    created: BTreeMap<IfName, Claim>,
}

impl Claims {
    /// Sets the claims of the current source to devices that the agent creates. They have priority
    /// over its claims to existing devices, whichever come first in the source. Of two claims
    /// here the first has priority.
    pub fn set_created(&mut self, claims: impl Iterator<Item = Claim>) {
        self.created.clear();
        for claim in claims {
            self.created.entry(claim.device.clone()).or_insert(claim);
        }
    }

    /// Checks that all claims of one item can be granted together.
    pub fn check(&self, claims: &[Claim]) -> Result<(), Problem> {
        for (index, claim) in claims.iter().enumerate() {
            let Claim { device, purpose, site } = claim;
            if RESERVED.contains(&device.as_str()) {
                return Err(Problem::new(
                    site.key.clone(),
                    format!("\"{device}\" is reserved by the kernel; use another name"),
                ));
            }
            let own = claims[..index].iter().find(|own| own.device == *device);
            let created = self.created.get(device).filter(|created| *created != claim);
            if let Some(earlier) = self.taken.get(device).or(created).or(own) {
                let text =
                    format!("\"{device}\" cannot be {purpose}: it is already {}", earlier.purpose);
                return Err(Problem::clash(site.key.clone(), text, &earlier.site));
            }
        }
        Ok(())
    }

    /// Whether a device has a use.
    pub fn is_taken(&self, device: &IfName) -> bool {
        RESERVED.contains(&device.as_str()) || self.taken.contains_key(device)
    }

    /// Checks that a pattern does not match a device that an item of its source or of one before
    /// names for another use than a VM's port.
    pub fn check_pattern(&self, site: &Site, pattern: &DevicePattern) -> Result<(), Problem> {
        let claims = self.taken.values().chain(self.created.values());
        let mut others = claims.filter(|claim| !matches!(claim.site.item, Item::Port(_)));
        match others.find(|claim| pattern.matches(&claim.device)) {
            None => Ok(()),
            Some(Claim { device, purpose, site: earlier }) => {
                let text = format!(
                    "\"{pattern}\" also matches {device}, {purpose}; narrow the pattern to the \
                     devices of VMs"
                );
                Err(Problem::clash(site.key.clone(), text, earlier))
            }
        }
    }

    /// Grants the claims of an accepted item.
    pub fn grant(&mut self, claims: Vec<Claim>) {
        self.taken.extend(claims.into_iter().map(|claim| (claim.device.clone(), claim)));
    }
}
