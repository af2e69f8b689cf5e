//! Fill level of a stream, by its own limits and that of the account, and the consumer that keeps its messages from being
//! removed.

use super::info::{RawConsumer, RawStream};
use crate::connect::Bus;
use crate::error::{BusError, BusErrorKind};

/// Fill level of a stream with its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFill {
    /// Number of messages.
    pub messages: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Limit in bytes, if it has one. The account's limit counts as well, less what other streams of it take.
    pub max_bytes: Option<u64>,
    /// `max_bytes` is the limit of the account.
    pub is_account_limit: bool,
    /// Limit in messages, if it has one.
    pub max_messages: Option<u64>,
    /// Messages of the subject with the most, and the limit of each subject, if it has one.
    pub fullest_subject: Option<(u64, u64)>,
    /// The consumer with the most messages left, if the stream is more than half full and that is not the writer's.
    pub holder: Option<StreamHolder>,
}

/// A consumer that has acknowledged less of a stream than the writer, so that stored messages cannot be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamHolder {
    /// Its name.
    pub consumer: String,
    /// Messages that it has not acknowledged.
    pub n_pending: u64,
}

/// Level of a stream's fill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FillLevel {
    /// It has room.
    #[default]
    Roomy,
    /// It is about to refuse messages.
    NearlyFull,
    /// It refuses messages.
    Full,
}

/// Limit that a stream reaches first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TightestLimit {
    /// Its bytes; also of a stream without limits.
    Bytes,
    /// Its messages (`max_msgs`), or those of a subject (`max_msgs_per_subject`).
    Messages,
}

/// A stream this full is about to refuse messages.
const NEARLY_FULL_PERCENT: u64 = 90;
/// Share of a stream that the consumers of detectors may hold.
const YIELD_PER_MILLE: u64 = 750;
/// Room below this share of a stream is as good as none.
const FULL_PER_MILLE: u64 = 985;

impl StreamFill {
    /// Returns the fill level in percent of the tighter limit; 0 without limits.
    pub fn percent(&self) -> u64 {
        self.per_mille() / 10
    }

    /// Returns the level. A stream without room for another message of the mean size is full.
    pub fn level(&self) -> FillLevel {
        let mean = self.bytes.div_ceil(self.messages.max(1));
        let has_no_room = self.max_bytes.is_some_and(|limit| self.bytes + mean > limit);
        match self.percent() {
            _ if has_no_room || self.per_mille() >= FULL_PER_MILLE => FillLevel::Full,
            NEARLY_FULL_PERCENT.. => FillLevel::NearlyFull,
            _ => FillLevel::Roomy,
        }
    }

    /// Returns `true` if the stream is more than half full.
    pub(crate) fn is_half_full(&self) -> bool {
        self.per_mille() >= 500
    }

    /// Returns `true` if messages that the consumer has not acknowledged must stay: those of a [`crate::Follower`] until the
    /// stream is three quarters full, those of others always, whatever their names are.
    pub(crate) fn is_held_by(&self, consumer: &RawConsumer) -> bool {
        consumer.follower().is_none() || self.per_mille() < YIELD_PER_MILLE
    }

    /// Estimates how many messages fill half of the stream.
    pub(crate) fn half_messages(&self) -> u64 {
        let mean = self.bytes.div_ceil(self.messages.max(1)).max(1);
        let by_bytes = self.max_bytes.map(|limit| limit / 2 / mean);
        let limits = [self.max_messages, self.fullest_subject.map(|(_, limit)| limit)];
        let by_messages = limits.into_iter().flatten().min().map(|limit| limit / 2);
        by_bytes.unwrap_or(u64::MAX).min(by_messages.unwrap_or(u64::MAX))
    }

    /// Returns the limit that is reached first.
    pub fn tightest(&self) -> TightestLimit {
        let (of_bytes, of_messages) = self.shares();
        if of_messages > of_bytes { TightestLimit::Messages } else { TightestLimit::Bytes }
    }

    /// Takes in the room that the account has left for all copies of its streams.
    fn within_account(self, free_bytes: u64, n_replicas: u64) -> Self {
        let limit = self.bytes.saturating_add(free_bytes / n_replicas.max(1));
        match self.max_bytes {
            Some(own) if own <= limit => self,
            Some(_) | None => Self { max_bytes: Some(limit), is_account_limit: true, ..self },
        }
    }

