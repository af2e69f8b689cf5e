//! Writing: lines in chunks, several on their way, and what to do with what the server refuses.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering;

use futures::{StreamExt, stream};
use spindle_core::schema::EVENTS;
use spindle_core::{Batch, DeviceMetric, Event, Timestamp};
use tracing::warn;

use super::answer;
use super::line::{self, Place};
use super::read::{MAX_TIME, MIN_TIME};
use super::verdict::Verdict;
use super::{Inner, MAX_IN_FLIGHT};
use crate::{Refused, RefusedItem, StoreError, Written};

/// Well below InfluxDB 3's limit of 10 MiB, and small enough that a batch fills several requests.
const MAX_CHUNK_BYTES: usize = 4 << 20;
const MAX_CHUNK_LINES: usize = 5_000;
/// So many answers 500 and broken connections in a row make us look for one point that the server chokes on.
const POISON_AFTER: u32 = 5;
/// How often a suspected point is tried again by itself.
const POISON_PROBES: usize = 2;
/// Events further apart than this are looked up apart.
const CLUSTER_NS: i64 = 60_000_000_000;
/// How long a label is taken for written: retention must not take it away from a device that lives.
const LABEL_FRESH_NS: i64 = 6 * 3_600 * 1_000_000_000;
const MAX_LABELS_REMEMBERED: usize = 500_000;
const MAX_ROUNDS: usize = 6;

/// Lines that travel together, and which items of the batch they are.
#[derive(Default)]
struct Chunk {
    lines: String,
    items: Vec<RefusedItem>,
}

/// What became of a chunk.
#[derive(Default)]
struct Sent {
    refused: Vec<(RefusedItem, String)>,
    is_beyond_retention: bool,
}

impl Inner {
    pub(super) async fn write(&self, batch: &Batch, received: Timestamp) -> Result<Written, StoreError> {
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
        let chunks = metric_chunks(&batch.metrics, &mut refused);
        let n_metrics: usize = chunks.iter().map(|chunk| chunk.items.len()).sum();
        let sent = self.send_all(chunks).await?;
        written.n_metrics = n_metrics - sent.refused.len();
        refused.extend(sent.refused);
        self.write_labels(batch, received).await?;
        let (n_events, refused_events) = self.write_events(&batch.events, received).await?;
        written.n_events = n_events;
        refused.extend(refused_events);
        written.refused = refused.into_iter().map(|(item, words)| Refused { item, words }).collect();
        Ok(written)
    }

