//! Where metrics and events come from. A source is blocking and knows neither the bus nor the clock: the
//! daemon asks it for the next batch (in `spawn_blocking`, with a time-out) and publishes what it gets.
//!
//! [`host`] looks at this machine; [`replay`] reads what was recorded.

pub(crate) mod host;
pub(crate) mod replay;
