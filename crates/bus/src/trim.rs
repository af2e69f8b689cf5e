//! Trims the streams: once a stream is more than half full, messages that every consumer has acknowledged
//! are removed from it, oldest first.
//!
//! Acknowledged messages of the last `replay_tail` are kept while they fit, because the writer restores from them
//! what a store has lost. Nothing above the lowest ack floor is ever removed, so a full stream is full of messages
//! that are not stored yet. Consumers of detectors do not count once the stream is three quarters full: a judgement can do
//! without messages, a store cannot. What they have not taken goes oldest first, until half of the stream is left.

use std::ops::Range;
use std::time::Duration;

use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use spindle_core::Timestamp;

use crate::connect::Bus;
use crate::error::{BusError, BusErrorKind};
use crate::stream_reader::{published, raw_message};
use crate::streams::{RawConsumer, floor};

/// Trims a stream that is more than half full; returns the number of messages removed.
///
/// Removes the acknowledged messages older than `replay_tail` first. If those left are still more than half of what the
/// stream may hold, the oldest of them go too: their number is estimated from the mean size of a message. A backlog of
/// unacknowledged messages never shortens the tail, nor does an outage: the tail ends with the newest acknowledged
/// message. Without the durable consumer `writer` nothing is known to be stored, and nothing is removed.
///
/// # Errors
/// Transient, if NATS does not answer; configuration, if a permission is missing.
pub async fn trim_acknowledged(
    bus: &Bus,
    stream_name: &str,
    writer: &str,
    replay_tail: Duration,
    now: Timestamp,
) -> Result<u64, BusError> {
    let failed = |api: &str, error: async_nats::Error| {
        bus.denied.api_error(format!("trim stream {stream_name}"), &format!("{api}.{stream_name}"), error)
    };
    let Some(found) = bus.raw_stream(stream_name).await? else { return Err(missing(stream_name)) };
    // The limit of the account counts too: stored messages must not fill it either.
    let fill = bus.fill(stream_name, &found).await?;
    if !fill.is_half_full() {
        return Ok(0);
    }
    let consumers = bus.raw_consumers(stream_name).await?;
    if !consumers.iter().any(|consumer| consumer.name == writer) {
        return Ok(0);
    }
    let floor_of = |consumers: &mut dyn Iterator<Item = &RawConsumer>| {
        consumers.map(|consumer| floor(consumer, found.state.last_seq)).min().unwrap_or(0)
    };
    let floor = floor_of(&mut consumers.iter().filter(|consumer| fill.is_held_by(consumer)));
    let floor_of_all = floor_of(&mut consumers.iter());
    let stream = bus.jetstream.get_stream(stream_name).await.map_err(|error| failed("STREAM.INFO", error.into()))?;
    let acknowledged = stream.cached_info().state.first_sequence..floor.saturating_add(1);
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
    // What only a detector has not taken goes no further than to half of the stream.
    let tail = first_since(bus, &stream, acknowledged.clone(), since).await?.min(floor_of_all.saturating_add(1));
    let n_older = if tail > acknowledged.start { purge(tail).await? } else { 0 };
    let Some(left) = bus.raw_stream(stream_name).await? else { return Err(missing(stream_name)) };
    let n_acknowledged = acknowledged.end.saturating_sub(left.state.first_seq);
    let n_excess = n_acknowledged.saturating_sub(bus.fill(stream_name, &left).await?.half_messages());
    let n_of_tail = if n_excess > 0 { purge(left.state.first_seq + n_excess).await? } else { 0 };
    Ok(n_older + n_of_tail)
}

fn missing(stream_name: &str) -> BusError {
    BusError::new(BusErrorKind::Transient, format!("stream {stream_name} does not exist"))
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
