//! Dead letters for operators: finds, replays and drops them. The command and HTTP share it. It never changes a dead
//! letter, and removes one only after its replay is acknowledged or to drop it.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use spindle_bus::{
    Bus, BusError, BusErrorKind, DeadLetter, DeadLetterFilter, DeadLetterHead, DeadLetterPages, Replayed, Replayer,
};
use spindle_core::DeviceName;
use tokio::time::{Instant, sleep};

use crate::logging::chain;

/// Pause between two attempts while NATS does not respond.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Dead letters handled concurrently: each waits for syncs of the server's disk, and may hold several MiB.
const MAX_CONCURRENT: usize = 32;
/// Bytes read to find the name of a device, at most.
const MAX_READ_FOR_DEVICE: u64 = 64 << 10;

/// The dead letters of a NATS server.
#[derive(Clone)]
pub(crate) struct DeadLetterService {
    pub(crate) bus: Bus,
    timeout: Duration,
}

/// Action on a dead letter.
#[derive(Clone)]
pub(crate) enum LetterAction {
    /// Publishes the original again.
    Replay(Box<Replayer>),
    /// Removes it permanently.
    Drop,
}

/// Result of an action on a dead letter.
#[derive(Clone, Debug)]
pub(crate) enum LetterOutcome {
    Replayed,
    /// Published by an earlier replay that was interrupted before it removed the dead letter.
    ReplayedBefore,
    Dropped,
    /// Not in the stream, or removed by another client.
    Gone,
    /// Still in the stream, for this reason.
    Refused(String),
}

/// Dead letters selected by their sequences.
#[derive(Default)]
pub(crate) struct SelectedLetters {
    /// One message of each dead letter.
    pub(crate) letters: Vec<DeadLetterHead>,
    /// Sequences of further parts, each with the sequence in `letters`.
    pub(crate) other_parts: Vec<(u64, u64)>,
    /// Sequences that do not exist.
    pub(crate) missing: Vec<u64>,
}

impl DeadLetterService {
    /// Works on `bus`, and retries for `timeout` while NATS does not respond.
    pub(crate) fn new(bus: Bus, timeout: Duration) -> Self {
        Self { bus, timeout }
    }

    /// Retries while NATS does not respond, up to the timeout.
    pub(crate) async fn retrying<T, F: Future<Output = Result<T, BusError>>>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, BusError> {
        let retry = Retry::within(self.timeout);
        loop {
            match attempt().await {
                Err(error) => retry.after(error).await?,
                done => return done,
            }
        }
    }

    /// Returns the next page of a list; retries as [`Self::retrying`].
    pub(crate) async fn next_page(
        &self,
        letters: &mut DeadLetterPages,
    ) -> Result<Option<Vec<DeadLetterHead>>, BusError> {
        let retry = Retry::within(self.timeout);
        loop {
            match letters.next().await {
                Err(error) => retry.after(error).await?,
                page => return page,
            }
        }
    }

    /// Passes every dead letter that matches the filter to `visit`, oldest first, page by page. Returns the last
    /// sequence of the stream.
    pub(crate) async fn for_each_head(
        &self,
        filter: DeadLetterFilter,
        mut visit: impl FnMut(DeadLetterHead),
    ) -> Result<u64, BusError> {
        let mut letters = self.retrying(|| self.bus.dead_letters(filter.clone())).await?;
        while let Some(page) = self.next_page(&mut letters).await? {
            for letter in page {
                visit(letter);
            }
        }
        Ok(letters.last_sequence())
    }

    /// Reads a dead letter with its bytes.
    pub(crate) async fn read(&self, sequence: u64) -> Result<Option<DeadLetter>, BusError> {
        self.retrying(|| self.bus.dead_letter(sequence)).await
    }

    /// Returns the device that each dead letter names, if its bytes are few and can be read.
    pub(crate) async fn devices(&self, letters: &[DeadLetterHead]) -> Result<Vec<Option<DeviceName>>, BusError> {
        let read = |letter: &DeadLetterHead| self.device(letter.clone()).boxed();
        futures::stream::iter(letters.iter().map(read)).buffered(MAX_CONCURRENT).try_collect().await
    }

    async fn device(&self, letter: DeadLetterHead) -> Result<Option<DeviceName>, BusError> {
        if letter.part.is_some() || letter.size_bytes > MAX_READ_FOR_DEVICE {
            return Ok(None);
        }
        Ok(self.read(letter.sequence).await?.and_then(|whole| device_in(&whole.bytes)))
    }

    /// Prepares a replay.
    pub(crate) async fn replay(&self) -> Result<LetterAction, BusError> {
        Ok(LetterAction::Replay(Box::new(self.retrying(|| self.bus.replayer()).await?)))
    }

