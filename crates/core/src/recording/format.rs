//! Formats of a recording: detection by content, and parsing line by line.

use std::fmt;
use std::io::{self, BufRead};

use super::Record;
use super::lines::Lines;
use super::refused::RefusedRecord;
use super::values::is_part;
use crate::backblaze::{BackblazeError, Columns};
use crate::wire::{self, MAX_PAYLOAD_BYTES, Rejected};

const EXPECTED: &str = "expected metrics and events in Spindle's wire format (JSON or NDJSON) or Backblaze Drive Stats CSV (with its header)";

/// Format of a recording.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// One metric, event, or array of either per line, as on the wire.
    Ndjson,
    /// Metrics, events or arrays of either that spread over lines.
    Json,
    /// Backblaze Drive Stats, with the columns of its header.
    Backblaze(Columns),
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ndjson => "NDJSON of Spindle's wire format",
            Self::Json => "JSON of Spindle's wire format",
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
    /// Compressed file or archive.
    #[error("looks like {what}: unpack it first ({remedy})")]
    Packed {
        /// Format.
        what: &'static str,
        /// Command that unpacks it.
        remedy: &'static str,
    },
    /// File of another program.
    #[error("looks like {what}: {remedy}")]
    Table {
        /// Format.
        what: &'static str,
        /// Way to a CSV file.
        remedy: &'static str,
    },
    /// Header of Drive Stats with a missing or duplicate column.
    #[error("looks like an incomplete header of Backblaze Drive Stats")]
    Header(#[source] BackblazeError),
    /// Anything else.
    #[error("of unknown format: {EXPECTED}")]
    Unknown,
}

/// Column that is in every header.
const SERIAL_COLUMN: &[u8] = b"serial_number";
const BOM: &[u8] = "\u{FEFF}".as_bytes();

/// Delimiters of tables, the usual one first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// First bytes of files that are not text.
const PACKED: [(&[u8], &str, &str); 13] = [
    (b"\x1F\x8B", "gzip", "gunzip"),
    (b"BZh", "bzip2", "bunzip2"),
    (b"\xFD7zXZ\0", "xz", "unxz"),
    (b"\x28\xB5\x2F\xFD", "Zstandard", "unzstd"),
    (b"\x04\x22\x4D\x18", "LZ4", "unlz4"),
    (b"LZIP", "lzip", "lzip -d"),
    (b"\x5D\0\0", "LZMA", "unlzma"),
    (b"\x1F\x9D", "a file of compress (.Z)", "uncompress"),
    (b"\xFF\x06\0\0sNaPpY", "Snappy", "snzip -d"),
    (b"Rar!\x1A\x07", "a RAR archive", "unrar x"),
    (b"MSCF", "a cabinet archive", "cabextract"),
    (b"7z\xBC\xAF\x27\x1C", "a 7-Zip archive", "7z x"),
    (b"PK\x03\x04", "a ZIP archive (as Backblaze publishes) or a spreadsheet (.xlsx)", "unzip, or save it as CSV"),
];
/// Signature of a tar archive and its place.
const TAR: (usize, &[u8]) = (257, b"ustar");
const DUCKDB: &str = "convert it to CSV first (duckdb -csv -c \"SELECT * FROM 'FILE'\")";
const DOWNLOADED: &str = "the download failed or needs a login; fetch the data itself";
const TABLES: [(&[u8], &str, &str); 10] = [
    (b"PAR1", "Parquet", DUCKDB),
    (b"ARROW1", "Arrow (Feather)", "convert it to CSV first (pyarrow.csv.write_csv)"),
    (b"ORC", "ORC", "convert it to CSV first (pyarrow.csv.write_csv)"),
    (b"Obj\x01", "Avro", DUCKDB),
    (b"\x89HDF", "HDF5", "convert it to CSV first (pandas.read_hdf, to_csv)"),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV first (sqlite3 -header -csv)"),
    (b"\xD0\xCF\x11\xE0", "an old spreadsheet (.xls)", "save it as CSV (UTF-8)"),
    (b"<!doctype html", "an HTML page", DOWNLOADED),
    (b"<html", "an HTML page", DOWNLOADED),
    (b"<?xml", "XML", DOWNLOADED),
];

