//! Delegation to an IPAM plugin: CNI specification, section 4.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::Context as _;
use netagent_cni::{Error, call::Call, result::Success};

/// Calls the IPAM plugin with a verb and the own configuration, and returns what it prints.
fn call(plugin: &str, verb: &str, conf: &[u8]) -> Result<Vec<u8>, Error> {
    let path = Call::plugin(plugin)?;
    let mut child = Command::new(&path)
        .env("CNI_COMMAND", verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", path.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A plugin that fails early need not read it.
        drop(stdin.write_all(conf));
    }
    let output =
        child.wait_with_output().with_context(|| format!("wait for {}", path.display()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    if let Ok(error) = serde_json::from_slice::<Error>(&output.stdout) {
        return Err(error);
    }
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Err(anyhow::anyhow!("{} {verb}: {}: {text}", path.display(), output.status).into())
}

/// Asks for addresses.
pub fn add(plugin: &str, conf: &[u8]) -> Result<Success, Error> {
    let result = Success::read(&call(plugin, "ADD", conf)?)?;
    if result.ips.is_empty() {
        drop(call(plugin, "DEL", conf));
        return Err(anyhow::anyhow!("IPAM plugin returned missing IP config").into());
    }
    Ok(result)
}

/// Calls a verb without a result: DEL, CHECK, STATUS, GC.
pub fn tell(plugin: &str, verb: &str, conf: &[u8]) -> Result<(), Error> {
    call(plugin, verb, conf).map(drop)
}
