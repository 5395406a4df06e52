//! The file of leases. It survives a reboot, so its times are those of the wall clock.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{
    clock::boot_seconds,
    dhcp::{Interface, Lease},
    names::{IfName, Mac},
    state_file::StateFile,
};

/// The file.
pub struct LeaseFile {
    file: StateFile,
    leases: BTreeMap<IfName, Kept>,
}

/// A lease in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    /// The MAC address by which the server knows the client.
    mac: Mac,
    /// The lease, with times since the boot.
    lease: Lease,
    /// The Unix time of the boot, in seconds.
    boot: i64,
}

impl LeaseFile {
    /// Reads the file. A damaged one is as good as none: the server knows the leases.
    pub fn read(directory: &Path) -> Self {
        let (file, leases) = StateFile::read(directory.join("leases.json"));
        Self { file, leases }
    }

    /// The lease of an interface, with times since this boot.
    pub fn get(&self, interface: &Interface) -> Option<Lease> {
        let kept = self.leases.get(&interface.name)?;
        let lease = kept.lease.clone().moved(kept.boot - boot());
        (kept.mac == interface.mac).then_some(lease)
    }

    /// Notes a lease.
    pub fn insert(&mut self, interface: &Interface, lease: &Lease) {
        let kept = Kept { mac: interface.mac, lease: lease.clone(), boot: boot() };
        self.leases.insert(interface.name.clone(), kept);
    }

    /// Forgets a lease.
    pub fn remove(&mut self, name: &IfName) {
        self.leases.remove(name);
    }

    /// Forgets the leases of other interfaces. Returns whether there were any.
    pub fn retain(&mut self, keep: impl Fn(&IfName) -> bool) -> bool {
        let before = self.leases.len();
        self.leases.retain(|name, _| keep(name));
        self.leases.len() < before
    }

    /// Writes the file.
    pub fn save(&mut self) -> Result<()> {
        self.file.save(&self.leases).with_context(|| {
            let path = self.file.path().display();
            format!("{path}: keep the DHCP leases for the next start (--state)")
        })
    }
}

/// The Unix time of the boot, in seconds.
fn boot() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs().cast_signed() - boot_seconds().cast_signed()
}

#[cfg(test)]
mod tests {
    use std::{fs, net::Ipv4Addr, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::names::Cidr;

    #[test]
    fn a_lease_is_read_as_it_was_for_its_own_interface_only() {
        let directory =
            std::env::temp_dir().join(format!("netagent-leases-{}", std::process::id()));
        let interface =
            Interface { name: "br".parse().unwrap(), index: 7, mac: Mac([2, 0, 0, 0, 0, 7]) };
        let lease = Lease {
            address: "10.0.0.5/24".parse().unwrap(),
            server: Ipv4Addr::new(10, 0, 0, 1),
            renew: 5000,
            rebind: 6000,
            until: 7000,
            routes: vec![(Cidr { address: Ipv4Addr::UNSPECIFIED.into(), prefix: 0 }, None)],
            mtu: None,
            ntp: vec![],
            replaces: None,
        };
        let mut file = LeaseFile::read(&directory);
        assert_eq!(file.get(&interface), None);
        file.insert(&interface, &lease);
        file.save().unwrap();
        let path = directory.join("leases.json");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = LeaseFile::read(&directory).get(&interface).unwrap();
        // The two clocks are read one after the other.
        assert!(read.until.abs_diff(lease.until) <= 1, "{read:?}");
        assert_eq!(read.clone().moved(lease.until.cast_signed() - read.until.cast_signed()), lease);
        let other = Interface { mac: Mac([2, 0, 0, 0, 0, 8]), ..interface.clone() };
        assert_eq!(file.get(&other), None);
        // The node was off for 100 s of 1,000 s that it was up, and has been up for 0 s.
        file.leases.get_mut(&interface.name).unwrap().boot -= 1100;
        let moved = file.get(&interface).unwrap();
        assert!(moved.until.abs_diff(lease.until - 1100) <= 1, "{moved:?}");
        fs::write(&path, "{").unwrap();
        assert_eq!(LeaseFile::read(&directory).get(&interface), None);
        fs::remove_dir_all(&directory).unwrap();
    }
}
