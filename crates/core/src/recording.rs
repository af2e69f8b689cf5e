//! Recordings: metrics and events in a file of Spindle's own wire format (one JSON object or array per
//! line) or of Backblaze Drive Stats (CSV), told apart by content and read line by line.
//!
//! Nothing here opens a file: a reader is an argument. A bad record is handed out with the reason and its
//! bytes, beside the good ones; no line costs more memory than [`crate::wire::MAX_PAYLOAD_BYTES`] and its records.

mod format;
mod lines;

use crate::timestamp::Timestamp;
use crate::wire::{Batch, DeviceMetric, Event};

pub use format::{Foreign, Format, RecordingError, RefusedRecord, detect};
pub use lines::{Line, Lines};

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A measured value.
    Metric(DeviceMetric),
    /// Something that happened.
    Event(Event),
}

impl Record {
    /// When it was measured or happened.
    pub fn timestamp(&self) -> Timestamp {
        match self {
            Self::Metric(metric) => metric.timestamp,
            Self::Event(event) => event.timestamp,
        }
    }

    /// Adds it to a batch.
    pub fn put_into(self, batch: &mut Batch) {
        match self {
            Self::Metric(metric) => batch.metrics.push(metric),
            Self::Event(event) => batch.events.push(event),
        }
    }
}
