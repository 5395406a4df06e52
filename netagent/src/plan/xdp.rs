//! XDP on uplinks: where it can be, from when on it is trusted, and what an operator should know where it cannot.

use std::collections::BTreeSet;

use netagent_common::policy::TAGS_IN_BYTES;

use super::{
    Plan, View,
    policy::{Surroundings, compile},
};
use crate::{
    bond::{BondOption, XmitHashPolicy},
    change::DatapathChange,
    names::IfName,
    state::{FastPath, Hook, Port, Role},
};

/// XDP comes last and is trusted last: only where every NIC leaves tags in the bytes may it drop.
pub fn attach(
    view: &View<'_>,
    name: &IfName,
    port: &Port,
    nics: &BTreeSet<IfName>,
    aware: bool,
    plan: &mut Plan,
) {
    if view.xdp_sees_tags(name, nics) {
        return;
    }
    for nic in nics.iter().filter(|nic| view.datapath.rx_vlan.get(nic) == Some(&true)) {
        plan.datapath(DatapathChange::RxVlanOff(name.clone(), nic.clone()));
    }
    let around =
        Surroundings { tags_in_bytes: true, xdp_frames: true, ..view.around(name, port, aware) };
    let policy = compile(port, view.nics(port), around);
    let hook = Hook::UplinkXdp;
    if !view.attached(name, hook) {
        let flags = hook.optional(policy.flags);
        plan.datapath(DatapathChange::Attach(name.clone(), hook, flags));
    }
    plan.datapath(DatapathChange::SetPolicy(name.clone(), Box::new(policy)));
}

const NO_XDP_FRAMES: &str = "it takes no frames from XDP, as a tap does, and a veth whose other end has GRO on \
                             (`ethtool -K DEVICE gro on`), from Linux 6.3 on";

/// Says of every port that is to have its frames from XDP why it gets them by TC all the same.
pub fn warn(view: &View<'_>, plan: &mut Plan) {
    for (name, port) in
        view.desired.ports.iter().filter(|(_, port)| port.fast_path == FastPath::Xdp)
    {
        let why = match port.role {
            Role::Uplink { xdp: false, .. } => Some("the file has `xdp: off`".to_owned()),
            Role::Uplink { .. } => view.why_no_xdp(name, port),
            Role::Access | Role::Trunk | Role::Tunnel => view
                .observed
                .link(name)
                .filter(|link| !link.takes_xdp_frames)
                .map(|_| NO_XDP_FRAMES.to_owned()),
        };
        plan.warnings.extend(why.map(|why| format!("{name}: fastPath: xdp goes by TC: {why}")));
    }
}

/// The option of a bond that rules XDP out (`bond_xdp_check` in drivers/net/bonding/bond_main.c).
fn against(options: &[BondOption]) -> Option<&BondOption> {
    options.iter().find(|option| match option {
        BondOption::Mode(mode) => !mode.takes_xdp(),
        BondOption::XmitHashPolicy(policy) => *policy == XmitHashPolicy::VlanSrcmac,
        _ => false,
    })
}

impl View<'_> {
    /// Whether XDP is to be on an uplink: asked for, possible in its mode, and not refused before.
    pub fn wants_xdp(&self, name: &IfName, port: &Port) -> bool {
        matches!(port.role, Role::Uplink { xdp: true, .. }) && self.why_no_xdp(name, port).is_none()
    }

    /// Why an uplink cannot have XDP.
    fn why_no_xdp(&self, name: &IfName, port: &Port) -> Option<String> {
        if let Some(option) = self.desired.bonds.get(name).and_then(|bond| against(&bond.options)) {
            return Some(format!(
                "a bond with {} {} takes no program",
                option.name(),
                option.value()
            ));
        }
        let known = self.datapath.ports.get(name)?;
        // Other NICs beneath, another answer perhaps.
        let refused = known.xdp_refused && known.policy.nics == self.nics(port);
        refused.then(|| "the drivers of its NICs took no program".to_owned())
    }

    fn attached(&self, name: &IfName, hook: Hook) -> bool {
        let index = self.observed.link(name).map(|link| link.index);
        let known = self.datapath.ports.get(name);
        known.is_some_and(|known| Some(known.ifindex) == index && known.attached.contains(&hook))
    }

    /// Whether XDP is attached and no NIC hides a tag from it.
    pub fn xdp_sees_tags(&self, name: &IfName, nics: &BTreeSet<IfName>) -> bool {
        self.attached(name, Hook::UplinkXdp)
            && nics.iter().all(|nic| self.datapath.rx_vlan.get(nic) != Some(&true))
            && self.datapath.ports.get(name).is_some_and(|known| known.policy.has(TAGS_IN_BYTES))
    }
}
