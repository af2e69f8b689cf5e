//! Writing a batch: values, labels, and events that never overwrite each other.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{MutexGuard, PoisonError};

use spindle_core::schema::EVENTS;
use spindle_core::{Batch, DeviceMetric, Event, Timestamp};

use super::Inner;
use super::answer;
use super::line::{self, Place};
use super::read::{MAX_TIME, MIN_TIME};
use super::send::{Chunk, room};
use super::slots::Slots;
use crate::{Refused, RefusedItem, StoreError, Written};

/// Where an event may lie behind its time, if its sender's clock knows seconds only, and if it knows more. A burst that
/// bears one reading of a clock, down to the nanosecond, needs the room just the same: in a millisecond, 100,000
/// events of one device and type take a handful of slots, where each would need one of its own at one instant.
const WHOLE_SECOND_NS: i64 = 1_000_000_000;
const LEAST_ROOM_NS: i64 = 1_000_000;
/// Events further apart than this are looked up apart.
const CLUSTER_NS: i64 = 60_000_000_000;
/// How long a label is taken for written: retention must not take it away from a device that lives.
const LABEL_FRESH_NS: i64 = 6 * 3_600 * 1_000_000_000;
const MAX_LABELS_REMEMBERED: usize = 500_000;
const MAX_ROUNDS: usize = 6;
/// Labels and events in one request: they are longer than values, and fewer.
const FEW_LINES: usize = 5_000;

/// Labels written, by device and key, with the time of the write in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct LabelsWritten(HashMap<(String, String), (String, i64)>);

/// An event that lies at some place.
struct There {
    identity: u128,
    received: Timestamp,
}

impl LabelsWritten {
    fn retain_unknown(&mut self, labels: &mut HashMap<(&str, &str), &str>, now: Timestamp) {
        if self.0.len() > MAX_LABELS_REMEMBERED {
            self.0.clear();
        }
        labels.retain(|(device, key), value| {
            let known = self.0.get(&(device.to_string(), key.to_string()));
            known.is_none_or(|(stored, at)| stored != value || now.as_ns().saturating_sub(*at) >= LABEL_FRESH_NS)
        });
    }

    fn note(&mut self, labels: HashMap<(&str, &str), &str>, now: Timestamp) {
        for ((device, key), value) in labels {
            self.0.insert((device.to_owned(), key.to_owned()), (value.to_owned(), now.as_ns()));
        }
    }
}

impl Inner {
    /// Stores a batch; `max_lines` in one request.
    pub(super) async fn write(
        &self,
        batch: &Batch,
        received: Timestamp,
        max_lines: usize,
    ) -> Result<Written, StoreError> {
        for metric in &batch.metrics {
            if !metric.value.is_finite() {
                let problem =
                    format!("{} of {} is {}, no finite number", metric.metric_type, metric.source_device, metric.value);
                return Err(StoreError::Rejected { problem });
            }
        }
        let mut written = Written::default();
        if batch.is_empty() {
            return Ok(written);
        }
        let mut refused = Vec::new();
        let chunks = metric_chunks(&batch.metrics, max_lines, &mut refused);
        let n_metrics: usize = chunks.iter().map(|chunk| chunk.items.len()).sum();
        let sent = self.send_all(chunks, &self.value_slots).await?;
        written.n_metrics = n_metrics - sent.refused.len();
        refused.extend(sent.refused);
        let slots = if batch.metrics.is_empty() { &self.event_slots } else { &self.value_slots };
        self.write_labels(batch, received, slots).await?;
        let (n_events, refused_events) = self.write_events(&batch.events, received).await?;
        written.n_events = n_events;
        refused.extend(refused_events);
        written.refused = refused.into_iter().map(|(item, words)| Refused { item, words }).collect();
        Ok(written)
    }

