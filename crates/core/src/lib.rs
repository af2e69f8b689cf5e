//! The pure heart of Spindle: what a metric and an event are, how they look on the wire, what may be
//! asked, how a device is judged, and how a fleet is simulated.
//!
//! Nothing here knows a clock, a file, a network or global randomness: time and seed are arguments.
//! No input makes this crate panic. The workspace rules of the test kit hold the rest of that promise.

#![warn(missing_docs)]

pub mod audit;
pub mod backblaze;
pub mod backoff;
pub mod dead_letter;
pub mod health;
pub mod log_limit;
pub mod metric;
pub mod name;
pub mod query;
pub mod recording;
pub mod records;
pub mod redact;
pub mod response;
pub mod schema;
pub mod timestamp;
pub mod wire;

pub use name::{DeviceName, EventType, MetricType};
pub use timestamp::Timestamp;
pub use wire::{Batch, Criticality, DeviceMetric, Event, Labels};
