//! Keeping dead letters.

use async_nats::HeaderMap;
use bytes::Bytes;
use spindle_core::dead_letter::Reason;

use super::header;
use crate::connect::Bus;
use crate::consume::Delivery;
use crate::error::{BusError, BusErrorKind};
use crate::publish::publish;
use crate::streams::DEAD_LETTER_STREAM;

/// A dead letter to be kept.
#[derive(Clone, Debug)]
pub struct NewDeadLetter {
    /// Original bytes.
    pub bytes: Bytes,
    /// Reason, the second token of its subject.
    pub reason: Reason,
    /// Details of the reason; the first thousand characters are kept.
    pub detail: String,
    /// Index in the message's array.
    pub index: usize,
    /// The bytes are the whole message: it may have dead letters of single elements with the same index, too.
    pub is_whole: bool,
}

/// Room for our headers in a message: two texts of a thousand characters, and the rest.
const HEADER_BYTES: usize = 12 << 10;
/// Smallest part, however small the server's messages.
const MIN_PART_BYTES: usize = 256;
/// Bound on a header's text. The server limits headers to 64 KiB and counts them into its largest message: a dead letter
/// with more could never be kept, and its message would be redelivered forever.
const MAX_DETAIL_CHARS: usize = 1000;

impl Bus {
    /// Keeps a dead letter of a delivered message; returns once JetStream has it. The stream drops a repetition as a
    /// duplicate. A dead letter that would be too large with its headers is kept in parts (`Spindle-Part: 1/2`), whose
    /// concatenation is the original bytes. Returns `false` if the stream had it already.
    ///
    /// # Errors
    /// As any publish; the original must then stay unacknowledged.
    pub async fn keep_dead_letter(
        &self,
        stream: &str,
        origin: &Delivery,
        dead_letter: NewDeadLetter,
    ) -> Result<bool, BusError> {
        let subject = format!("deadletter.{}", dead_letter.reason);
        let id = message_id(stream, origin, &dead_letter);
        self.keep_in_parts(&subject, &id, headers(stream, origin, &dead_letter), dead_letter.bytes).await
    }

    async fn keep_in_parts(&self, subject: &str, id: &str, headers: HeaderMap, bytes: Bytes) -> Result<bool, BusError> {
        let room = self.max_payload().saturating_sub(HEADER_BYTES).max(MIN_PART_BYTES);
        let n_parts = bytes.len().div_ceil(room).max(1);
        let mut is_new = false;
        for part in 1..=n_parts {
            let end = bytes.len().min(part * room);
            let mut headers = headers.clone();
            if n_parts > 1 {
                headers.insert(header::PART, format!("{part}/{n_parts}").as_str());
            }
            let id = format!("{id}-{part}");
            let kept = publish(self, subject, &id, headers, bytes.slice((part - 1) * room..end)).await;
            let was_there = kept.map_err(with_remedy)?;
            is_new |= !was_there;
        }
        Ok(is_new)
    }
}

/// Adds the remedy for a full stream, once for the log, `/readyz` and their readers.
fn with_remedy(error: BusError) -> BusError {
    match error.kind() {
        BusErrorKind::StreamFull => BusError::caused(
            BusErrorKind::StreamFull,
            format!(
                "keep a dead letter: the stream {DEAD_LETTER_STREAM} is full; `spindle dlq replay` or `spindle dlq drop` makes room, or raise nats.deadletter_bytes and restart"
            ),
            error,
        ),
        BusErrorKind::Transient | BusErrorKind::Configuration | BusErrorKind::Permanent => error,
    }
}

/// Returns the message id, which is unique over all time: it includes the time of publishing, because a stream that was
/// created again counts from 1 again.
fn message_id(stream: &str, origin: &Delivery, dead_letter: &NewDeadLetter) -> String {
    let NewDeadLetter { index, is_whole, .. } = dead_letter;
    let whole = if *is_whole { "-whole" } else { "" };
    format!("{stream}-{}-{}-{index}{whole}", origin.published().as_ns(), origin.stream_sequence())
}

fn headers(stream: &str, origin: &Delivery, dead_letter: &NewDeadLetter) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::REASON, dead_letter.reason.as_str());
    headers.insert(header::DETAIL, one_line(&dead_letter.detail).as_str());
    headers.insert(header::SUBJECT, origin.subject());
    headers.insert(header::STREAM, stream);
    headers.insert(header::SEQUENCE, origin.stream_sequence().to_string().as_str());
    headers.insert(header::INDEX, dead_letter.index.to_string().as_str());
    headers.insert(header::PUBLISHED, origin.published().to_string().as_str());
    if let Some(id) = origin.message_id() {
        headers.insert(header::MESSAGE_ID, one_line(id).as_str());
    }
    // Any publisher can set this header; only a number is carried on.
    if let Some(n_replays) = origin.header(header::REPLAYS).and_then(|text| text.parse::<u32>().ok()) {
        headers.insert(header::REPLAYS, n_replays.to_string().as_str());
    }
    headers
}

/// Replaces control characters, because a header value ends at a line break and the detail quotes bad input.
fn one_line(text: &str) -> String {
    text.chars().take(MAX_DETAIL_CHARS).map(|ch| if ch.is_control() { ' ' } else { ch }).collect()
}
