//! XDP on uplinks: when to attach it, when to trust it, and the warning if it is unavailable.

use std::collections::BTreeSet;

use netagent_common::policy::TAGS_IN_BYTES;

use super::{
    Unit, View,
    policy::{Surroundings, compile},
};
use crate::{
    bond::{BondOption, XmitHashPolicy},
    change::DatapathChange,
    names::IfName,
    state::{Code, FastPath, HiddenTags, Hook, Kind, Port, Role},
};

/// Attaches XDP after TC. The policy lets XDP drop frames only if every NIC leaves tags in the
/// bytes.
pub fn attach(
    view: &View<'_>,
    name: &IfName,
    port: &Port,
    nics: &BTreeSet<IfName>,
    aware: bool,
    unit: &mut Unit,
) {
    if view.xdp_sees_tags(name, nics) {
        return;
    }
    for (nic, tags) in nics.iter().map(|nic| (nic, view.hidden_tags(nic))) {
        if tags.any() {
            unit.datapath(view, DatapathChange::RxVlanOff(name.clone(), nic.clone(), tags));
        }
    }
    let around =
        Surroundings { tags_in_bytes: true, xdp_frames: true, ..view.around(name, port, aware) };
    let policy = compile(&view.with_strangers(name, port, aware), view.nics(port), around);
    let hook = Hook::UplinkXdp;
    if !view.attached(name, hook) {
        let flags = hook.optional(policy.flags);
        unit.datapath(view, DatapathChange::Attach(name.clone(), hook, flags));
    }
    unit.datapath(view, DatapathChange::SetPolicy(name.clone(), Box::new(policy)));
}

const NO_XDP_REDIRECT: &str = "the device does not support XDP_REDIRECT (a tap does; a veth whose \
                               peer has GRO on does, from Linux 6.3)";

/// Warns with the reason if a port cannot use XDP although its file asks for it.
pub fn warn(view: &View<'_>, name: &IfName, port: &Port, unit: &mut Unit) {
    if port.fast_path != FastPath::Xdp {
        return;
    }
    let (reason, remedy) = match port.role {
        Role::Uplink { xdp: false, .. } => {
            (Some("the file has `xdp: off`".to_owned()), "remove `xdp: off`".to_owned())
        }
        Role::Uplink { ref nics, .. } => match view.why_no_xdp(name, port) {
            None => return warn_of_veths(view, nics, unit),
            Some((reason, remedy)) => (Some(reason), remedy.to_owned()),
        },
        Role::Access | Role::Trunk | Role::Tunnel => {
            let cannot = view.observed.link(name).is_some_and(|link| !link.takes_xdp_frames);
            (cannot.then(|| NO_XDP_REDIRECT.to_owned()), "set `fastPath: tc`".to_owned())
        }
    };
    if let Some(reason) = reason {
        unit.finding(
            Code::XdpUnavailable,
            format!("{name}: `fastPath: xdp` is unavailable, using the TC fast path: {reason}"),
            remedy,
        );
    }
}

/// A veth has the tags in its metadata that its peer leaves to it, and XDP sees the bytes only.
fn warn_of_veths(view: &View<'_>, nics: &BTreeSet<IfName>, unit: &mut Unit) {
    let is_veth = |nic: &&IfName| {
        let link = view.observed.link(nic);
        link.is_some_and(|link| link.kind == Kind::Other("veth".to_owned()))
    };
    for nic in nics.iter().filter(is_veth) {
        unit.finding(
            Code::PeerHidesTags,
            format!(
                "{nic}: is a veth, whose peer can hide the outer VLAN tag: `fastPath: xdp` would \
                 take the tag behind it for the VLAN of the frame"
            ),
            "at the peer: ethtool -K DEV txvlan off tx-vlan-stag-hw-insert off; or set \
             `fastPath: tc`",
        );
    }
}

/// The first option of a bond that excludes XDP (`bond_xdp_check` in
/// drivers/net/bonding/bond_main.c).
fn against(options: &[BondOption]) -> Option<&BondOption> {
    options.iter().find(|option| match option {
        BondOption::Mode(mode) => !mode.takes_xdp(),
        BondOption::XmitHashPolicy(policy) => *policy == XmitHashPolicy::VlanSrcmac,
        _ => false,
    })
}

