//! Re-writes messages that the store acknowledged and may have lost since, reading them back from the stream.
//!
//! An InfluxDB may come back from an outage with less than it had acknowledged: version 1.6.7 throws away what was
//! written between two restarts after a full disk or a crash, and any server may have been restored from a backup. The
//! stream still holds these messages, at least those of the last `writer.replay_tail`, since trimming spares them. So when
//! another incarnation of the store's server answers than the last one that was restored to, everything that the stream
//! holds and has delivered is written again, in order, beside the live lane. Writes are idempotent: what was not lost does
//! not change. A server that does not name its incarnation (InfluxDB 2, openGemini) is restored to at the start of a
//! writer and after each outage, also one that another address or a query node hid.
//!
//! The incarnation is kept in the metadata of the consumer once the restore is complete, so that a restart of the writer
//! neither forgets a loss nor restores without need. Of several writers one restores (`restore_claim`). What an operator
//! deleted from the store may come back.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use spindle_bus::{Bus, BusError, ConsumerPosition, StoredMessage};
use spindle_core::Batch;
use spindle_core::backoff::Backoff;
use spindle_store::{Refusal, RefusedItem, Written};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::breaker::random;
use super::decode::Decoder;
use super::restore_claim::RestoreClaim;
use super::store_writer::{StoreWriter, WriteEnd, is_unreachable};
use super::write_order::WriteOrder;
use crate::logging::chain;
use crate::metrics::WRITER_RESTORED;

/// A restart may be over in less than a second, and nothing may be written meanwhile: so the server is asked.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// Limits of one batch.
const MAX_MESSAGES: usize = 2_000;
const MAX_BYTES: usize = 4 << 20;
/// While more messages than this arrived during a pass, the next pass runs beside the live lane, too.
const FEW_MESSAGES: u64 = 5_000;
/// Passes beside a live lane that is faster than they are. Then the lane is held for the last ones.
const MAX_PASSES: usize = 5;
/// Pauses between attempts to read while NATS is unavailable.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const MAX_RETRY: Duration = Duration::from_secs(5);

/// Restores one stream.
pub(super) struct Restorer {
    pub(super) stream: &'static str,
    pub(super) durable: &'static str,
    pub(super) bus: Bus,
    pub(super) decoder: Decoder,
    pub(super) store_writer: Arc<StoreWriter>,
    /// The lane's: a restored batch and a live one that share an identity wait for each other.
    pub(super) order: Arc<Mutex<WriteOrder>>,
    /// The lane's, and their number.
    pub(super) permits: (Arc<Semaphore>, u32),
    /// A restore is running, or nothing is known yet: the stream must not be trimmed.
    pub(super) is_pending: Arc<AtomicBool>,
    pub(super) claim: RestoreClaim,
}

/// An incarnation of the store's server; `None` if the server does not name it.
type Incarnation = Option<String>;

#[derive(Default)]
struct Progress {
    /// Incarnations that a complete restore wrote to. A server never comes back as an earlier one of itself; several
    /// behind one address take turns.
    restored_to: HashSet<Incarnation>,
    /// The newest of them, while it is not kept in the metadata yet.
    unsaved: Incarnation,
    /// There was an outage since.
    had_outage: bool,
    /// Outages behind another server or node of the store, as of the last look.
    n_recoveries: u64,
    /// The newest message delivered before this writer started, until the first restore: what this writer wrote itself
    /// went to the incarnation that answers now, unless there was an outage.
    delivered_before: Option<u64>,
}

