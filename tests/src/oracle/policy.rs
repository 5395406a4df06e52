//! A policy, and the commands or configuration that apply it to each bridge.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
};

/// The uplink is port 0 of every bridge. The VMs are the other ports.
pub const UPLINK: usize = 0;
/// The number of ports with links.
pub const PORTS: usize = 7;

/// One cluster network. Consists of static slices, so that a failed case can be a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub xdp: bool,
    pub native: Native,
    pub vms: &'static [Vm],
}

/// The network of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vm {
    Access {
        vid: u16,
        admit: Admit,
    },
    /// The uplink's native VLAN.
    Plain {
        admit: Admit,
    },
    Trunk {
        vids: &'static [u16],
        native: Native,
        admit: Admit,
    },
}

/// The VLAN of untagged frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {
    None,
    Untagged(u16),
    /// Frames leave with the tag of this VLAN.
    Tagged(u16),
}

/// The frames that a port admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    All,
    Tagged,
    Untagged,
}

/// A port in the terms of 802.1Q, the same for all three bridges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub vids: BTreeSet<u16>,
    pub native: Native,
    pub admit: Admit,
}

impl Native {
    pub const fn vid(self) -> Option<u16> {
        match self {
            Self::None => None,
            Self::Untagged(vid) | Self::Tagged(vid) => Some(vid),
        }
    }

    fn yaml(self) -> String {
        match self {
            Self::None => "native: none".to_owned(),
            Self::Untagged(vid) => format!("native: {vid}"),
            Self::Tagged(vid) => format!("native: {vid}, nativeTagged: true"),
        }
    }
}

impl fmt::Display for Admit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Tagged => "tagged",
            Self::Untagged => "untagged-and-priority",
        })
    }
}

impl Policy {
    /// The ports, the uplink first. It carries all VLANs of the VMs.
    pub fn ports(&self) -> Vec<Port> {
        let mut ports: Vec<_> = self.vms.iter().map(|vm| self.port(vm)).collect();
        let vids = ports.iter().flat_map(|port| &port.vids).copied().chain(self.native.vid());
        let uplink = Port { vids: vids.collect(), native: self.native, admit: Admit::All };
        ports.insert(UPLINK, uplink);
        ports
    }

    fn port(&self, vm: &Vm) -> Port {
        let access = |vid, admit| Port { vids: [vid].into(), native: Native::Untagged(vid), admit };
        match *vm {
            Vm::Access { vid, admit } => access(vid, admit),
            Vm::Plain { admit } => access(self.native.vid().unwrap(), admit),
            Vm::Trunk { vids, native, admit } => {
                Port { vids: vids.iter().copied().chain(native.vid()).collect(), native, admit }
            }
        }
    }

    /// A cluster network of netagent's file, its networks and its ports. The devices are
    /// `<bridge><number>`.
    pub fn yaml(&self, bridge: char, filtering: &str) -> [String; 3] {
        let (xdp, native) = (if self.xdp { "auto" } else { "off" }, self.native.yaml());
        let segment = format!(
            "  {bridge}: {{ vlanFiltering: {filtering}, uplink: {{ nics: [{bridge}0], \
             bond: {{ mode: none }}, xdp: {xdp}, {native} }} }}\n"
        );
        let (mut networks, mut ports) = (String::new(), String::new());
        for (vm, number) in self.vms.iter().zip(1..) {
            let name = format!("{bridge}{number}");
            let terms = match vm {
                Vm::Access { vid, admit } => format!("vlan: {vid}, admit: {admit}"),
                Vm::Plain { admit } => format!("admit: {admit}"),
                Vm::Trunk { vids, native, admit } => {
                    format!("trunk: {vids:?}, {}, admit: {admit}", native.yaml())
                }
            };
            writeln!(networks, "  {name}: {{ clusterNetwork: {bridge}, {terms} }}").unwrap();
            writeln!(ports, "  - {{ device: {name}, network: {name} }}").unwrap();
        }
        [segment, networks, ports]
    }

    /// Lines for `ip -batch` and for `bridge -batch` that configure the kernel's own bridge.
    pub fn commands(&self, bridge: char) -> [String; 2] {
        let mut links = format!(
            "link add {bridge}-br type bridge vlan_filtering 1 vlan_default_pvid 0\n\
             link set {bridge}-br up\n"
        );
        let mut vlans = String::new();
        for (port, number) in self.ports().iter().zip(0..) {
            writeln!(links, "link set {bridge}{number} master {bridge}-br").unwrap();
            for vid in &port.vids {
                let flags = match port.native {
                    Native::Untagged(native) if native == *vid => "pvid untagged",
                    Native::Tagged(native) if native == *vid => "pvid",
                    _ => "",
                };
                writeln!(vlans, "vlan add dev {bridge}{number} vid {vid} {flags}").unwrap();
            }
        }
        [links, vlans]
    }
}
