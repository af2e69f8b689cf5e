//! Sending: lines in chunks, several on their way, and what to do with what the server refuses.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt, stream};
use tracing::warn;

use super::Inner;
use super::client::InfluxVersion;
use super::slots::Slots;
use super::verdict::Verdict;
use crate::{RefusedItem, StoreError};

/// Well below InfluxDB 3's limit of 10 MiB.
const MAX_CHUNK_BYTES: usize = 4 << 20;
/// Chunks of one write that wait for a slot or are on their way: more than there are slots.
const MAX_CHUNKS_AT_ONCE: usize = 32;
/// So many answers 500 and broken connections to the same chunk make us look for one point that the server chokes on.
const POISON_AFTER: u32 = 5;
/// How often a suspected point is tried again by itself.
const POISON_PROBES: usize = 2;
/// Chunks whose faults are remembered; beyond it all are forgotten, and a point that chokes the server is found later.
const MAX_FAULTS_REMEMBERED: usize = 1_000;

/// Lines that travel together, and which items of the batch they are.
#[derive(Default)]
pub(super) struct Chunk {
    pub(super) lines: String,
    pub(super) items: Vec<RefusedItem>,
    /// The same whenever the same items are sent again.
    key: DefaultHasher,
}

/// What became of a chunk.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) refused: Vec<(RefusedItem, String)>,
    pub(super) is_beyond_retention: bool,
}

impl Chunk {
    /// Says of the line written last which item it is; `identity` tells the item from others.
    pub(super) fn belongs_to(&mut self, item: RefusedItem, identity: impl Hash) {
        self.items.push(item);
        identity.hash(&mut self.key);
    }
}

/// The chunk that the next line goes to.
pub(super) fn room(chunks: &mut Vec<Chunk>, max_lines: usize) -> &mut Chunk {
    let is_full = chunks.last().is_none_or(|last| last.items.len() >= max_lines || last.lines.len() >= MAX_CHUNK_BYTES);
    if is_full {
        chunks.push(Chunk::default());
    }
    let last = chunks.len() - 1;
    &mut chunks[last]
}

/// How values are sent to a version: lines in one request, and requests on their way, at first and at most.
pub(super) struct Shape {
    pub(super) max_lines: usize,
    pub(super) first_slots: usize,
    pub(super) most_slots: usize,
}

impl Shape {
    /// Versions 1 and 2 work on a request while it lasts: measured on 1.6.7, on the same machine, two to four at once are
    /// best, eight are worse, and 2,500 to 10,000 lines make no difference. Version 3 lets each request wait for the
    /// next flush of its log, up to a second: there the product of the two is the rate.
    pub(super) fn of(version: InfluxVersion) -> Self {
        match version {
            InfluxVersion::V1 | InfluxVersion::V2 => Self { max_lines: 5_000, first_slots: 2, most_slots: 4 },
            InfluxVersion::V3 => Self { max_lines: 10_000, first_slots: 4, most_slots: 16 },
        }
    }
}

/// How often each chunk met with an answer that may be due to one of its lines.
#[derive(Debug, Default)]
pub(super) struct Faults(std::sync::Mutex<HashMap<u64, u32>>);

impl Faults {
    /// Counts one more.
    fn note(&self, key: u64) -> u32 {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.len() > MAX_FAULTS_REMEMBERED {
            faults.clear();
        }
        let n_faults = faults.entry(key).or_default();
        *n_faults += 1;
        *n_faults
    }

    fn forget(&self, key: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}

impl Inner {
    /// Sends chunks, as many at once as there are slots. After a fault no further one is begun: a server that
    /// is away is not asked once for each chunk.
    pub(super) async fn send_all(&self, chunks: Vec<Chunk>, slots: &Slots) -> Result<Sent, StoreError> {
        let has_failed = AtomicBool::new(false);
        let send = async |chunk: Chunk| {
            let slot = slots.take().await;
            if has_failed.load(Ordering::Relaxed) {
                return Ok(Sent::default());
            }
            let outcome = self.send(chunk).await;
            drop(slot);
            match &outcome {
                Ok(_) => slots.worked(),
                Err(_) => {
                    slots.struggled();
                    has_failed.store(true, Ordering::Relaxed);
                }
            }
            outcome
        };
        let mut outcomes = stream::iter(chunks.into_iter().map(send)).buffer_unordered(MAX_CHUNKS_AT_ONCE);
        let (mut all, mut fault) = (Sent::default(), None);
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(sent) => {
                    all.refused.extend(sent.refused);
                    all.is_beyond_retention |= sent.is_beyond_retention;
                }
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        fault.map_or(Ok(all), Err)
    }

    /// Sends a chunk until everything in it is stored or refused by itself.
    async fn send(&self, chunk: Chunk) -> Result<Sent, StoreError> {
        let lines: Vec<&str> = chunk.lines.lines().collect();
        let key = chunk.key.finish();
        let mut sent = Sent::default();
        let mut suspects = Vec::new();
        // A line that went in.
        let mut good = None;
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
                Verdict::Stored => good = numbers.first().copied(),
                Verdict::StoredWithinRetention { words } => {
                    warn!(words, "InfluxDB did not keep values older than its retention");
                    sent.is_beyond_retention = true;
                    good = numbers.first().copied();
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
                    if !may_be_a_line || self.faults.note(key) < POISON_AFTER {
                        return Err(self.client.away(words, after));
                    }
                    // One point may be what it chokes on: it is, if others go in.
                    match numbers[..] {
                        [only] => suspects.push((only, words)),
                        _ => halve(&numbers, &mut work),
                    }
                    if suspects.len() > 8 && good.is_none() {
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
        for (number, words) in suspects {
            // It is no point's fault when nothing goes in.
            let Some(good) = good else { return Err(self.client.away(words, None)) };
            if self.is_poison(lines[number], lines[good]).await? {
                sent.refused.push((chunk.items[number], words));
            }
        }
        self.faults.forget(key);
        Ok(sent)
    }

    /// Whether this line still does not go in while `good` does. Nothing is condemned for a fault that passes: a server
    /// that fails for a while makes every line look bad, also when others went in before.
    async fn is_poison(&self, line: &str, good: &str) -> Result<bool, StoreError> {
        for _ in 0..POISON_PROBES {
            match self.send_lines(&[line], true).await? {
                Verdict::Stored | Verdict::StoredWithinRetention { .. } => return Ok(false),
                Verdict::Later { may_be_a_line: true, .. } => {}
                other => return Err(self.client.away(format!("another answer to the same line: {other:?}"), None)),
            }
            match self.send_lines(&[good], true).await? {
                Verdict::Stored | Verdict::StoredWithinRetention { .. } => {}
                other => return Err(self.client.away(format!("a line that went in before: {other:?}"), None)),
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

    /// Sends lines that belong to no item of a batch.
    pub(super) async fn send_own(&self, chunks: Vec<Chunk>, slots: &Slots) -> Result<(), StoreError> {
        let sent = self.send_all(chunks, slots).await?;
        match sent.refused.first() {
            Some((_, words)) => Err(self.client.failed(words.clone())),
            None => Ok(()),
        }
    }
}

fn halve(numbers: &[usize], work: &mut Vec<Vec<usize>>) {
    let (left, right) = numbers.split_at(numbers.len() / 2);
    work.push(right.to_vec());
    work.push(left.to_vec());
}
