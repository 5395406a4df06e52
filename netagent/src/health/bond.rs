//! Bonds: whether their members work and the switch fits.

use crate::{
    bond::{BondOption, Mode},
    names::IfName,
    state::{BondState, Code, Finding, Link, Member, Subject},
};

/// The findings about a bond, the worst first.
pub fn findings(
    subject: &Subject,
    name: &IfName,
    (link, bond): (&Link, &BondState),
    members: &[(&IfName, &Member)],
) -> Vec<Finding> {
    let finding = |code, text: String, remedy: &str| {
        Finding::new(subject.clone(), code, format!("{name}: {text}"), remedy)
    };
    let (up, down): (Vec<_>, Vec<_>) = members.iter().partition(|(_, member)| member.mii_up);
    let checks_arp =
        bond.options.iter().any(|option| matches!(option, BondOption::ArpInterval(1..)));
    let cables = if checks_arp {
        "check that its ARP targets answer in the VLAN in which the node asks for them, the cables \
         and the switch's ports"
    } else {
        "check the cables and the switch's ports"
    };
    if !link.up {
        return vec![finding(Code::SegmentDown, "the bond is set down".to_owned(), "")];
    }
    if members.is_empty() {
        return vec![finding(Code::SegmentDown, "the bond has no members".to_owned(), "")];
    }
    if up.is_empty() {
        let text = if checks_arp { "no ARP target answers" } else { "no member has a link" };
        return vec![finding(Code::SegmentDown, text.to_owned(), cables)];
    }
    let mut findings = Vec::new();
    let lacp = bond.mode() == Some(Mode::Lacp);
    let aggregated = bond.aggregated.map_or(up.len(), usize::from);
    if lacp && bond.lacp_partner().is_none() {
        findings.push(finding(
            Code::LacpNoPartner,
            "the switch does not answer LACP".to_owned(),
            "configure LACP on the switch's ports, or use active-backup",
        ));
    } else if lacp && aggregated < up.len() {
        findings.push(finding(
            Code::LacpSplit,
            format!("only {aggregated} of {} members with a link aggregate", up.len()),
            "put the switch's ports into one LACP group",
        ));
    } else if !up.iter().any(|(_, member)| member.active) {
        findings.push(finding(Code::MemberDown, "no member is active".to_owned(), cables));
    }
    if !down.is_empty() {
        let names: Vec<_> = down.iter().map(|(name, _)| name.as_str()).collect();
        findings.push(finding(
            Code::MemberDown,
            format!(
                "{} has no {}: less redundancy and bandwidth",
                names.join(", "),
                if checks_arp { "answer of an ARP target" } else { "link" }
            ),
            cables,
        ));
    }
    findings
}
