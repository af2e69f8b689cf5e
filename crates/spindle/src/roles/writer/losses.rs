//! What the store has lost of what it had acknowledged is stored again, from the stream.
//!
//! An InfluxDB may come back from an outage with less than it had said yes to: version 1.6.7 throws away what
//! was written between two restarts after a full disk or a crash, and any server may have been set back to
//! a copy. The stream still holds what was acknowledged, until it needs the room. So after each outage, and at
//! the start, some messages are looked for in the store: the newest that were acknowledged by then, later the newest that
//! were delivered, and ever fewer further back. A place is looked at until that has succeeded.
//!
//! If one is missing that is newer than one that is there, the lane takes nothing more in hand: the loss stays at the
//! end, where the next start finds it if this one is killed. The newest that is missing is stored again alone; if it is
//! missing right afterwards the store refuses or does not keep it, which is no loss, and the next older is tried. If
//! it is there now, everything behind the newest one that was there is stored again, in order and up to the live end, so
//! that of two values of one identity the later stays.
//!
//! What lies before everything that is found is not looked after: retention has removed it, or it never was in
//! this database. What somebody has deleted by hand may come back. A hole between two messages that are looked
//! for is not seen: that is why it is done right after an outage, when a loss is at the end.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use spindle_bus::{BusError, Progress};
use spindle_core::reading::{EventFilter, TimeBasis, Window};
use spindle_core::wire::Batch;
use spindle_core::{DeviceMetric, Event, Timestamp};
use spindle_store::{Store, StoreError};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::lane::{Lane, chain};
use crate::telemetry::WRITER_STORED_AGAIN;

/// Messages read from the stream at once, each with a question of its own.
const READ_AT_ONCE: usize = 16;
/// Messages looked for in the store at once.
const LOOK_AT_ONCE: usize = 4;
/// A batch of messages that are stored again.
const MAX_MESSAGES: usize = 2_000;
const MAX_BYTES: usize = 4 << 20;
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// How often the store's server is asked which run of it this is: a restart must be noticed also while nothing is
/// stored, and when it is over in less than a second.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Above the floor a message may be in the hand of another writer, or be one that ends whoever reads it: it is there,
/// or delivered again, or a dead letter, after this long. So a place is looked at twice: at once up to its
/// floor, where all was acknowledged, and then up to what was delivered.
const SETTLED_AFTER: Duration = Duration::from_secs(40);
/// Places that are kept to be looked at. When there are more, the newest replaces the one before: the oldest is
/// where a loss can begin.
const MAX_PLACES: usize = 8;

/// Whether what a message holds is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Present,
    Missing,
    /// The stream does not hold it any more, or nothing in it could ever be stored.
    Unknown,
}

/// How far the consumer was at the moments at which the store may have lost something.
#[derive(Default)]
pub(super) struct Places {
    to_look_at: Mutex<Vec<Place>>,
    added: Notify,
    /// NATS did not say where, when the store came back.
    is_one_unknown: AtomicBool,
}

/// And since when it is known.
#[derive(Clone, Copy, PartialEq)]
struct Place {
    progress: Progress,
    since: Instant,
}

impl Place {
    fn is_settled(&self) -> bool {
        self.since.elapsed() >= SETTLED_AFTER
    }

    /// The newest message to look for.
    fn until(&self) -> u64 {
        if self.is_settled() { self.progress.delivered } else { self.progress.acknowledged }
    }
}