    async fn send_all(&self, chunks: Vec<Chunk>) -> Result<Sent, StoreError> {
        let in_flight = self.in_flight.load(Ordering::Relaxed).clamp(1, MAX_IN_FLIGHT);
        let mut outcomes = stream::iter(chunks.into_iter().map(|chunk| self.send(chunk))).buffer_unordered(in_flight);
        let (mut all, mut fault) = (Sent::default(), None);
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(sent) => {
                    all.refused.extend(sent.refused);
                    all.is_beyond_retention |= sent.is_beyond_retention;
                }
                Err(error) => fault = Some(error),
            }
        }
        drop(outcomes);
        match fault {
            // Fewer at once while the server struggles, slowly more while it does not.
            Some(fault) => {
                self.in_flight.store((in_flight / 2).max(1), Ordering::Relaxed);
                Err(fault)
            }
            None => {
                self.in_flight.store((in_flight + 1).min(MAX_IN_FLIGHT), Ordering::Relaxed);
                Ok(all)
            }
        }
    }

    /// Sends a chunk until everything in it is stored or refused by itself.
    async fn send(&self, chunk: Chunk) -> Result<Sent, StoreError> {
        let lines: Vec<&str> = chunk.lines.lines().collect();
        let mut sent = Sent::default();
        let mut suspects = Vec::new();
        let mut n_stored = 0;
        let mut is_prepared_again = false;
        let mut work = vec![(0..lines.len()).collect::<Vec<usize>>()];
        while let Some(numbers) = work.pop() {
            if numbers.is_empty() {
                continue;
            }
            let part: Vec<&str> = numbers.iter().map(|number| lines[*number]).collect();
            let mut verdict = self.send_lines(&part, true).await?;
            if let Verdict::OnceMore { .. } = verdict {
                verdict = match self.send_lines(&part, false).await? {
                    Verdict::OnceMore { words } => Verdict::Bisect { words },
                    other => other,
                };
            }
            match verdict {
                Verdict::Stored => n_stored += numbers.len(),
                Verdict::StoredWithinRetention { words } => {
                    warn!(words, "InfluxDB did not keep values older than its retention");
                    sent.is_beyond_retention = true;
                    n_stored += numbers.len();
                }
                Verdict::StoredExcept { lines: named, words } if !named.is_empty() => {
                    warn!(words, n_refused = named.len(), "InfluxDB refuses part of a batch");
                    for (number, words) in &named {
                        sent.refused.push((chunk.items[numbers[*number]], words.clone()));
                    }
                    // The answer may hide other faults: the rest goes again, which changes nothing.
                    let is_named = |at: &usize| named.iter().any(|(number, _)| number == at);
                    work.push((0..numbers.len()).filter(|at| !is_named(at)).map(|at| numbers[at]).collect());
                }
                Verdict::StoredExcept { words, .. }
                | Verdict::Bisect { words }
                | Verdict::Split { words }
                | Verdict::OnceMore { words } => {
                    if let [only] = numbers[..] {
                        sent.refused.push((chunk.items[only], words));
                    } else {
                        halve(&numbers, &mut work);
                    }
                }
                Verdict::Later { words, after, may_be_a_line } => {
                    let n_faults = self.n_faults.fetch_add(1, Ordering::Relaxed) + 1;
                    if n_faults < POISON_AFTER || !may_be_a_line {
                        return Err(self.client.away(words, after));
                    }
                    // One point may be what it chokes on: it is, if others go in.
                    match numbers[..] {
                        [only] => suspects.push((only, words)),
                        _ => halve(&numbers, &mut work),
                    }
                    if suspects.len() > 8 && n_stored == 0 {
                        break;
                    }
                }
                Verdict::Missing { words } => {
                    if is_prepared_again {
                        return Err(self.client.operator(&words));
                    }
                    is_prepared_again = true;
                    self.forget_prepared().await;
                    self.ready().await?;
                    work.push(numbers);
                }
                Verdict::Operator { words } => return Err(self.client.operator(&words)),
            }
        }
        if let Some((_, words)) = suspects.first().filter(|_| n_stored == 0) {
            return Err(self.client.away(words.clone(), None));
        }
        for (number, words) in suspects {
            if self.is_poison(lines[number]).await? {
                sent.refused.push((chunk.items[number], words));
            }
        }
        self.n_faults.store(0, Ordering::Relaxed);
        Ok(sent)
    }

    /// Others went in: whether this line still does not. Nothing is condemned for a fault that passes.
    async fn is_poison(&self, line: &str) -> Result<bool, StoreError> {
        for _ in 0..POISON_PROBES {
            match self.send_lines(&[line], true).await? {
                Verdict::Stored | Verdict::StoredWithinRetention { .. } => return Ok(false),
                Verdict::Later { may_be_a_line: true, .. } => {}
                other => return Err(self.client.away(format!("another answer to the same line: {other:?}"), None)),
            }
        }
        Ok(true)
    }

    async fn send_lines(&self, lines: &[&str], is_compressed: bool) -> Result<Verdict, StoreError> {
        let version = self.ready().await?;
        let body = lines.join("\n");
        let answer = self.client.write(version, &body, is_compressed).await?;
        Ok(answer.verdict(lines))
    }

    /// Lines that belong to no item of a batch.
    pub(super) async fn send_own(&self, lines: String) -> Result<(), StoreError> {
        let items = lines.lines().map(|_| RefusedItem::Metric(usize::MAX)).collect();
        let sent = self.send(Chunk { lines, items }).await?;
        match sent.refused.first() {
            Some((_, words)) => Err(self.client.failed(words.clone())),
            None => Ok(()),
        }
    }

    async fn write_labels(&self, batch: &Batch, received: Timestamp) -> Result<(), StoreError> {
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
        let mut lines = String::new();
        let mut known = self.labels.lock().await;
        if known.len() > MAX_LABELS_REMEMBERED {
            known.clear();
        }
        newest.retain(|(device, key), value| {
            let is_known =
                known.get(&(device.to_string(), key.to_string())).is_some_and(|(stored, at): &(String, i64)| {
                    stored == value && received.as_ns().saturating_sub(*at) < LABEL_FRESH_NS
                });
            !is_known
        });
        for ((device, key), value) in &newest {
            line::label(device, key, value, received, &mut lines);
        }
        if lines.is_empty() {
            return Ok(());
        }
        self.send_own(lines).await?;
        for ((device, key), value) in newest {
            known.insert((device.to_owned(), key.to_owned()), (value.to_owned(), received.as_ns()));
        }
        Ok(())
    }

    /// Stores events so that none overwrites another and none is there twice. This is the one place that says how.
    ///
    /// InfluxDB overwrites a point of equal tags and time. An event lies at its time, the digits that its
    /// sender's clock left zero filled in from its id (so the place is the same whoever writes it, and
    /// events of one second spread over a billion places); the field `timestamp_ns` keeps the exact time. What
    /// lies there already is read first: the same event is done, another one moves this one to the next
    /// `slot`. Afterwards it is read again, until each event is seen.
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
            let mut placed = Vec::new();
            for number in pending {
                let event = &events[number];
                let mut place = natural_place(event);
                let identity = identity(event);
                let is_there = loop {
                    match taken.get(&key(event, place)) {
                        None => break false,
                        Some(there) if *there == identity => break true,
                        Some(_) => place.slot += 1,
                    }
                };
                if !is_there {
                    taken.insert(key(event, place), identity);
                    let chunk = room(&mut chunks);
                    line::event(event, received, place, &mut chunk.lines);
                    chunk.items.push(RefusedItem::Event(number));
                    placed.push(number);
                }
            }
            let sent = self.send_all(chunks).await?;
            n_stored += placed.len() - sent.refused.len();
            let is_refused = |number: &usize| sent.refused.iter().any(|(item, _)| *item == RefusedItem::Event(*number));
            placed.retain(|number| !is_refused(number));
            refused.extend(sent.refused);
            if placed.is_empty() || sent.is_beyond_retention {
                return Ok((n_stored, refused));
            }
            // Seen, or overtaken by another writer at that place: then once more.
            let seen = self.places(events, &placed).await?;
            let is_seen = |number: &usize| {
                let (event, mut place) = (&events[*number], natural_place(&events[*number]));
                loop {
                    match seen.get(&key(event, place)) {
                        Some(there) if *there == identity(event) => return true,
                        Some(_) => place.slot += 1,
                        // Nothing there: hidden by the server's retention.
                        None => return true,
                    }
                }
            };
            placed.retain(|number| !is_seen(number));
            n_stored -= placed.len();
            pending = placed;
        }
        Err(self
            .client
            .away(format!("{} events were overwritten by another writer again and again", pending.len()), None))
    }

    /// What lies where these events could lie.
    async fn places(&self, events: &[Event], numbers: &[usize]) -> Result<HashMap<u64, u128>, StoreError> {
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
                    "SELECT event_id, timestamp_ns FROM {} WHERE time >= {from} AND time <= {until} GROUP BY source_device, event_type, slot",
                    EVENTS.name
                )
            };
            self.select(*first, last, query, |series| {
                let (device, event_type) =
                    (line::decode(series.tag("source_device")), line::decode(series.tag("event_type")));
                let slot: u32 = series.tag("slot").parse().unwrap_or(0);
                for row in &series.values {
                    let Some((time, id, happened)) = answer::occupant(row) else { continue };
                    taken.insert(hash(&(&*device, &*event_type, time, slot)), identity_of(id, happened));
                }
            })
            .await?;
        }
        Ok(taken)
    }
}

