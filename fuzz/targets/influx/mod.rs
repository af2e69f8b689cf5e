//! Pure modules of the InfluxDB store, compiled from their sources: they need not be public, and no runtime, TLS or
//! SQLite is built to reach them. An import that is not listed here fails to compile.

#![allow(dead_code, reason = "each target uses one part")]

#[path = "../../../crates/store/src/influx/line.rs"]
pub(crate) mod line;
#[path = "../../../crates/store/src/influx/response.rs"]
pub(crate) mod response;
#[path = "../../../crates/store/src/influx/write_outcome.rs"]
pub(crate) mod write_outcome;
