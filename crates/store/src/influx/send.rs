//! Sending chunks: several in flight, each taken apart as far as the server's responses require.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt, stream};

use super::chunk::Chunk;
use super::concurrency::ConcurrencyLimit;
use super::limits::{SeriesState, series};
use super::session::Influx;
use super::settings::InfluxVersion;
use super::verdict::{Sent, Suspect, takes_point_at, takes_points};
use super::write_outcome::WriteOutcome;
use crate::{Refusal, Refused, StoreError};

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

/// Sends chunks concurrently within a limit, and returns the origins of the refused lines. After a failure no further chunk is
/// sent: a server that is away receives no request per chunk.
pub(super) async fn send_all<T: Copy>(
    influx: &Influx,
    chunks: Vec<Chunk<T>>,
    limit: &ConcurrencyLimit,
) -> Result<Vec<Refused<T>>, StoreError> {
    let has_failed = AtomicBool::new(false);
    let send = async |chunk: Chunk<T>| {
        let permit = limit.acquire().await;
        if has_failed.load(Ordering::Relaxed) {
            return Ok(Sent::default());
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
    let (mut all_sent, mut first_error) = (Sent::default(), None);
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(sent) => all_sent.add(sent),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    match first_error {
        Some(error) => Err(error),
        None => all_sent.judge(influx).await,
    }
}

/// Sends lines of Spindle's own, without which the caller cannot go on.
pub(super) async fn send_own(
    influx: &Influx,
    chunks: Vec<Chunk<()>>,
    limit: &ConcurrencyLimit,
) -> Result<(), StoreError> {
    match send_all(influx, chunks, limit).await?.pop() {
        Some(refused) => Err(influx.client.query_error(refused.message)),
        None => Ok(()),
    }
}

/// One chunk being sent, until every line of it is stored or refused on its own.
struct ChunkSend<'a, T> {
    influx: &'a Influx,
    chunk: &'a Chunk<T>,
    lines: Vec<&'a str>,
    /// Parts still to send, as indexes of lines.
    work: Vec<Vec<usize>>,
    sent: Sent<T>,
    maybe_poison: Vec<MaybePoison>,
    /// A line that was stored.
    stored: Option<usize>,
    /// The server took a probe point.
    is_answering: bool,
    has_dropped_oldest: bool,
    is_provisioned_again: bool,
}

/// Line at which something failed.
struct MaybePoison {
    index: usize,
    message: String,
    /// InfluxDB itself reported the failure.
    is_own: bool,
}

impl<'a, T: Copy> ChunkSend<'a, T> {
    fn new(influx: &'a Influx, chunk: &'a Chunk<T>) -> Self {
        let lines: Vec<&str> = chunk.lines.lines().collect();
        let mut send = Self {
            influx,
            chunk,
            work: Vec::new(),
            sent: Sent { n_lines: lines.len(), ..Sent::default() },
            lines,
            maybe_poison: Vec::new(),
            stored: None,
            is_answering: false,
            has_dropped_oldest: false,
            is_provisioned_again: false,
        };
        send.plan();
        send
    }

    /// Sets aside the lines of series that a limit keeps out, and sends those last that it kept out some time ago.
    fn plan(&mut self) {
        let all = 0..self.lines.len();
        let limits = self.influx.limits();
        if limits.is_empty() {
            self.work = vec![all.collect()];
            return;
        }
        let (mut open, mut due) = (Vec::new(), Vec::new());
        for index in all {
            match limits.state(self.lines[index], self.influx.now()) {
                SeriesState::Open => open.push(index),
                SeriesState::Due => due.push(index),
                SeriesState::Limited(message) => {
                    let item = self.chunk.items[index];
                    self.sent.refused.push(Refused { item, reason: Refusal::Limit, message });
                }
            }
        }
        self.work = vec![due, open];
    }

    async fn run(mut self) -> Result<Sent<T>, StoreError> {
        while let Some(part) = self.work.pop() {
            if part.is_empty() {
                continue;
            }
            let lines: Vec<&str> = part.iter().map(|index| self.lines[*index]).collect();
            let mut outcome = self.send_lines(&lines, true).await?;
            if let WriteOutcome::RetryUncompressed { .. } = outcome {
                outcome = match self.send_lines(&lines, false).await? {
                    WriteOutcome::RetryUncompressed { message } => WriteOutcome::Bisect { lines: Vec::new(), message },
                    other => other,
                };
            }
            self.apply(outcome, part).await?;
            if self.maybe_poison.len() > MAX_SUSPECTS && self.stored.is_none() {
                break;
            }
        }
        self.judge_poison().await?;
        self.influx.failures.forget(self.chunk.key());
        self.sent.is_any_stored = self.stored.is_some();
        Ok(self.sent)
    }

    async fn apply(&mut self, outcome: WriteOutcome, mut part: Vec<usize>) -> Result<(), StoreError> {
        match outcome {
            WriteOutcome::Stored => self.note_stored(&part),
            WriteOutcome::BeyondRetention { .. } if part.len() > 1 && self.may_hide_an_error(&part) => {
                self.halve(&part);
            }
            WriteOutcome::BeyondRetention { n_dropped, are_oldest, message } => {
                self.drop_old(part, n_dropped, are_oldest, &message);
            }
            WriteOutcome::StoredExcept { lines: named, is_limit, .. } if !named.is_empty() => {
                self.take_out(&part, named, is_limit);
            }
            WriteOutcome::StoredExcept { n_dropped, is_limit, message, .. } => {
                if part.len() == 1 || n_dropped == Some(part.len()) {
                    part.into_iter().for_each(|index| self.refuse(index, message.clone(), true, is_limit));
                } else {
                    if is_limit {
                        part.sort_by_key(|index| series(self.lines[*index]));
                    }
                    self.halve(&part);
                }
            }
            WriteOutcome::Bisect { lines: named, message } if !named.is_empty() => {
                self.expect_answers(&message).await?;
                self.take_out(&part, named, false);
            }
            WriteOutcome::Bisect { message, .. } | WriteOutcome::RetryUncompressed { message } => {
                self.search(&part, message, true).await?;
            }
            WriteOutcome::Foreign { message } => self.search(&part, message, false).await?,
            WriteOutcome::Split { message, is_own } => match part[..] {
                [only] => self.refuse(only, message, is_own, false),
                _ => self.halve(&part),
            },
            WriteOutcome::Retry { message, after, may_be_poison, is_own } => {
                // While one node of openGemini is away, lines for other nodes are stored: no line is to blame.
                if !may_be_poison || self.is_open_gemini() || self.influx.failures.add(self.chunk.key()) < POISON_AFTER
                {
                    return Err(self.influx.client.unavailable(message, after));
                }
                // One line may be poison: it is if others are stored.
                match part[..] {
                    [index] => self.maybe_poison.push(MaybePoison { index, message, is_own }),
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

    fn note_stored(&mut self, part: &[usize]) {
        self.stored = part.first().copied();
        let mut limits = self.influx.limits();
        if !limits.is_empty() {
            part.iter().for_each(|index| limits.remove(self.lines[*index]));
        }
    }

    /// Takes named lines out. The response may hide other errors: the rest is sent again, which changes nothing.
    fn take_out(&mut self, part: &[usize], named: Vec<(usize, String)>, is_limit: bool) {
        let names: HashSet<usize> = named.iter().map(|(at, _)| *at).collect();
        self.work.push((0..part.len()).filter(|at| !names.contains(at)).map(|at| part[at]).collect());
        for (at, message) in named {
            self.refuse(part[at], message, true, is_limit);
        }
    }

    /// Finds the points beyond the server's retention by their times. Those that it kept are sent again: the response
    /// to that confirms them.
    fn drop_old(&mut self, mut part: Vec<usize>, n_dropped: Option<usize>, are_oldest: bool, message: &str) {
        part.sort_by_key(|index| time(self.lines[*index]));
        let n_dropped = n_dropped.filter(|n_dropped| *n_dropped <= part.len()).unwrap_or(0);
        let n_old = match part.len() {
            1 => 1,
            n_lines if n_dropped == n_lines || (are_oldest && !self.has_dropped_oldest) => n_dropped,
            _ => 0,
        };
        if n_old == 0 {
            return self.halve(&part);
        }
        self.has_dropped_oldest = true;
        for index in part.drain(..n_old) {
            let item = self.chunk.items[index];
            self.sent.refused.push(Refused { item, reason: Refusal::BeyondRetention, message: message.to_owned() });
        }
        self.work.push(part);
    }

    /// Looks for the line that keeps all others out, if any gets in at all.
    async fn search(&mut self, part: &[usize], message: String, is_own: bool) -> Result<(), StoreError> {
        self.expect_answers(&message).await?;
        match *part {
            [only] => self.refuse(only, message, is_own, false),
            _ => self.halve(part),
        }
        Ok(())
    }

    /// Fails if the server takes no point at all: a search would send a request per line.
    async fn expect_answers(&mut self, message: &str) -> Result<(), StoreError> {
        if self.stored.is_none() && !self.is_answering {
            self.is_answering = takes_points(self.influx).await?;
            if !self.is_answering {
                return Err(self.influx.client.misconfigured(message));
            }
        }
        Ok(())
    }

    /// Suspects the lines that are poison. If nothing of a chunk with others was stored, none of them is to blame.
    async fn judge_poison(&mut self) -> Result<(), StoreError> {
        for MaybePoison { index, message, is_own } in std::mem::take(&mut self.maybe_poison) {
            if self.stored.is_none() && self.lines.len() > 1 {
                return Err(self.influx.client.unavailable(message, None));
            }
            if self.is_poison(self.lines[index]).await? {
                self.refuse(index, message, is_own, false);
            } else {
                self.stored = Some(index);
            }
        }
        Ok(())
    }

    /// Returns whether a line still fails while a probe point of its time is stored. A transient failure condemns
    /// nothing: a server that fails for a while makes every line look bad, also when others were stored before.
    async fn is_poison(&self, line: &str) -> Result<bool, StoreError> {
        let unavailable = |problem| Err(self.influx.client.unavailable(problem, None));
        for _ in 0..POISON_PROBES {
            match self.send_lines(&[line], true).await? {
                WriteOutcome::Stored => return Ok(false),
                WriteOutcome::Retry { may_be_poison: true, .. } => {}
                other => return unavailable(format!("another response to the same line: {other:?}")),
            }
            if !takes_point_at(self.influx, time(line)).await? {
                return unavailable(format!("a probe point of the same time is refused too: {line:.80}"));
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

    /// Takes a line as refused; the verdict follows when the whole write is known, except for a limit.
    fn refuse(&mut self, index: usize, message: String, is_own: bool, is_limit: bool) {
        let item = self.chunk.items[index];
        if is_limit {
            self.influx.limits().add(self.lines[index], &message, self.influx.now());
            self.sent.refused.push(Refused { item, reason: Refusal::Limit, message });
        } else {
            self.sent.suspects.push(Suspect { item, message, is_own });
        }
    }

    fn halve(&mut self, part: &[usize]) {
        let (left, right) = part.split_at(part.len() / 2);
        self.work.push(right.to_vec());
        self.work.push(left.to_vec());
    }
}

/// Returns the time of a line, which ends it.
fn time(line: &str) -> i64 {
    line.rsplit(' ').next().and_then(|text| text.parse().ok()).unwrap_or(i64::MAX)
}
