//! The last guard: a message that ends whoever handles it becomes a dead letter, and no other does.
//!
//! NATS's own guard, `max_deliver`, is not used. It counts deliveries, and a delivery is spent by every
//! restart of a writer, whoever is to blame: a store that is down for a day, with a writer restarted
//! again and again, would turn good messages into poison. And when its limit is reached the server only
//! falls silent; its advisory is sent once, to whoever listens at that moment.
//!
//! Here a delivery count makes a message suspect, nothing more. A suspect is tried by itself, and before
//! that a copy of it is kept as a dead letter, with the number of the attempt. If the attempt ends in any
//! way but the writer's death (stored, refused, store away), the copy is removed, and the message is like
//! any other. If the writer dies, the copy stays and is found at the next delivery. After
//! [`MAX_ATTEMPTS`] such deaths the copy is the dead letter, and the original is terminated. Delivery counts restart
//! when the server crashes: then all this begins later. No attempt begins while the copy cannot be kept.

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessageErrorKind;
use bytes::Bytes;

use super::{DeadLetter, header, headers, origin_id};
use crate::connect::Bus;
use crate::consume::Delivery;
use crate::error::BusError;
use crate::streams::DEAD_LETTER_STREAM;

/// The reason of a letter whose original ended the writer.
pub const UNDELIVERABLE: &str = "undeliverable";

/// Deaths of a writer while it handled one message by itself, after which the message is to blame. One
/// may be chance, a kill that fell into these milliseconds; three at the same message are none.
pub const MAX_ATTEMPTS: u32 = 3;

/// What is to be done with a message that came suspiciously often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// Handle it, by itself. Its answer ends the attempt, or [`Delivery::survived`].
    Try,
    /// It has ended the writer too often. Its dead letter is kept: terminate it.
    Guilty,
}

/// A message that is being tried by itself.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    bus: Bus,
    /// Of the copy; no other letter has it.
    subject: String,
}

impl Bus {
    /// Looks at what earlier attempts left behind, and begins another one or none.
    ///
    /// # Errors
    /// As any publish; then nothing was begun, and the message must not be handled.
    pub async fn suspect(&self, stream: &str, origin: &Delivery) -> Result<Suspicion, BusError> {
        let subject = format!("deadletter.{UNDELIVERABLE}.{}", origin_id(stream, origin));
        let attempt = Attempt { bus: self.clone(), subject };
        let n_deaths = attempt.n_begun().await?;
        if n_deaths >= MAX_ATTEMPTS {
            return Ok(Suspicion::Guilty);
        }
        // Only one copy at a time. If the writer dies between the two, it counts one death less.
        if n_deaths > 0 {
            attempt.end().await?;
        }
        attempt.begin(stream, origin, n_deaths + 1).await?;
        origin.begin(attempt);
        Ok(Suspicion::Try)
    }
}

impl Attempt {
    /// How many attempts ended with the writer's death.
    async fn n_begun(&self) -> Result<u32, BusError> {
        let Some(copy) = self.bus.last_letter(&self.subject).await? else { return Ok(0) };
        Ok(copy.headers.get(header::ATTEMPT).and_then(|number| number.as_str().parse().ok()).unwrap_or(1))
    }

    async fn begin(&self, stream: &str, origin: &Delivery, number: u32) -> Result<(), BusError> {
        let then = if number < MAX_ATTEMPTS { "it is tried again" } else { "it is not tried again" };
        let detail = format!(
            "delivered {} times without an answer; the writer ended while it handled this message by itself, {number} of {MAX_ATTEMPTS} times: {then}",
            origin.n_delivered()
        );
        let letter = DeadLetter { bytes: Bytes::new(), reason: UNDELIVERABLE, detail, index: 0 };
        let mut headers = headers(stream, origin, &letter);
        headers.insert(header::ATTEMPT, number.to_string().as_str());
        // An id of its own each time: as a duplicate of one that was removed it would not be kept.
        let id = format!("{}-attempt-{}", origin_id(stream, origin), uuid::Uuid::new_v4().simple());
        self.bus.keep_in_parts(&self.subject, &id, headers, origin.payload().clone()).await
    }

    /// Removes the copy: one message after the other, which needs no right to purge the stream.
    pub(crate) async fn end(&self) -> Result<(), BusError> {
        while let Some(copy) = self.bus.last_letter(&self.subject).await? {
            self.bus.remove_dead_letters(&[copy.sequence]).await?;
        }
        Ok(())
    }
}

impl Bus {
    /// The newest message of the stream with this subject.
    async fn last_letter(&self, subject: &str) -> Result<Option<StreamMessage>, BusError> {
        let api_subject = format!("STREAM.MSG.GET.{DEAD_LETTER_STREAM}");
        if self.denied.has("publish", &format!("$JS.API.{api_subject}")) {
            // Asking again would only time out again.
            return Err(self.no_answer("read", &api_subject, "not asked again"));
        }
        let stream = self.jetstream.get_stream_no_info(DEAD_LETTER_STREAM).await;
        let stream = stream.map_err(|error| self.no_answer("read", &api_subject, error))?;
        match stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.no_answer("read", &api_subject, error)),
        }
    }
}
