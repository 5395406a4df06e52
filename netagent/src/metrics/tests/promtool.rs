use std::{
    io::{ErrorKind, Write as _},
    process::{Command, Stdio},
};

use super::{super::*, classic};
use crate::show::sample::node;

#[test]
fn promtool_accepts_the_classic_text() {
    let mut child = match Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: no promtool (Debian package prometheus)");
            return;
        }
        child => child.unwrap(),
    };
    child.stdin.take().unwrap().write_all(classic(node()).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn promtool_reads_the_openmetrics_text() {
    let directory =
        std::env::temp_dir().join(format!("netagent-openmetrics-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let text = render(node(), Format::OpenMetrics).unwrap();
    let stamped: Vec<String> = text
        .lines()
        .map(|line| if line.starts_with('#') { line.into() } else { format!("{line} 1790000000") })
        .collect();
    let input = directory.join("metrics");
    std::fs::write(&input, stamped.join("\n") + "\n").unwrap();
    let output = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&input, &directory.join("blocks")])
        .output();
    std::fs::remove_dir_all(&directory).unwrap();
    match output {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: no promtool (Debian package prometheus)");
        }
        output => {
            let output = output.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
