//! Dead letters of the writer. A message whose dead letter cannot be kept, mostly because the stream of dead letters is
//! full, is deferred (`deferrals`).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use spindle_bus::{Bus, BusError, BusErrorKind, Delivery, NewDeadLetter};
use spindle_core::dead_letter::Reason;
use spindle_core::wire;
use tokio::time::Instant;
use tracing::{error, warn};

use super::decode::Reject;
use super::deferrals::Deferrals;
use super::readiness::{Problem, Readiness};
use crate::log_limit::LogLimiter;
use crate::logging::chain;
use crate::metrics::{WRITER_DEAD_LETTERS, WRITER_MANY_DELIVERIES, WRITER_POISON};

/// Rejects of one message that get a dead letter each; beyond that the message is kept whole.
const MAX_PER_MESSAGE: usize = 16;
/// Dead letters of one message published at once: each waits for a sync of the server's disk.
const PUBLISHED_AT_ONCE: usize = 8;
/// Pause after a publish without an answer: each takes as long as JetStream's time-out, and a batch may need many. A full
/// stream refuses at once, and smaller letters may fit.
const PAUSE: Duration = Duration::from_secs(1);
/// Deliveries of one message from which on something is wrong: a store that hangs, or writers that are killed.
const MANY_DELIVERIES: i64 = 5;

/// Keeps the dead letters of one stream.
pub(super) struct DeadLetters {
    stream: &'static str,
    bus: Bus,
    readiness: Readiness,
    pub(super) deferrals: Deferrals,
    paused_until: Mutex<Option<Instant>>,
    /// One for each thing that a sender can cause at will.
    limits: Limits,
}

struct Limits {
    kept: LogLimiter,
    poison: LogLimiter,
    unkept: LogLimiter,
    many_deliveries: LogLimiter,
}

impl DeadLetters {
    pub(super) fn new(stream: &'static str, bus: Bus, readiness: Readiness) -> Self {
        let limit = |n_lines| LogLimiter::new(n_lines, Duration::from_secs(10));
        let limits = Limits { kept: limit(5), poison: limit(5), unkept: limit(1), many_deliveries: limit(1) };
        let deferrals = Deferrals::new(stream, readiness.clone());
        Self { stream, bus, readiness, deferrals, paused_until: Mutex::default(), limits }
    }

    /// Keeps the dead letters of one message; `false` if that failed, and the message must be deferred.
    pub(super) async fn keep(&self, delivery: &Delivery, rejects: &[&Reject]) -> bool {
        // A poison message is kept whole, which covers everything else in it.
        let poison = rejects.iter().position(|reject| reject.reason == Reason::Panic);
        let rejects = poison.map_or(rejects, |position| &rejects[position..=position]);
        let Some(first) = rejects.first() else { return true };
        if self.paused_until().is_some_and(|until| Instant::now() < until) {
            return false;
        }
        let kept = async {
            let (whole, single): (Vec<&Reject>, Vec<&Reject>) = rejects.iter().partition(|reject| reject.is_whole);
            match single.len() > MAX_PER_MESSAGE {
                true => self.keep_whole(delivery, single.len(), single[0]).await?,
                false => self.keep_each(delivery, &single).await?,
            }
            self.keep_each(delivery, &whole).await
        };
        if let Err(error) = kept.await {
            self.note_unkept(delivery, error);
            return false;
        }
        self.readiness.clear(self.stream, Problem::DeadLetters);
        self.note_kept(delivery, rejects.len(), first);
        true
    }

    /// A message with many rejects is kept once, whole: it must not fill the stream of dead letters.
    async fn keep_whole(&self, delivery: &Delivery, n_rejects: usize, first: &Reject) -> Result<(), BusError> {
        let Reject { index, reason, detail, .. } = first;
        let detail = format!("the whole message: {n_rejects} elements rejected, the first (index {index}): {detail}");
        let bytes = delivery.payload().clone();
        self.publish(delivery, NewDeadLetter { bytes, reason: *reason, detail, index: *index, is_whole: true }).await
    }

