//! Dead letters: what could not be stored, with every original byte and the reason.
//!
//! A letter is kept before its original is terminated, and leaves the stream only when its replay is
//! acknowledged or when somebody drops it. Between the two nothing here changes it. The stream refuses
//! new letters when it is full; then the original stays where it is, unacknowledged.

mod head;
mod list;
mod removal;
mod replay;

use async_nats::HeaderMap;
use bytes::Bytes;
use spindle_core::dead_letter::Reason;

use crate::connect::Bus;
use crate::consume::Delivery;
use crate::error::{BusError, BusErrorKind};
use crate::publish::publish;
use crate::streams::DEAD_LETTER_STREAM;

pub use head::{DeadLetterFilter, DeadLetterHead, Part};
pub use list::DeadLetterPages;
pub use replay::{DeadLetter, Replayed, Replayer};

/// Something that cannot be stored.
#[derive(Clone, Debug)]
pub struct NewDeadLetter {
    /// The original bytes.
    pub bytes: Bytes,
    /// A short, stable word: the second token of its subject.
    pub reason: Reason,
    /// The reason in words; its first thousand letters are kept.
    pub detail: String,
    /// Its place in the message's array.
    pub index: usize,
}

/// The headers of a letter.
mod header {
    pub(super) const REASON: &str = "Spindle-Reason";
    pub(super) const DETAIL: &str = "Spindle-Detail";
    pub(super) const SUBJECT: &str = "Spindle-Subject";
    pub(super) const STREAM: &str = "Spindle-Stream";
    pub(super) const SEQUENCE: &str = "Spindle-Sequence";
    pub(super) const INDEX: &str = "Spindle-Index";
    /// When the original was published.
    pub(super) const PUBLISHED: &str = "Spindle-Published";
    /// The id that the original's publisher gave it.
    pub(super) const MESSAGE_ID: &str = "Spindle-Message-Id";
    /// `1/2`: the letter lies in two messages, and this is the first.
    pub(super) const PART: &str = "Spindle-Part";
    /// How often it was replayed. A replay carries it to the writer, whose next letter carries it on.
    pub(super) const REPLAYS: &str = "Spindle-Replays";
}

impl Bus {
    /// Keeps what could not be stored of a message; returns once JetStream has it. The same letter again
    /// is a duplicate that the stream drops. A letter that would be too large with its headers is kept in
    /// parts (`Spindle-Part: 1/2`), which put together are the original bytes.
    ///
    /// # Errors
    /// As any publish; the original must then stay unacknowledged.
    pub async fn keep_dead_letter(
        &self,
        stream: &str,
        origin: &Delivery,
        letter: NewDeadLetter,
    ) -> Result<(), BusError> {
        let subject = format!("deadletter.{}", letter.reason);
        let id = id(stream, origin, letter.index);
        self.keep_in_parts(&subject, &id, headers(stream, origin, &letter), letter.bytes).await
    }

    async fn keep_in_parts(&self, subject: &str, id: &str, headers: HeaderMap, bytes: Bytes) -> Result<(), BusError> {
        let room = self.max_payload().saturating_sub(HEADER_BYTES).max(MIN_PART_BYTES);
        let n_parts = bytes.len().div_ceil(room).max(1);
        for part in 1..=n_parts {
            let end = bytes.len().min(part * room);
            let mut headers = headers.clone();
            if n_parts > 1 {
                headers.insert(header::PART, format!("{part}/{n_parts}").as_str());
            }
            let id = format!("{id}-{part}");
            let kept = publish(self, subject, &id, headers, bytes.slice((part - 1) * room..end)).await;
            kept.map_err(with_remedy)?;
        }
        Ok(())
    }
}

/// What an operator can do about a full stream, once and for the log, `/readyz` and whoever reads them.
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

/// With the time of publishing: a stream that was made anew counts from 1 again.
fn id(stream: &str, origin: &Delivery, index: usize) -> String {
    format!("{}-{index}", origin_id(stream, origin))
}

/// What tells a message of ours from every other, over all time.
fn origin_id(stream: &str, origin: &Delivery) -> String {
    format!("{stream}-{}-{}", origin.published().as_ns(), origin.stream_sequence())
}

fn headers(stream: &str, origin: &Delivery, letter: &NewDeadLetter) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::REASON, letter.reason.as_str());
    headers.insert(header::DETAIL, one_line(&letter.detail).as_str());
    headers.insert(header::SUBJECT, origin.subject());
    headers.insert(header::STREAM, stream);
    headers.insert(header::SEQUENCE, origin.stream_sequence().to_string().as_str());
    headers.insert(header::INDEX, letter.index.to_string().as_str());
    headers.insert(header::PUBLISHED, origin.published().to_string().as_str());
    if let Some(id) = origin.message_id() {
        headers.insert(header::MESSAGE_ID, one_line(id).as_str());
    }
    // Anybody can write this header; only a number is carried on.
    if let Some(n_replays) = origin.header(header::REPLAYS).and_then(|text| text.parse::<u32>().ok()) {
        headers.insert(header::REPLAYS, n_replays.to_string().as_str());
    }
    headers
}

/// Room in a message for our headers: two texts of a thousand letters, and the rest.
const HEADER_BYTES: usize = 12 << 10;
/// However small the server's messages, a part holds something.
const MIN_PART_BYTES: usize = 256;

/// The server takes headers of 64 KiB and counts them into its largest message: a letter with more could
/// never be kept, and its message would come again for ever.
const MAX_DETAIL_CHARS: usize = 1000;

/// Header values end at a line break, and bad input is quoted in the detail.
fn one_line(text: &str) -> String {
    text.chars().take(MAX_DETAIL_CHARS).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
