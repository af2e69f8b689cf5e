//! Dead letters: what could not be stored, with every original byte and the reason.

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::connect::Bus;
use crate::consume::Delivery;
use crate::error::BusError;
use crate::publish::publish;

/// Something that cannot be stored.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The original bytes.
    pub bytes: Bytes,
    /// A short, stable word: the last token of its subject.
    pub reason: &'static str,
    /// The reason in words; its first thousand letters are kept.
    pub detail: String,
    /// Its place in the message's array.
    pub index: usize,
}

impl Bus {
    /// Keeps what could not be stored of a message; returns once JetStream has it. The same letter again
    /// is a duplicate that the stream drops. A letter that would be too large with its headers is kept in
    /// parts (`Spindle-Part: 1/2`), which put together are the original bytes.
    ///
    /// # Errors
    /// As any publish; the original must then stay unacknowledged.
    pub async fn keep_dead_letter(&self, stream: &str, origin: &Delivery, letter: DeadLetter) -> Result<(), BusError> {
        let room = self.max_payload().saturating_sub(HEADER_BYTES).max(MIN_PART_BYTES);
        let n_parts = letter.bytes.len().div_ceil(room).max(1);
        for part in 1..=n_parts {
            let end = letter.bytes.len().min(part * room);
            let bytes = letter.bytes.slice((part - 1) * room..end);
            let mut headers = headers(stream, origin, &letter);
            if n_parts > 1 {
                headers.insert("Spindle-Part", format!("{part}/{n_parts}").as_str());
            }
            let subject = format!("deadletter.{}", letter.reason);
            publish(self, &subject, &id(stream, origin, letter.index, part), headers, bytes).await?;
        }
        Ok(())
    }
}

/// With the time of publishing: a stream that was made anew counts from 1 again.
fn id(stream: &str, origin: &Delivery, index: usize, part: usize) -> String {
    format!("{stream}-{}-{}-{index}-{part}", origin.published_ns(), origin.stream_sequence())
}

fn headers(stream: &str, origin: &Delivery, letter: &DeadLetter) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Spindle-Reason", letter.reason);
    headers.insert("Spindle-Detail", one_line(&letter.detail).as_str());
    headers.insert("Spindle-Subject", origin.subject());
    headers.insert("Spindle-Stream", stream);
    headers.insert("Spindle-Sequence", origin.stream_sequence().to_string().as_str());
    headers.insert("Spindle-Index", letter.index.to_string().as_str());
    if let Some(id) = origin.message_id() {
        headers.insert("Spindle-Message-Id", one_line(id).as_str());
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
