//! The pure modules of the InfluxDB store, compiled from its own sources: so they need not be public, and
//! no runtime, no TLS and no SQLite is built to get at them. Should one of them grow an import that is
//! not here, this is where it shows.

#![allow(dead_code, reason = "each target looks at one part")]

#[path = "../../../crates/store/src/influx/answer.rs"]
pub(crate) mod answer;
#[path = "../../../crates/store/src/influx/line.rs"]
pub(crate) mod line;
#[path = "../../../crates/store/src/influx/verdict.rs"]
pub(crate) mod verdict;