    /// Looks up dead letters by their sequences, which are distinct.
    pub(crate) async fn select(&self, sequences: &[u64]) -> Result<SelectedLetters, BusError> {
        let mut selected = SelectedLetters::default();
        let look_up = |sequence: &u64| self.head(*sequence).boxed();
        let mut found = futures::stream::iter(sequences.iter().map(look_up)).buffered(MAX_CONCURRENT);
        while let Some(head) = found.next().await {
            match head? {
                (sequence, None) => selected.missing.push(sequence),
                (sequence, Some(head)) => {
                    let is_part_of =
                        |other: &&DeadLetterHead| head.part.is_some() && other.parts_key() == head.parts_key();
                    match selected.letters.iter().find(is_part_of) {
                        Some(first) => selected.other_parts.push((sequence, first.sequence)),
                        None => selected.letters.push(head),
                    }
                }
            }
        }
        Ok(selected)
    }

    async fn head(&self, sequence: u64) -> Result<(u64, Option<DeadLetterHead>), BusError> {
        let head = self.retrying(|| self.bus.dead_letter_head(sequence)).await?;
        Ok((sequence, head))
    }

    /// Acts on one dead letter.
    ///
    /// # Errors
    /// Those that concern not this dead letter alone. It is then in the stream, replayed, or both; to act again is
    /// harmless.
    pub(crate) async fn act(&self, action: &LetterAction, letter: DeadLetterHead) -> Result<LetterOutcome, BusError> {
        match action {
            LetterAction::Replay(replayer) => match self.replay_one(replayer, &letter).await {
                Err(error) if error.kind() == BusErrorKind::Permanent => Ok(LetterOutcome::Refused(chain(error))),
                ended => ended,
            },
            LetterAction::Drop => {
                let sequences = self.retrying(|| self.bus.sequences_of(&letter)).await?;
                let n_removed = self.retrying(|| self.bus.remove_dead_letters(&sequences)).await?;
                Ok(if n_removed > 0 { LetterOutcome::Dropped } else { LetterOutcome::Gone })
            }
        }
    }

    /// Publishes, waits for the acknowledgment and then removes, in this order.
    async fn replay_one(&self, replayer: &Replayer, letter: &DeadLetterHead) -> Result<LetterOutcome, BusError> {
        let Some(whole) = self.read(letter.sequence).await? else { return Ok(LetterOutcome::Gone) };
        let outcome = match self.retrying(|| replayer.replay(&whole)).await? {
            Replayed::Stored => LetterOutcome::Replayed,
            Replayed::Duplicate => LetterOutcome::ReplayedBefore,
        };
        self.retrying(|| self.bus.remove_dead_letters(&whole.sequences)).await?;
        Ok(outcome)
    }
}

/// Time left for further attempts.
struct Retry {
    deadline: Instant,
}

impl Retry {
    fn within(timeout: Duration) -> Self {
        Self { deadline: Instant::now() + timeout }
    }

    /// Waits before the next attempt, or returns the error if there is none.
    async fn after(&self, error: BusError) -> Result<(), BusError> {
        if !error.is_transient() || Instant::now() + RETRY_PAUSE >= self.deadline {
            return Err(error);
        }
        sleep(RETRY_PAUSE).await;
        Ok(())
    }
}

/// Runs `act` for each dead letter, several at once, and passes its results to `note`; ends at the first error.
pub(crate) async fn for_each_letter<'a, T, E>(
    letters: Vec<DeadLetterHead>,
    act: impl Fn(DeadLetterHead) -> BoxFuture<'a, Result<T, E>>,
    mut note: impl FnMut(T),
) -> Result<(), E> {
    let running: Vec<_> = letters.into_iter().map(act).collect();
    let mut running = futures::stream::iter(running).buffer_unordered(MAX_CONCURRENT);
    while let Some(done) = running.next().await {
        note(done?);
    }
    Ok(())
}

/// Returns the properties of a dead letter, without its bytes.
pub(crate) fn letter_row(letter: &DeadLetterHead) -> Value {
    json!({
        "sequence": letter.sequence,
        "time": letter.kept_at,
        "reason": letter.reason,
        "detail": letter.detail,
        "subject": letter.subject,
        "stream": letter.stream,
        "stream_sequence": letter.stream_sequence,
        "index": letter.index,
        "published": letter.published,
        "message_id": letter.message_id,
        "part": letter.part.map(|part| format!("{}/{}", part.number, part.of)),
        "replays": letter.n_replays,
        "size_bytes": letter.size_bytes,
    })
}

fn device_in(bytes: &[u8]) -> Option<DeviceName> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "sourceDevice")]
        source_device: String,
    }
    let Named { source_device } = serde_json::from_slice(bytes).ok()?;
    DeviceName::new(&source_device).ok()
}
