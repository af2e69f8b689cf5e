//! Recordings: metrics and events in a file of Spindle's wire format (one JSON object or array per line) or of
//! Backblaze Drive Stats (CSV), detected by content and parsed line by line.
//!
//! Opens no files: the reader is an argument. Bad records are returned with the reason and their bytes, beside the good
//! ones; no line takes more memory than [`crate::wire::MAX_PAYLOAD_BYTES`] and its records.

mod format;
mod lines;

use crate::timestamp::Timestamp;
use crate::wire::{Batch, DeviceMetric, Event};

pub use format::{Foreign, Format, RecordingError, RefusedRecord, detect};
pub use lines::{Line, Lines};

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
