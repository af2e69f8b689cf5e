//! Sending chunks: several in flight, each taken apart as far as the server's responses require.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt, stream};
use tracing::warn;

use super::chunk::Chunk;
use super::concurrency::ConcurrencyLimit;
use super::session::Influx;
use super::settings::InfluxVersion;
use super::write_outcome::WriteOutcome;
use crate::{Refused, RefusedItem, StoreError};

/// Message for a point that is not sent.
pub(super) const OUT_OF_TIME: &str = "time outside the range that InfluxDB stores";
/// Labels or events in one request: they are longer than values, and fewer.
pub(super) const SMALL_CHUNK_LINES: usize = 5_000;

/// Chunks of one write that wait for a permit or are in flight: more than there are permits.
const MAX_CHUNKS_AT_ONCE: usize = 32;
/// Responses of 500 and broken connections to the same chunk after which one poison line is suspected.
const POISON_AFTER: u32 = 5;
/// Further attempts to send a suspected line alone.
const POISON_PROBES: usize = 2;
/// openGemini stores the blocks of a body one by one and reports the first error only: a block is read up to this
/// size.
const OPEN_GEMINI_BLOCK_BYTES: usize = 64 << 10;
/// Suspected lines after which the search ends if no line was stored.
const MAX_SUSPECTS: usize = 8;

/// Sends chunks concurrently within a limit, and returns the refused elements. After a failure no further chunk is
/// sent: a server that is away receives no request per chunk.
pub(super) async fn send_all(
    influx: &Influx,
    chunks: Vec<Chunk>,
    limit: &ConcurrencyLimit,
) -> Result<Vec<Refused>, StoreError> {
    let has_failed = AtomicBool::new(false);
    let send = async |chunk: Chunk| {
        let permit = limit.acquire().await;
        if has_failed.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let outcome = ChunkSend::new(influx, &chunk).run().await;
        drop(permit);
        match &outcome {
            Ok(_) => limit.on_success(),
            Err(_) => {
                limit.on_failure();
                has_failed.store(true, Ordering::Relaxed);
            }
        }
        outcome
    };
    let mut outcomes = stream::iter(chunks.into_iter().map(send)).buffer_unordered(MAX_CHUNKS_AT_ONCE);
    let (mut all_refused, mut first_error) = (Vec::new(), None);
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(refused) => all_refused.extend(refused),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    first_error.map_or(Ok(all_refused), Err)
}

/// Sends lines that belong to no element of a batch.
pub(super) async fn send_own(influx: &Influx, chunks: Vec<Chunk>, limit: &ConcurrencyLimit) -> Result<(), StoreError> {
    match send_all(influx, chunks, limit).await?.pop() {
        Some(refused) => Err(influx.client.query_error(refused.message)),
        None => Ok(()),
    }
}

/// One chunk being sent, until every line of it is stored or refused on its own.
struct ChunkSend<'a> {
    influx: &'a Influx,
    chunk: &'a Chunk,
    lines: Vec<&'a str>,
    /// Parts still to send, as indexes of lines.
    work: Vec<Vec<usize>>,
    refused: Vec<Refused>,
    /// Lines that may be poison, with the server's messages.
    suspects: Vec<(usize, String)>,
    /// A line that was stored.
    stored: Option<usize>,
    is_provisioned_again: bool,
}

impl<'a> ChunkSend<'a> {
    fn new(influx: &'a Influx, chunk: &'a Chunk) -> Self {
        let lines: Vec<&str> = chunk.lines.lines().collect();
        let work = vec![(0..lines.len()).collect()];
        Self {
            influx,
            chunk,
            lines,
            work,
            refused: Vec::new(),
            suspects: Vec::new(),
            stored: None,
            is_provisioned_again: false,
        }
    }

    async fn run(mut self) -> Result<Vec<Refused>, StoreError> {
        while let Some(part) = self.work.pop() {
            if part.is_empty() {
                continue;
            }
            let lines: Vec<&str> = part.iter().map(|index| self.lines[*index]).collect();
            let mut outcome = self.send_lines(&lines, true).await?;
            if let WriteOutcome::RetryUncompressed { .. } = outcome {
                outcome = match self.send_lines(&lines, false).await? {
                    WriteOutcome::RetryUncompressed { message } => WriteOutcome::Bisect { message },
                    other => other,
                };
            }
            self.apply(outcome, part).await?;
            if self.suspects.len() > MAX_SUSPECTS && self.stored.is_none() {
                break;
            }
        }
        self.judge_suspects().await?;
        self.influx.failures.forget(self.chunk.key());
        Ok(self.refused)
    }

