//! Rules of others on the devices of ports: the fast path leads no frame past them.

use std::collections::BTreeSet;

use super::{Unit, View};
use crate::{
    names::IfName,
    state::{ClsactSide, Code, FastPath, Place, Port, Role, Rule},
};

impl View<'_> {
    /// The rules of others on a device that the fast path could bypass, and their programs beside
    /// ours: those behind ours, and on the way to the device those before ours as well, as frames
    /// that XDP redirects meet neither.
    fn rules(&self, name: &IfName) -> BTreeSet<Rule> {
        let link = self.observed.link(name);
        let mut rules = link.map(|link| link.rules.clone()).unwrap_or_default();
        let index = link.map(|link| link.index);
        let known = self.datapath.ports.get(name).filter(|known| Some(known.ifindex) == index);
        for (hook, order) in known.iter().flat_map(|known| &known.orders) {
            let (place, before) = match hook.side() {
                Some(ClsactSide::Egress) => (Place::Egress, order.before()),
                Some(ClsactSide::Ingress) | None => (Place::Ingress, &[][..]),
            };
            let programs = before.iter().chain(order.behind());
            rules.extend(programs.map(|id| Rule::new(place, format!("program {id}"))));
        }
        rules
    }

    /// Whether rules of others need every frame of a port on the bridge.
    pub fn needs_bridge(&self, name: &IfName) -> bool {
        self.rules(name).iter().any(Rule::needs_bridge)
    }

    /// Whether rules of others need the frames to a port at its egress hook.
    pub fn needs_egress(&self, name: &IfName) -> bool {
        !self.rules(name).is_empty()
    }

    /// The rule of others that frames would not meet if XDP redirected or dropped them, on an
    /// uplink or one of its NICs.
    pub fn rule_behind_xdp(&self, name: &IfName, port: &Port) -> Option<(IfName, Rule)> {
        let nics = match &port.role {
            Role::Uplink { nics, .. } => nics.iter(),
            Role::Access | Role::Trunk | Role::Tunnel => return None,
        };
        [name].into_iter().chain(nics).find_map(|device| {
            let rule = self.rules(device).into_iter().find(|rule| rule.place == Place::Ingress)?;
            Some((device.clone(), rule))
        })
    }
}

/// Says which frames take another path than the file asks for, and why.
pub fn report(view: &View<'_>, name: &IfName, port: &Port, unit: &mut Unit) {
    let rules = view.rules(name);
    if port.fast_path == FastPath::Off || rules.is_empty() {
        return;
    }
    let is_uplink = matches!(port.role, Role::Uplink { .. });
    let needs_bridge = rules.iter().any(Rule::needs_bridge);
    let path = match (needs_bridge, is_uplink) {
        (true, _) => "its frames take the bridge",
        (false, false) => "frames to it pass its egress hook",
        // That is where they go anyway.
        (false, true) => return,
    };
    let rules: Vec<_> = rules.iter().map(ToString::to_string).collect();
    unit.finding(
        Code::RulesOfOthers,
        format!("{name}: {path}, as somebody has rules there: {}", rules.join(", ")),
        "",
    );
}
