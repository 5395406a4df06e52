//! The identifier by which DHCPv6 servers know the node. It stays for the life of the node, even if
//! its NIC is replaced.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use tracing::{info, warn};

use crate::{dhcp::v6::Duid, names::Mac, state_file::StateFile};

/// The file of the identifier.
pub struct DuidFile {
    file: StateFile,
    duid: Option<Duid>,
}

impl DuidFile {
    /// Reads the file. Without one, and with a damaged one, the node gets a new identifier.
    pub fn read(directory: &Path) -> Self {
        let (file, duid) = StateFile::read(directory.join("duid.json"));
        Self { file, duid }
    }

    /// The identifier; a new one, of the first interface that needs it, is kept.
    pub fn get(&mut self, mac: Mac) -> Duid {
        if let Some(duid) = &self.duid {
            return duid.clone();
        }
        let duid = Duid::of_node(mac, random());
        info!("DHCPv6 servers know this node by DUID {duid}");
        if let Err(error) = self.save(&duid) {
            warn!("{error:#}");
        }
        self.duid.insert(duid).clone()
    }

    fn save(&mut self, duid: &Duid) -> Result<()> {
        self.file.save(&duid).with_context(|| {
            let path = self.file.path().display();
            format!("{path}: keep the DHCPv6 identifier for the next start (--state)")
        })
    }
}

/// Random octets of the kernel, with the marks of a random UUID.
fn random() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or_default().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identifier_stays() {
        let directory = std::env::temp_dir().join(format!("netagent-duid-{}", std::process::id()));
        let [one, other] = [Mac([2, 0, 0, 0, 0, 1]), Mac([4, 0, 0, 0, 0, 2])];
        let duid = DuidFile::read(&directory).get(one);
        assert_eq!(DuidFile::read(&directory).get(other), duid, "of another NIC");
        assert_ne!(duid.bytes()[2..], [0; 16]);
        fs::remove_dir_all(&directory).unwrap();
        assert_ne!(DuidFile::read(&directory).get(one), duid);
        fs::remove_dir_all(&directory).unwrap();
    }
}
