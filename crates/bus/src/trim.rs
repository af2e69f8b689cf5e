//! Trims the streams: once a stream is more than half full, messages that every consumer has acknowledged
//! are removed from it, oldest first.
//!
//! Acknowledged messages of the last `replay_tail` are kept while they fit, because the writer restores from them
//! what a store has lost. Nothing above the lowest ack floor is ever removed, so a full stream is full of messages
//! that are not stored yet.

use std::ops::Range;
use std::time::Duration;

use async_nats::jetstream::stream::{RawMessageErrorKind, State, Stream};
use futures::TryStreamExt;
use spindle_core::Timestamp;

use crate::connect::Bus;
use crate::error::BusError;
use crate::stream_reader::{published, raw_message};

/// Trims a stream that is more than half full; returns the number of messages removed.
///
/// Removes the acknowledged messages older than `replay_tail` first. If those left are still more than half of what the
/// stream may hold, the oldest of them go too: their number is estimated from the mean size of a message. A backlog of
/// unacknowledged messages never shortens the tail, nor does an outage: the tail ends with the newest acknowledged
/// message.
///
/// # Errors
/// Transient, if NATS does not answer; configuration, if a permission is missing.
pub async fn trim_acknowledged(
    bus: &Bus,
    stream_name: &str,
    replay_tail: Duration,
    now: Timestamp,
) -> Result<u64, BusError> {
    let failed = |api: &str, error: async_nats::Error| {
        bus.denied.api_error(format!("trim stream {stream_name}"), &format!("{api}.{stream_name}"), error)
    };
    let stream = bus.jetstream.get_stream(stream_name).await.map_err(|error| failed("STREAM.INFO", error.into()))?;
    let info = stream.cached_info();
    let half = u64::try_from(info.config.max_bytes).unwrap_or(u64::MAX) / 2;
    if info.state.bytes < half {
        return Ok(0);
    }
    let consumers: Vec<_> =
        stream.consumers().try_collect().await.map_err(|error| failed("CONSUMER.LIST", error.into()))?;
    let floor = consumers.iter().map(|consumer| consumer.ack_floor.stream_sequence).min().unwrap_or(0);
    let acknowledged = info.state.first_sequence..floor.saturating_add(1);
    if acknowledged.is_empty() {
        return Ok(0);
    }
    let purge = async |end: u64| {
        let purged = stream.purge().sequence(end).await;
        purged.map(|purged| purged.purged).map_err(|error| failed("STREAM.PURGE", error.into()))
    };
    // After a long outage everything is old: the tail counts from the newest acknowledged message.
    let newest = raw_message(&stream, floor).await.map_err(|error| failed("STREAM.MSG.GET", error.into()))?;
    let newest = newest.map_or(now, |message| published(message.time).min(now));
    let since = newest.plus(Duration::from_nanos(1)).minus(replay_tail);
    let tail = first_since(bus, &stream, acknowledged.clone(), since).await?;
    let n_older = if tail > acknowledged.start { purge(tail).await? } else { 0 };
    let state = stream.get_info().await.map_err(|error| failed("STREAM.INFO", error.into()))?.state;
    let n_acknowledged = acknowledged.end.saturating_sub(state.first_sequence);
    let n_excess = n_acknowledged.saturating_sub(n_within(&state, half));
    let n_of_tail = if n_excess > 0 { purge(state.first_sequence + n_excess).await? } else { 0 };
    Ok(n_older + n_of_tail)
}

/// Estimates how many messages of a stream take `max_bytes`.
fn n_within(state: &State, max_bytes: u64) -> u64 {
    max_bytes / state.bytes.div_ceil(state.messages.max(1)).max(1)
}

/// Finds the first sequence in `range` published at `since` or later, or the end of the range. A binary search: about
/// one request for each doubling of the range.
async fn first_since(
    bus: &Bus,
    stream: &Stream,
    Range { start: mut low, end: mut high }: Range<u64>,
    since: Timestamp,
) -> Result<u64, BusError> {
    let name = &stream.cached_info().config.name;
    while low < high {
        let middle = low + (high - low) / 2;
        // The first message from `middle` on: sequences may be missing.
        match stream.get_first_raw_message_by_subject(">", middle).await {
            Ok(message) if message.sequence < high && published(message.time) < since => low = message.sequence + 1,
            Ok(_) => high = middle,
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => high = middle,
            Err(error) => {
                let attempt = format!("find the age of message {middle} in stream {name}");
                return Err(bus.denied.api_error(attempt, &format!("STREAM.MSG.GET.{name}"), error));
            }
        }
    }
    Ok(low)
}
