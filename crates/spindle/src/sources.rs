//! Sources of metrics and events. A source blocks and depends on neither the bus nor the clock: the daemon reads the
//! next batch (in `spawn_blocking`, with a timeout) and publishes it.
//!
//! [`host`] samples this machine; [`replay`] reads recordings.

pub(crate) mod host;
pub(crate) mod replay;
