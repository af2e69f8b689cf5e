//! Recorded series as CSV: columns `timestamp` and `value`.

use std::io::Read;

use csv::{Reader, ReaderBuilder, StringRecord};

use crate::Timestamp;

/// Row of a recorded series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesRow {
    /// The time as the file has it.
    pub time: String,
    /// The instant; `None` if the text is not a time.
    pub at: Option<Timestamp>,
    /// The value; NaN if it is missing or not a number.
    pub value: f64,
}

/// Error for a file that is not a series.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// Not CSV, or not readable.
    #[error("cannot read the series: {0}")]
    Csv(#[from] csv::Error),
    /// No columns of that name.
    #[error("the header '{0}' has no columns 'timestamp' and 'value': name them so")]
    Header(String),
    /// No rows.
    #[error("the series has no rows: expected a header 'timestamp,value' and rows")]
    Empty,
}

/// Reader of a recorded series.
#[derive(Debug)]
pub struct SeriesReader<R> {
    csv: Reader<R>,
    record: StringRecord,
    time_column: usize,
    value_column: usize,
    /// A first row that is data: the file has no header.
    is_pending: bool,
}

impl<R: Read> SeriesReader<R> {
    /// Reads the header. A file whose first row is a time and a number has none.
    ///
    /// # Errors
    /// [`SeriesError`] if the file is empty, unreadable, or has other columns.
    pub fn new(reader: R) -> Result<Self, SeriesError> {
        let mut csv = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(reader);
        let mut record = StringRecord::new();
        if !csv.read_record(&mut record)? {
            return Err(SeriesError::Empty);
        }
        let column = |name: &str| record.iter().position(|cell| cell.trim().eq_ignore_ascii_case(name));
        let (columns, is_pending) = match (column("timestamp"), column("value")) {
            (Some(time), Some(value)) => ((time, value), false),
            _ if record.get(0).is_some_and(|text| Timestamp::parse_recorded(text).is_ok()) && record.len() > 1 => {
                ((0, 1), true)
            }
            _ => return Err(SeriesError::Header(record.iter().take(8).collect::<Vec<_>>().join(","))),
        };
        Ok(Self { csv, record, time_column: columns.0, value_column: columns.1, is_pending })
    }

    /// Returns the next row; `None` at the end.
    ///
    /// # Errors
    /// [`SeriesError::Csv`] if the rest cannot be read.
    pub fn next_row(&mut self) -> Result<Option<SeriesRow>, SeriesError> {
        if !std::mem::take(&mut self.is_pending) && !self.csv.read_record(&mut self.record)? {
            return Ok(None);
        }
        let cell = |column| self.record.get(column).unwrap_or_default();
        let time = cell(self.time_column).to_owned();
        let at = Timestamp::parse_recorded(&time).ok();
        let value = cell(self.value_column).trim().parse().unwrap_or(f64::NAN);
        Ok(Some(SeriesRow { time, at, value }))
    }
}
