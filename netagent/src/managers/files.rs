//! Reads the files that the managers leave.

use std::{collections::BTreeMap, fs, path::Path};

use super::Files;
use crate::regular_file;

impl Files {
    /// Reads them. One that cannot be read is not there.
    pub fn below(root: &Path) -> Self {
        let interfaces = [root.join("etc/network/interfaces")];
        let more = entries(&root.join("etc/network/interfaces.d"));
        let interfaces = interfaces
            .into_iter()
            .chain(more.into_keys().map(|name| root.join("etc/network/interfaces.d").join(name)));
        let ifcfg = root.join("etc/sysconfig/network");
        // Red Hat has them in network-scripts, which NetworkManager reads itself.
        let is_wicked = root.join("run/wicked").exists();
        Self {
            network_manager: by_index(entries(&root.join("run/NetworkManager/devices"))),
            network_manager_conf: entries(&root.join("etc/NetworkManager/conf.d"))
                .into_values()
                .chain(text(&root.join("etc/NetworkManager/NetworkManager.conf")))
                .collect(),
            networkd: by_index(entries(&root.join("run/systemd/netif/links"))),
            netplan: entries(&root.join("etc/netplan")).into_values().collect(),
            interfaces: interfaces.filter_map(|path| text(&path)).collect(),
            ifstate: text(&root.join("run/network/ifstate")).unwrap_or_default(),
            wicked: entries(&ifcfg).into_keys().filter(|_| is_wicked).collect(),
        }
    }
}

fn text(path: &Path) -> Option<String> {
    String::from_utf8(regular_file::read(path).ok()?).ok()
}

/// The texts of the files in a directory, by name.
fn entries(directory: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeMap::new() };
    let read =
        |entry: fs::DirEntry| Some((entry.file_name().into_string().ok()?, text(&entry.path())?));
    entries.flatten().filter_map(read).collect()
}

/// Files that are named by an interface index.
fn by_index(files: BTreeMap<String, String>) -> BTreeMap<u32, String> {
    files.into_iter().filter_map(|(name, text)| Some((name.parse().ok()?, text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        managers::{Manager, Managers},
        state::{Kind, Observed, sample::link},
    };

    #[test]
    fn the_managers_of_devices_are_read_from_their_files() {
        let root = std::env::temp_dir().join(format!("netagent-managers-{}", std::process::id()));
        for (path, text) in [
            ("run/NetworkManager/devices/2", "[device]\nmanaged=true\n"),
            ("run/NetworkManager/devices/3", "[device]\nmanaged=false\n"),
            ("run/NetworkManager/devices/9", "[device]\nmanaged=true\n"),
            (
                "etc/NetworkManager/conf.d/netagent.conf",
                "[keyfile]\nunmanaged-devices=interface-name:eth22;interface-name:eth9\n",
            ),
            ("run/systemd/netif/links/4", "ADMIN_STATE=configured\nOPER_STATE=routable\n"),
            ("run/systemd/netif/links/3", "ADMIN_STATE=unmanaged\n"),
            ("etc/netplan/50.yaml", "network:\n  ethernets:\n    eth4: {}\n"),
            ("etc/network/interfaces", "auto eth5\niface eth5 inet dhcp\n"),
            ("etc/network/interfaces.d/br", "iface eth6 inet manual\niface home inet dhcp\n"),
            ("run/network/ifstate", "lo=lo\neth7=home\neth2=gone\n"),
            ("run/wicked/pid", "1\n"),
            ("etc/sysconfig/network/ifcfg-eth8", "STARTMODE=auto\n"),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut observed = Observed::default();
        for index in 2..=9 {
            let name = format!("eth{index}").parse().unwrap();
            observed.links.insert(name, link(index, Kind::Other(String::new())));
        }
        let managers = Managers::of(&observed, &Files::below(&root));
        fs::remove_dir_all(&root).unwrap();
        let found: Vec<_> =
            managers.iter().map(|(name, manager)| (name.to_string(), manager)).collect();
        let expected = [
            ("eth2", Manager::NetworkManager),
            ("eth4", Manager::Networkd),
            ("eth4", Manager::Netplan),
            ("eth5", Manager::Ifupdown),
            ("eth6", Manager::Ifupdown),
            ("eth7", Manager::Ifupdown),
            ("eth8", Manager::Wicked),
        ];
        assert_eq!(found, expected.map(|(name, manager)| (name.to_owned(), manager)));
    }
}
