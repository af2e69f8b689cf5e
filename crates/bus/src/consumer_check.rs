//! Checks of a durable consumer: its configuration against the one that loses no message, and its position against the
//! end of its stream.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::sleep;
use tracing::warn;

use crate::connect::Bus;
use crate::error::{BusError, BusErrorKind};
use crate::streams::{Difference, Impact, RawConsumer, is_default, text};

/// Values of a consumer that lose no message, and fields that may have any; every other field must be unset.
pub(crate) struct WantedConsumer {
    values: [(&'static str, &'static str); 3],
    any: &'static [&'static str],
}

/// Consumer of a [`crate::Consumer`].
pub(crate) const CONSUMING: WantedConsumer = WantedConsumer {
    values: [("ack_policy", "explicit"), ("deliver_policy", "all"), ("replay_policy", "instant")],
    any: &[],
};
/// Consumer of a [`crate::Follower`], which counts the sequences that it misses.
pub(crate) const FOLLOWING: WantedConsumer = WantedConsumer {
    values: [("ack_policy", "all"), ("deliver_policy", "by_start_sequence"), ("replay_policy", "instant")],
    any: &["opt_start_seq"],
};
/// Fields that the limits set, that say nothing about messages, or that each server fills in.
const IGNORED: [&str; 9] = [
    "name",
    "durable_name",
    "description",
    "metadata",
    "ack_wait",
    "max_ack_pending",
    "max_waiting",
    "num_replicas",
    "sample_freq",
];
/// Fields that the server lets nobody change.
const FIXED: [&str; 9] = [
    "ack_policy",
    "deliver_policy",
    "replay_policy",
    "opt_start_seq",
    "opt_start_time",
    "deliver_subject",
    "deliver_group",
    "mem_storage",
    "flow_control",
];

/// Pause between the two looks that must both find a position ahead of its stream.
const AHEAD_PAUSE: Duration = Duration::from_secs(1);
/// The same for a stream with copies: a new leader may still be applying what the former one had acknowledged.
const REPLICATED_AHEAD_PAUSE: Duration = Duration::from_secs(10);

/// Returns the fields in which a consumer may leave out messages or forget its position.
pub(crate) fn differences(config: &Map<String, Value>, wanted: &WantedConsumer) -> Vec<Difference> {
    let differs = |(field, value): (&String, &Value)| {
        let any = [&IGNORED[..], wanted.any].concat();
        let wanted = wanted.values.iter().find(|(name, _)| *name == field).map(|(_, wanted)| *wanted);
        let is_as_wanted = wanted.map_or_else(|| is_default(value), |wanted| value == wanted);
        if is_as_wanted || any.contains(&field.as_str()) {
            return None;
        }
        let (field, found, wanted) = (field.clone(), text(value), wanted.unwrap_or("the default").to_owned());
        Some(Difference { field, found, wanted, impact: Impact::Loses, consequence: "" })
    };
    config.iter().filter_map(differs).collect()
}

/// Returns `true` if one of the differences can be corrected only by creating the consumer again.
pub(crate) fn is_fixed(differences: &[Difference]) -> bool {
    differences.iter().any(|difference| FIXED.contains(&difference.field.as_str()))
}