impl View<'_> {
    /// Whether an uplink should have XDP: enabled, supported by the bond, and not refused by a
    /// driver.
    pub fn wants_xdp(&self, name: &IfName, port: &Port) -> bool {
        matches!(port.role, Role::Uplink { xdp: true, .. }) && self.why_no_xdp(name, port).is_none()
    }

    /// The reason why an uplink cannot have XDP, and the remedy.
    fn why_no_xdp(&self, name: &IfName, port: &Port) -> Option<(String, &'static str)> {
        if let Some(option) = self.desired.bonds.get(name).and_then(|bond| against(&bond.options)) {
            let text =
                format!("a bond with {} {} does not support XDP", option.name(), option.value());
            return Some((text, "set `fastPath: tc`, or change the bond"));
        }
        if let Some((device, program)) = self.foreign_xdp(name, port) {
            let text = format!("{device} has another XDP program, with ID {program}");
            let remedy = "detach that one (`bpftool net` shows it), or set `fastPath: tc`";
            return Some((text, remedy));
        }
        if let Some((device, rule)) = self.rule_behind_xdp(name, port) {
            let text = format!("{device} has rules of others, which run behind XDP: {rule}");
            return Some((text, "remove them, or set `fastPath: tc`"));
        }
        let known = self.datapath.ports.get(name)?;
        // Another set of NICs may accept the program.
        let refused = known.xdp_refused && known.policy.nics == self.nics(port);
        let text = || match self.hiding(port) {
            Some((nic, tags)) => format!("{nic} hides tags from XDP: {} stays on", tags.text()),
            None => "the driver of a NIC refused the program".to_owned(),
        };
        let remedy = "set `fastPath: tc`, or `netagent reload` to try again";
        refused.then(|| (text(), remedy))
    }

    /// A NIC that hides tags, and which.
    fn hiding<'a>(&self, port: &'a Port) -> Option<(&'a IfName, HiddenTags)> {
        let Role::Uplink { nics, .. } = &port.role else { return None };
        nics.iter().map(|nic| (nic, self.hidden_tags(nic))).find(|(_, tags)| tags.any())
    }

    /// An XDP program of others on an uplink or one of its NICs. While ours is attached there is
    /// none: a device has one.
    fn foreign_xdp(&self, name: &IfName, port: &Port) -> Option<(IfName, u32)> {
        let known = self.datapath.ports.get(name);
        let has = |hooks: &BTreeSet<Hook>| hooks.contains(&Hook::UplinkXdp);
        if known.is_some_and(|known| has(&known.attached) || has(&known.outdated)) {
            return None;
        }
        let nics = match &port.role {
            Role::Uplink { nics, .. } => nics.iter(),
            Role::Access | Role::Trunk | Role::Tunnel => return None,
        };
        let program = |device: &IfName| self.observed.link(device)?.xdp;
        [name].into_iter().chain(nics).find_map(|device| Some((device.clone(), program(device)?)))
    }

    /// The tags that a NIC hides from XDP.
    fn hidden_tags(&self, nic: &IfName) -> HiddenTags {
        self.datapath.rx_vlan.get(nic).copied().unwrap_or_default()
    }

    fn attached(&self, name: &IfName, hook: Hook) -> bool {
        let index = self.observed.link(name).map(|link| link.index);
        let known = self.datapath.ports.get(name);
        known.is_some_and(|known| Some(known.ifindex) == index && known.attached.contains(&hook))
    }

    /// Whether XDP is attached and no NIC hides tags from it.
    pub fn xdp_sees_tags(&self, name: &IfName, nics: &BTreeSet<IfName>) -> bool {
        self.attached(name, Hook::UplinkXdp)
            && nics.iter().all(|nic| !self.hidden_tags(nic).any())
            && self.datapath.ports.get(name).is_some_and(|known| known.policy.has(TAGS_IN_BYTES))
    }
}