impl Restorer {
    /// Restores when it is due, until `stop`. Ends at once for a store that cannot lose what it has acknowledged.
    /// `delivered_before` is the newest message that was delivered before the lane started.
    pub(super) async fn run(self, delivered_before: u64, stop: CancellationToken) {
        if !self.store_writer.store.may_lose_acknowledged_writes() {
            self.is_pending.store(false, Ordering::Relaxed);
            return;
        }
        let mut progress = Progress { delivered_before: Some(delivered_before), ..Progress::default() };
        let mut ticker = interval(ASK_INTERVAL);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.store_writer.recovered.notified() => progress.had_outage = true,
                _ = ticker.tick() => {}
            }
            let restored = tokio::select! {
                () = stop.cancelled() => return,
                restored = self.restore_if_due(&mut progress, &stop) => restored,
            };
            if let Err(error) = restored {
                warn!(stream = self.stream, error = chain(error), "restore interrupted, retrying");
            }
        }
    }

    async fn restore_if_due(&self, progress: &mut Progress, stop: &CancellationToken) -> Result<()> {
        let incarnation = match self.store_writer.store.server_incarnation().await {
            Ok(incarnation) => incarnation,
            Err(error) => {
                progress.had_outage |= is_unreachable(&error);
                self.is_pending.store(false, Ordering::Relaxed);
                return Ok(());
            }
        };
        let n_recoveries = self.store_writer.store.n_recoveries();
        progress.had_outage |= std::mem::replace(&mut progress.n_recoveries, n_recoveries) != n_recoveries;
        if incarnation.is_some() && !progress.restored_to.contains(&incarnation) {
            // This writer's before a restart, or another writer's.
            let done = self.claim.restored_to().await?.map(Some);
            if done == Some(incarnation.clone()) {
                debug!(stream = self.stream, incarnation, "restore is done already");
            }
            progress.restored_to.extend(done);
        }
        let is_known = progress.restored_to.contains(&incarnation);
        // A server that names its incarnation and does not right now is the same one.
        let is_unnamed = incarnation.is_none() && !progress.restored_to.is_empty();
        if is_known && incarnation.is_some() || is_unnamed && !progress.had_outage {
            progress.had_outage = false;
            progress.delivered_before = None;
        } else {
            self.is_pending.store(true, Ordering::Relaxed);
            let first = match &incarnation {
                Some(named) => self.claim.take(named).await?,
                None => Some(0),
            };
            let Some(first) = first else {
                debug!(stream = self.stream, incarnation, "restore is left to another writer");
                return Ok(());
            };
            let last = progress.delivered_before.filter(|_| !progress.had_outage && first == 0);
            progress.had_outage = false;
            if let Err(error) = self.restore(first, last, &incarnation, stop).await {
                progress.had_outage = true;
                return Err(error);
            }
            if self.store_writer.store.server_incarnation().await.ok().as_ref() != Some(&incarnation) {
                progress.had_outage = true;
                bail!("the store restarted meanwhile");
            }
            progress.delivered_before = None;
            progress.unsaved.clone_from(&incarnation);
            progress.restored_to.insert(incarnation);
        }
        self.is_pending.store(false, Ordering::Relaxed);
        if let Some(unsaved) = &progress.unsaved {
            self.claim.set_restored_to(unsaved).await?;
            progress.unsaved = None;
        }
        Ok(())
    }

    /// Writes again, in order, what the stream holds from `first` on and has delivered, up to `last` if it is given.
    async fn restore(
        &self,
        first: u64,
        last: Option<u64>,
        incarnation: &Incarnation,
        stop: &CancellationToken,
    ) -> Result<()> {
        let position = self.position().await?;
        // An empty stream begins with 0.
        let first = first.max(position.first).max(1);
        let (mut next, mut last) = (first, last.unwrap_or(position.delivered));
        if next > last {
            return Ok(());
        }
        warn!(
            stream = self.stream,
            first, last, "store may have lost acknowledged writes; restoring them from the stream"
        );
        for _ in 0..MAX_PASSES {
            self.pass(next..=last, true, incarnation, stop).await?;
            next = last + 1;
            last = self.position().await?.delivered;
            if last < next + FEW_MESSAGES {
                break;
            }
        }
        // Of two values of one identity the later one in the stream must stay: this writer writes nothing beside the last
        // passes; another one may go on meanwhile, so there may be several.
        let _held = if next <= last { Some(self.permits.0.acquire_many(self.permits.1).await?) } else { None };
        for _ in 0..MAX_PASSES {
            last = self.position().await?.delivered;
            if next > last {
                break;
            }
            self.pass(next..=last, false, incarnation, stop).await?;
            next = last + 1;
        }
        info!(stream = self.stream, first, last, "restored");
        Ok(())
    }

    /// The consumer's position, however long NATS does not respond.
    async fn position(&self) -> Result<ConsumerPosition> {
        let mut backoff = Backoff::new(FIRST_RETRY, MAX_RETRY);
        loop {
            match self.bus.consumer_position(self.stream, self.durable).await {
                Err(error) if error.is_transient() => self.wait_after(error, &mut backoff).await,
                position => return Ok(position?),
            }
        }
    }

    async fn wait_after(&self, error: BusError, backoff: &mut Backoff) {
        warn!(stream = self.stream, error = chain(error), "read for the restore failed, retrying");
        sleep(backoff.next(random())).await;
    }

    /// Writes a range again; reads the next batch meanwhile. Ends with an error if the store restarts: what was written
    /// before may be lost again.
    async fn pass(
        &self,
        range: RangeInclusive<u64>,
        beside_lane: bool,
        incarnation: &Incarnation,
        stop: &CancellationToken,
    ) -> Result<()> {
        let last = *range.end();
        let mut asked_at = Instant::now();
        let (mut messages, mut next) = self.read(range).await?;
        while !messages.is_empty() || next <= last {
            let written_before = next;
            let (written, read) = tokio::join!(self.write_paced(&messages, beside_lane, stop), self.read(next..=last));
            written?;
            (messages, next) = read?;
            if asked_at.elapsed() > ASK_INTERVAL {
                let now = self.store_writer.store.server_incarnation().await;
                if now.is_ok_and(|now| now != *incarnation) {
                    bail!("the store restarted meanwhile");
                }
                if let Some(named) = incarnation {
                    self.claim.renew(named, written_before).await?;
                }
                asked_at = Instant::now();
            }
        }
        Ok(())
    }

    /// Reads a batch, however long NATS does not respond.
    async fn read(&self, range: RangeInclusive<u64>) -> Result<(Vec<StoredMessage>, u64)> {
        if range.is_empty() {
            return Ok((Vec::new(), *range.start()));
        }
        let mut backoff = Backoff::new(FIRST_RETRY, MAX_RETRY);
        loop {
            match self.bus.read_range(self.stream, range.clone(), MAX_MESSAGES, MAX_BYTES).await {
                Err(error) if error.is_transient() => self.wait_after(error, &mut backoff).await,
                read => return Ok(read?),
            }
        }
    }

    async fn write_paced(&self, messages: &[StoredMessage], beside_lane: bool, stop: &CancellationToken) -> Result<()> {
        let permit = if beside_lane { Some(self.permits.0.acquire().await?) } else { None };
        let began = Instant::now();
        let n_restored = self.write(messages, stop).await?;
        drop(permit);
        WRITER_RESTORED.with_label_values(&[self.stream]).inc_by(n_restored as u64);
        if beside_lane {
            // At most half of the store's time: the live lane goes first.
            sleep(began.elapsed()).await;
        }
        Ok(())
    }

    /// Returns the number of messages of which something is stored. Rejects are ignored: their dead letters were kept
    /// before the message was acknowledged.
    async fn write(&self, messages: &[StoredMessage], stop: &CancellationToken) -> Result<usize> {
        let mut batch = Batch::default();
        let mut ends = Vec::with_capacity(messages.len());
        for message in messages {
            let _rejects = self.decoder.decode(&message.payload, &mut batch);
            ends.push(batch.len());
            tokio::task::yield_now().await;
        }
        if batch.is_empty() {
            return Ok(0);
        }
        let batch = Arc::new(batch);
        let ticket = self.order.lock().unwrap_or_else(PoisonError::into_inner).join(&batch);
        ticket.wait_turn().await;
        match self.store_writer.write_until_stored(batch, usize::MAX, None, stop).await {
            None => bail!("stopped"),
            Some(WriteEnd::Written(written)) => {
                self.check_refused(&written)?;
                Ok(n_messages_stored(&ends, &written))
            }
            Some(WriteEnd::Panicked(_)) => match messages {
                [_poison] => Ok(0),
                several => {
                    drop(ticket);
                    let (left, right) = several.split_at(several.len() / 2);
                    Ok(Box::pin(self.write(left, stop)).await? + Box::pin(self.write(right, stop)).await?)
                }
            },
        }
    }

    /// Reports what the store takes no longer. Messages that the lane has deferred are among it. Fails if it takes nothing, or
    /// not all because clocks disagree.
    fn check_refused(&self, written: &Written) -> Result<()> {
        let n_taken = written.n_metrics_stored() + written.n_events_stored();
        if let Some(refused) = written.refused_for(Refusal::Unproven).next().filter(|_| n_taken == 0) {
            bail!("the store keeps points out: {}", refused.message);
        }
        if let Some(refused) = written.refused_for(Refusal::ClocksDisagree).next() {
            bail!("the clocks disagree: {}", refused.message);
        }
        for reason in [Refusal::Invalid, Refusal::Limit, Refusal::Unproven] {
            let n_refused = written.refused_for(reason).count();
            if let Some(first) = written.refused_for(reason).next() {
                let (reason, detail) = (reason.as_str(), &first.message);
                warn!(stream = self.stream, n_refused, reason, detail, "points not restored");
            }
        }
        Ok(())
    }
}