impl Places {
    fn add(&self, progress: Progress) {
        let mut places = self.lock();
        places.truncate(MAX_PLACES - 1);
        places.push(Place { progress, since: Instant::now() });
        self.added.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Place>> {
        self.to_look_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that were there when `looked_at` were taken; what was added meanwhile stays.
    fn done(&self, looked_at: &[Place]) {
        self.lock().retain(|place| !looked_at.contains(place));
    }
}

/// What is known of the store between two looks.
#[derive(Default)]
struct Known {
    /// Which run of its server answers; `None` if it does not answer.
    run: Option<Run>,
    /// How far the consumer was when that run was last seen: what a later run has lost lies behind this.
    progress: Option<Progress>,
    /// Places whose acknowledged messages are all there.
    seen: Vec<Place>,
    /// What is missing right after it was stored again: the store does not keep it.
    given_up: HashSet<u64>,
    /// Messages that have ended a writer: not to be touched again.
    undeliverable: HashSet<u64>,
}

/// A run of the store's server, by what the server says of it.
type Run = Option<String>;

/// Told to stop before it was done.
struct Stopped;

/// How a look ended.
enum Looked {
    NothingLost,
    /// All up to the live end is stored again.
    Mended,
}

impl Lane {
    /// Remembers how far the consumer was when the store came back, before anything more is acknowledged.
    pub(super) async fn note_return(&self) {
        if !self.store.may_come_back_with_less() {
            return;
        }
        match self.bus.progress(self.stream, self.durable).await {
            Ok(progress) => self.places.add(progress),
            Err(fault) => {
                self.places.is_one_unknown.store(true, Ordering::Relaxed);
                warn!(
                    stream = self.stream,
                    error = chain(fault),
                    "whether the store has lost anything is looked at later"
                );
            }
        }
    }

    /// Looks for losses at the start and after each return of the store, until told to stop.
    pub(super) async fn look_after_losses(self: Arc<Self>, stop: CancellationToken) {
        if !self.store.may_come_back_with_less() {
            return;
        }
        let mut known = Known::default();
        let mut ticker = interval(ASK_EVERY);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.places.added.notified() => {}
                _ = ticker.tick() => self.note_another_run(&mut known).await,
            }
            let places = self.places.lock().clone();
            let settled: Vec<_> = places.iter().filter(|place| place.is_settled()).copied().collect();
            if settled.is_empty() && places.iter().all(|place| known.seen.contains(place)) {
                continue;
            }
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look(&places, &mut known, &stop) => looked,
            };
            match looked {
                Ok(Ok(Looked::NothingLost)) => {
                    self.places.done(&settled);
                    known.seen = places;
                }
                Ok(Ok(Looked::Mended)) => self.places.done(&places),
                Ok(Err(Stopped)) => return,
                Err(fault) => {
                    warn!(
                        stream = self.stream,
                        error = chain(fault),
                        "looking for losses of the store broke off, trying again"
                    );
                }
            }
        }
    }

    /// Adds a place if another run of the store's server answers than before.
    async fn note_another_run(&self, known: &mut Known) {
        let Ok(run) = self.store.incarnation().await else {
            // Whatever answers next is another run.
            known.run = None;
            return;
        };
        let Ok(progress) = self.bus.progress(self.stream, self.durable).await else { return };
        if self.places.is_one_unknown.swap(false, Ordering::Relaxed) {
            known.run = None;
        }
        if known.run.as_ref() != Some(&run) {
            // What was acknowledged since a restart that nobody noticed at once hides the end of what was lost in it.
            if let Some(before) = known.progress {
                self.places.add(before);
            }
            self.places.add(progress);
            known.run = Some(run);
        }
        known.progress = Some(progress);
    }

    async fn look(
        &self,
        places: &[Place],
        known: &mut Known,
        stop: &CancellationToken,
    ) -> Result<Result<Looked, Stopped>> {
        // Before anything is read: some of it may have ended a writer.
        known.undeliverable = self.bus.undeliverable(self.stream).await?;
        let probes = self.probe(places, known).await?;
        if first_lost(&probes).is_none() {
            return Ok(Ok(Looked::NothingLost));
        }
        let floor = places.iter().map(|place| place.progress.acknowledged).max().unwrap_or_default();
        // What was only on its way is there afterwards. From here on nothing new is acknowledged.
        let n_in_hand = u32::try_from(self.n_in_hand).unwrap_or(u32::MAX);
        let Ok(_held) = self.room.acquire_many(n_in_hand).await else { return Ok(Err(Stopped)) };
        let probes = self.probe(places, known).await?;
        let Some(oldest) = first_lost(&probes) else { return Ok(Ok(Looked::NothingLost)) };
        let missing = |(sequence, found): &&(u64, Found)| *found == Found::Missing && *sequence >= oldest;
        for (sequence, _) in probes.iter().filter(missing) {
            if self.store_one(*sequence, known, stop).await?.is_err() {
                return Ok(Err(Stopped));
            }
            if self.find(*sequence, known).await? != Found::Missing {
                let probes: Vec<_> = probes.into_iter().filter(|probe| !known.given_up.contains(&probe.0)).collect();
                let first = first_lost(&probes).unwrap_or(oldest);
                if first <= floor {
                    error!(
                        stream = self.stream,
                        first,
                        "the store has lost what it had acknowledged: storing these messages again from the stream"
                    );
                } else {
                    warn!(
                        stream = self.stream,
                        first,
                        "the store does not hold what was delivered, or not any more: storing these messages again from the stream"
                    );
                }
                // What ends whoever reads it is a dead letter before its place is settled.
                let end: fn(&Progress) -> u64 = match places.iter().any(Place::is_settled) {
                    true => |progress| progress.delivered,
                    false => |progress| progress.acknowledged,
                };
                let stored = self.store_from(first, end, known, stop).await?;
                return Ok(stored.map(|()| Looked::Mended));
            }
            info!(
                stream = self.stream,
                sequence,
                "the store does not keep what a message holds: refused, see the dead letters, or removed at once"
            );
            known.given_up.insert(*sequence);
        }
        Ok(Ok(Looked::NothingLost))
    }

    /// Up to the live end: another writer may go on meanwhile, and what is newer must be written after what is older.
    async fn store_from(
        &self,
        first: u64,
        end: fn(&Progress) -> u64,
        known: &Known,
        stop: &CancellationToken,
    ) -> Result<Result<(), Stopped>> {
        let mut next = first;
        loop {
            let last = end(&self.bus.progress(self.stream, self.durable).await?);
            if next > last {
                break;
            }
            if self.store_again(next, last, known, stop).await.is_err() {
                return Ok(Err(Stopped));
            }
            next = last + 1;
        }
        info!(stream = self.stream, n_messages = next - first, "stored again what the store did not hold");
        Ok(Ok(()))
    }

    /// Without labels: they are written with the time of now, and this message is an old one.
    async fn store_one(&self, sequence: u64, known: &Known, stop: &CancellationToken) -> Result<Result<(), Stopped>> {
        let (mut batch, _) = self.read_again(sequence, sequence, known).await?;
        batch.metrics.iter_mut().for_each(|metric| metric.labels = None);
        batch.events.iter_mut().for_each(|event| event.labels = None);
        if !batch.is_empty() && self.store_until_stored(Arc::new(batch), &[], stop).await.is_none() {
            return Ok(Err(Stopped));
        }
        Ok(Ok(()))
    }

    async fn store_again(&self, first: u64, last: u64, known: &Known, stop: &CancellationToken) -> Result<(), Stopped> {
        let mut next = first;
        while next <= last {
            match self.read_again(next, last, known).await {
                Ok((batch, behind)) => {
                    if !batch.is_empty() && self.store_until_stored(Arc::new(batch), &[], stop).await.is_none() {
                        return Err(Stopped);
                    }
                    WRITER_STORED_AGAIN.with_label_values(&[self.stream]).inc_by(behind - next);
                    next = behind;
                }
                Err(fault) => {
                    warn!(stream = self.stream, error = chain(fault), "messages could not be read again, trying again");
                    sleep(RETRY_EVERY).await;
                }
            }
        }
        Ok(())
    }

    /// Looks for what messages hold, newest first.
    async fn probe(&self, places: &[Place], known: &Known) -> Result<Vec<(u64, Found)>> {
        let sequences_to =
            |last: fn(&Place) -> u64| places.iter().flat_map(move |place| sequences(place.progress.first, last(place)));
        // What is just below the floor is there, most likely: what is lost above it is then told from what never was there.
        let mut wanted: Vec<u64> =
            sequences_to(Place::until).chain(sequences_to(|place| place.progress.acknowledged)).collect();
        wanted.retain(|sequence| !known.given_up.contains(sequence));
        wanted.sort_unstable_by(|one, other| other.cmp(one));
        wanted.dedup();
        let look = |sequence| async move { Ok::<_, anyhow::Error>((sequence, self.find(sequence, known).await?)) };
        stream::iter(wanted).map(look).buffered(LOOK_AT_ONCE).try_collect().await
    }

    async fn find(&self, sequence: u64, known: &Known) -> Result<Found> {
        if known.undeliverable.contains(&sequence) {
            return Ok(Found::Unknown);
        }
        let Some(payload) = self.bus.payload(self.stream, sequence).await? else { return Ok(Found::Unknown) };
        let mut batch = Batch::default();
        let _bad_ones_are_letters = self.decode(&payload, &mut batch);
        let Batch { metrics, events } = &batch;
        let mut found = Found::Unknown;
        for metric in metrics.first().into_iter().chain(metrics.last()) {
            found = if has_metric(&self.store, metric).await? { Found::Present } else { return Ok(Found::Missing) };
        }
        for event in events.first().into_iter().chain(events.last()) {
            found = if has_event(&self.store, event).await? { Found::Present } else { return Ok(Found::Missing) };
        }
        Ok(found)
    }

    /// Messages from `first` on, up to `last` at most, and the sequence behind them. What is bad in them has its
    /// dead letter already.
    async fn read_again(&self, first: u64, last: u64, known: &Known) -> Result<(Batch, u64), BusError> {
        let (mut batch, mut next, mut n_bytes) = (Batch::default(), first, 0);
        let read = |sequence| self.bus.payload(self.stream, sequence);
        let mut payloads = std::pin::pin!(stream::iter(first..=last).map(read).buffered(READ_AT_ONCE));
        while let Some(payload) = payloads.next().await {
            next += 1;
            if let Some(payload) = payload?.filter(|_| !known.undeliverable.contains(&(next - 1))) {
                n_bytes += payload.len();
                let _bad_ones_are_letters = self.decode(&payload, &mut batch);
            }
            if n_bytes >= MAX_BYTES || next - first >= MAX_MESSAGES as u64 {
                break;
            }
        }
        Ok((batch, next))
    }
}