    async fn apply(&mut self, outcome: WriteOutcome, part: Vec<usize>) -> Result<(), StoreError> {
        match outcome {
            WriteOutcome::Stored => self.stored = part.first().copied(),
            WriteOutcome::StoredWithinRetention { .. } if part.len() > 1 && self.may_hide_an_error(&part) => {
                self.halve(&part);
            }
            WriteOutcome::StoredWithinRetention { message } => {
                warn!(message, "InfluxDB dropped points older than its retention");
                self.stored = part.first().copied();
            }
            WriteOutcome::StoredExcept { lines: named, message } if !named.is_empty() => {
                warn!(message, n_refused = named.len(), "InfluxDB refused part of a batch");
                // The response may hide other errors: the rest is sent again, which changes nothing.
                let is_named = |at: &usize| named.iter().any(|(number, _)| number == at);
                self.work.push((0..part.len()).filter(|at| !is_named(at)).map(|at| part[at]).collect());
                for (at, message) in named {
                    self.refuse(part[at], message);
                }
            }
            WriteOutcome::StoredExcept { message, .. }
            | WriteOutcome::Bisect { message }
            | WriteOutcome::Split { message }
            | WriteOutcome::RetryUncompressed { message } => match part[..] {
                [only] => self.refuse(only, message),
                _ => self.halve(&part),
            },
            WriteOutcome::Retry { message, after, may_be_poison } => {
                // While one node of openGemini is away, lines for other nodes are stored: no line is to blame.
                if !may_be_poison || self.is_open_gemini() || self.influx.failures.add(self.chunk.key()) < POISON_AFTER
                {
                    return Err(self.influx.client.unavailable(message, after));
                }
                // One line may be poison: it is if others are stored.
                match part[..] {
                    [only] => self.suspects.push((only, message)),
                    _ => self.halve(&part),
                }
            }
            WriteOutcome::DatabaseMissing { message } => {
                if self.is_provisioned_again {
                    return Err(self.influx.client.misconfigured(&message));
                }
                self.is_provisioned_again = true;
                self.influx.provision_again().await?;
                self.work.push(part);
            }
            WriteOutcome::Misconfigured { message } => return Err(self.influx.client.misconfigured(&message)),
        }
        Ok(())
    }

    /// Refuses the suspects that are poison. If nothing of the chunk was stored, none of them is to blame.
    async fn judge_suspects(&mut self) -> Result<(), StoreError> {
        for (index, message) in std::mem::take(&mut self.suspects) {
            let Some(stored) = self.stored else { return Err(self.influx.client.unavailable(message, None)) };
            if self.is_poison(self.lines[index], self.lines[stored]).await? {
                self.refuse(index, message);
            }
        }
        Ok(())
    }

    /// Returns whether a line still fails while `good` is stored. A transient failure condemns nothing: a server that
    /// fails for a while makes every line look bad, also when others were stored before.
    async fn is_poison(&self, line: &str, good: &str) -> Result<bool, StoreError> {
        let unavailable = |problem| Err(self.influx.client.unavailable(problem, None));
        for _ in 0..POISON_PROBES {
            match self.send_lines(&[line], true).await? {
                WriteOutcome::Stored | WriteOutcome::StoredWithinRetention { .. } => return Ok(false),
                WriteOutcome::Retry { may_be_poison: true, .. } => {}
                other => return unavailable(format!("another response to the same line: {other:?}")),
            }
            match self.send_lines(&[good], true).await? {
                WriteOutcome::Stored | WriteOutcome::StoredWithinRetention { .. } => {}
                other => return unavailable(format!("another response to a line stored before: {other:?}")),
            }
        }
        Ok(true)
    }

    async fn send_lines(&self, lines: &[&str], is_compressed: bool) -> Result<WriteOutcome, StoreError> {
        let version = self.influx.ready().await?;
        let response = self.influx.client.write(version, &lines.join("\n"), is_compressed).await?;
        Ok(response.outcome(lines))
    }

    fn is_open_gemini(&self) -> bool {
        self.influx.client.version() == Some(InfluxVersion::OpenGemini)
    }

    /// Returns whether the response may be that of one block of the body, and another one failed.
    fn may_hide_an_error(&self, part: &[usize]) -> bool {
        let size_bytes: usize = part.iter().map(|index| self.lines[*index].len() + 1).sum();
        self.is_open_gemini() && size_bytes > OPEN_GEMINI_BLOCK_BYTES
    }

    fn refuse(&mut self, index: usize, message: String) {
        let item: RefusedItem = self.chunk.items[index];
        self.refused.push(Refused { item, message });
    }

    fn halve(&mut self, part: &[usize]) {
        let (left, right) = part.split_at(part.len() / 2);
        self.work.push(right.to_vec());
        self.work.push(left.to_vec());
    }
}
