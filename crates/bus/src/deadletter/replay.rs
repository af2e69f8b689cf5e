//! Replaying: the original bytes go to the original subject, through the writer's same checks, and the
//! letter leaves its stream only after JetStream has acknowledged them.
//!
//! A replay's message id is made of the letter's own sequence and time. So a replay that was interrupted
//! between publishing and removing is, when repeated, a duplicate that the stream drops (within its window;
//! after that the store recognises the same value or event). A letter that comes back, because it is as
//! bad as before, is a new letter with a new sequence: the next replay has a new id, and is not swallowed.

use async_nats::HeaderMap;
use bytes::{Bytes, BytesMut};

use super::head::{DeadLetterFilter, DeadLetterHead, Part};
use super::header;
use crate::connect::Bus;
use crate::error::{BusError, BusErrorKind};
use crate::publish::{publish, publish_message};
use crate::stream_reader::{published, raw_message};
use crate::streams::{DEAD_LETTER_STREAM, EVENTS_STREAM, METRICS_STREAM};

/// A letter with all its bytes, however many messages hold them.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The message that was asked for.
    pub letter: DeadLetterHead,
    /// The sequences of all messages of the letter, in order.
    pub sequences: Vec<u64>,
    /// The original bytes.
    pub bytes: Bytes,
}

/// What became of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It lies in its stream again.
    Stored,
    /// The stream had it already: an earlier replay was interrupted before the letter was removed.
    Duplicate,
}

/// Puts letters back into the streams that they came from.
#[derive(Clone, Debug)]
pub struct Replayer {
    bus: Bus,
    /// Each stream with what it takes.
    subjects: Vec<(&'static str, Vec<String>)>,
}

/// Parts of one letter are published one after the other: they are looked for here first.
const NEAR: u64 = 500;

impl Bus {
    /// The letter of which the message with this sequence is the whole or a part; `None` if there is no
    /// such message.
    ///
    /// # Errors
    /// [`BusErrorKind::Permanent`] if a part of it is missing, [`BusErrorKind::Transient`] if NATS does not answer.
    pub async fn dead_letter(&self, sequence: u64) -> Result<Option<DeadLetter>, BusError> {
        let Some((letter, bytes)) = self.letter_message(sequence).await? else { return Ok(None) };
        let Some(part) = letter.part else {
            return Ok(Some(DeadLetter { letter, sequences: vec![sequence], bytes }));
        };
        let parts = self.parts_of(&letter, part).await?;
        let mut bytes = BytesMut::new();
        for number in 1..=part.of {
            // A part that was kept twice has the same bytes in both.
            let found = parts.iter().rev().find(|(found, _)| *found == number);
            let message = match found {
                Some((_, sequence)) => self.letter_message(*sequence).await?,
                None => None,
            };
            let Some((_, part_bytes)) = message else {
                return Err(BusError::new(
                    BusErrorKind::Permanent,
                    format!("dead letter {sequence} is not whole: part {number} of {} is missing", part.of),
                ));
            };
            bytes.extend_from_slice(&part_bytes);
        }
        let sequences = parts.into_iter().map(|(_, sequence)| sequence).collect();
        Ok(Some(DeadLetter { letter, sequences, bytes: bytes.freeze() }))
    }

    /// The sequences of all messages that hold a part of the same letter; the letter's own, if it is in
    /// one piece.
    ///
    /// # Errors
    /// [`BusErrorKind::Transient`] if NATS does not answer.
    pub async fn sequences_of(&self, letter: &DeadLetterHead) -> Result<Vec<u64>, BusError> {
        match letter.part {
            None => Ok(vec![letter.sequence]),
            Some(part) => Ok(self.parts_of(letter, part).await?.into_iter().map(|(_, sequence)| sequence).collect()),
        }
    }

    /// Part numbers and sequences of a letter's messages, in order. Looked for nearby, and everywhere only
    /// if one is missing.
    async fn parts_of(&self, letter: &DeadLetterHead, part: Part) -> Result<Vec<(usize, u64)>, BusError> {
        let near = (letter.sequence.saturating_sub(NEAR).max(1), letter.sequence.saturating_add(NEAR));
        let parts = self.parts_between(letter, near).await?;
        if (1..=part.of).all(|number| parts.iter().any(|(found, _)| *found == number)) {
            return Ok(parts);
        }
        self.parts_between(letter, (1, u64::MAX)).await
    }

    async fn parts_between(
        &self,
        letter: &DeadLetterHead,
        (first, last): (u64, u64),
    ) -> Result<Vec<(usize, u64)>, BusError> {
        let same_reason = DeadLetterFilter { reason: Some(letter.reason.clone()), ..DeadLetterFilter::default() };
        let mut letters = self.letters_between(same_reason, first, last);
        let mut parts = Vec::new();
        while let Some(page) = letters.next().await? {
            let ours = page.iter().filter(|other| other.belongs_to(letter));
            parts.extend(ours.filter_map(|other| Some((other.part?.number, other.sequence))));
        }
        parts.sort_unstable();
        Ok(parts)
    }

    /// The message with this sequence, without its bytes; `None` if there is none.
    ///
    /// # Errors
    /// [`BusErrorKind::Transient`] if NATS does not answer.
    pub async fn dead_letter_head(&self, sequence: u64) -> Result<Option<DeadLetterHead>, BusError> {
        Ok(self.letter_message(sequence).await?.map(|(letter, _)| letter))
    }

