//! Who uses which device: every name once.

use std::collections::BTreeMap;

use super::error::{Fault, Place};
use crate::names::IfName;

/// Names that look like devices and are something else: the loopback, and entries of
/// `/proc/sys/net/ipv4/conf` and `/sys/class/net`.
const RESERVED: &[&str] = &["lo", "all", "default", "bonding_masters"];

/// The devices that have a use, what it is, and where the file says so.
#[derive(Default)]
pub struct Claims(BTreeMap<IfName, (String, Place)>);

impl Claims {
    /// Gives a device a use, if it has none yet.
    pub fn claim(&mut self, device: &IfName, place: Place, use_of_it: String) -> Result<(), Fault> {
        if RESERVED.contains(&device.as_str()) {
            return Err(Fault::new(
                place,
                format!("\"{device}\" is reserved by the kernel; take another name"),
            ));
        }
        if let Some((earlier, Place { line, .. })) = self.0.get(device) {
            let complaint = format!(
                "\"{device}\" cannot be {use_of_it}: it is already {earlier} (line {line})"
            );
            return Err(Fault::new(place, complaint));
        }
        self.0.insert(device.clone(), (use_of_it, place));
        Ok(())
    }
}