    /// Writes the labels that are not known to be there. The newest value of a key is the one written last.
    async fn write_labels(&self, batch: &Batch, received: Timestamp, slots: &Slots) -> Result<(), StoreError> {
        let of_metrics =
            batch.metrics.iter().filter_map(|metric| Some((&metric.source_device, metric.labels.as_ref()?)));
        let of_events = batch.events.iter().filter_map(|event| Some((&event.source_device, event.labels.as_ref()?)));
        let mut newest: HashMap<(&str, &str), &str> = HashMap::new();
        for (device, labels) in of_metrics.chain(of_events) {
            newest.extend(labels.iter().map(|(key, value)| ((device.as_str(), key.as_str()), value.as_str())));
        }
        if newest.is_empty() {
            return Ok(());
        }
        self.labels().retain_unknown(&mut newest, received);
        let mut chunks = Vec::new();
        for ((device, key), value) in &newest {
            let chunk = room(&mut chunks, FEW_LINES);
            line::label(device, key, value, received, &mut chunk.lines);
            chunk.belongs_to(RefusedItem::Metric(usize::MAX), (device, key, value));
        }
        // Other batches must not wait for these: one that writes the same labels meanwhile does no harm.
        self.send_own(chunks, slots).await?;
        self.labels().note(newest, received);
        Ok(())
    }

    fn labels(&self) -> MutexGuard<'_, LabelsWritten> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores events so that none overwrites another and none is there twice. This is the one place that says how.
    ///
    /// InfluxDB overwrites a point of equal tags and time. An event lies a little after its time, how much is made
    /// from its id (so the place is the same whoever writes it): up to a second after a whole second, up to a
    /// millisecond after any other time. The field `timestamp_ns` keeps the exact time. What lies there already is
    /// read first: the same event is written once more as it is, another one moves this one to the next `slot`.
    /// Afterwards the place is read again, and who was written over by another writer writes once more.
    ///
    /// InfluxDB cannot write on a condition, so one case stays: of two writers, one looks before the other's write and
    /// writes after the other's second look, and their events have one device, type, time and place (one in a
    /// million of those of one nanosecond). Then the earlier is gone.
    ///
    /// That it can be read does not mean that it is on disk: a write that InfluxDB 1 answers with 500, because its
    /// disk is full, can be read until it is restarted. Only a yes to a write of this event counts.
    async fn write_events(
        &self,
        events: &[Event],
        received: Timestamp,
    ) -> Result<(usize, Vec<(RefusedItem, String)>), StoreError> {
        let mut refused = Vec::new();
        let mut pending: Vec<usize> = Vec::with_capacity(events.len());
        for (number, event) in events.iter().enumerate() {
            if (MIN_TIME..=MAX_TIME).contains(&event.timestamp.as_ns()) {
                pending.push(number);
            } else {
                refused.push((RefusedItem::Event(number), OUT_OF_TIME.to_owned()));
            }
        }
        let mut n_stored = 0;
        for _ in 0..MAX_ROUNDS {
            if pending.is_empty() {
                return Ok((n_stored, refused));
            }
            let mut taken = self.places(events, &pending).await?;
            let mut chunks = vec![Chunk::default()];
            // And where.
            let mut placed: Vec<(usize, u64)> = Vec::new();
            for number in pending {
                let event = &events[number];
                let mut place = natural_place(event);
                let identity = identity(event);
                // When it came first, if it is there.
                let came = loop {
                    match taken.get(&key(event, place)) {
                        None => break None,
                        Some(there) if there.identity == identity => break Some(there.received),
                        Some(_) => place.slot += 1,
                    }
                };
                let chunk = room(&mut chunks, FEW_LINES);
                line::event(event, came.unwrap_or(received), place, &mut chunk.lines);
                chunk.belongs_to(RefusedItem::Event(number), identity);
                if came.is_none() {
                    taken.insert(key(event, place), There { identity, received });
                    placed.push((number, key(event, place)));
                }
            }
            let sent = self.send_all(chunks, &self.event_slots).await?;
            let n_refused_new = sent
                .refused
                .iter()
                .filter(|(item, _)| placed.iter().any(|(number, _)| *item == RefusedItem::Event(*number)))
                .count();
            n_stored += placed.len() - n_refused_new;
            let is_refused = |number: &usize| sent.refused.iter().any(|(item, _)| *item == RefusedItem::Event(*number));
            placed.retain(|(number, _)| !is_refused(number));
            refused.extend(sent.refused);
            if placed.is_empty() {
                return Ok((n_stored, refused));
            }
            // Another writer may have taken the same place after we saw it free, and written over us: then once more.
            let numbers: Vec<usize> = placed.iter().map(|(number, _)| *number).collect();
            let seen = self.places(events, &numbers).await?;
            // Nothing there at all: hidden by the server's retention.
            let is_overwritten = |(number, place): &(usize, u64)| {
                seen.get(place).is_some_and(|there| there.identity != identity(&events[*number]))
            };
            placed.retain(is_overwritten);
            n_stored -= placed.len();
            pending = placed.into_iter().map(|(number, _)| number).collect();
        }
        Err(self
            .client
            .away(format!("{} events were overwritten by another writer again and again", pending.len()), None))
    }

