//! Messages of a simulated past: the header [`AS_OF`] states the time as of which a message is to be taken, as if NATS had
//! taken it then. Only the simulation sends it; a recording that arrives today is late, and is judged as such.

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SEQUENCE;
use async_nats::jetstream::context::PublishErrorKind;
use bytes::Bytes;
use spindle_core::Timestamp;
use std::time::Duration;

use crate::connect::Bus;
use crate::error::BusError;
use crate::streams::METRICS_SUBJECT;

/// Name of the header; its value is an RFC 3339 time.
pub(crate) const AS_OF: &str = "Spindle-As-Of";
/// Longest past: a day, and time to wait in the stream.
const LONGEST: Duration = Duration::from_secs(25 * 3_600);

/// Returns the time that the header of a message states; `None` without one, or if it is not within the day before the
/// message was published.
pub(crate) fn as_of(headers: Option<&HeaderMap>, published: Timestamp) -> Option<Timestamp> {
    let stated = Timestamp::parse(headers?.get(AS_OF)?.as_str()).ok()?;
    (stated < published && published.minus(LONGEST) <= stated).then_some(stated)
}

impl Bus {
    /// Claims that nothing was ever published to METRICS: publishes an array without metrics, which the stream takes only as
    /// its first message. It begins a simulated past at `as_of`. Returns `false` if another message was the first. The same
    /// `message_id` claims once.
    ///
    /// # Errors
    /// Transient, if JetStream does not answer: it may have taken the message.
    pub async fn claim_empty_metrics(&self, message_id: &str, as_of: Timestamp) -> Result<bool, BusError> {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id);
        headers.insert(NATS_EXPECTED_LAST_SEQUENCE, "0");
        headers.insert(AS_OF, as_of.to_string());
        let attempt = || format!("publish to {METRICS_SUBJECT}");
        let sent = self.jetstream.publish_with_headers(METRICS_SUBJECT, headers, Bytes::from_static(b"[]")).await;
        match sent.map_err(|error| BusError::transient(attempt(), error))?.await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(false),
            Err(error) => Err(BusError::transient(attempt(), error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_of_the_day_before_count() {
        let published = Timestamp::from_seconds(1_750_000_000);
        let stated = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AS_OF, value);
            as_of(Some(&headers), published)
        };
        let ago = |hours: u64| published.minus(Duration::from_secs(hours * 3_600));
        assert_eq!(stated(&ago(23).to_string()), Some(ago(23)));
        assert_eq!((stated(&ago(26).to_string()), stated("yesterday"), as_of(None, published)), (None, None, None));
        assert_eq!(stated(&published.plus(Duration::from_secs(1)).to_string()), None);
    }
}