/// The sequences to look at, newest first: the last few, then every step half as far again, and the first of all,
/// so that a loss of nearly everything is told from a database that never had any of it.
fn sequences(first: u64, last: u64) -> impl Iterator<Item = u64> {
    let (first, mut back) = (first.max(1), 0_u64);
    let steps = std::iter::from_fn(move || {
        let sequence = last.checked_sub(back)?;
        back = back.saturating_add((back / 2).max(1));
        Some(sequence).filter(|sequence| *sequence > first)
    });
    steps.chain((first <= last).then_some(first))
}

/// From where on everything must be stored again; `probes` are newest first.
fn first_lost(probes: &[(u64, Found)]) -> Option<u64> {
    let mut last_present = None;
    for (sequence, found) in probes.iter().rev() {
        match (found, last_present) {
            (Found::Present, _) => last_present = Some(*sequence),
            (Found::Missing, Some(present)) => return Some(present + 1),
            (Found::Missing, None) | (Found::Unknown, _) => {}
        }
    }
    None
}

fn instant(time: Timestamp) -> Window {
    Window { from: time, until: time.plus(Duration::from_nanos(1)) }
}

async fn has_metric(store: &Store, metric: &DeviceMetric) -> Result<bool, StoreError> {
    let found = store.range(&metric.source_device, &metric.metric_type, instant(metric.timestamp), 1).await?;
    Ok(!found.is_empty())
}

