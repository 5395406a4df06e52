//! Bridge ports that exist: whether they have their programs, their bridge and their VLANs.

use super::Evidence;
use crate::{
    names::IfName,
    state::{Code, Finding, Kind, Link, Port, Role},
    vids::VidSet,
};

/// Adds the findings about ports.
pub fn judge(evidence: &Evidence<'_>, findings: &mut Vec<Finding>) {
    for (name, port) in &evidence.desired.ports {
        let subject = evidence.desired.subject_of(name, port);
        if let Some(link) = evidence.links.link(name)
            && !evidence.is_held_back(&subject, name)
        {
            let mut add = |code, text: String| {
                findings.push(Finding::new(subject.clone(), code, format!("{name}: {text}"), ""));
            };
            one(evidence, name, port, link, &mut add);
        }
    }
}

fn one(
    evidence: &Evidence<'_>,
    name: &IfName,
    port: &Port,
    link: &Link,
    add: &mut dyn FnMut(Code, String),
) {
    let known = evidence.datapath.ports.get(name).filter(|known| known.ifindex == link.index);
    for hook in port.role.hooks() {
        if known.is_none_or(|known| !known.attached.contains(hook)) {
            add(Code::ProgramMissing, format!("{} is not attached", hook.program()));
        }
    }
    for (hook, order) in known.iter().flat_map(|known| &known.orders) {
        let before: Vec<_> = order.before().iter().map(u32::to_string).collect();
        if !before.is_empty() {
            let program = hook.program();
            let text = format!(
                "another program runs before {program} and may let frames pass unfiltered: ID {} \
                 (`bpftool net` shows it: detach it, or attach it behind {program})",
                before.join(", "),
            );
            add(Code::NotFirst, text);
        }
    }
    if link.controller.as_ref() != Some(&port.bridge) {
        // That of an uplink is a finding about its segment.
        if !matches!(port.role, Role::Uplink { .. }) {
            add(Code::NotOnBridge, format!("is not a port of {}", port.bridge));
        }
        return;
    }
    if let Some(address) = link.addresses.keys().next() {
        let text = format!("has the address {address} of its own, which does not work on a port");
        add(Code::AddressOnPort, text);
    }
    let bridge = evidence.links.link(&port.bridge).map(|link| &link.kind);
    if let Some(Kind::Bridge(state)) = bridge
        && state.vlan_filtering == Some(true)
    {
        let missing = port.vids.iter().filter(|vid| !link.vlans.contains_key(vid));
        let missing = VidSet::from_iter(missing);
        if !missing.is_empty() {
            add(Code::VlanMissing, format!("lacks VLAN {missing} on {}", port.bridge));
        }
    }
}