    async fn keep_each(&self, delivery: &Delivery, rejects: &[&Reject]) -> Result<(), BusError> {
        let is_split = rejects.iter().any(|reject| reject.bytes.is_none());
        let elements = if is_split { wire::elements(delivery.payload()) } else { Vec::new() };
        let publishes: Vec<_> = rejects
            .iter()
            .map(|reject| {
                let element = || elements.get(reject.index).map(|text| Bytes::copy_from_slice(text.as_bytes()));
                let bytes = reject.bytes.clone().or_else(element).unwrap_or_else(|| delivery.payload().clone());
                let Reject { index, reason, ref detail, is_whole, .. } = **reject;
                self.publish(delivery, NewDeadLetter { bytes, reason, detail: detail.clone(), index, is_whole })
            })
            .collect();
        let mut published = futures::stream::iter(publishes).buffer_unordered(PUBLISHED_AT_ONCE);
        while let Some(published) = published.next().await {
            published?;
        }
        Ok(())
    }

    async fn publish(&self, delivery: &Delivery, dead_letter: NewDeadLetter) -> Result<(), BusError> {
        let reason = dead_letter.reason;
        // A redelivered message keeps its dead letters once more, which adds none.
        if self.bus.keep_dead_letter(self.stream, delivery, dead_letter).await? {
            WRITER_DEAD_LETTERS.with_label_values(&[reason.as_str()]).inc();
        }
        Ok(())
    }

    fn note_kept(&self, delivery: &Delivery, n_rejects: usize, first: &Reject) {
        let (sequence, reason, detail) = (delivery.stream_sequence(), first.reason.as_str(), &first.detail);
        if first.reason == Reason::Panic {
            WRITER_POISON.with_label_values(&[self.stream]).inc();
            if let Some(n_suppressed) = self.limits.poison.allow() {
                error!(
                    stream = self.stream,
                    sequence, detail, n_suppressed, "poison message dead-lettered; please report this bug"
                );
            }
        } else if let Some(n_suppressed) = self.limits.kept.allow() {
            warn!(stream = self.stream, sequence, n_rejects, reason, detail, n_suppressed, "message dead-lettered");
        }
    }

    fn note_unkept(&self, delivery: &Delivery, error: BusError) {
        if error.kind() != BusErrorKind::StreamFull {
            *self.paused_until() = Some(Instant::now() + PAUSE);
        }
        let (sequence, error) = (delivery.stream_sequence(), chain(error));
        self.readiness.report(self.stream, Problem::DeadLetters, &error);
        if let Some(n_suppressed) = self.limits.unkept.allow() {
            error!(
                stream = self.stream,
                sequence,
                n_suppressed,
                error,
                "dead letters could not be kept; their messages are deferred and block no others"
            );
        }
    }

    /// Nothing is done about such messages but to make them visible: a delivery is spent by every restart of a writer.
    pub(super) fn warn_of_many_deliveries(&self, deliveries: &[Delivery]) {
        // A message that the store keeps out is reported as such.
        let is_wrong =
            |delivery: &&Delivery| delivery.n_delivered() >= MANY_DELIVERIES && !self.deferrals.is_kept_out(delivery);
        let many = || deliveries.iter().filter(is_wrong);
        let Some(first) = many().max_by_key(|delivery| delivery.n_delivered()) else { return };
        WRITER_MANY_DELIVERIES.with_label_values(&[self.stream]).inc_by(many().count() as u64);
        if let Some(n_suppressed) = self.limits.many_deliveries.allow() {
            let (sequence, n_delivered) = (first.stream_sequence(), first.n_delivered());
            warn!(stream = self.stream, sequence, n_delivered, n_suppressed, "message delivered many times");
        }
    }

    fn paused_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.paused_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
