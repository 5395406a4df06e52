//! What else manages the devices, by the files that it leaves, and what to write there so that it
//! does not undo what netagent does.

mod files;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    names::IfName,
    state::{Code, Finding, Observed, Subject},
};

/// What manages devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manager {
    /// NetworkManager
    NetworkManager,
    /// systemd-networkd
    Networkd,
    /// netplan, which writes the files of the two above
    Netplan,
    /// ifupdown, ifupdown2, ifupdown-ng
    Ifupdown,
    /// wicked
    Wicked,
}

/// The files from which the managers are read.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// `/run/NetworkManager/devices`, by interface index.
    pub network_manager: BTreeMap<u32, String>,
    /// `/etc/NetworkManager/NetworkManager.conf` and what is in conf.d.
    pub network_manager_conf: Vec<String>,
    /// `/run/systemd/netif/links`, by interface index.
    pub networkd: BTreeMap<u32, String>,
    /// `/etc/netplan`
    pub netplan: Vec<String>,
    /// `/etc/network/interfaces` and what is beside it.
    pub interfaces: Vec<String>,
    /// `/run/network/ifstate`
    pub ifstate: String,
    /// The names in `/etc/sysconfig/network`, where wicked runs.
    pub wicked: BTreeSet<String>,
}

/// The managers of the devices.
#[derive(Clone, Debug, Default)]
pub struct Managers(BTreeSet<(IfName, Manager)>);

impl Managers {
    /// Reads the managers of the links from their files.
    pub fn of(observed: &Observed, files: &Files) -> Self {
        let mut found = BTreeSet::new();
        for (name, link) in &observed.links {
            let of_networkd = files.networkd.get(&link.index).map(String::as_str);
            let by = [
                (
                    Manager::NetworkManager,
                    // A restarted NetworkManager leaves the state of a device behind that it no
                    // longer manages.
                    files.network_manager.get(&link.index).is_some_and(|text| {
                        text.lines().any(|line| line == "managed=true" || line == "managed=1")
                    }) && !files.network_manager_conf.iter().any(|text| is_unmanaged(text, name)),
                ),
                (
                    Manager::Networkd,
                    of_networkd.is_some_and(|text| {
                        ["configuring", "configured", "failed"].iter().any(|state| {
                            text.lines().any(|line| line == format!("ADMIN_STATE={state}"))
                        })
                    }),
                ),
                (Manager::Netplan, files.netplan.iter().any(|text| netplan_has(text, name))),
                (
                    Manager::Ifupdown,
                    logical(&files.ifstate, name)
                        .into_iter()
                        .chain([name.as_str()])
                        .any(|name| files.interfaces.iter().any(|text| has_stanza(text, name))),
                ),
                (Manager::Wicked, files.wicked.contains(&format!("ifcfg-{name}"))),
            ];
            let by = by.into_iter().filter(|(_, manages)| *manages);
            found.extend(by.map(|(manager, _)| (name.clone(), manager)));
        }
        found.retain(|(name, _)| name.as_str() != "lo");
        Self(found)
    }

    /// The devices with their managers.
    pub fn iter(&self) -> impl Iterator<Item = (&IfName, Manager)> {
        self.0.iter().map(|(name, manager)| (name, *manager))
    }

    /// A finding for each manager of devices that netagent manages as well.
    pub fn findings(&self, is_ours: impl Fn(&IfName) -> bool) -> Vec<Finding> {
        let ours = self.by_manager(is_ours);
        let finding = |(manager, names): (&Manager, &Vec<String>)| {
            let text = format!(
                "{} manages {} as well: the two may undo what the other does",
                manager.name(),
                names.join(", ")
            );
            let remedy = "`netagent import` says what to write so that it leaves them alone";
            Finding::new(Subject::Node, Code::OtherManager, text, remedy)
        };
        ours.iter().map(finding).collect()
    }

    fn by_manager(&self, is_ours: impl Fn(&IfName) -> bool) -> BTreeMap<Manager, Vec<String>> {
        let mut by_manager: BTreeMap<Manager, Vec<String>> = BTreeMap::new();
        for (name, manager) in self.iter().filter(|(name, _)| is_ours(name)) {
            by_manager.entry(manager).or_default().push(name.to_string());
        }
        by_manager
    }

    /// What to write so that the managers of these devices leave them to netagent, as comments.
    pub fn advice(&self, devices: &BTreeSet<IfName>) -> String {
        let by_manager = self.by_manager(|name| devices.contains(name));
        by_manager.iter().map(|(manager, names)| manager.advice(names)).collect()
    }
}

