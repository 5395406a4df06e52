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
    names::{Family, IfName, Mac},
    state_file::StateFile,
};

/// The file.
pub struct LeaseFile {
    file: StateFile,
    leases: BTreeMap<Key, Kept>,
}

/// The interface and the family of a lease: `br`, and `br/v6`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Key(pub IfName, pub Family);

/// No interface has it in its name.
const V6: &str = "/v6";

impl From<Key> for String {
    fn from(Key(name, family): Key) -> Self {
        match family {
            Family::V4 => name.to_string(),
            Family::V6 => format!("{name}{V6}"),
        }
    }
}

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Ok(match text.strip_suffix(V6) {
            None => Self(text.parse()?, Family::V4),
            Some(name) => Self(name.parse()?, Family::V6),
        })
    }
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
    pub fn get(&self, interface: &Interface, family: Family) -> Option<Lease> {
        let kept = self.leases.get(&Key(interface.name.clone(), family))?;
        let lease = kept.lease.clone().moved(kept.boot - boot());
        (kept.mac == interface.mac && lease.family() == family).then_some(lease)
    }

    /// The interfaces and families of all leases.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.leases.keys()
    }

    /// Notes a lease.
    pub fn insert(&mut self, interface: &Interface, lease: &Lease) {
        let kept = Kept { mac: interface.mac, lease: lease.clone(), boot: boot() };
        self.leases.insert(Key(interface.name.clone(), lease.family()), kept);
    }

    /// Forgets a lease.
    pub fn remove(&mut self, key: &Key) {
        self.leases.remove(key);
    }

    /// Forgets the leases of other interfaces. Returns whether there were any.
    pub fn retain(&mut self, keep: impl Fn(&Key) -> bool) -> bool {
        let before = self.leases.len();
        self.leases.retain(|key, _| keep(key));
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
    use crate::{
        dhcp::{v4, v6},
        names::Cidr,
    };

    #[test]
    fn a_lease_is_read_as_it_was_for_its_own_interface_only() {
        let directory =
            std::env::temp_dir().join(format!("netagent-leases-{}", std::process::id()));
        let interface =
            Interface { name: "br".parse().unwrap(), index: 7, mac: Mac([2, 0, 0, 0, 0, 7]) };
        let lease = v4::Lease {
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
        let lease = Lease::V4(lease);
        let (server, address) = ("00:03:00".parse().unwrap(), "fd00::5".parse().unwrap());
        let other_family =
            v6::Lease { address, server, renew: 5000, rebind: 6000, preferred: 6500, until: 8000 };
        let other_family = Lease::V6(other_family);
        let mut file = LeaseFile::read(&directory);
        assert_eq!(file.get(&interface, Family::V4), None);
        file.insert(&interface, &lease);
        file.insert(&interface, &other_family);
        file.save().unwrap();
        let path = directory.join("leases.json");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = LeaseFile::read(&directory).get(&interface, Family::V4).unwrap();
        // The two clocks are read one after the other.
        assert!(read.until().abs_diff(lease.until()) <= 1, "{read:?}");
        assert_eq!(
            read.clone().moved(lease.until().cast_signed() - read.until().cast_signed()),
            lease
        );
        let read = LeaseFile::read(&directory).get(&interface, Family::V6).unwrap();
        let apart = other_family.until().cast_signed() - read.until().cast_signed();
        assert_eq!(read.moved(apart), other_family);
        let other = Interface { mac: Mac([2, 0, 0, 0, 0, 8]), ..interface.clone() };
        assert_eq!(file.get(&other, Family::V4), None);
        // The node was off for 100 s of 1,000 s that it was up, and has been up for 0 s.
        file.leases.get_mut(&Key(interface.name.clone(), Family::V4)).unwrap().boot -= 1100;
        let moved = file.get(&interface, Family::V4).unwrap();
        assert!(moved.until().abs_diff(lease.until() - 1100) <= 1, "{moved:?}");
        fs::write(&path, "{").unwrap();
        assert_eq!(LeaseFile::read(&directory).get(&interface, Family::V4), None);
        fs::remove_dir_all(&directory).unwrap();
    }
}
