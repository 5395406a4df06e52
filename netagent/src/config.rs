//! The configuration file: YAML becomes an [`Intent`] and the agent's settings, or one line that
//! names the place and the error.
//!
//! `keys` has the keys of the file, `shapes` and `value` their values. `read` makes items of them,
//! and `tree` has the places of all keys. The checks between items are those of [`crate::intent`].
//! Nothing here depends on the node: one file gives one result everywhere.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    net::{IpAddr, SocketAddr},
    path::Path,
};

use crate::{
    input,
    intent::{self, Devices, Intent, Item, Rejection, Site},
    regular_file,
    state::Desired,
};

mod attachment;
mod error;
mod keys;
mod name;
mod read;
mod schema;
mod shapes;
#[cfg(test)]
mod tests;
mod time;
mod tree;
mod value;
mod yaml;

pub use attachment::Extra;
pub use error::ConfigError;
pub use schema::schema;

use error::Fault;
use tree::Tree;

/// Maximum size of a file in bytes. A node with 4,000 ports needs a quarter of it.
const MAX_BYTES: u64 = 1 << 20;

/// The contents of one configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The desired state of the node, as items.
    pub intent: Intent,
    /// The address of the metrics server; `None`: no server.
    pub metrics: Option<SocketAddr>,
    /// Addresses that must stay reachable when a change is tried.
    pub probes: Vec<IpAddr>,
    /// The text of the file.
    pub text: String,
}

impl Config {
    /// The desired state that the file alone asks for, without the devices that match a pattern.
    pub fn desired(&self) -> Desired {
        intent::compile(std::slice::from_ref(&self.intent), &Devices::default()).desired
    }
}

/// YAML as JSON.
pub fn json(text: &str) -> Result<serde_json::Value, String> {
    yaml::value(text)
}

/// Reads and checks a file, or a pipe to its end. One wrong item makes the whole file an error.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    load_from(path, input::read(path, MAX_BYTES + 1))
}

/// Reads and checks a regular file, for a process that must not wait for a pipe.
pub fn load_at_once(path: &Path) -> Result<Config, ConfigError> {
    let read = |file: File| {
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes)
    };
    load_from(path, regular_file::open_to_read(path).and_then(read))
}

/// Checks what was read: one byte more than allowed identifies a file that is too long. The size by
/// stat is 0 for a pipe.
fn load_from(path: &Path, bytes: io::Result<Vec<u8>>) -> Result<Config, ConfigError> {
    let name = path.display().to_string();
    let text = text(bytes).map_err(|complaint| ConfigError::of_file(&name, &complaint))?;
    parse(&text, &name)
}

/// Checks the text of a file; `name` is its name in errors and origins.
pub fn parse(text: &str, name: &str) -> Result<Config, ConfigError> {
    let (config, tree) = items(text, name)?;
    let judgement = intent::judge(std::slice::from_ref(&config.intent), &Devices::default());
    match judgement.rejections.into_iter().next() {
        None => Ok(Config { text: text.to_owned(), ..config }),
        Some(rejection) => Err(error(rejection, &config.intent, &tree, name)),
    }
}

/// Reads the items of a file, with the places of their keys. The items are not judged.
fn items(text: &str, name: &str) -> Result<(Config, Tree), ConfigError> {
    let tree = yaml::tree(text).map_err(|fault| ConfigError::new(name, "", fault))?;
    match tree.refuse_nulls().and_then(|()| yaml::file(text)) {
        Ok(file) => Ok((read::config(file, name), tree)),
        Err(fault) => Err(ConfigError::new(name, &tree.path(&fault), fault)),
    }
}

/// The items of a text, for the tests of their judgement.
#[cfg(test)]
pub fn unchecked(text: &str, name: &str) -> Intent {
    items(text, name).unwrap().0.intent
}

/// The error of a file with a rejected item.
fn error(rejection: Rejection, intent: &Intent, tree: &Tree, name: &str) -> ConfigError {
    let locate = |Site { origin, item, key }: &Site| {
        let path = match item {
            Item::Segment(name) => format!("clusterNetworks.{name}"),
            Item::Host { segment, index: None } => format!("clusterNetworks.{segment}.host"),
            Item::Host { segment, index: Some(index) } => {
                format!("clusterNetworks.{segment}.host[{index}]")
            }
            // Not in a file.
            Item::Lease(..) => String::new(),
            Item::Network(name) => format!("networks.{name}"),
            Item::Port(_) | Item::Pattern(_) => {
                let ports = intent.ports.iter().map(|port| &port.origin);
                let all = ports.chain(intent.patterns.iter().map(|pattern| &pattern.origin));
                format!("ports[{}]", all.filter(|other| *other < origin).count())
            }
        };
        tree.locate(&path, key)
    };
    let Rejection { origin, item, problem } = rejection;
    let (place, path) = locate(&Site { origin, item, key: problem.key });
    let message = match problem.earlier.map(|earlier| locate(&earlier)) {
        None => problem.text,
        Some((earlier, _)) => format!("{} (line {})", problem.text, earlier.line),
    };
    ConfigError::new(name, &path, Fault::new(place, message))
}

/// The text of a file, or why it cannot be read.
fn text(bytes: io::Result<Vec<u8>>) -> Result<String, String> {
    let bytes = bytes.map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            "no such file; create it (examples/ has some) or name another with -c".to_owned()
        }
        ErrorKind::Other => error.to_string(),
        _ => format!("cannot be read: {error}"),
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err("is larger than 1 MiB; this is hardly a configuration file".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        format!("is not UTF-8 text (byte {}); save it as UTF-8", error.utf8_error().valid_up_to())
    })
}
