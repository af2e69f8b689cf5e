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
    /// The reason in words.
    pub detail: String,
    /// Its place in the message's array.
    pub index: usize,
}

impl Bus {
    /// Keeps what could not be stored of a message; returns once JetStream has it. The same letter again
    /// is a duplicate that the stream drops.
    ///
    /// # Errors
    /// As any publish; the original must then stay unacknowledged.
    pub async fn keep_dead_letter(&self, stream: &str, origin: &Delivery, letter: DeadLetter) -> Result<(), BusError> {
        let sequence = origin.stream_sequence();
        let mut headers = HeaderMap::new();
        headers.insert("Spindle-Reason", letter.reason);
        headers.insert("Spindle-Detail", one_line(&letter.detail).as_str());
        headers.insert("Spindle-Subject", origin.subject());
        headers.insert("Spindle-Stream", stream);
        headers.insert("Spindle-Sequence", sequence.to_string().as_str());
        headers.insert("Spindle-Index", letter.index.to_string().as_str());
        if let Some(id) = origin.message_id() {
            headers.insert("Spindle-Message-Id", id);
        }
        let subject = format!("deadletter.{}", letter.reason);
        let id = format!("{stream}-{sequence}-{}", letter.index);
        publish(self, &subject, &id, headers, letter.bytes).await.map(drop)
    }
}

/// Header values end at a line break, and bad input is quoted in the detail.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
