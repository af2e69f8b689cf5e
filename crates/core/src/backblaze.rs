//! Backblaze Drive Stats: the CSV in which Backblaze publishes the SMART values of its fleet, one row per
//! drive and day, read into metrics and drive failures.
//!
//! Columns come and go and change places between the years, so the header decides. What a row says of
//! one attribute never costs it the others: a bad SMART value is refused alone, beside the good ones.
//! Nothing here judges a value; `health` does.

use std::fmt;

use uuid::Uuid;

use crate::metric;
use crate::name::{DeviceName, EventType, MetricType};
use crate::timestamp::{Timestamp, shorten};
use crate::wire::{Batch, Criticality, DeviceMetric, Event, Labels, MAX_LABEL_BYTES};

/// The type of the event that a row with `failure` = 1 gives.
pub const DRIVE_FAILURE: &str = "DriveFailure";

/// Largest capacity believed, in bytes: a thousand terabytes. Drives that answered with garbage are in
/// the published data with 600 petabytes, and with -1.
const MAX_CAPACITY_BYTES: f64 = 1e15;

/// Raw attributes that the failure's message quotes: reallocated, reported uncorrectable and pending
/// sectors, the three that Backblaze itself watches first.
const QUOTED: [&str; 3] = ["smart_5_raw", "smart_187_raw", "smart_197_raw"];

/// Where a file keeps what: built from its header, good for each of its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    width: usize,
    date: usize,
    serial_number: usize,
    model: usize,
    capacity_bytes: usize,
    failure: usize,
    /// Every `smart_<id>_raw` and `smart_<id>_normalized`, in the order of the file.
    smart: Vec<(usize, MetricType)>,
}

/// Why a header, a row or a value is none of Backblaze Drive Stats.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackblazeError {
    /// The header lacks a column that every year has.
    #[error("column '{0}' is missing in the header: expected date, serial_number, model, capacity_bytes and failure")]
    MissingColumn(&'static str),
    /// The header has a column twice, so its values contradict each other.
    #[error("column '{0}' is twice in the header")]
    DuplicateColumn(String),
    /// More or fewer fields than the header: torn, or not of this file.
    #[error("row has {found} fields, the header has {expected}")]
    Width {
        /// Fields of the row.
        found: usize,
        /// Fields of the header.
        expected: usize,
    },
    /// A field that cannot be what its column says.
    #[error("column '{column}' holds '{value}': {problem}")]
    Field {
        /// The column's name.
        column: String,
        /// The value, shortened.
        value: String,
        /// What is wrong with it, and what was expected.
        problem: String,
    },
}