async fn has_event(store: &Store, event: &Event) -> Result<bool, StoreError> {
    let filter = EventFilter {
        window: instant(event.timestamp),
        basis: TimeBasis::Happened,
        source_device: Some(event.source_device.clone()),
        event_type: Some(event.event_type.clone()),
        min_criticality: event.criticality,
        limit: usize::MAX,
        offset: 0,
    };
    Ok(store.events(filter).await?.iter().any(|record| record.event.id == event.id))
}

#[cfg(test)]
mod tests {
    use super::Found::{Missing as M, Present as P, Unknown as U};
    use super::*;

    #[test]
    fn what_is_missing_behind_what_is_there_is_lost() {
        let check = |found: &[Found], expect: Option<u64>| {
            // Sequences 100, 99, …
            let probes: Vec<_> = (0..).zip(found).map(|(back, found)| (100 - back, *found)).collect();
            assert_eq!(first_lost(&probes), expect, "{found:?}");
        };
        check(&[], None);
        check(&[P, P, P], None);
        check(&[M, P, P], Some(100));
        check(&[M, M, M, P, P], Some(98));
        check(&[P, M, P, P], Some(99));
        check(&[M, U, P], Some(99));
        // Removed by retention, or another database: that is no loss.
        check(&[P, P, M, M], None);
        check(&[M, M, M], None);
        check(&[M, P, M], Some(100));
    }

    #[test]
    fn the_newest_are_looked_at_one_by_one_and_older_ones_ever_less() {
        let looked_at = |first, acknowledged| sequences(first, acknowledged).collect::<Vec<_>>();
        assert_eq!(looked_at(1, 30), [30, 29, 28, 27, 26, 24, 21, 17, 11, 2, 1]);
        assert_eq!(looked_at(1, 0), [0; 0]);
        assert_eq!(looked_at(5, 4), [0; 0]);
        assert_eq!(looked_at(5, 6), [6, 5]);
        assert!(looked_at(1, u64::MAX).len() < 150);
    }
}
