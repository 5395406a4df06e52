//! The MAC address of a bridge that others made. As long as nobody has set it, the kernel gives the
//! bridge the lowest address of its ports (br_stp_recalculate_bridge_id in net/bridge/br_stp_if.c),
//! which changes when pods come and go. No netlink attribute tells whether somebody has set it.

use std::{fs::File, io::Read as _};

use anyhow::{Context as _, Result};

use super::Agent;
use crate::{
    change::LinkChange,
    names::{IfName, Mac},
};

impl Agent {
    /// Makes the MAC address of a bridge its own. One that has lost all of its ports has none.
    pub async fn pin_mac(&self, bridge: &IfName, mac: Mac) -> Result<()> {
        let mac = if mac == Mac([0; 6]) { random_mac()? } else { mac };
        let change = LinkChange::SetMac(bridge.clone(), mac);
        self.netlink.apply(&change, None).await.with_context(|| change.to_string())
    }
}

/// A locally administered, individual MAC address.
fn random_mac() -> Result<Mac> {
    let mut bytes = [0; 6];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.context("/dev/urandom")?;
    bytes[0] = bytes[0] & 0xfc | 0x02;
    Ok(Mac(bytes))
}
