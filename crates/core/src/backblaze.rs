//! Backblaze Drive Stats: parses the CSV in which Backblaze publishes the SMART values of its fleet, one row per drive
//! and day, into metrics and drive failures.
//!
//! Columns come, go and move between the years, so the header decides; `cells` reads what other programs made of it. A bad SMART value is rejected alone and never
//! costs the row its good ones. Values are not judged here; `health` does that.

mod cells;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::event_id::EventId;
use crate::metric;
use crate::name::{DeviceName, EventType, MetricType};
use crate::timestamp::{Timestamp, shorten};
use crate::wire::{Batch, Criticality, DeviceMetric, Event, Labels, MAX_LABEL_BYTES};

/// Type of the event of a row with `failure` = 1.
pub const DRIVE_FAILURE: &str = "DriveFailure";

/// Largest plausible capacity in bytes: a thousand terabytes. The published data contains drives that returned garbage,
/// with 600 petabytes or -1.
const MAX_CAPACITY_BYTES: f64 = 1e15;

/// Raw attributes quoted in the message of a failure: reallocated, reported uncorrectable and pending sectors, the three
/// that Backblaze itself watches first.
const QUOTED: [&str; 3] = ["smart_5_raw", "smart_187_raw", "smart_197_raw"];

/// Columns of 2023 and later that describe where a drive is; each becomes a label of the same name.
const PLACES: [&str; 6] = ["datacenter", "cluster_id", "vault_id", "pod_id", "pod_slot_num", "is_legacy_format"];

/// Column layout of a file, built from its header and valid for all its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    delimiter: u8,
    width: usize,
    date: usize,
    serial_number: usize,
    model: usize,
    capacity_bytes: usize,
    failure: usize,
    /// Every `smart_<id>_raw` and `smart_<id>_normalized`, in the order of the file.
    smart: Vec<(usize, MetricType)>,
    /// Those of [`PLACES`] that are present.
    places: Vec<(usize, &'static str)>,
}

/// Error for a header, row or value that does not belong to Backblaze Drive Stats.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackblazeError {
    /// Column of every year missing in the header.
    #[error("column '{0}' is missing in the header: expected date, serial_number, model, capacity_bytes and failure")]
    MissingColumn(&'static str),
    /// Column present twice in the header, so that its values contradict each other.
    #[error("duplicate column '{0}' in the header")]
    DuplicateColumn(String),
    /// More or fewer fields than the header: truncated, or not of this file.
    #[error("row has {found} fields, the header has {expected}")]
    Width {
        /// Number of fields in the row.
        found: usize,
        /// Number of fields in the header.
        expected: usize,
    },
    /// Field with a value that its column cannot hold.
    #[error("column '{column}' holds '{value}': {problem}")]
    Field {
        /// Name of the column.
        column: String,
        /// Value, shortened.
        value: String,
        /// Problem, and the expected value.
        problem: String,
    },
}

impl Columns {
    /// Finds the columns of a table delimited by commas.
    ///
    /// # Errors
    /// As [`Columns::with_delimiter`].
    pub fn from_header(fields: &[&str]) -> Result<Self, BackblazeError> {
        Self::with_delimiter(fields, b',')
    }

