//! Errors as the CNI specification prints them, with its codes.

use serde::{Deserialize, Serialize};

/// Error codes of the CNI specification 1.1.0, section 2, "Error".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The version is not supported.
    IncompatibleVersion = 1,
    /// An environment variable is missing or wrong.
    InvalidEnvironment = 4,
    /// Input or output failed.
    Io = 5,
    /// The configuration is not JSON, or a field has the wrong type.
    Decode = 6,
    /// The configuration contradicts itself, or the node.
    InvalidConfiguration = 7,
    /// A later attempt can succeed.
    TryAgain = 11,
    /// The plugin cannot serve ADD now.
    NotAvailable = 50,
    /// Any other failure; the code that the reference plugins use for it.
    Internal = 999,
}

/// An error, as it is printed on stdout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// The version of the configuration.
    #[serde(rename = "cniVersion", default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// One of [`Code`], or that of another plugin.
    pub code: u32,
    /// One line.
    pub msg: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl Error {
    /// An error.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { version: String::new(), code: code as u32, msg: msg.into(), details: String::new() }
    }

    /// A configuration that contradicts itself, or the node.
    pub fn invalid(msg: impl Into<String>) -> Self {
        Self::new(Code::InvalidConfiguration, msg)
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Code::Internal, format!("{error:#}"))
    }
}
