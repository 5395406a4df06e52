mod cap;
mod drops;
mod formats;
mod promtool;

use super::*;

fn classic(snapshot: Snapshot) -> String {
    render(snapshot, Format::Classic).unwrap()
}

/// Samples that start so.
fn samples(text: &str, prefix: &str) -> String {
    text.lines().filter(|line| line.starts_with(prefix)).collect::<Vec<_>>().join("\n")
}