const OUT_OF_TIME: &str = "time outside the range that InfluxDB stores";

fn halve(numbers: &[usize], work: &mut Vec<Vec<usize>>) {
    let (left, right) = numbers.split_at(numbers.len() / 2);
    work.push(right.to_vec());
    work.push(left.to_vec());
}

fn hash(of: &impl Hash) -> u64 {
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

fn identity_of(id: uuid::Uuid, happened: i64) -> u128 {
    id.as_u128() ^ (u128::from(happened.cast_unsigned()) << 1)
}

/// The same for the same event, whoever computes it and whenever: it must never change between versions.
fn natural_place(event: &Event) -> Place {
    let happened = event.timestamp.as_ns();
    let room = [1_000_000_000, 1_000_000, 1_000].into_iter().find(|unit| happened.rem_euclid(*unit) == 0).unwrap_or(1);
    let id = event.id.as_u128();
    let mixed = ((id >> 64) as u64 ^ id as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let offset = ((u128::from(mixed) * u128::from(room.cast_unsigned())) >> 64) as i64;
    Place { time: happened.saturating_add(offset).min(MAX_TIME), slot: 0 }
}

fn room(chunks: &mut Vec<Chunk>) -> &mut Chunk {
    let is_full =
        chunks.last().is_none_or(|last| last.items.len() >= MAX_CHUNK_LINES || last.lines.len() >= MAX_CHUNK_BYTES);
    if is_full {
        chunks.push(Chunk::default());
    }
    let last = chunks.len() - 1;
    &mut chunks[last]
}

/// Of values of one identity only the last is sent: which of two would win is open when chunks overtake each other.
fn metric_chunks(metrics: &[DeviceMetric], refused: &mut Vec<(RefusedItem, String)>) -> Vec<Chunk> {
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
            let chunk = room(&mut chunks);
            line::metric(metric, &mut chunk.lines);
            chunk.items.push(RefusedItem::Metric(number));
        }
    }
    chunks
}
