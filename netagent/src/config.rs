//! The configuration file: YAML in, [`Desired`] and the agent's settings out, or one line that says what is wrong and where.
//!
//! `raw` holds the types of the file, `value` its scalars, `tree` the places of its keys; `desired` and what it
//! calls decide whether the whole makes sense. Nothing here asks the node: the same file gives the same answer everywhere.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    net::SocketAddr,
    path::Path,
};

use crate::state::Desired;

mod at;
mod bond;
mod claims;
mod desired;
mod error;
mod host;
mod name;
mod network;
mod qinq;
mod raw;
mod room;
mod schema;
mod security;
mod segment;
#[cfg(test)]
mod tests;
mod time;
mod tree;
mod value;
mod yaml;

pub use error::ConfigError;
pub use schema::schema;

/// The largest file that is read, in bytes: a node with 4,000 ports needs a quarter of it.
const MAX_BYTES: u64 = 1 << 20;

/// What one configuration file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the node should look like.
    pub desired: Desired,
    /// Where metrics are served; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
}

/// Reads and checks a file.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let name = path.display().to_string();
    let text = read(path).map_err(|complaint| ConfigError::of_file(&name, &complaint))?;
    parse(&text, &name)
}

/// Checks the text of a file; `name` is what errors call it.
pub fn parse(text: &str, name: &str) -> Result<Config, ConfigError> {
    let tree = yaml::tree(text).map_err(|fault| ConfigError::new(name, "", fault))?;
    let config = || {
        tree.refuse_nulls()?;
        let raw::File { cluster_networks, networks, ports, metrics } = yaml::file(text)?;
        let metrics = metrics.and_then(|metrics| metrics.listen).map(|listen| listen.value);
        Ok(Config {
            desired: desired::desired(
                cluster_networks.unwrap_or_default(),
                networks.unwrap_or_default(),
                ports.unwrap_or_default(),
            )?,
            metrics: metrics.unwrap_or_default().0,
        })
    };
    config().map_err(|fault| ConfigError::new(name, &tree.path(&fault), fault))
}

/// The text of a file, or what is wrong with it.
fn read(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            "no such file; create it (examples/ has some) or name another with -c".to_owned()
        }
        _ => format!("cannot be opened: {error}"),
    })?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too long; its length by stat would be 0 for a pipe.
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err("is larger than 1 MiB; this is hardly a configuration file".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        format!("is not UTF-8 text (byte {}); save it as UTF-8", error.utf8_error().valid_up_to())
    })
}
