//! Commands around the CNI plugin: what a network would be, and the plugin at its place.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, anyhow, bail};
use netagent_cni::{Attachment, Conf, call::Call};
use serde_json::Value;

use super::print::print;
use crate::{config, daemon, input, regular_file, state::Port};

/// Maximum size of a NetworkAttachmentDefinition in bytes: that of any object of Kubernetes.
const MAX_BYTES: u64 = 2 << 20;

/// The name of the plugin's program.
const PLUGIN: &str = "netagent-cni";

/// What a NetworkAttachmentDefinition asks for.
pub struct Nad {
    /// The attachment, without a device.
    pub attachment: Attachment,
    /// Whether the VM may use one address only.
    pub checks_mac: bool,
}

/// Says what port would come of a NetworkAttachmentDefinition, or of the configuration in it.
pub fn check(path: &Path, file: Option<&Path>) -> Result<ExitCode> {
    let Nad { attachment, .. } = attachment(path)?;
    let file = file.map(config::load).transpose()?;
    let (name, bridge) = (attachment.name.clone(), attachment.bridge.clone());
    let attachment = Attachment { device: "veth0".to_owned(), ifindex: 1, ..attachment };
    let port = daemon::preview(attachment, file.as_ref().map(|file| &file.intent))
        .map_err(|error| anyhow!("{}: {error}", path.display()))?;
    print(&format!("{}: network {name} on {bridge}: {}\n", path.display(), described(&port)))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a NetworkAttachmentDefinition, or the configuration in it.
pub fn attachment(path: &Path) -> Result<Nad> {
    let bytes = input::read(path, MAX_BYTES).with_context(|| format!("read {}", path.display()))?;
    let text =
        String::from_utf8(bytes).map_err(|_| anyhow!("{}: is not UTF-8 text", path.display()))?;
    let conf_text = configuration(&text).with_context(|| path.display().to_string())?;
    if let Err(error) = serde_json::from_str::<Value>(&conf_text) {
        // YAML is JSON without these mistakes: a comma too many, a comment, a key without quotes.
        let corrected = config::json(&conf_text).map(|value| format!("{value:#}"));
        let corrected =
            corrected.map_or_else(|_| String::new(), |it| format!("; corrected:\n{it}"));
        bail!(
            "{}: spec.config is not JSON, so Multus refuses it before any plugin runs: {error}{corrected}",
            path.display()
        );
    }
    let conf_text = of_netagent(&conf_text).with_context(|| path.display().to_string())?;
    let conf = Conf::parse(conf_text.as_bytes());
    let nad = conf.and_then(|conf| {
        conf.check()?;
        let attachment = Attachment::of(&conf, &Call::default())?;
        Ok(Nad { attachment, checks_mac: conf.mac_spoof_check })
    });
    nad.map_err(|error| anyhow!("{}: {}", path.display(), error.msg))
}

/// The configuration itself, or the one among the `plugins` of a list that netagent takes. The list
/// has the name and the version.
fn of_netagent(text: &str) -> Result<String> {
    let value: Value = serde_json::from_str(text)?;
    let object = value.as_object().context("the configuration is no object")?;
    let is_ours = |conf: &Value| matches!(conf["type"].as_str(), Some("" | "bridge" | "netagent"));
    let Some(plugins) = object.get("plugins").and_then(Value::as_array) else {
        let kind = &value["type"];
        if !kind.is_null() && !is_ours(&value) {
            bail!(
                "its type is {kind}, which is another plugin's: netagent takes \"bridge\" and \"netagent\""
            );
        }
        return Ok(text.to_owned());
    };
    let ours = plugins.iter().find(|conf| is_ours(conf));
    let mut ours =
        ours.context("none of its plugins is of type \"bridge\" or \"netagent\"")?.clone();
    for key in ["name", "cniVersion"] {
        if let Some(of_list) = object.get(key) {
            ours[key] = of_list.clone();
        }
    }
    Ok(ours.to_string())
}

/// The text of `spec.config`, or the text itself if it is a configuration.
fn configuration(text: &str) -> Result<String> {
    let Ok(value) = config::json(text) else { return Ok(text.to_owned()) };
    if value["kind"] != "NetworkAttachmentDefinition" {
        return Ok(text.to_owned());
    }
    let config = value["spec"]["config"].as_str().context("spec.config is missing")?;
    Ok(config.to_owned())
}

fn described(port: &Port) -> String {
    let pvid = match (port.pvid, port.pvid_tagged) {
        (Some(vid), false) => format!("untagged frames are in VLAN {vid}"),
        (Some(vid), true) => format!("VLAN {vid} is tagged"),
        (None, _) => "untagged frames are dropped".to_owned(),
    };
    format!("VLANs {}; {pvid}; admits {}", port.vids, port.admit.name())
}

/// Copies the plugin to a directory of plugins, under these names. A plugin that is running is
/// replaced by a rename: the kernel refuses to write to it ("text file busy").
pub fn install(directory: &Path, names: &[String], from: Option<PathBuf>) -> Result<ExitCode> {
    let from = match from {
        Some(from) => from,
        None => std::env::current_exe().context("find the own program")?.with_file_name(PLUGIN),
    };
    let program = regular_file::read(&from)
        .with_context(|| format!("read {}; --from names the plugin", from.display()))?;
    for name in names {
        let (to, new) = (directory.join(name), directory.join(format!(".{name}.new")));
        let written = fs::write(&new, &program)
            .and_then(|()| fs::set_permissions(&new, fs::Permissions::from_mode(0o755)))
            .and_then(|()| fs::rename(&new, &to));
        if let Err(error) = written {
            drop(fs::remove_file(&new));
            return Err(error).with_context(|| format!("write {}", to.display()));
        }
        print(&format!("{} is {}\n", to.display(), from.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