impl Manager {
    const fn name(self) -> &'static str {
        match self {
            Self::NetworkManager => "NetworkManager",
            Self::Networkd => "systemd-networkd",
            Self::Netplan => "netplan",
            Self::Ifupdown => "ifupdown",
            Self::Wicked => "wicked",
        }
    }

    fn advice(self, names: &[String]) -> String {
        let listed = names.join(", ");
        match self {
            Self::NetworkManager => format!(
                "#\n# NetworkManager manages {listed}. So that the two do not fight, write to\n\
                 # /etc/NetworkManager/conf.d/netagent.conf before `netagent apply`:\n\
                 #   [keyfile]\n\
                 #   unmanaged-devices={}\n\
                 # Then `systemctl restart NetworkManager`, which leaves the devices as they are. Do not\n\
                 # reload it (`nmcli general reload`): that takes them down, with their addresses.\n",
                names
                    .iter()
                    .map(|name| format!("interface-name:{name}"))
                    .collect::<Vec<_>>()
                    .join(";")
            ),
            Self::Networkd => format!(
                "#\n# systemd-networkd manages {listed}. So that the two do not fight, write to\n\
                 # /etc/systemd/network/00-netagent.network before `netagent apply`:\n\
                 #   [Match]\n\
                 #   Name={}\n\
                 #   [Link]\n\
                 #   Unmanaged=yes\n\
                 # Then `systemctl restart systemd-networkd`, which leaves the devices as they are. Do\n\
                 # not reload it (`networkctl reload`): that removes their addresses and routes.\n",
                names.join(" ")
            ),
            Self::Netplan => format!(
                "#\n# netplan declares {listed}: remove them from the files in /etc/netplan before\n\
                 # `netagent apply`, and do not run `netplan apply` for them.\n"
            ),
            Self::Ifupdown => format!(
                "#\n# ifupdown manages {listed}: remove their `auto`, `allow-hotplug` and `iface` stanzas from\n\
                 # /etc/network/interfaces and interfaces.d before `netagent apply`. Do not run `ifdown`\n\
                 # for them, which takes them down.\n"
            ),
            Self::Wicked => format!(
                "#\n# wicked manages {listed}: remove {} from\n\
                 # /etc/sysconfig/network before `netagent apply`.\n",
                names.iter().map(|name| format!("ifcfg-{name}")).collect::<Vec<_>>().join(", ")
            ),
        }
    }
}

/// Whether a configuration of NetworkManager leaves the device alone, by its name.
fn is_unmanaged(text: &str, name: &IfName) -> bool {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let mut lists =
        lines.filter(|(key, _)| key.trim().trim_end_matches('+').trim_end() == "unmanaged-devices");
    lists.any(|(_, value)| {
        let mut devices = value.split([';', ',']).map(str::trim);
        devices.any(|device| device.strip_prefix("interface-name:") == Some(name.as_str()))
    })
}

/// Whether a file of netplan has the device as a key.
fn netplan_has(text: &str, name: &IfName) -> bool {
    let key =
        |line: &str| Some(line.split_once(':')?.0.trim().trim_matches(['"', '\'']).to_owned());
    text.lines().filter_map(key).any(|key| key == name.as_str())
}

/// The name of the stanza by which ifupdown has brought the device up: lines such as `eth0=home`.
/// They stay when the stanza goes, and ifupdown can then neither start nor stop the device.
fn logical<'a>(ifstate: &'a str, name: &IfName) -> Option<&'a str> {
    let mut states = ifstate.lines().filter_map(|line| line.split_once('='));
    states.find(|(device, _)| *device == name.as_str()).map(|(_, stanza)| stanza)
}

/// Whether interfaces(5) has a stanza of this name.
fn has_stanza(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("iface") && words.next() == Some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_says_what_to_write_for_each_manager() {
        let name = |text: &str| text.parse::<IfName>().unwrap();
        let managers = Managers(BTreeSet::from([
            (name("eth0"), Manager::NetworkManager),
            (name("br0"), Manager::NetworkManager),
            (name("eth0"), Manager::Networkd),
            (name("eth9"), Manager::Wicked),
        ]));
        let advice = managers.advice(&BTreeSet::from([name("eth0"), name("br0")]));
        for part in [
            "#   unmanaged-devices=interface-name:br0;interface-name:eth0\n",
            "#   Name=eth0\n",
            "#   Unmanaged=yes\n",
        ] {
            assert!(advice.contains(part), "{advice}");
        }
        assert!(!advice.contains("wicked"), "not a device of the file: {advice}");
        assert!(advice.lines().all(|line| line.starts_with('#')), "{advice}");
    }
}
