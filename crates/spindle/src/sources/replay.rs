//! Replays recorded metrics and events in the order of the file: Spindle's own wire format (JSON) or Backblaze Drive
//! Stats (CSV), plain or compressed.
//!
//! The content of the file decides the format. A bad record is returned with its line, the reason and its bytes, and
//! never stops the records after it. Memory is bounded whatever the file contains: by one line of
//! [`wire::MAX_PAYLOAD_BYTES`], one batch and the window of a decoder.

pub(crate) mod unpack;

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use spindle_core::backblaze::derived_id;
use spindle_core::recording::{Record, Recording, RefusedRecord, Utf8Reader};
#[cfg(doc)]
use spindle_core::wire;
use spindle_core::{Batch, EventId, Timestamp};
use tracing::info;

use unpack::Unpacked;

/// Maximum number of metrics and events in one batch, so that a fleet's whole day is published in steps. At about 130
/// bytes each this is below NATS's default limit of 1 MiB; the publisher splits by bytes anyway.
pub(crate) const MAX_BATCH: usize = 5_000;

/// Options of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Options {
    /// Moves every recorded time by the same offset, so that the first record gets this time. Events then get new ids,
    /// derived from the old id and the offset: another shift produces other events, the same shift (after a restart,
    /// say) produces the same ones, and an offset of zero changes nothing. A moved record has no `seq`, which belongs
    /// to the original.
    pub(crate) shift: Option<Timestamp>,
}

/// Recording in an open file.
pub(crate) type OpenRecording = Recording<BufReader<Utf8Reader<Unpacked>>>;

/// A file being replayed.
pub(crate) struct Replay {
    file: Arc<Path>,
    recording: OpenRecording,
    options: Options,
    /// Offset of the recorded times in nanoseconds; set by the first record.
    offset_ns: Option<i64>,
    /// Records read but not yet returned: at most those of one line and one batch.
    pending: VecDeque<Result<Record, BadRecord>>,
    finished: bool,
}

/// A record that is neither a metric nor an event, or a file that cannot be read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadRecord {
    /// The file.
    pub(crate) file: Arc<Path>,
    /// Its line in the file, counted from 1.
    pub(crate) line: u64,
    /// A short, stable name for metrics and filters, as [`wire::WireError::reason`]; `unreadable` if reading the file
    /// failed here, which ends the replay.
    pub(crate) kind: &'static str,
    /// The error, with the offending value.
    pub(crate) reason: String,
    /// The record, at most its first 1,024 bytes.
    pub(crate) bytes: Vec<u8>,
}

/// Opens a file, unpacks it and detects its format; `deed` is the verb of the errors.
///
/// # Errors
/// If the file is missing, a directory or device, unreadable, empty, an archive, or of neither format; the error names
/// the cause and the remedy.
pub(crate) fn open_recording(path: &Path, deed: &str) -> anyhow::Result<OpenRecording> {
    let name = path.display().to_string();
    let file = File::open(path)
        .with_context(|| format!("cannot open {name} to {deed} it: check the path and its permissions"))?;
    let metadata = file.metadata().with_context(|| format!("cannot read the metadata of {name}"))?;
    ensure!(!metadata.is_dir(), "cannot {deed} {name}: it is a directory, name one of the files in it");
    let has_an_end = metadata.is_file() || metadata.file_type().is_fifo();
    ensure!(has_an_end, "cannot {deed} {name}: it is a device, name a file or a pipe");
    let cannot = || format!("cannot {deed} {name}");
    let (content, packing) = unpack::unpack(BufReader::with_capacity(1 << 16, file)).with_context(cannot)?;
    let text = Utf8Reader::new(content).with_context(|| match packing {
        Some(packing) => format!("cannot {deed} {name}: cannot unpack it ({packing})"),
        None => cannot(),
    })?;
    let recording = Recording::open(BufReader::with_capacity(1 << 16, text)).with_context(cannot)?;
    info!(file = name, format = %recording.format(), packing, "recording opened");
    Ok(recording)
}

impl Replay {
    /// Opens a file and detects its format.
    ///
    /// # Errors
    /// As [`open_recording`].
    pub(crate) fn open(path: impl Into<PathBuf>, options: Options) -> anyhow::Result<Self> {
        let path = path.into();
        let recording = open_recording(&path, "replay")?;
        Ok(Self { file: path.into(), recording, options, offset_ns: None, pending: VecDeque::new(), finished: false })
    }

    /// Returns the next records with the same recorded time, at most [`MAX_BATCH`] of them, and that time (as recorded:
    /// [`Options::shift`] moves only the times inside the batch). `None` at the end.
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

    /// Returns the next record without taking it; reads from the file if none is pending.
    fn peek(&mut self) -> Option<&Result<Record, BadRecord>> {
        while self.pending.is_empty() && !self.finished {
            self.read_records();
        }
        self.pending.front()
    }

    /// Reads the records of one line or object, good and bad, into `pending`.
    fn read_records(&mut self) {
        let (file, pending) = (&self.file, &mut self.pending);
        let more = self.recording.read(&mut |line, record| {
            pending.push_back(record.map_err(|refused| BadRecord::new(file, line, refused)));
        });
        self.finished = !matches!(more, Ok(true));
        if let Err(error) = more {
            let line = self.recording.line() + 1;
            self.pending.push_back(Err(BadRecord::new(&self.file, line, RefusedRecord::unreadable(&error))));
        }
    }

    /// Moves a record in time, and gives a moved event a new id.
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
                event.id = shifted_id(&event.id, offset_ns);
            }
        }
        item
    }
}

/// Returns the id of an event moved by an offset: the same in every replay with that offset.
fn shifted_id(id: &EventId, offset_ns: i64) -> EventId {
    let offset = offset_ns.to_be_bytes();
    match id.as_uuid() {
        Some(uuid) => derived_id(&[b"replay shift", uuid.as_bytes(), &offset]),
        None => derived_id(&[b"replay shift of a text", id.text().as_bytes(), &offset]),
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Replay").field("file", &self.file).finish_non_exhaustive()
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