    async fn letter_message(&self, sequence: u64) -> Result<Option<(DeadLetterHead, Bytes)>, BusError> {
        let subject = format!("STREAM.MSG.GET.{DEAD_LETTER_STREAM}");
        let stream = self
            .jetstream
            .get_stream_no_info(DEAD_LETTER_STREAM)
            .await
            .map_err(|error| self.no_answer("read", &subject, error))?;
        let message = raw_message(&stream, sequence).await.map_err(|error| self.no_answer("read", &subject, error))?;
        let Some(message) = message else { return Ok(None) };
        let (kept_at, size) = (published(message.time), message.payload.len() as u64);
        let letter = DeadLetterHead::read(sequence, kept_at, &message.subject, Some(&message.headers), size);
        Ok(Some((letter, message.payload)))
    }

    /// Makes ready to replay letters.
    ///
    /// # Errors
    /// [`BusErrorKind::Transient`] if NATS does not answer.
    pub async fn replayer(&self) -> Result<Replayer, BusError> {
        let mut subjects = Vec::new();
        for name in [METRICS_STREAM, EVENTS_STREAM] {
            let stream = self.jetstream.get_stream(name).await;
            let stream = stream.map_err(|error| BusError::transient(format!("look up stream {name}"), error))?;
            subjects.push((name, stream.cached_info().config.subjects.clone()));
        }
        Ok(Replayer { bus: self.clone(), subjects })
    }
}

impl Replayer {
    /// Publishes a letter's original bytes to its original subject; returns when JetStream has them. The
    /// letter stays where it is.
    ///
    /// # Errors
    /// [`BusErrorKind::Permanent`] if it has no subject of ours or is larger than the server takes, else as any
    /// publish.
    pub async fn replay(&self, whole: &DeadLetter) -> Result<Replayed, BusError> {
        let letter = &whole.letter;
        let (stream, subject) = self.destination(letter)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::REPLAYS, letter.n_replays.saturating_add(1).to_string().as_str());
        headers.insert(async_nats::header::NATS_EXPECTED_STREAM, stream);
        let mut sent = publish(&self.bus, subject, &replay_id(whole), headers, whole.bytes.clone()).await;
        if sent.as_ref().is_err_and(|error| error.kind() == BusErrorKind::Permanent) {
            // The original filled its message to the brim, and there is no room for a header. Without an id
            // only the store recognises it when it is replayed twice, and its next letter does not count
            // its replays.
            sent = publish_message(&self.bus, subject, HeaderMap::new(), whole.bytes.clone()).await;
        }
        Ok(if sent? { Replayed::Duplicate } else { Replayed::Stored })
    }

    /// The stream and subject that a letter came from; nothing else is ever published to.
    fn destination<'a>(&self, letter: &'a DeadLetterHead) -> Result<(&'static str, &'a str), BusError> {
        let sequence = letter.sequence;
        let nowhere = |why: String| BusError::new(BusErrorKind::Permanent, format!("dead letter {sequence} {why}"));
        let Some(subject) = letter.subject.as_deref() else {
            return Err(nowhere("does not say where it came from: it is none of Spindle's".to_owned()));
        };
        let stream = self.subjects.iter().find(|(_, subjects)| subjects.iter().any(|taken| takes(taken, subject)));
        match stream {
            Some((stream, _)) => Ok((stream, subject)),
            None => Err(nowhere(format!(
                "came from '{subject}', which neither {METRICS_STREAM} nor {EVENTS_STREAM} takes: add the subject to its stream, or drop the letter"
            ))),
        }
    }
}

fn replay_id(whole: &DeadLetter) -> String {
    let letter = &whole.letter;
    match (whole.sequences.first(), letter.parts_key()) {
        // Whichever part was named: the letter is the same.
        (Some(first), Some(key)) => format!("replay-{first}-{key}"),
        _ => format!("replay-{}-{}", letter.sequence, letter.kept_at.as_ns()),
    }
}

/// Whether a stream's subject, with its wildcards, takes a subject; which must have none of its own, and
/// be none of the server's.
fn takes(taken: &str, subject: &str) -> bool {
    if subject.starts_with('$')
        || subject.split('.').any(|token| ["", "*", ">"].contains(&token) || token.contains(char::is_whitespace))
    {
        return false;
    }
    let mut tokens = subject.split('.');
    for pattern in taken.split('.') {
        match (pattern, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (pattern, Some(token)) if pattern == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_taken_as_the_server_takes_it() {
        let cases = [
            ("events.metrics", "events.metrics", true),
            ("events.metrics", "events.metrics.x", false),
            ("events.metrics", "events", false),
            ("events.*", "events.metrics", true),
            ("events.*", "events.metrics.x", false),
            ("events.>", "events.metrics.x", true),
            ("events.>", "events", false),
            (">", "$JS.API.STREAM.DELETE.METRICS", false),
            ("events.*", "events.*", false),
            ("events.*", "events.>", false),
            ("events.*", "events.", false),
            ("events.*", "events.a b", false),
            ("events.*", "", false),
        ];
        for (taken, subject, expected) in cases {
            assert_eq!(takes(taken, subject), expected, "{taken} {subject}");
        }
    }
}
