//! netagent-cni beside the bridge plugin 1.10.0: each scenario runs with either program. What is
//! seen must be the same, or be what the row says, with the reason.

mod del;
mod frames;
mod side;
mod verbs;

use self::side::Side;
use super::programs::programs;
use crate::{Feature, needs, once};

/// A scenario.
struct Row {
    /// What is done.
    does: &'static str,
    /// Does it, and tells what was seen.
    run: fn(&Side) -> String,
    differs: Option<Differs>,
}

/// What is seen with either program.
struct Differs {
    bridge: &'static str,
    netagent: &'static str,
    reason: &'static str,
}

/// A scenario that ends in the same way with both.
const fn same(does: &'static str, run: fn(&Side) -> String) -> Row {
    Row { does, run, differs: None }
}

/// A scenario that ends in another way with netagent-cni.
const fn differs(
    does: &'static str,
    run: fn(&Side) -> String,
    bridge: &'static str,
    netagent: &'static str,
    reason: &'static str,
) -> Row {
    Row { does, run, differs: Some(Differs { bridge, netagent, reason }) }
}

/// What runtimes do, and what they are told.
#[test]
fn verbs_end_as_with_the_bridge_plugin() {
    once();
    let Some(programs) = programs() else { return };
    compare(&[verbs::ROWS, del::ROWS], &Side::bridge(&programs, false), &Side::netagent(&programs));
}

/// Which frames pass, with which tags.
#[test]
fn frames_pass_as_with_the_bridge_plugin() {
    once();
    if !needs(&[Feature::VlanFiltering]) {
        return;
    }
    let Some(programs) = programs() else { return };
    compare(&[frames::ROWS], &Side::bridge(&programs, true), &Side::netagent(&programs));
}

/// Runs the scenarios, prints the table of differences, and panics with all rows that are not as
/// they say.
fn compare(tables: &[&[Row]], bridge: &Side, netagent: &Side) {
    let mut wrong = Vec::new();
    for Row { does, run, differs } in tables.iter().copied().flatten() {
        let seen = (bridge.of(*run), netagent.of(*run));
        let reason = differs.as_ref().map_or("", |differs| differs.reason);
        match &seen {
            (one, other) if one == other => println!("cni: {does}: both: {one}"),
            (bridge, netagent) => {
                println!("beside: {does} | bridge: {bridge} | netagent: {netagent} | {reason}");
            }
        }
        let wanted = match differs {
            // The bridge plugin decides.
            None => (seen.0.clone(), seen.0.clone()),
            Some(Differs { bridge, netagent, .. }) => ((*bridge).into(), (*netagent).into()),
        };
        if seen != wanted {
            wrong.push(format!("{does}\n  seen:   {seen:?}\n  wanted: {wanted:?}"));
        }
        if wanted.0 == wanted.1 && differs.is_some() {
            wrong.push(format!("{does}: the row says that they differ"));
        }
    }
    assert!(wrong.is_empty(), "bridge plugin, netagent-cni:\n{}", wrong.join("\n"));
}
