//! The interface of a pod, as Kubernetes names it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An interface of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct PodInterface {
    /// The namespace of the pod.
    pub namespace: String,
    /// The name of the pod.
    pub pod: String,
    /// The name of the interface when it was made.
    pub interface: String,
}

impl fmt::Display for PodInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} {}", self.namespace, self.pod, self.interface)
    }
}
