//! Renders explanations as text and as JSON.

use anyhow::{Context as _, Result};
use netagent_common::counters::Reason;

use super::{Explanation, explain};

/// All reasons, one line each.
pub fn list(json: bool) -> Result<String> {
    let all = Reason::ALL.map(explain);
    if json {
        return Ok(serde_json::to_string(&all).context("write JSON")? + "\n");
    }
    let lines = all.iter().map(|one| format!("{:<21} {}\n", one.reason, one.meaning));
    Ok(lines.collect::<String>() + "\nnetagent explain REASON prints the cause and the remedy\n")
}

/// The whole explanation of one reason.
pub fn one(reason: Reason, json: bool) -> Result<String> {
    let explanation = explain(reason);
    if json {
        return Ok(serde_json::to_string(&explanation).context("write JSON")? + "\n");
    }
    let Explanation { reason, directions, meaning, cause, remedy } = explanation;
    let directions = directions.join(", ");
    Ok(format!("{reason} ({directions}): {meaning}\n\ncause: {cause}\n\nto do: {remedy}\n"))
}

/// The content of docs/drops.md.
#[cfg(test)]
pub fn markdown() -> String {
    let head = "# Why frames are dropped\n\n\
        The output of `netagent explain`. `netagent show drops` counts drops by reason, and \
        `netagent monitor` shows each dropped frame. Receive: from the VM or the wire into the \
        node. Transmit: from the node to the VM or the wire.\n\n\
        | reason | direction | means | usual cause | what to do |\n|---|---|---|---|---|\n";
    let rows = Reason::ALL.map(explain).map(
        |Explanation { reason, directions, meaning, cause, remedy }| {
            let directions = directions.join(", ");
            format!("| `{reason}` | {directions} | {meaning} | {cause} | {remedy} |\n")
        },
    );
    head.to_owned() + &rows.concat()
}