/// Joins differences in one line.
pub(crate) fn listed(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Returns the metadata of a consumer, so that creating it again keeps them.
pub(crate) fn metadata_of(consumer: &RawConsumer) -> HashMap<String, String> {
    let metadata = consumer.config.get("metadata").and_then(Value::as_object);
    metadata.into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

/// Looks up the metadata of a consumer; empty if it does not exist.
pub(crate) async fn metadata(bus: &Bus, stream: &str, durable: &str) -> Result<HashMap<String, String>, BusError> {
    Ok(bus.raw_consumer(stream, durable).await?.map(|consumer| metadata_of(&consumer)).unwrap_or_default())
}

/// Position in a stream.
#[derive(Debug)]
pub(crate) enum Place<'a> {
    /// That of a durable consumer.
    Delivered(&'a str),
    /// A sequence.
    Sequence(u64),
}

/// A position beyond the end of its stream.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    /// The stream has copies.
    is_replicated: bool,
    last_sequence: u64,
    position: u64,
}

/// Returns the last sequence of a stream if two looks with a pause between them find the position beyond it; `None` if it is
/// not, or the consumer or the stream does not exist.
///
/// # Errors
/// Transient, if NATS does not answer or the copies of the stream are not up to date.
pub(crate) async fn still_ahead(bus: &Bus, stream: &str, place: &Place<'_>) -> Result<Option<u64>, BusError> {
    let Some(Ahead { is_replicated, last_sequence, position }) = ahead(bus, stream, place).await? else {
        return Ok(None);
    };
    warn!(stream, ?place, last_sequence, position, "position is ahead of the stream, looking again");
    sleep(if is_replicated { REPLICATED_AHEAD_PAUSE } else { AHEAD_PAUSE }).await;
    let Some(again) = ahead(bus, stream, place).await? else { return Ok(None) };
    // Still moving: the leader applies its log, and has not reached its end.
    if is_replicated && again.last_sequence != last_sequence {
        let message = format!("stream {stream} is still behind its position {position} ({place:?})");
        return Err(BusError::new(BusErrorKind::Transient, message));
    }
    Ok(Some(again.last_sequence))
}

/// Looks at the position once.
async fn ahead(bus: &Bus, stream: &str, place: &Place<'_>) -> Result<Option<Ahead>, BusError> {
    let position = match place {
        Place::Sequence(sequence) => *sequence,
        Place::Delivered(durable) => {
            let Some(consumer) = bus.raw_consumer(stream, durable).await? else { return Ok(None) };
            consumer.delivered.stream_seq
        }
    };
    // Requested after the consumer's state: publishers and other members go on meanwhile.
    let Some(found) = bus.raw_stream(stream).await? else { return Ok(None) };
    let last_sequence = found.state.last_seq;
    if position <= last_sequence {
        return Ok(None);
    }
    if found.is_catching_up() {
        let message = format!("the copies of stream {stream} are not up to date");
        return Err(BusError::new(BusErrorKind::Transient, message));
    }
    Ok(Some(Ahead { is_replicated: found.is_replicated(), last_sequence, position }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The answer of nats-server 2.15.1 for a consumer as Spindle creates it, with `changes`.
    fn config(changes: &Value) -> Map<String, Value> {
        let mut config = json!({
            "durable_name": "c", "name": "c", "deliver_policy": "all", "ack_policy": "explicit",
            "ack_wait": 30_000_000_000_i64, "max_deliver": -1, "replay_policy": "instant", "max_waiting": 512,
            "max_ack_pending": 1000, "num_replicas": 0, "metadata": {"_nats.level": "5"},
        });
        for (field, value) in changes.as_object().unwrap() {
            config[field] = value.clone();
        }
        serde_json::from_value(config).unwrap()
    }

    #[test]
    fn every_field_that_leaves_out_messages_is_named() {
        assert_eq!(differences(&config(&json!({})), &CONSUMING), []);
        for changes in [
            json!({"ack_policy": "none"}),
            json!({"ack_policy": "all"}),
            json!({"deliver_policy": "new"}),
            json!({"replay_policy": "original"}),
            json!({"filter_subject": "their.own"}),
            json!({"filter_subjects": ["a", "b"]}),
            json!({"max_deliver": 1}),
            json!({"inactive_threshold": 1_000_000_000}),
            json!({"mem_storage": true}),
            json!({"headers_only": true}),
            json!({"pause_until": "2030-01-01T00:00:00Z"}),
            json!({"priority_policy": "pinned_client"}),
            json!({"rate_limit_bps": 10}),
            json!({"deliver_subject": "x"}),
            json!({"backoff": [1]}),
            json!({"max_batch": 1}),
            json!({"a_field_of_the_future": true}),
        ] {
            let found: Vec<_> =
                differences(&config(&changes), &CONSUMING).into_iter().map(|difference| difference.field).collect();
            assert_eq!(found, [changes.as_object().unwrap().keys().next().unwrap().clone()]);
        }
        assert_eq!(differences(&config(&json!({"sample_freq": "100%", "max_ack_pending": 5})), &CONSUMING), []);
    }

    #[test]
    fn only_what_the_server_never_changes_needs_another_consumer() {
        let of = |changes: &Value| is_fixed(&differences(&config(changes), &CONSUMING));
        assert!(of(&json!({"ack_policy": "none"})) && of(&json!({"deliver_policy": "new", "opt_start_seq": 3})));
        assert!(!of(&json!({"max_deliver": 1, "filter_subject": "x"})) && !of(&json!({})));
    }

    #[test]
    fn a_follower_begins_anywhere_and_misses_nothing_else() {
        let own = json!({"ack_policy": "all", "deliver_policy": "by_start_sequence", "opt_start_seq": 7});
        assert_eq!(differences(&config(&own), &FOLLOWING), []);
        let found = differences(&config(&json!({"filter_subject": "their.own"})), &FOLLOWING);
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
