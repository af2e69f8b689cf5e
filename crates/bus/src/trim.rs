//! Room in the streams: what every consumer has stored is removed once a stream is half full. Nothing
//! that any consumer still wants is ever touched, so a stream that is full is full of unstored messages.

use futures::TryStreamExt;

use crate::connect::Bus;
use crate::error::BusError;

/// Removes from a stream what all its consumers have acknowledged, if it is more than half full.
/// Returns the number of messages removed.
///
/// # Errors
/// Transient, if NATS does not answer.
pub async fn trim_acknowledged(bus: &Bus, stream_name: &str) -> Result<u64, BusError> {
    let attempt = || format!("make room in stream {stream_name}");
    let stream = bus.jetstream.get_stream(stream_name).await.map_err(|error| BusError::transient(attempt(), error))?;
    let info = stream.cached_info();
    let half = u64::try_from(info.config.max_bytes).unwrap_or(u64::MAX) / 2;
    if info.state.bytes < half {
        return Ok(0);
    }
    let consumers: Vec<_> =
        stream.consumers().try_collect().await.map_err(|error| BusError::transient(attempt(), error))?;
    let Some(floor) = consumers.iter().map(|consumer| consumer.ack_floor.stream_sequence).min() else { return Ok(0) };
    if floor < info.state.first_sequence {
        return Ok(0);
    }
    let purged = stream.purge().sequence(floor + 1).await.map_err(|error| BusError::transient(attempt(), error))?;
    Ok(purged.purged)
}

/// How many messages a stream holds.
///
/// # Errors
/// Transient, if NATS does not answer.
pub async fn n_messages(bus: &Bus, stream_name: &str) -> Result<u64, BusError> {
    let attempt = || format!("look at stream {stream_name}");
    let stream = bus.jetstream.get_stream(stream_name).await.map_err(|error| BusError::transient(attempt(), error))?;
    Ok(stream.cached_info().state.messages)
}
