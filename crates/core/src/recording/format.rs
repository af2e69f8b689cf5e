//! Formats of a recording: detection by content, and parsing line by line.

use std::fmt;
use std::io::{self, BufRead};

use super::Record;
use super::lines::{Line, Lines};
use crate::backblaze::{BackblazeError, Columns};
use crate::wire::{self, MAX_PAYLOAD_BYTES, Rejected};

const EXPECTED: &str = "expected NDJSON of Spindle's wire format (one metric, event or array of them per line) or Backblaze Drive Stats CSV (with its header)";

/// Format of a recording.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// One metric, event, or array of either per line, as on the wire.
    Ndjson,
    /// Backblaze Drive Stats, with the columns of its header.
    Backblaze(Columns),
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ndjson => "NDJSON of Spindle's wire format",
            Self::Backblaze(_) => "Backblaze Drive Stats CSV",
        })
    }
}

/// Error for a file that is not a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The reader failed.
    #[error("cannot read its first line")]
    Unreadable(#[source] io::Error),
    /// Nothing but blank lines.
    #[error("the file is empty: {EXPECTED}")]
    Empty,
    /// First line too long, with its length in bytes.
    #[error("its first line is {0} bytes long, more than {MAX_PAYLOAD_BYTES}: {EXPECTED}")]
    FirstLineTooLong(u64),
    /// Neither format.
    #[error("line {line}")]
    Foreign {
        /// First non-blank line, counted from 1.
        line: u64,
        /// Detected content.
        source: Foreign,
    },
}

/// Content of a file that is not a recording, with a remedy.
#[derive(Debug, thiserror::Error)]
pub enum Foreign {
    /// Pretty-printed JSON.
    #[error(
        "looks like JSON over several lines: {EXPECTED}; `jq -c '.[]? // .'` puts each record on a line of its own"
    )]
    SpreadJson,
    /// gzip file.
    #[error("looks gzip-compressed: unpack it first (gunzip)")]
    Gzip,
    /// ZIP archive.
    #[error("looks like a ZIP archive, as Backblaze publishes them: unpack it first (unzip)")]
    Zip,
    /// Header of Drive Stats with a missing or duplicate column.
    #[error("looks like an incomplete header of Backblaze Drive Stats")]
    Header(#[source] BackblazeError),
    /// Anything else.
    #[error("of unknown format: {EXPECTED}")]
    Unknown,
}

/// Bytes of a bad record that are kept for display.
const MAX_KEPT_BYTES: usize = 1_024;

/// Part of a line that is not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Stable identifier for counters and filters, as [`wire::WireError::reason`]; `unreadable` if the reader failed.
    pub kind: &'static str,
    /// Problem, with the offending value.
    pub reason: String,
    /// First 1,024 bytes of the record.
    pub bytes: Vec<u8>,
}

impl RefusedRecord {
    /// Describes a [`Line::TooLong`].
    pub fn too_long(n_bytes: u64, head: &[u8]) -> Self {
        let reason = format!("line of {n_bytes} bytes is longer than {MAX_PAYLOAD_BYTES}: split it");
        Self::new("too_large", reason, head)
    }

    /// Describes the end of a recording whose reader failed.
    pub fn unreadable(error: &io::Error) -> Self {
        Self::new("unreadable", format!("read failed, the replay ends here: {error}"), &[])
    }

    fn new(kind: &'static str, reason: impl ToString, bytes: &[u8]) -> Self {
        let kept = &bytes[..bytes.len().min(MAX_KEPT_BYTES)];
        Self { kind, reason: reason.to_string(), bytes: kept.to_vec() }
    }
}

/// Detects the format from the first non-blank line. A CSV header is consumed; a line of NDJSON is returned again.
///
/// # Errors
/// [`RecordingError`] with a remedy if the format is unknown.
pub fn detect<R: BufRead>(lines: &mut Lines<R>) -> Result<Format, RecordingError> {
    let (line, first) = match lines.next_line().map_err(RecordingError::Unreadable)? {
        None => return Err(RecordingError::Empty),
        Some((_, Line::TooLong { n_bytes, .. })) => return Err(RecordingError::FirstLineTooLong(n_bytes)),
        Some((line, Line::Whole(bytes))) => (line, bytes),
    };
    let format = recognise(first).map_err(|source| RecordingError::Foreign { line, source })?;
    if format == Format::Ndjson {
        lines.hold();
    }
    Ok(format)
}

fn recognise(first: &[u8]) -> Result<Format, Foreign> {
    match first.trim_ascii() {
        b"{" | b"[" => return Err(Foreign::SpreadJson),
        [b'{' | b'[', ..] => return Ok(Format::Ndjson),
        [0x1f, 0x8b, ..] => return Err(Foreign::Gzip),
        [b'P', b'K', 3, 4, ..] => return Err(Foreign::Zip),
        _ => {}
    }
    let header = std::str::from_utf8(first).ok().and_then(split).ok_or(Foreign::Unknown)?;
    match Columns::from_header(&header.iter().collect::<Vec<_>>()) {
        Ok(columns) => Ok(Format::Backblaze(columns)),
        Err(error) if looks_like_backblaze(&header) => Err(Foreign::Header(error)),
        Err(_) => Err(Foreign::Unknown),
    }
}

/// Returns `true` if a header is meant as one of Drive Stats, so that the error names what it lacks.
fn looks_like_backblaze(header: &csv::StringRecord) -> bool {
    header.iter().any(|name| name.starts_with("smart_") || matches!(name.trim(), "serial_number" | "capacity_bytes"))
}