    /// Finds the columns by name, in any case; unknown ones are ignored.
    ///
    /// # Errors
    /// [`BackblazeError::MissingColumn`] without one of date, serial_number, model, capacity_bytes or
    /// failure; [`BackblazeError::DuplicateColumn`] if a column that is read is present twice.
    pub fn with_delimiter(fields: &[&str], delimiter: u8) -> Result<Self, BackblazeError> {
        let mut smart: Vec<(usize, MetricType)> = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            if let Some(metric_type) = smart_metric(&field.trim().to_ascii_lowercase()) {
                smart.push((index, metric_type));
            }
        }
        let mut names: Vec<&str> = smart.iter().map(|(_, name)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(BackblazeError::DuplicateColumn(pair[0].to_owned()));
        }
        let mut places = Vec::new();
        for name in PLACES {
            places.extend(optional_column(fields, name)?.map(|index| (index, name)));
        }
        Ok(Self {
            delimiter,
            width: fields.len(),
            date: column(fields, "date")?,
            serial_number: column(fields, "serial_number")?,
            model: column(fields, "model")?,
            capacity_bytes: column(fields, "capacity_bytes")?,
            failure: column(fields, "failure")?,
            smart,
            places,
        })
    }

    /// Returns the delimiter of the table.
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// Parses one row: its SMART values as metrics named like their columns, and with `failure` = 1 a [`DRIVE_FAILURE`]
    /// of criticality 10, at the row's date. Model, serial and capacity are labels of the first metric and of the event.
    ///
    /// SMART values that are not numbers, or outside the range in the metric table, are added to `refused` and omitted;
    /// the rest of the row is kept.
    ///
    /// # Errors
    /// [`BackblazeError`] if the row is truncated, or its date, serial number or failure flag is invalid: the whole row
    /// is then untrustworthy.
    pub fn read(&self, fields: &[&str], refused: &mut Vec<BackblazeError>) -> Result<Batch, BackblazeError> {
        if fields.len() != self.width {
            return Err(BackblazeError::Width { found: fields.len(), expected: self.width });
        }
        let date = fields[self.date].trim();
        let timestamp = cells::time(date).map_err(|problem| wrong("date", date, problem))?;
        let serial = fields[self.serial_number].trim();
        if let Some(problem) = cells::damaged_serial(serial) {
            return Err(wrong("serial_number", serial, problem));
        }
        let missing = || wrong("serial_number", serial, "is empty");
        let device = DeviceName::new(cells::present(serial).ok_or_else(missing)?);
        let device = device.map_err(|error| wrong("serial_number", serial, error))?;
        let failure_flag = fields[self.failure].trim();
        let failed = cells::flag(failure_flag).ok_or_else(|| wrong("failure", failure_flag, "expected 0 or 1"))?;
        let labels = self.labels(fields, serial, refused);

        let mut metrics = self.metrics(fields, timestamp, &device, refused);
        let events = match failed {
            true => vec![failure(timestamp, device, &labels, &metrics)],
            false => Vec::new(),
        };
        if let Some(first) = metrics.first_mut() {
            first.labels = Some(Box::new(labels));
        }
        Ok(Batch { metrics, events })
    }

    fn metrics(
        &self,
        fields: &[&str],
        timestamp: Timestamp,
        device: &DeviceName,
        refused: &mut Vec<BackblazeError>,
    ) -> Vec<DeviceMetric> {
        let mut metrics = Vec::new();
        for (index, metric_type) in &self.smart {
            let Some(text) = cells::present(fields[*index]) else { continue };
            match smart_value(metric_type, text, self.delimiter) {
                Ok(value) => metrics.push(DeviceMetric {
                    timestamp,
                    source_device: device.clone(),
                    metric_type: metric_type.clone(),
                    value,
                    seq: None,
                    labels: None,
                }),
                Err(error) => refused.push(error),
            }
        }
        metrics
    }

    /// Returns model, serial and capacity, as far as present. Never empty: the serial is always present.
    fn labels(&self, fields: &[&str], serial: &str, refused: &mut Vec<BackblazeError>) -> Labels {
        let mut labels = Labels::from([("serial".to_owned(), serial.to_owned())]);
        let model = cells::present(fields[self.model]).map(|model| ("model", model));
        let places = self.places.iter().filter_map(|(index, name)| Some((*name, cells::present(fields[*index])?)));
        for (name, text) in model.into_iter().chain(places) {
            if text.len() > MAX_LABEL_BYTES {
                refused.push(wrong(name, text, format_args!("is longer than {MAX_LABEL_BYTES} bytes")));
                continue;
            }
            let text = match name {
                "model" => text.to_owned(),
                "is_legacy_format" => cells::flag(text).map_or_else(|| text.to_owned(), |flag| flag.to_string()),
                _ => cells::without_fraction(text).to_owned(),
            };
            labels.insert(name.to_owned(), text);
        }
        if let Some(capacity_bytes) = capacity(fields[self.capacity_bytes].trim(), self.delimiter) {
            labels.insert("capacity_bytes".to_owned(), capacity_bytes.to_string());
        }
        labels
    }
}

