//! Sources of metrics and events. A source depends on neither the bus nor the clock: the daemon reads the next batch
//! (in `spawn_blocking`, with a timeout, if the source blocks) and publishes it.
//!
//! [`host`] samples this machine; [`smart`] asks its drives through smartctl; [`replay`] reads recordings.

pub(crate) mod host;
pub(crate) mod replay;
pub(crate) mod smart;
