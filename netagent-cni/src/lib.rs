//! What the CNI plugin and the agent share: the configuration of a network as container runtimes
//! give it, and the attachment that the plugin asks the agent for.
//!
//! The plugin makes the veth pair and configures the end in the pod's namespace, with the rights of
//! its caller. The agent alone writes to the bridge: it gets the node's end as an [`Attachment`].

pub mod attachment;
pub mod call;
pub mod conf;
pub mod error;
mod keys;
pub mod result;
pub mod trunk;

pub use attachment::{Attachment, Owner};
pub use conf::Conf;
pub use error::{Code, Error};