/// Returns a UUID (version 8) that depends on `parts` alone: the same parts give the same id, also after a restart.
/// Hashed with 128-bit FNV-1a, each part preceded by its length; sufficient to separate the events of honest senders,
/// but not collision-resistant against an attacker.
pub fn derived_id(parts: &[&[u8]]) -> EventId {
    const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash = OFFSET_BASIS;
    for part in parts {
        for byte in (part.len() as u64).to_be_bytes().iter().chain(*part) {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }
    uuid::Builder::from_custom_bytes(hash.to_be_bytes()).into_uuid().into()
}

/// Parses `smart_<id>_raw` or `smart_<id>_normalized` with an id from 1 to 255.
fn smart_metric(column: &str) -> Option<MetricType> {
    let (id, kind) = column.strip_prefix("smart_")?.split_once('_')?;
    let is_id = id.bytes().all(|byte| byte.is_ascii_digit()) && !id.starts_with('0') && id.parse::<u8>().is_ok();
    (is_id && matches!(kind, "raw" | "normalized")).then(|| MetricType::new(column).ok())?
}

fn column(fields: &[&str], name: &'static str) -> Result<usize, BackblazeError> {
    optional_column(fields, name)?.ok_or(BackblazeError::MissingColumn(name))
}

fn optional_column(fields: &[&str], name: &str) -> Result<Option<usize>, BackblazeError> {
    let mut indices = (0..fields.len()).filter(|index| fields[*index].trim().eq_ignore_ascii_case(name));
    match (indices.next(), indices.next()) {
        (_, Some(_)) => Err(BackblazeError::DuplicateColumn(name.to_owned())),
        (first, None) => Ok(first),
    }
}

/// Parses a SMART value. Raw values may be `16`, `115059024.0`, or 48 bits with three numbers packed by the vendor.
fn smart_value(metric_type: &MetricType, text: &str, delimiter: u8) -> Result<f64, BackblazeError> {
    let value = cells::number(text, delimiter).map_err(|problem| wrong(metric_type, text, problem))?;
    match metric::lookup(metric_type) {
        Some(kind) if !(kind.min..=kind.max).contains(&value) => {
            Err(wrong(metric_type, text, format_args!("expected a number from {} to {}", kind.min, kind.max)))
        }
        _ => Ok(value),
    }
}

/// Parses a capacity in whole bytes; `None` if implausible.
fn capacity(text: &str, delimiter: u8) -> Option<u64> {
    let bytes = cells::number(text, delimiter).ok()?;
    (1.0..=MAX_CAPACITY_BYTES).contains(&bytes).then_some(bytes as u64)
}

fn failure(timestamp: Timestamp, device: DeviceName, labels: &Labels, metrics: &[DeviceMetric]) -> Event {
    let mut message = format!("drive failed: serial {device}");
    if let Some(model) = labels.get("model") {
        message.push_str(&format!(", model {model}"));
    }
    for metric in metrics.iter().filter(|metric| QUOTED.contains(&metric.metric_type.as_str())) {
        message.push_str(&format!(", {} {}", metric.metric_type, metric.value));
    }
    Event {
        id: derived_id(&[b"backblaze drive failure", device.as_bytes(), &timestamp.as_ns().to_be_bytes()]),
        criticality: Criticality::MAX,
        timestamp,
        source_device: device,
        event_type: EventType::new(DRIVE_FAILURE).expect("a short printable constant is a name"),
        event_message: Some(message),
        seq: None,
        labels: Some(Box::new(labels.clone())),
    }
}

fn wrong(column: &str, value: &str, problem: impl fmt::Display) -> BackblazeError {
    BackblazeError::Field { column: column.to_owned(), value: shorten(value), problem: problem.to_string() }
}
