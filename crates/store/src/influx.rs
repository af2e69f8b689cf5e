//! InfluxDB 1, 2 or 3 as the store: writes line protocol, queries with InfluxQL, detects the version.
//!
//! From the bottom up; no file imports one below it in this list:
//!
//! - `settings`, `line`, `concurrency`, `write_outcome`: address and credentials, line protocol, the limit of
//!   concurrent requests, the meaning of a response to a write.
//! - `response`: the meaning of a response to a query.
//! - `chunk`, `labels`: lines sent together, labels already written.
//! - `client`: HTTP.
//! - `provision`: creates the database or bucket and sets its retention.
//! - `session`: [`Influx`], which owns all of the above.
//! - `event_position`: the time and slot of an event's point.
//! - `series`, `arrivals`, `events`, `sequences`, `send`, `write_events`, `write`: functions over the session.
//!
//! No request is sent before the first call: a server that is away at start-up delays that call and is not an error.

pub(crate) mod arrivals;
mod chunk;
mod client;
mod concurrency;
mod event_position;
pub(crate) mod events;
mod labels;
mod line;
mod provision;
mod response;
mod send;
pub(crate) mod sequences;
pub(crate) mod series;
mod session;
mod settings;
pub(crate) mod write;
mod write_events;
mod write_outcome;

pub use session::Influx;
pub use settings::{InfluxSettings, InfluxVersion};
