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
    /// `true` after a header that is not understood: the rows below it belong to no known columns.
    is_lost: bool,
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
        Ok(Self { format, is_lost: false, source })
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
            Ok(bytes) => match self.format.next_header(bytes) {
                Some(Ok(format)) => (self.format, self.is_lost) = (format, false),
                Some(Err(refused)) => {
                    self.is_lost = true;
                    take(number, Err(refused));
                }
                None if self.is_lost => {
                    take(number, Err(RefusedRecord::new("bad_row", "follows a header that is not understood", bytes)));
                }
                None => self.format.read(bytes, &mut |record| take(number, record)),
            },
            Err(refused) => take(number, Err(refused)),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let mut recording = Recording::open(text.as_bytes()).unwrap();
        let mut records = Vec::new();
        let mut take = |line: u64, record: Result<Record, RefusedRecord>| {
            records.push(match record {
                Ok(Record::Metric(metric)) => format!("{line} {} {}", metric.metric_type, metric.value),
                Ok(Record::Event(event)) => format!("{line} {}", event.event_type),
                Err(refused) => format!("{line} {}: {}", refused.kind, refused.reason),
            });
        };
        while recording.read(&mut take).unwrap() {}
        records
    }

    /// The columns of one year under the header of another would be read as values of other attributes.
    #[test]
    fn a_header_between_the_rows_of_joined_files_holds_from_there_on() {
        let header = "date,serial_number,model,capacity_bytes,failure,smart_5_raw";
        for again in [
            format!("{header}\n2024-01-02,S1,M,1,0,8"),
            "\u{FEFF}date,serial_number,model,failure,capacity_bytes,smart_5_raw\n2024-01-02,S1,M,0,1,8".to_owned(),
            "\"smart_5_raw\";\"date\";\"SERIAL_NUMBER\";\"model\";\"capacity_bytes\";\"failure\"\n8;2024-01-02;S1;M;1;0".to_owned(),
        ] {
            assert_eq!(read(&format!("{header}\n2024-01-01,S1,M,1,0,7\n{again}\n")), ["2 smart_5_raw 7", "4 smart_5_raw 8"]);
        }
        let other = "date,serial_number,model,capacity_bytes,failure,smart_197_raw\n2024-01-02,S1,M,1,1,8";
        assert_eq!(read(&format!("{header}\n{other}\n")), ["3 smart_197_raw 8", "3 DriveFailure"]);
    }

    #[test]
    fn rows_below_a_header_that_is_not_understood_are_refused() {
        let header = "date,serial_number,model,capacity_bytes,failure,smart_5_raw";
        let bad = "date,serial_number,model,capacity_bytes,smart_9_raw,smart_5_raw";
        let row = "2024-01-01,S1,M,1,0,7";
        let records = read(&format!("{header}\n{row}\n{bad}\n{row}\n{header}\n{row}\n"));
        assert_eq!(records.len(), 4, "{records:?}");
        assert!(records[1].starts_with("3 bad_row: column 'failure' is missing"), "{records:?}");
        assert_eq!(records[2..], ["4 bad_row: follows a header that is not understood", "6 smart_5_raw 7"]);
    }

    #[test]
    fn objects_that_follow_each_other_on_a_line_are_all_read() {
        let metric = |second| {
            format!(
                r#"{{"timestamp":"2024-01-01T00:00:0{second}Z","sourceDevice":"d","metricType":"X","value":{second}}}"#
            )
        };
        let (one, two) = (metric(1), metric(2));
        for (text, lines) in [
            (format!("{one}{two}\n"), [1, 1]),
            (format!("{one} {two}"), [1, 1]),
            (format!("{one},\n{two},\n"), [1, 2]),
            (format!("[{one}],[{two}]"), [1, 1]),
            (format!("{one}\n{two}\n"), [1, 2]),
        ] {
            assert_eq!(read(&text), [format!("{} X 1", lines[0]), format!("{} X 2", lines[1])], "{text}");
        }
    }

    #[test]
    fn files_of_other_programs_are_named() {
        let tar = [b"a.csv".as_slice(), &[0; 252], b"ustar\x0000", &[0; 247], b"date,serial_number\n"].concat();
        for (content, name) in [
            (&b"\x04\x22\x4D\x18aaaa"[..], "LZ4"),
            (b"\x5D\0\0\x80\0aaaa", "LZMA"),
            (b"\x1F\x9D\x90aaaa", "compress"),
            (b"Rar!\x1A\x07\0", "RAR"),
            (b"ARROW1\0\0", "Arrow"),
            (b"<!DOCTYPE html><html><body>404</body></html>\n", "HTML page"),
            (b"<HTML><body>", "HTML page"),
            (&tar, "tar archive"),
        ] {
            let Err(RecordingError::Foreign { source, .. }) = Recording::open(content) else { panic!("{name}") };
            assert!(source.to_string().contains(name), "{source}");
        }
    }
}