/// Counts the messages with an element that was not refused; `ends` are the ends of their elements in the batch.
fn n_messages_stored(ends: &[usize], written: &Written) -> usize {
    let mut n_refused = vec![0; ends.len()];
    for refused in &written.refused {
        let (RefusedItem::Metric(index) | RefusedItem::Event(index)) = refused.item;
        n_refused[ends.partition_point(|end| *end <= index)] += 1;
    }
    let begins = std::iter::once(&0).chain(ends);
    let sizes = begins.zip(ends).map(|(begin, end)| end - begin);
    sizes.zip(n_refused).filter(|(size, n_refused)| size > n_refused).count()
}

#[cfg(test)]
mod tests {
    use spindle_store::Refused;

    use super::*;

    #[test]
    fn a_message_of_which_nothing_is_stored_is_not_counted() {
        let refused = |index| Refused {
            item: RefusedItem::Metric(index),
            reason: Refusal::BeyondRetention,
            message: String::new(),
        };
        let written = |indexes: &[usize]| Written {
            refused: indexes.iter().map(|index| refused(*index)).collect(),
            ..Written::default()
        };
        // Messages of 2, 0, 3 and 1 elements.
        let ends = [2, 2, 5, 6];
        for (indexes, n_stored) in
            [(&[][..], 3), (&[0][..], 3), (&[0, 1][..], 2), (&[2, 3, 4, 5][..], 1), (&[0, 1, 2, 3, 4, 5][..], 0)]
        {
            assert_eq!(n_messages_stored(&ends, &written(indexes)), n_stored, "{indexes:?}");
        }
    }
}