    /// What lies where these events could lie.
    async fn places(&self, events: &[Event], numbers: &[usize]) -> Result<HashMap<u64, There>, StoreError> {
        let mut times: Vec<i64> = numbers.iter().map(|number| natural_place(&events[*number]).time).collect();
        times.sort_unstable();
        let mut taken = HashMap::new();
        let mut rest = &times[..];
        while let Some(first) = rest.first() {
            let length = rest
                .windows(2)
                .position(|pair| pair[1].saturating_sub(pair[0]) > CLUSTER_NS)
                .map_or(rest.len(), |at| at + 1);
            let last = rest[length - 1];
            rest = &rest[length..];
            let query = |from: i64, until: i64| {
                format!(
                    "SELECT event_id, timestamp_ns, received_ns FROM {} WHERE time >= {from} AND time <= {until} GROUP BY source_device, event_type, slot",
                    EVENTS.name
                )
            };
            self.select(*first, last, query, |series| {
                let (device, event_type) =
                    (line::decode(series.tag("source_device")), line::decode(series.tag("event_type")));
                let slot: u32 = series.tag("slot").parse().unwrap_or(0);
                for row in &series.values {
                    let Some(there) = answer::occupant(row) else { continue };
                    let place = hash(&(&*device, &*event_type, there.time, slot));
                    let identity = identity_of(there.id, there.happened);
                    taken.insert(place, There { identity, received: there.received });
                }
            })
            .await?;
        }
        Ok(taken)
    }
}

const OUT_OF_TIME: &str = "time outside the range that InfluxDB stores";

pub(super) fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn key(event: &Event, place: Place) -> u64 {
    hash(&(event.source_device.as_str(), event.event_type.as_str(), place.time, place.slot))
}

fn identity(event: &Event) -> u128 {
    identity_of(event.id, event.timestamp.as_ns())
}

pub(super) fn identity_of(id: uuid::Uuid, happened: i64) -> u128 {
    id.as_u128() ^ (u128::from(happened.cast_unsigned()) << 1)
}

/// The same for the same event, whoever computes it and whenever: it must never change between versions.
fn natural_place(event: &Event) -> Place {
    let happened = event.timestamp.as_ns();
    let room = if happened.rem_euclid(WHOLE_SECOND_NS) == 0 { WHOLE_SECOND_NS } else { LEAST_ROOM_NS };
    let id = event.id.as_u128();
    let mixed = ((id >> 64) as u64 ^ id as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let offset = ((u128::from(mixed) * u128::from(room.cast_unsigned())) >> 64) as i64;
    Place { time: happened.saturating_add(offset).min(MAX_TIME), slot: 0 }
}

/// Of values of one identity only the last is sent: which of two would win is open when chunks overtake each other.
fn metric_chunks(metrics: &[DeviceMetric], max_lines: usize, refused: &mut Vec<(RefusedItem, String)>) -> Vec<Chunk> {
    let identity = |metric: &DeviceMetric| {
        hash(&(metric.source_device.as_str(), metric.metric_type.as_str(), metric.timestamp.as_ns()))
    };
    let last: HashMap<u64, usize> =
        metrics.iter().enumerate().map(|(number, metric)| (identity(metric), number)).collect();
    let mut chunks = Vec::new();
    for (number, metric) in metrics.iter().enumerate() {
        if !(MIN_TIME..=MAX_TIME).contains(&metric.timestamp.as_ns()) {
            refused.push((RefusedItem::Metric(number), OUT_OF_TIME.to_owned()));
        } else if last[&identity(metric)] == number {
            let chunk = room(&mut chunks, max_lines);
            line::metric(metric, &mut chunk.lines);
            chunk.belongs_to(RefusedItem::Metric(number), identity(metric));
        }
    }
    chunks
}