    fn per_mille(&self) -> u64 {
        let (of_bytes, of_messages) = self.shares();
        of_bytes.max(of_messages)
    }

    /// Returns how much is used of the bytes and of the messages, per mille.
    fn shares(&self) -> (u64, u64) {
        let share = |used: u64, limit: Option<u64>| {
            limit.map_or(0, |limit| (u128::from(used) * 1000 / u128::from(limit.max(1))) as u64)
        };
        let (of_subject, subject_limit) = self.fullest_subject.unzip();
        let of_messages = share(self.messages, self.max_messages).max(share(of_subject.unwrap_or(0), subject_limit));
        (share(self.bytes, self.max_bytes), of_messages)
    }
}

/// Counts all messages as those of one subject, which they are in the streams of metrics and of events.
impl From<&RawStream> for StreamFill {
    fn from(stream: &RawStream) -> Self {
        let refuses = stream.config.get("discard_new_per_subject").and_then(serde_json::Value::as_bool) == Some(true);
        let per_subject = stream.limit("max_msgs_per_subject").filter(|_| refuses);
        let (messages, bytes) = (stream.state.messages, stream.state.bytes);
        let (max_bytes, max_messages) = (stream.limit("max_bytes"), stream.limit("max_msgs"));
        let fullest_subject = per_subject.map(|limit| (messages, limit));
        Self { messages, bytes, max_bytes, is_account_limit: false, max_messages, fullest_subject, holder: None }
    }
}

/// Returns the sequence up to which a consumer needs no message of a stream whose newest one was `last_sequence`.
pub(crate) fn floor(consumer: &RawConsumer, last_sequence: u64) -> u64 {
    let filters = ["filter_subject", "filter_subjects"];
    let is_filtered = filters.iter().any(|field| consumer.config.contains_key(*field));
    // Messages that its filter leaves out move no ack floor.
    if is_filtered && consumer.num_pending == 0 && consumer.num_ack_pending == 0 {
        return consumer.ack_floor.stream_seq.max(last_sequence);
    }
    consumer.ack_floor.stream_seq
}

impl Bus {
    /// Returns the fill level of a stream. With the name of the writer's durable consumer, looks for the consumer that
    /// holds the messages of a stream more than half full.
    ///
    /// # Errors
    /// Transient, if NATS does not answer or the stream does not exist; configuration, if a permission is missing.
    pub async fn stream_fill(&self, name: &str, writer: Option<&str>) -> Result<StreamFill, BusError> {
        let missing = || BusError::new(BusErrorKind::Transient, format!("stream {name} does not exist"));
        let stream = self.raw_stream(name).await?.ok_or_else(missing)?;
        let mut fill = self.fill(name, &stream).await?;
        if let Some(writer) = writer
            && fill.is_half_full()
        {
            let mut consumers = self.raw_consumers(name).await?;
            consumers.retain(|consumer| fill.is_held_by(consumer));
            fill.holder = holder(&consumers, writer, stream.state.last_seq);
        }
        Ok(fill)
    }

    /// Returns the number of messages that a durable consumer has not acknowledged; `None` if it does not exist.
    ///
    /// # Errors
    /// Transient, if NATS does not answer; configuration, if a permission is missing.
    pub async fn consumer_backlog(&self, stream: &str, durable: &str) -> Result<Option<u64>, BusError> {
        let consumer = self.raw_consumer(stream, durable).await?;
        Ok(consumer.map(|consumer| consumer.num_pending + consumer.num_ack_pending))
    }

    /// Returns the fill level of a stream that was looked up: counts its subjects if each has a limit, and takes in the
    /// account's limit if this user may ask for it.
    pub(crate) async fn fill(&self, name: &str, stream: &RawStream) -> Result<StreamFill, BusError> {
        let mut fill = StreamFill::from(stream);
        if let Some((messages, _)) = &mut fill.fullest_subject
            && stream.state.num_subjects > 1
        {
            *messages = self.fullest_subject(name).await?;
        }
        if self.denied.has("publish", "$JS.API.INFO") {
            return Ok(fill);
        }
        Ok(match self.jetstream_usage().await {
            Ok((used, Some(limit))) => fill.within_account(limit.saturating_sub(used), stream.n_replicas()),
            Ok((_, None)) | Err(_) => fill,
        })
    }
}

