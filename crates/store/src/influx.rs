//! InfluxDB 1, 2 or 3, or openGemini, as the store: writes line protocol, queries with InfluxQL, detects the version.
//!
//! From the bottom up; no file imports one below it in this list:
//!
//! - `settings`, `line`, `concurrency`, `write_outcome`: address and credentials, line protocol, the limit of
//!   concurrent requests, the meaning of a response to a write.
//! - `response`: the meaning of a response to a query.
//! - `chunk`, `labels`, `noted_devices`, `last_values`, `limits`: lines sent together; labels and devices already written;
//!   values that meet; series that a limit keeps out.
//! - `identity`, `addresses`, `transport`: name and version of a server, the addresses of one store, HTTP to any of them.
//! - `client`: writes and queries over the transport.
//! - `detect`, `provision`, `retention`: the version; creates the database or bucket and sets its retention; reads the
//!   one in force.
//! - `placements`: places of events that queries may not show yet.
//! - `session`: [`Influx`], which owns all of the above.
//! - `event_position`, `event_order`: the time and slot of an event's point; the order of events in a response.
//! - `series`, `devices`: queries for values and devices.
//! - `pipeline`: reports of writers on themselves.
//! - `places`: reads points at exact places.
//! - `arrivals`, `events`: queries for events, by their arrival too.
//! - `verdict`, `send`: whose fault a refusal is; sending.
//! - `device_arrivals`: when the newest values of a device arrived.
//! - `replaced`, `sequences`: numbers of replaced values, and all sequence numbers.
//! - `claims`, `write_events`, `write_devices`, `write`: writes.
//! - `backfill`: completes the indexes from what an earlier version stored.
//!
//! No request is sent before the first call: a server that is away at start-up delays that call and is not an error.

mod addresses;
mod arrivals;
pub(crate) mod backfill;
mod chunk;
mod claims;
mod client;
mod concurrency;
mod detect;
pub(crate) mod device_arrivals;
mod device_index;
pub(crate) mod devices;
mod event_order;
mod event_position;
pub(crate) mod events;
mod foreign;
mod identity;
mod index_log;
mod index_marker;
mod labels;
mod last_values;
mod limits;
mod line;
mod noted_devices;
#[cfg(test)]
mod open_gemini_outcomes;
pub(crate) mod pipeline;
mod placements;
mod places;
mod provision;
mod replaced;
mod response;
mod retention;
mod send;
pub(crate) mod sequences;
pub(crate) mod series;
mod server_clock;
mod session;
mod settings;
mod transport;
mod verdict;
pub(crate) mod write;
mod write_devices;
mod write_events;
mod write_outcome;

pub use addresses::AddressStatus;
pub use session::Influx;
pub use settings::{InfluxSettings, InfluxVersion};