impl Columns {
    /// Finds the columns by name; unknown ones are ignored.
    ///
    /// # Errors
    /// [`BackblazeError::MissingColumn`] without one of date, serial_number, model, capacity_bytes or
    /// failure; [`BackblazeError::DuplicateColumn`] if one that is read is there twice.
    pub fn from_header(fields: &[&str]) -> Result<Self, BackblazeError> {
        let mut smart: Vec<(usize, MetricType)> = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            if let Some(metric_type) = smart_metric(field.trim()) {
                smart.push((index, metric_type));
            }
        }
        let mut names: Vec<&str> = smart.iter().map(|(_, name)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(BackblazeError::DuplicateColumn(pair[0].to_owned()));
        }
        Ok(Self {
            width: fields.len(),
            date: column(fields, "date")?,
            serial_number: column(fields, "serial_number")?,
            model: column(fields, "model")?,
            capacity_bytes: column(fields, "capacity_bytes")?,
            failure: column(fields, "failure")?,
            smart,
        })
    }

    /// Reads one row: its SMART values as metrics, named as their columns, and with `failure` = 1 a
    /// [`DRIVE_FAILURE`] of criticality 10, at the row's date. Model, serial and capacity are labels of
    /// the first metric and of the event.
    ///
    /// A SMART value that is no number, or outside the metric table's range, is put into `refused` and
    /// left out; the rest of the row stands.
    ///
    /// # Errors
    /// [`BackblazeError`] if the row is torn, or its date, serial number or failure flag is wrong: then
    /// nothing in it can be believed.
    pub fn read(&self, fields: &[&str], refused: &mut Vec<BackblazeError>) -> Result<Batch, BackblazeError> {
        if fields.len() != self.width {
            return Err(BackblazeError::Width { found: fields.len(), expected: self.width });
        }
        let timestamp = day(fields[self.date].trim())?;
        let serial = fields[self.serial_number].trim();
        let device = DeviceName::new(serial).map_err(|error| wrong("serial_number", serial, error))?;
        let failed = failed(fields[self.failure].trim())?;
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
            let text = fields[*index].trim();
            if text.is_empty() {
                continue;
            }
            match smart_value(metric_type, text) {
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

    /// Model, serial and capacity, as far as the row has them. Never empty: there is always a serial.
    fn labels(&self, fields: &[&str], serial: &str, refused: &mut Vec<BackblazeError>) -> Labels {
        let mut labels = Labels::from([("serial".to_owned(), serial.to_owned())]);
        let model = fields[self.model].trim();
        if model.len() > MAX_LABEL_BYTES {
            refused.push(wrong("model", model, format_args!("is longer than {MAX_LABEL_BYTES} bytes")));
        } else if !model.is_empty() {
            labels.insert("model".to_owned(), model.to_owned());
        }
        if let Some(capacity_bytes) = capacity(fields[self.capacity_bytes].trim()) {
            labels.insert("capacity_bytes".to_owned(), capacity_bytes.to_string());
        }
        labels
    }
}

/// A UUID (version 8) that depends on `parts` and nothing else: the same parts give the same id, today
/// and after a restart. Hashed with FNV-1a in 128 bits, each part preceded by its length; enough to tell
/// honest senders' events apart, no defence against someone who searches for two that collide.
pub fn derived_id(parts: &[&[u8]]) -> Uuid {
    const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash = OFFSET_BASIS;
    for part in parts {
        for byte in (part.len() as u64).to_be_bytes().iter().chain(*part) {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }
    uuid::Builder::from_custom_bytes(hash.to_be_bytes()).into_uuid()
}

/// `smart_<id>_raw` or `smart_<id>_normalized` with an id from 1 to 255.
fn smart_metric(column: &str) -> Option<MetricType> {
    let (id, kind) = column.strip_prefix("smart_")?.split_once('_')?;
    let is_id = id.bytes().all(|byte| byte.is_ascii_digit()) && !id.starts_with('0') && id.parse::<u8>().is_ok();
    (is_id && matches!(kind, "raw" | "normalized")).then(|| MetricType::new(column).ok())?
}

fn column(fields: &[&str], name: &'static str) -> Result<usize, BackblazeError> {
    let mut places = (0..fields.len()).filter(|index| fields[*index].trim() == name);
    let first = places.next().ok_or(BackblazeError::MissingColumn(name))?;
    match places.next() {
        None => Ok(first),
        Some(_) => Err(BackblazeError::DuplicateColumn(name.to_owned())),
    }
}

/// A day (`2013-04-10`, at its start in UTC) or an RFC 3339 instant.
fn day(text: &str) -> Result<Timestamp, BackblazeError> {
    Timestamp::parse(&format!("{text}T00:00:00Z")).or_else(|_| Timestamp::parse(text)).map_err(|_| {
        wrong("date", text, "expected a day such as 2013-04-10, or an RFC 3339 time, in the years 1677 to 2262")
    })
}

fn failed(text: &str) -> Result<bool, BackblazeError> {
    match text {
        "0" | "0.0" => Ok(false),
        "1" | "1.0" => Ok(true),
        other => Err(wrong("failure", other, "expected 0 or 1")),
    }
}

/// A raw value may be `16`, `115059024.0`, or 48 bits that a vendor packed three numbers into.
fn smart_value(metric_type: &MetricType, text: &str) -> Result<f64, BackblazeError> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
    let value = value.ok_or_else(|| wrong(metric_type, text, "expected a finite number"))?;
    match metric::lookup(metric_type) {
        Some(kind) if !(kind.min..=kind.max).contains(&value) => {
            Err(wrong(metric_type, text, format_args!("expected a number from {} to {}", kind.min, kind.max)))
        }
        _ => Ok(value),
    }
}

/// The capacity in whole bytes, if it can be one.
fn capacity(text: &str) -> Option<u64> {
    let bytes = text.parse::<f64>().ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    const HEADER: [&str; 9] = [
        "smart_197_raw",
        "failure",
        "date",
        "serial_number",
        "model",
        "capacity_bytes",
        "smart_5_normalized",
        "smart_5_raw",
        "datacenter",
    ];

    fn columns() -> Columns {
        Columns::from_header(&HEADER).unwrap()
    }

    /// Reads a good row: what it gives, and what was refused of it.
    fn read(row: &[&str]) -> (Batch, Vec<BackblazeError>) {
        let mut refused = Vec::new();
        let batch = columns().read(row, &mut refused).unwrap();
        (batch, refused)
    }

    fn refusal(row: &[&str]) -> String {
        columns().read(row, &mut Vec::new()).unwrap_err().to_string()
    }

    #[test]
    fn a_row_becomes_metrics_by_the_columns_names_in_any_order() {
        let (batch, refused) =
            read(&["4.0", "0", "2013-04-10", "S1", "ST31500341AS", "1500301910016", "", "16", "dc1"]);
        assert!(refused.is_empty() && batch.events.is_empty());
        let values: Vec<_> = batch.metrics.iter().map(|metric| (metric.metric_type.as_str(), metric.value)).collect();
        assert_eq!(values, [("smart_197_raw", 4.0), ("smart_5_raw", 16.0)]);
        assert_eq!(batch.metrics[0].timestamp.to_string(), "2013-04-10T00:00:00Z");
        assert_eq!(batch.metrics[0].source_device.as_str(), "S1");
        let labels = batch.metrics[0].labels.as_ref().unwrap();
        assert_eq!(
            (labels["model"].as_str(), labels["capacity_bytes"].as_str(), labels["serial"].as_str()),
            ("ST31500341AS", "1500301910016", "S1")
        );
        assert!(batch.metrics[1].labels.is_none());
    }

    #[test]
    fn a_failure_is_one_event_however_often_it_is_read() {
        let row = ["1", "1", "2013-04-10", "S1", "M", "1", "", "4094", ""];
        let event = read(&row).0.events.remove(0);
        assert_eq!((event.criticality.level(), event.event_type.as_str()), (10, "DriveFailure"));
        assert_eq!(
            event.event_message.as_deref(),
            Some("drive failed: serial S1, model M, smart_197_raw 1, smart_5_raw 4094")
        );
        assert_eq!(wire::decode_events(&wire::encode_event(&event)).items, std::slice::from_ref(&event));
        let exact = read(&["9", "1.0", "2013-04-10T02:00:00+02:00", "S1", "M", "1", "", "4094", ""]).0;
        assert_eq!(exact.events[0].id, event.id, "the same drive and instant");
        let next_day = read(&["1", "1", "2013-04-11", "S1", "M", "1", "", "4094", ""]).0;
        assert_ne!(next_day.events[0].id, event.id);
    }

    #[test]
    fn a_failure_without_smart_values_is_still_an_event() {
        let (batch, _) = read(&["", "1", "2013-04-10", "S1", "", "-1", "", "", ""]);
        assert!(batch.metrics.is_empty());
        let labels = batch.events[0].labels.as_ref().unwrap();
        assert_eq!(labels.keys().collect::<Vec<_>>(), ["serial"], "no empty model, no negative capacity");
    }

    #[test]
    fn a_bad_value_is_refused_alone() {
        let (batch, refused) = read(&["nan", "0", "2013-04-10", "S1", "M", "600332565813390450", "100", "-7", ""]);
        assert_eq!(batch.metrics.len(), 1);
        assert_eq!(batch.metrics[0].metric_type.as_str(), "smart_5_normalized");
        assert!(!batch.metrics[0].labels.as_ref().unwrap().contains_key("capacity_bytes"));
        let refused: Vec<_> = refused.iter().map(ToString::to_string).collect();
        assert_eq!(refused[0], "column 'smart_197_raw' holds 'nan': expected a finite number");
        assert!(refused[1].starts_with("column 'smart_5_raw' holds '-7': expected a number from 0 to"), "{refused:?}");
        assert_eq!(read(&["281474976710655", "0", "2013-04-10", "S", "M", "1", "", "1e400", ""]).0.metrics.len(), 1);
    }

    #[test]
    fn a_bad_row_names_column_and_value() {
        let check = |row: &[&str], expected: &str| assert!(refusal(row).starts_with(expected), "{}", refusal(row));
        check(&["1", "0", "10.04.2013", "S", "M", "1", "", "", ""], "column 'date' holds '10.04.2013'");
        check(&["1", "0", "", "S", "M", "1", "", "", ""], "column 'date' holds ''");
        check(&["1", "0", "2013-04-10", "", "M", "1", "", "", ""], "column 'serial_number' holds '': is empty");
        check(&["1", "yes", "2013-04-10", "S", "M", "1", "", "", ""], "column 'failure' holds 'yes'");
        check(&["1", "0", "2013-04-10"], "row has 3 fields, the header has 9");
    }

    #[test]
    fn a_header_needs_its_columns_once() {
        assert_eq!(Columns::from_header(&["date", "model"]), Err(BackblazeError::MissingColumn("serial_number")));
        let twice: Vec<&str> = HEADER.iter().copied().chain(["smart_5_raw"]).collect();
        assert_eq!(Columns::from_header(&twice), Err(BackblazeError::DuplicateColumn("smart_5_raw".to_owned())));
        let odd = [&HEADER[..], &["smart_x_raw", "smart_256_raw", "smart_5_cooked", "smart_05_raw"]].concat();
        assert_eq!(Columns::from_header(&odd).unwrap().smart.len(), 3);
    }

    #[test]
    fn derived_ids_depend_on_every_part_and_its_place() {
        let id = derived_id(&[b"ab", b"c"]);
        assert_eq!(id.to_string(), derived_id(&[b"ab", b"c"]).to_string());
        assert_eq!(id.get_version_num(), 8);
        assert_ne!(id, derived_id(&[b"a", b"bc"]));
        assert_ne!(id, derived_id(&[b"ab", b"d"]));
    }

    proptest::proptest! {
        /// Whatever a header and a row hold: no panic, and what is read is what the wire takes.
        #[test]
        fn any_row_is_read_or_refused(names in ".*", fields in proptest::collection::vec("[0-9.eE+-]{0,20}|.{0,9}", 9)) {
            let _ = Columns::from_header(&names.split(',').collect::<Vec<_>>());
            let mut row: Vec<&str> = fields.iter().map(String::as_str).collect();
            let _ = columns().read(&row, &mut Vec::new());
            (row[1], row[2]) = ("1", "2013-04-10");
            if let Ok(batch) = columns().read(&row, &mut Vec::new()) {
                for metric in &batch.metrics {
                    let sent = wire::encode_metrics(std::slice::from_ref(metric));
                    proptest::prop_assert_eq!(&wire::decode_metrics(&sent).items[0], metric);
                }
                proptest::prop_assert_eq!(&wire::decode_events(&wire::encode_event(&batch.events[0])).items[0], &batch.events[0]);
            }
        }
    }
}
