//! Counters in packets and bytes, at every hook and on every path: who bills by them must be right.

mod bytes;
mod drops;
mod fallback;
mod gso;
pub mod lab;
mod processors;
pub mod segments;
mod tap;
