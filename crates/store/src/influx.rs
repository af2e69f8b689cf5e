//! InfluxDB 1, 2 or 3, or openGemini, as the store: writes line protocol, queries with InfluxQL, detects the version.
//!
//! From the bottom up; no file imports one below it in this list:
//!
//! - `settings`, `line`, `concurrency`, `write_outcome`: address and credentials, line protocol, the limit of
//!   concurrent requests, the meaning of a response to a write.
//! - `response`: the meaning of a response to a query.
//! - `chunk`, `labels`, `last_values`, `limits`: lines sent together, labels already written, values that meet, series
//!   that a limit keeps out.
//! - `identity`, `addresses`, `transport`: name and version of a server, the addresses of one store, HTTP to any of them.
//! - `client`: writes and queries over the transport.
//! - `detect`, `provision`, `retention`: the version; creates the database or bucket and sets its retention; reads the
//!   one in force.
//! - `placements`: positions of events that queries may not show yet.
//! - `session`: [`Influx`], which owns all of the above.
//! - `event_position`: the time and slot of an event's point.
//! - `verdict`, `send`: whose fault a refusal is; sending.
//! - `series`, `events`, `replaced`, `sequences`, `write_events`, `write`: functions over the session.
//!
//! No request is sent before the first call: a server that is away at start-up delays that call and is not an error.

mod addresses;
mod chunk;
mod client;
mod concurrency;
mod detect;
mod event_position;
pub(crate) mod events;
mod identity;
mod labels;
mod last_values;
mod limits;
mod line;
#[cfg(test)]
mod open_gemini_outcomes;
mod placements;
mod provision;
mod replaced;
mod response;
mod retention;
mod send;
pub(crate) mod sequences;
pub(crate) mod series;
mod session;
mod settings;
mod transport;
mod verdict;
pub(crate) mod write;
mod write_events;
mod write_outcome;

pub use addresses::AddressStatus;
pub use session::Influx;
pub use settings::{InfluxSettings, InfluxVersion};
