//! The roles. They meet only through the bus and the store, never each other, so each can be a task in
//! `spindle up` or a process of its own. Each is `run(parts, stop)` and returns when it is told to stop.

pub(crate) mod client;
pub(crate) mod daemon;
pub(crate) mod reader;
pub(crate) mod writer;
