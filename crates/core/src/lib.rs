//! Pure core of Spindle: metrics and events, their wire format, queries and responses, the verdict on a device, and the
//! audit of sequence numbers.
//!
//! Uses no clock, file, network or global randomness: time and random numbers are arguments. No input makes this crate
//! panic. The workspace rules of the test kit enforce its purity.

#![warn(missing_docs)]

pub mod advice;
pub mod alias;
pub mod audit;
pub mod backblaze;
pub mod backoff;
pub mod buckets;
pub mod cohort;
pub mod dead_letter;
pub mod decision;
pub mod detect;
pub mod device_labels;
pub mod drive_name;
pub mod event_id;
pub mod event_types;
pub mod fleet;
pub mod fleet_series;
pub mod health;
pub mod identity;
pub mod incidents;
pub mod judge;
pub mod log_limit;
pub mod metric;
pub mod name;
pub mod pipeline;
pub mod query;
pub mod reading;
pub mod recording;
pub mod records;
pub mod redact;
pub mod response;
pub mod schema;
pub mod smart;
pub mod timestamp;
pub mod wire;

pub use event_id::EventId;
pub use identity::{Identity, IdentityDigest};
pub use name::{DeviceName, EventType, MetricType};
pub use timestamp::Timestamp;
pub use wire::{Batch, Criticality, DeviceMetric, Event, Labels};
