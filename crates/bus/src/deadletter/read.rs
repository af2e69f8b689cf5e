//! Reading single dead letters with all their bytes, from however many messages hold them.

use async_nats::jetstream::message::StreamMessage;
use bytes::{Bytes, BytesMut};

use super::head::{DeadLetterFilter, DeadLetterHead, Part};
use crate::connect::Bus;
use crate::error::{BusError, BusErrorKind};
use crate::stream_reader::{published, raw_message};
use crate::streams::DEAD_LETTER_STREAM;

/// A dead letter with all its bytes.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Headers of the message that was requested.
    pub head: DeadLetterHead,
    /// Sequences of all messages of the dead letter, in order.
    pub sequences: Vec<u64>,
    /// All headers of the message that was requested, as they are in the stream.
    pub headers: Vec<(String, String)>,
    /// Original bytes.
    pub bytes: Bytes,
}

/// Distance searched first for the other parts of a dead letter, which are published one after the other.
const NEAR: u64 = 500;

impl Bus {
    /// Reads the dead letter that the message with this sequence holds wholly or in part; `None` if there is no such
    /// message.
    ///
    /// # Errors
    /// Permanent, if a part of it is missing; transient, if NATS does not answer.
    pub async fn dead_letter(&self, sequence: u64) -> Result<Option<DeadLetter>, BusError> {
        let Some((head, message)) = self.dead_letter_message(sequence).await? else { return Ok(None) };
        let headers = all_headers(&message);
        let Some(part) = head.part else {
            return Ok(Some(DeadLetter { head, sequences: vec![sequence], headers, bytes: message.payload }));
        };
        let parts = self.parts_of(&head, part).await?;
        let mut bytes = BytesMut::new();
        for number in 1..=part.of {
            // A part that was kept twice has the same bytes in both.
            let found = parts.iter().rev().find(|(found, _)| *found == number);
            let message = match found {
                Some((_, sequence)) => self.dead_letter_message(*sequence).await?,
                None => None,
            };
            let Some((_, part_message)) = message else {
                return Err(BusError::new(
                    BusErrorKind::Permanent,
                    format!("dead letter {sequence} is incomplete: part {number} of {} is missing", part.of),
                ));
            };
            bytes.extend_from_slice(&part_message.payload);
        }
        let sequences = parts.into_iter().map(|(_, sequence)| sequence).collect();
        Ok(Some(DeadLetter { head, sequences, headers, bytes: bytes.freeze() }))
    }

    /// Returns the sequences of all messages that hold a part of the same dead letter; only its own, if it is in one
    /// piece.
    ///
    /// # Errors
    /// Transient, if NATS does not answer.
    pub async fn sequences_of(&self, head: &DeadLetterHead) -> Result<Vec<u64>, BusError> {
        match head.part {
            None => Ok(vec![head.sequence]),
            Some(part) => Ok(self.parts_of(head, part).await?.into_iter().map(|(_, sequence)| sequence).collect()),
        }
    }

    /// Returns part numbers and sequences of a dead letter's messages, in order. Searches nearby, and the whole stream
    /// only if a part is missing.
    async fn parts_of(&self, head: &DeadLetterHead, part: Part) -> Result<Vec<(usize, u64)>, BusError> {
        let near = (head.sequence.saturating_sub(NEAR).max(1), head.sequence.saturating_add(NEAR));
        let parts = self.parts_between(head, near).await?;
        if (1..=part.of).all(|number| parts.iter().any(|(found, _)| *found == number)) {
            return Ok(parts);
        }
        self.parts_between(head, (1, u64::MAX)).await
    }

    async fn parts_between(
        &self,
        head: &DeadLetterHead,
        (first, last): (u64, u64),
    ) -> Result<Vec<(usize, u64)>, BusError> {
        let same_reason = DeadLetterFilter { reason: Some(head.reason.clone()), ..DeadLetterFilter::default() };
        let mut pages = self.dead_letters_between(same_reason, first, last);
        let mut parts = Vec::new();
        while let Some(page) = pages.next().await? {
            let ours = page.iter().filter(|other| other.belongs_to(head));
            parts.extend(ours.filter_map(|other| Some((other.part?.number, other.sequence))));
        }
        parts.sort_unstable();
        Ok(parts)
    }

    /// Reads the headers of the message with this sequence; `None` if there is no such message.
    ///
    /// # Errors
    /// Transient, if NATS does not answer.
    pub async fn dead_letter_head(&self, sequence: u64) -> Result<Option<DeadLetterHead>, BusError> {
        Ok(self.dead_letter_message(sequence).await?.map(|(head, _)| head))
    }

    async fn dead_letter_message(&self, sequence: u64) -> Result<Option<(DeadLetterHead, StreamMessage)>, BusError> {
        let api = format!("STREAM.MSG.GET.{DEAD_LETTER_STREAM}");
        let stream = self.jetstream.get_stream_no_info(DEAD_LETTER_STREAM).await;
        let stream = stream.map_err(|error| BusError::transient("read dead letters", error))?;
        let message = raw_message(&stream, sequence).await;
        let message = message.map_err(|error| self.denied.api_error("read dead letters", &api, error))?;
        let Some(message) = message else { return Ok(None) };
        let (kept_at, size) = (published(message.time), message.payload.len() as u64);
        let head = DeadLetterHead::read(sequence, kept_at, &message.subject, Some(&message.headers), size);
        Ok(Some((head, message)))
    }
}

fn all_headers(message: &StreamMessage) -> Vec<(String, String)> {
    let headers = message.headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    headers.map(|(name, value)| (name.to_string(), value.to_string())).collect()
}