/// Returns the consumer with the lowest floor, if that is below the writer's.
fn holder(consumers: &[RawConsumer], writer: &str, last_sequence: u64) -> Option<StreamHolder> {
    let floor = |consumer: &RawConsumer| floor(consumer, last_sequence);
    let own = consumers.iter().find(|consumer| consumer.name == writer).map_or(0, floor);
    let lowest = consumers.iter().filter(|consumer| consumer.name != writer).min_by_key(|consumer| floor(consumer))?;
    let n_pending = lowest.num_pending + lowest.num_ack_pending;
    (floor(lowest) < own).then(|| StreamHolder { consumer: lowest.name.clone(), n_pending })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::info::FOLLOWER;
    use super::*;

    fn consumer(name: &str, floor: u64, n_pending: u64, filter: Option<&str>) -> RawConsumer {
        let config = filter.map_or_else(|| json!({}), |filter| json!({ "filter_subject": filter }));
        let (delivered, ack_floor) = (json!({ "stream_seq": floor }), json!({ "stream_seq": floor }));
        let consumer = json!({
            "name": name, "config": config, "delivered": delivered, "ack_floor": ack_floor, "num_pending": n_pending,
        });
        serde_json::from_value(consumer).unwrap()
    }

    #[test]
    fn the_slowest_of_the_others_holds_a_stream() {
        let (writer, debug) = (consumer("writer", 90, 10, None), consumer("debug", 5, 95, None));
        let holder = |consumers: &[RawConsumer]| super::holder(consumers, "writer", 100);
        let found = holder(&[writer, debug, consumer("slow", 50, 50, None)]).unwrap();
        assert_eq!((found.consumer.as_str(), found.n_pending), ("debug", 95));
        assert_eq!(holder(&[consumer("writer", 5, 95, None), consumer("debug", 90, 10, None)]), None);
        assert_eq!(holder(&[consumer("writer", 5, 95, None)]), None);
        let idle = consumer("idle", 0, 0, Some("their.own"));
        assert_eq!(holder(&[consumer("writer", 90, 10, None), idle]), None);
    }

    #[test]
    fn the_tighter_limit_counts() {
        use FillLevel::{Full, NearlyFull, Roomy};
        let fill = StreamFill {
            messages: 90,
            bytes: 9_000,
            max_bytes: Some(1 << 20),
            is_account_limit: false,
            max_messages: None,
            fullest_subject: None,
            holder: None,
        };
        assert_eq!((fill.percent(), fill.level(), fill.is_half_full()), (0, Roomy, false));
        assert_eq!(fill.tightest(), TightestLimit::Bytes);
        let by_number = StreamFill { max_messages: Some(100), ..fill.clone() };
        assert_eq!((by_number.percent(), by_number.level(), by_number.half_messages()), (90, NearlyFull, 50));
        assert_eq!(by_number.tightest(), TightestLimit::Messages);
        assert_eq!(StreamFill { messages: 89, ..by_number.clone() }.level(), Roomy);
        assert_eq!(StreamFill { messages: 100, ..by_number.clone() }.level(), Full);
        let by_subject = StreamFill { fullest_subject: Some((38, 40)), ..by_number };
        assert_eq!((by_subject.percent(), by_subject.level(), by_subject.half_messages()), (95, NearlyFull, 20));
        let by_account = fill.clone().within_account(3_000, 3);
        assert_eq!((by_account.percent(), by_account.is_account_limit), (90, true));
        assert_eq!(fill.clone().within_account(0, 1).level(), Full);
        assert_eq!(fill.clone().within_account(1 << 30, 1), fill);
        // Room for less than one more message of the mean size.
        assert_eq!(StreamFill { max_bytes: Some(9_099), ..fill.clone() }.level(), Full);
        assert_eq!(StreamFill { max_bytes: None, ..fill }.level(), Roomy);
    }

    #[test]
    fn a_detector_holds_a_stream_until_it_is_three_quarters_full() {
        let fill = |bytes| StreamFill {
            messages: 10,
            bytes,
            max_bytes: Some(1_000),
            is_account_limit: false,
            max_messages: None,
            fullest_subject: None,
            holder: None,
        };
        let (mut detector, other) = (consumer("d", 5, 95, None), consumer("detector-metrics", 5, 95, None));
        detector.config.insert("metadata".to_owned(), json!({ FOLLOWER: "a process" }));
        assert!(fill(749).is_held_by(&detector) && !fill(750).is_held_by(&detector));
        assert!(fill(999).is_held_by(&other));
    }
}
