//! Exists so that the agent can have a build-dependency on this crate, and cargo sees its changes.
#![no_std]
