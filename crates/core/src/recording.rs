//! Recordings: metrics and events in a file of Spindle's wire format (JSON, one object or array per line or spread over
//! lines) or of Backblaze Drive Stats (CSV), detected by content and parsed record by record.
//!
//! Opens no files: the reader is an argument. Bad records are returned with the reason and their bytes, beside the good
//! ones; no line takes more memory than [`crate::wire::MAX_PAYLOAD_BYTES`] and its records.

mod format;
mod lines;
mod refused;
mod text;
mod values;

use std::io::{self, BufRead, Chain, Cursor};

use crate::timestamp::Timestamp;
use crate::wire::{Batch, DeviceMetric, Event};

use values::Values;

pub use format::{Foreign, Format, RecordingError, detect};
pub use lines::{Line, Lines};
pub use refused::RefusedRecord;
pub use text::Utf8Reader;

/// Record of a recording.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Measured value.
    Metric(DeviceMetric),
    /// Event.
    Event(Event),
}

impl Record {
    /// Returns the time of the measurement or event.
    pub fn timestamp(&self) -> Timestamp {
        match self {
            Self::Metric(metric) => metric.timestamp,
            Self::Event(event) => event.timestamp,
        }
    }

    /// Adds the record to a batch.
    pub fn put_into(self, batch: &mut Batch) {
        match self {
            Self::Metric(metric) => batch.metrics.push(metric),
            Self::Event(event) => batch.events.push(event),
        }
    }
}

/// Recording being read.
#[derive(Debug)]
pub struct Recording<R> {
    format: Format,
    source: Source<R>,
}

#[derive(Debug)]
enum Source<R> {
    Lines(Lines<R>),
    Values(Values<Chain<Cursor<Vec<u8>>, R>>),
}

impl<R: BufRead> Recording<R> {
    /// Detects the format of a recording in UTF-8.
    ///
    /// # Errors
    /// As [`detect`].
    pub fn open(reader: R) -> Result<Self, RecordingError> {
        let mut lines = Lines::new(reader);
        let format = detect(&mut lines)?;
        let source = match format {
            Format::Json => {
                let (line, rest) = lines.into_rest();
                Source::Values(Values::new(rest, line))
            }
            Format::Ndjson | Format::Backblaze(_) => Source::Lines(lines),
        };
        Ok(Self { format, source })
    }

    /// Returns the format.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Returns the number of the line read last, counted from 1.
    pub fn line(&self) -> u64 {
        match &self.source {
            Source::Lines(lines) => lines.number(),
            Source::Values(values) => values.line(),
        }
    }

    /// Reads the next line or object and passes each record in it, good or bad, to `take`, with its line. Returns `false`
    /// at the end.
    ///
    /// # Errors
    /// Errors of the reader.
    pub fn read(&mut self, take: &mut dyn FnMut(u64, Result<Record, RefusedRecord>)) -> io::Result<bool> {
        let next = match &mut self.source {
            Source::Lines(lines) => lines.next_line()?.map(|(number, line)| {
                let line = match line {
                    Line::Whole(bytes) => Ok(bytes),
                    Line::TooLong { n_bytes, head } => Err(RefusedRecord::too_long(n_bytes, head)),
                };
                (number, line)
            }),
            Source::Values(values) => values.next_value()?,
        };
        let Some((number, record)) = next else { return Ok(false) };
        match record {
            Ok(bytes) => self.format.read(bytes, &mut |record| take(number, record)),
            Err(refused) => take(number, Err(refused)),
        }
        Ok(true)
    }
}
