//! The names of cluster networks and networks.

use schemars::{Schema, json_schema};

use super::value::Value;

/// The name of a cluster network. With `-br` or `-bo` it fits a device's name.
pub type ClusterName = Name<12>;
/// The name of a network. It is valid as a Kubernetes label.
pub type NetworkName = Name<63>;

/// A name of at most `MAX` characters.
#[derive(Clone, Debug)]
pub struct Name<const MAX: usize>(pub String);

impl<const MAX: usize> Value for Name<MAX> {
    fn read(text: &str) -> Result<Self, String> {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let starts_well = text.bytes().next().is_some_and(word);
        if starts_well && text.len() <= MAX && text.bytes().all(|byte| word(byte) || byte == b'-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{text:?} is not a name: 1 to {MAX} of a-z, 0-9 and '-', with a letter or digit \
                 first"
            ))
        }
    }

    fn schema() -> Schema {
        let pattern = format!("^[a-z0-9][a-z0-9-]{{0,{}}}$", MAX - 1);
        json_schema!({ "type": "string", "pattern": pattern })
    }
}
