//! Replay: recorded metrics and events, from a file of Spindle's own wire format (one JSON object or
//! array per line) or of Backblaze Drive Stats (CSV), in the order of the file.
//!
//! The file's content decides which of the two it is. A bad record is handed out with its line, the
//! reason and its bytes, and never stops the records after it. Memory stays bounded whatever the file
//! holds: by one line of [`wire::MAX_PAYLOAD_BYTES`] and one batch.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use spindle_core::backblaze::derived_id;
use spindle_core::recording::{Format, Line, Lines, Record, RefusedRecord, detect};
#[cfg(doc)]
use spindle_core::wire;
use spindle_core::{Batch, Timestamp};
use tracing::info;

/// Most metrics and events in one batch, so that a whole fleet's day is published in steps. At about 130
/// bytes each this is less than NATS's default 1 MiB; whoever publishes splits by bytes all the same.
pub(crate) const MAX_BATCH: usize = 5_000;

/// How a file is replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Options {
    /// Moves every recorded time by the same offset, so that the first record lands here. Events then get
    /// new ids, derived from the old one and the offset: another shift makes other events, the same
    /// shift (after a restart, say) makes the same ones again, and an offset of zero changes nothing. A moved
    /// record has no `seq`: that is the number of the one it was made from.
    pub(crate) shift: Option<Timestamp>,
}

/// A file being replayed.
#[derive(Debug)]
pub(crate) struct Replay {
    file: Arc<Path>,
    lines: Lines<BufReader<File>>,
    format: Format,
    options: Options,
    /// What the recorded times are moved by, in nanoseconds; known once the first record is.
    offset_ns: Option<i64>,
    /// What was read and not yet handed out: at most the records of one line and one batch.
    pending: VecDeque<Result<Record, BadRecord>>,
    finished: bool,
}

/// A record that is no metric and no event, or a file that cannot be read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadRecord {
    /// Which file.
    pub(crate) file: Arc<Path>,
    /// Which line of it, counted from 1.
    pub(crate) line: u64,
    /// A short, stable word for counters and filters, as [`wire::WireError::reason`]; `unreadable` if the
    /// file failed here, and the replay ends.
    pub(crate) kind: &'static str,
    /// What is wrong, with the offending value.
    pub(crate) reason: String,
    /// The record itself, at most its first 1,024 bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Replay {
    /// Opens a file and finds out what it holds.
    ///
    /// # Errors
    /// When the file is missing, a directory or device, unreadable, empty, packed, or of neither format; the error
    /// says which, and what to do.
    pub(crate) fn open(path: impl Into<PathBuf>, options: Options) -> anyhow::Result<Self> {
        let path = path.into();
        let shown = path.display().to_string();
        let file = File::open(&path)
            .with_context(|| format!("cannot open {shown} to replay it: check the path and its permissions"))?;
        let metadata = file.metadata().with_context(|| format!("cannot look at {shown}"))?;
        ensure!(!metadata.is_dir(), "cannot replay {shown}: it is a directory, name one of the files in it");
        let has_an_end = metadata.is_file() || metadata.file_type().is_fifo();
        ensure!(has_an_end, "cannot replay {shown}: it is a device, name a file or a pipe");
        let mut lines = Lines::new(BufReader::with_capacity(1 << 16, file));
        let format = detect(&mut lines).with_context(|| format!("cannot replay {shown}"))?;
        info!(file = shown, %format, "recording opened");
        Ok(Self {
            file: path.into(),
            lines,
            format,
            options,
            offset_ns: None,
            pending: VecDeque::new(),
            finished: false,
        })
    }

    /// The next records that were recorded at one and the same time, at most [`MAX_BATCH`] of them, with
    /// that time (as recorded: [`Options::shift`] moves only the times inside the batch). `None` at the end.
    pub(crate) fn next_batch(&mut self) -> Option<Result<(Timestamp, Batch), BadRecord>> {
        let mut batch = Batch::default();
        let mut recorded = None;
        while batch.len() < MAX_BATCH {
            let Some(next) = self.peek() else { break };
            match next {
                Err(_) if !batch.is_empty() => break,
                Ok(item) if recorded.is_some_and(|time| time != item.timestamp()) => break,
                Ok(_) | Err(_) => {}
            }
            match self.pending.pop_front()? {
                Err(bad) => return Some(Err(bad)),
                Ok(item) => {
                    recorded = Some(item.timestamp());
                    self.shift(item).put_into(&mut batch);
                }
            }
        }
        recorded.map(|time| Ok((time, batch)))
    }

    /// The next record, read from the file if none is pending.
    fn peek(&mut self) -> Option<&Result<Record, BadRecord>> {
        while self.pending.is_empty() && !self.finished {
            self.read_line();
        }
        self.pending.front()
    }

    /// Reads one line into `pending`: its records in order, good and bad.
    fn read_line(&mut self) {
        let (file, pending) = (&self.file, &mut self.pending);
        match self.lines.next_line() {
            Ok(Some((number, Line::Whole(bytes)))) => self.format.read(bytes, &mut |record| {
                pending.push_back(record.map_err(|refused| BadRecord::new(file, number, refused)));
            }),
            Ok(Some((number, Line::TooLong { n_bytes, head }))) => {
                pending.push_back(Err(BadRecord::new(file, number, RefusedRecord::too_long(n_bytes, head))));
            }
            Ok(None) => self.finished = true,
            Err(error) => {
                self.finished = true;
                pending.push_back(Err(BadRecord::new(
                    file,
                    self.lines.number() + 1,
                    RefusedRecord::unreadable(&error),
                )));
            }
        }
    }

    /// Moves a record in time, and gives a moved event an id of its own.
    fn shift(&mut self, mut item: Record) -> Record {
        let recorded = item.timestamp();
        let shift = self.options.shift;
        let offset_ns = *self
            .offset_ns
            .get_or_insert_with(|| shift.map_or(0, |start| start.as_ns().saturating_sub(recorded.as_ns())));
        if offset_ns == 0 {
            return item;
        }
        let moved = Timestamp::from_ns(recorded.as_ns().saturating_add(offset_ns));
        match &mut item {
            Record::Metric(metric) => {
                metric.timestamp = moved;
                metric.seq = None;
            }
            Record::Event(event) => {
                event.timestamp = moved;
                event.seq = None;
                event.id = derived_id(&[b"replay shift", event.id.as_bytes(), &offset_ns.to_be_bytes()]);
            }
        }
        item
    }
}

impl fmt::Display for BadRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file.display(), self.line, self.reason)
    }
}

impl std::error::Error for BadRecord {}

impl BadRecord {
    fn new(file: &Arc<Path>, line: u64, refused: RefusedRecord) -> Self {
        let RefusedRecord { kind, reason, bytes } = refused;
        Self { file: Arc::clone(file), line, kind, reason, bytes }
    }
}

#[cfg(test)]
mod tests;