/// Splits one line of CSV into its fields. Fields with line breaks are not supported: Drive Stats has none, and an
/// unclosed quote would swallow the rest of the file. In CSV a lone carriage return ends a row: a line with a second row
/// is rejected, so that the row is not lost silently.
fn split(line: &str) -> Option<csv::StringRecord> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).buffer_capacity(line.len().max(1)).from_reader(line.as_bytes());
    let (mut record, mut second) = (csv::StringRecord::new(), csv::StringRecord::new());
    let is_one = reader.read_record(&mut record).is_ok_and(|found| found)
        && reader.read_record(&mut second).is_ok_and(|found| !found);
    is_one.then_some(record)
}

impl Format {
    /// Parses one line and passes each record in it, good or bad, to `take`, in order.
    pub fn read(&self, line: &[u8], take: &mut dyn FnMut(Result<Record, RefusedRecord>)) {
        match self {
            Self::Ndjson => read_json(line, take),
            Self::Backblaze(columns) => read_row(columns, line, take),
        }
    }
}

fn read_row(columns: &Columns, line: &[u8], take: &mut dyn FnMut(Result<Record, RefusedRecord>)) {
    let record = match std::str::from_utf8(line) {
        Ok(text) => split(text),
        Err(error) => return take(Err(RefusedRecord::new("bad_row", format!("invalid UTF-8: {error}"), line))),
    };
    let Some(record) = record else {
        return take(Err(RefusedRecord::new("bad_row", "is not one row of CSV", line)));
    };
    let mut refused = Vec::new();
    let batch = match columns.read(&record.iter().collect::<Vec<_>>(), &mut refused) {
        Ok(batch) => batch,
        Err(error) => return take(Err(RefusedRecord::new(kind(&error), error, line))),
    };
    batch.metrics.into_iter().for_each(|metric| take(Ok(Record::Metric(metric))));
    batch.events.into_iter().for_each(|event| take(Ok(Record::Event(event))));
    refused.into_iter().for_each(|error| take(Err(RefusedRecord::new(kind(&error), &error, line))));
}

fn kind(error: &BackblazeError) -> &'static str {
    match error {
        BackblazeError::MissingColumn(_) | BackblazeError::DuplicateColumn(_) | BackblazeError::Width { .. } => {
            "bad_row"
        }
        BackblazeError::Field { .. } => "bad_field",
    }
}

/// Decodes everything as metrics first, since most lines hold metrics only, and examines the rejected elements again.
fn read_json(line: &[u8], take: &mut dyn FnMut(Result<Record, RefusedRecord>)) {
    let decoded = wire::decode_metrics(line);
    let mut rejected = decoded.rejected.into_iter().peekable();
    let mut metrics = decoded.items.into_iter();
    for index in 0.. {
        match rejected.next_if(|rejected| rejected.index == index) {
            Some(rejected) => take(second_look(rejected)),
            None => match metrics.next() {
                Some(metric) => take(Ok(Record::Metric(metric))),
                None => break,
            },
        }
    }
}

fn second_look(rejected: Rejected) -> Result<Record, RefusedRecord> {
    let Rejected { bytes, error, .. } = rejected;
    // To the wire format an array is a payload of its own, but it is not a record.
    let [is_metric, is_event] = ["metricType", "eventType"].map(|field| wire::has_field(&bytes, field));
    let (Some(is_metric), Some(is_event)) = (is_metric, is_event) else {
        return Err(RefusedRecord::new(error.reason().as_str(), &error, &bytes));
    };
    if !is_metric && !is_event {
        let reason = "has neither 'metricType' nor 'eventType', so it is not a metric or an event";
        return Err(RefusedRecord::new("missing_field", reason, &bytes));
    }
    // An event may carry an unknown field 'metricType'; to the wire format it is still an event.
    let mut as_event = wire::decode_events(&bytes);
    if let Some(event) = as_event.items.pop() {
        return Ok(Record::Event(event));
    }
    let error = if is_metric { error } else { as_event.rejected.pop().map_or(error, |rejected| rejected.error) };
    Err(RefusedRecord::new(error.reason().as_str(), &error, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(format: &Format, line: &str) -> Vec<&'static str> {
        let mut kinds = Vec::new();
        format.read(line.as_bytes(), &mut |record| {
            kinds.push(match record {
                Ok(Record::Metric(_)) => "metric",
                Ok(Record::Event(_)) => "event",
                Err(refused) => refused.kind,
            });
        });
        kinds
    }

    #[test]
    fn a_second_row_behind_a_carriage_return_is_not_forgotten() {
        let header = &b"date,serial_number,model,capacity_bytes,failure,smart_5_raw\n"[..];
        let format = detect(&mut Lines::new(header)).unwrap();
        let row = "2013-04-10,S1,M,1,0,16";
        assert_eq!(kinds(&format, row), ["metric"]);
        assert_eq!(kinds(&format, &format!("{row}\r")), ["metric"], "of a line end with two of them");
        assert_eq!(kinds(&format, &format!("{row}\r{row}")), ["bad_row"]);
        assert_eq!(kinds(&format, &format!("{row}\r2013")), ["bad_row"]);
    }

    #[test]
    fn an_event_with_a_metric_type_is_an_event() {
        let event = r#"{"id":"e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90","criticality":8,"timestamp":"2025-06-06T12:00:00Z","sourceDevice":"d1","eventType":"TooHot","metricType":"DiskTemp"}"#;
        assert_eq!(kinds(&Format::Ndjson, event), ["event"]);
        assert_eq!(kinds(&Format::Ndjson, &format!("[{event}]")), ["event"]);
        assert_eq!(kinds(&Format::Ndjson, &event.replace(":8,", ":11,")), ["missing_field"], "of the metric: 'value'");
    }
}