/// Detects the format from the first non-blank line. A CSV header is consumed; JSON is returned again, line by line if
/// the first line is whole, else from [`Lines::into_rest`].
///
/// # Errors
/// [`RecordingError`] with a remedy if the format is unknown.
pub fn detect<R: BufRead>(lines: &mut Lines<R>) -> Result<Format, RecordingError> {
    if !lines.read_start().map_err(RecordingError::Unreadable)? {
        return Err(RecordingError::Empty);
    }
    let line = lines.number();
    let foreign = |source| RecordingError::Foreign { line, source };
    let is_too_long = lines.start().len() > MAX_PAYLOAD_BYTES;
    let first = lines.start().trim_ascii();
    if let [b'{' | b'[', ..] = first {
        let is_spread = is_too_long || is_part(first);
        lines.hold();
        return Ok(if is_spread { Format::Json } else { Format::Ndjson });
    }
    if let Some(packed) = packed(first) {
        return Err(foreign(packed));
    }
    if is_too_long {
        let n_bytes = lines.count_rest().map_err(RecordingError::Unreadable)?;
        return Err(RecordingError::FirstLineTooLong(n_bytes));
    }
    // A spreadsheet may name its delimiter in a line before the header.
    if first.len() == 5 && first[..4].eq_ignore_ascii_case(b"sep=") {
        let delimiter = first[4];
        if !lines.read_start().map_err(RecordingError::Unreadable)? {
            return Err(RecordingError::Empty);
        }
        return table(lines.start(), &[delimiter]).map_err(foreign);
    }
    table(first, &DELIMITERS).map_err(foreign)
}

fn packed(first: &[u8]) -> Option<Foreign> {
    let found = |list: &[(&'static [u8], &'static str, &'static str)]| {
        let is_it = |magic: &[u8]| first.get(..magic.len()).is_some_and(|start| start.eq_ignore_ascii_case(magic));
        list.iter().find(|(magic, ..)| is_it(magic)).map(|(_, what, remedy)| (*what, *remedy))
    };
    if first.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1)) {
        return Some(Foreign::Packed { what: "a tar archive", remedy: "tar -x" });
    }
    let packed = found(&PACKED).map(|(what, remedy)| Foreign::Packed { what, remedy });
    packed.or_else(|| found(&TABLES).map(|(what, remedy)| Foreign::Table { what, remedy }))
}

/// Reads the header of Drive Stats with the first delimiter that fits.
fn table(header: &[u8], delimiters: &[u8]) -> Result<Format, Foreign> {
    let header = std::str::from_utf8(header).map_err(|_| Foreign::Unknown)?;
    let mut problem = Foreign::Unknown;
    for delimiter in delimiters {
        let Some(fields) = split(header, *delimiter) else { continue };
        match Columns::with_delimiter(&fields.iter().collect::<Vec<_>>(), *delimiter) {
            Ok(columns) => return Ok(Format::Backblaze(columns)),
            Err(error) if fields.len() > 1 && looks_like_backblaze(&fields) => problem = Foreign::Header(error),
            Err(_) => {}
        }
    }
    Err(problem)
}

/// Returns `true` if a header is meant as one of Drive Stats, so that the error names what it lacks.
fn looks_like_backblaze(header: &csv::StringRecord) -> bool {
    let is_ours = |name: &str| name.starts_with("smart_") || matches!(name, "serial_number" | "capacity_bytes");
    header.iter().any(|name| is_ours(&name.trim().to_ascii_lowercase()))
}

/// Splits one line of CSV into its fields. Fields with line breaks are not supported: Drive Stats has none, and an
/// unclosed quote would swallow the rest of the file. In CSV a lone carriage return ends a row: a line with a second row
/// is rejected, so that the row is not lost silently.
fn split(line: &str, delimiter: u8) -> Option<csv::StringRecord> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .delimiter(delimiter)
        .buffer_capacity(line.len().max(1))
        .from_reader(line.as_bytes());
    let (mut record, mut second) = (csv::StringRecord::new(), csv::StringRecord::new());
    let is_one = reader.read_record(&mut record).is_ok_and(|found| found)
        && reader.read_record(&mut second).is_ok_and(|found| !found);
    is_one.then_some(record)
}

impl Format {
    /// Returns the format from a row on that is a header again, as in files that were joined; `None` for any other row.
    ///
    /// # Errors
    /// The row, if it is a header that lacks a column or has one twice.
    pub(super) fn next_header(&self, line: &[u8]) -> Option<Result<Self, RefusedRecord>> {
        let Self::Backblaze(_) = self else { return None };
        let mut places = line.windows(SERIAL_COLUMN.len());
        if !places.any(|place| place.eq_ignore_ascii_case(SERIAL_COLUMN)) {
            return None;
        }
        match table(line.strip_prefix(BOM).unwrap_or(line), &DELIMITERS) {
            Ok(format) => Some(Ok(format)),
            Err(Foreign::Header(error)) => Some(Err(RefusedRecord::new(kind(&error), error, line))),
            Err(_) => None,
        }
    }

    /// Parses one line and passes each record in it, good or bad, to `take`, in order.
    pub fn read(&self, line: &[u8], take: &mut dyn FnMut(Result<Record, RefusedRecord>)) {
        match self {
            Self::Ndjson | Self::Json => read_json(line, take),
            Self::Backblaze(columns) => read_row(columns, line, take),
        }
    }
}

fn read_row(columns: &Columns, line: &[u8], take: &mut dyn FnMut(Result<Record, RefusedRecord>)) {
    let record = match std::str::from_utf8(line) {
        Ok(text) => split(text, columns.delimiter()),
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
