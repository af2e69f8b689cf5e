//! The roles. They communicate only through the bus and the store, never directly, so each can be a task in
//! `spindle up` or a process. Each is a `run(parts, stop)` that returns after `stop`.

pub(crate) mod client;
pub(crate) mod daemon;
pub(crate) mod detector;
pub(crate) mod reader;
pub(crate) mod writer;
