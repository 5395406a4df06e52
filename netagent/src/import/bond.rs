//! The options of a bond that a file can express, where they differ from the defaults.

use super::yaml;
use crate::{
    bond::{BondOption, HASH_MODES, Mode, PRIMARY_MODES, REWRITING_MODES},
    names::IfName,
    state::BondState,
};

/// The keys of `bond`.
pub fn keys(
    state: &BondState,
    name: &IfName,
    nics: &[IfName],
    segment: &str,
    remarks: &mut Vec<String>,
) -> Vec<String> {
    let mode = state.mode().unwrap_or(Mode::BalanceRr);
    let defaults = BondOption::defaults(mode);
    let checks_arp =
        state.options.iter().any(|option| matches!(option, BondOption::ArpInterval(1..)));
    let mut keys = vec![format!("mode: {}", yaml::scalar(mode))];
    if name.as_str() != format!("{segment}-bo") {
        keys.push(format!("name: {}", yaml::scalar(name)));
    }
    if REWRITING_MODES.contains(&mode) {
        keys.push("allowMacRewrite: true".to_owned());
    }
    for option in &state.options {
        if defaults.contains(option) || !exists(option, mode, checks_arp) {
            continue;
        }
        match key(option) {
            _ if matches!(option, BondOption::MinLinks(links) if *links as usize > nics.len()) => {
                remarks.push(format!(
                    "{name}: min_links {} is more than the bond has NICs",
                    option.value()
                ));
            }
            Some(key) => keys.push(key),
            None => {}
        }
    }
    keys
}

/// Whether a bond in this mode has the option.
fn exists(option: &BondOption, mode: Mode, checks_arp: bool) -> bool {
    match option {
        BondOption::Mode(_) => false,
        // Without both, netagent checks the links every 100 ms.
        BondOption::Miimon(interval) => !checks_arp && *interval > 0,
        BondOption::Updelay(_) | BondOption::Downdelay(_) => !checks_arp,
        BondOption::ArpInterval(_)
        | BondOption::ArpTargets(_)
        | BondOption::NsTargets(_)
        | BondOption::ArpValidate(_) => checks_arp,
        BondOption::Primary(_) => PRIMARY_MODES.contains(&mode),
        BondOption::XmitHashPolicy(_) => HASH_MODES.contains(&mode),
        BondOption::FailOverMac(_) | BondOption::NumGratArp(_) => mode == Mode::ActiveBackup,
        BondOption::MinLinks(_) | BondOption::LacpRate(_) | BondOption::AdSelect(_) => {
            mode == Mode::Lacp
        }
    }
}

fn key(option: &BondOption) -> Option<String> {
    let value = option.value();
    Some(match option {
        BondOption::Mode(_) | BondOption::Primary(None) => return None,
        BondOption::Miimon(_) => format!("miimon: {value}ms"),
        BondOption::Updelay(_) => format!("updelay: {value}ms"),
        BondOption::Downdelay(_) => format!("downdelay: {value}ms"),
        BondOption::ArpInterval(_) => format!("arpInterval: {value}ms"),
        BondOption::ArpTargets(targets) => format!("arpTargets: {}", yaml::list(targets)),
        BondOption::NsTargets(targets) => format!("nsTargets: {}", yaml::list(targets)),
        BondOption::ArpValidate(_) => format!("arpValidate: {value}"),
        BondOption::Primary(Some(nic)) => format!("primary: {}", yaml::scalar(nic)),
        // "none" is a value here.
        BondOption::FailOverMac(_) => format!("failOverMac: {value}"),
        BondOption::XmitHashPolicy(_) => format!("xmitHashPolicy: {}", yaml::scalar(value)),
        BondOption::NumGratArp(_) => format!("numGratArp: {value}"),
        BondOption::MinLinks(_) => format!("minLinks: {value}"),
        BondOption::LacpRate(_) => format!("lacpRate: {value}"),
        BondOption::AdSelect(_) => format!("adSelect: {value}"),
    })
}
