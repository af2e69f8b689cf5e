//! Results of writes, removals and queries that have no type in `spindle_core`.

use spindle_core::Batch;
use spindle_core::records::Sample;

/// Result of a write. A batch that is already stored adds nothing and is not an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Metric values newly stored: no value of that device, type and timestamp existed. InfluxDB cannot tell
    /// and counts each as new.
    pub n_metrics: usize,
    /// Metric values that replaced a different one of the same device, type and timestamp. On InfluxDB, those that met
    /// in the batch or met the value of their series that this process wrote last, by their sequence numbers.
    pub n_metrics_replaced: usize,
    /// Events newly stored.
    pub n_events: usize,
    /// Elements that the store will never accept; the rest of the batch is stored.
    pub refused: Vec<Refused>,
}

impl Written {
    /// Returns the numbers of metric values and events that the store had already, or that the batch holds twice.
    pub fn n_duplicates(&self, batch: &Batch) -> (usize, usize) {
        let n_refused_events =
            self.refused.iter().filter(|refused| matches!(refused.item, RefusedItem::Event(_))).count();
        let n_refused_metrics = self.refused.len() - n_refused_events;
        let n_metrics = self.n_metrics + self.n_metrics_replaced + n_refused_metrics;
        (
            batch.metrics.len().saturating_sub(n_metrics),
            batch.events.len().saturating_sub(self.n_events + n_refused_events),
        )
    }
}

/// Element of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusedItem {
    /// The metric at this index.
    Metric(usize),
    /// The event at this index.
    Event(usize),
}

/// Element that the store will never accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The element.
    pub item: RefusedItem,
    /// Reason, as the store's own message.
    pub message: String,
}

/// Result of a removal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Metric values.
    pub n_metrics: u64,
    /// Events.
    pub n_events: u64,
    /// Pairs of device and metric type with no value left.
    pub n_series: u64,
    /// Devices with nothing left, including their labels.
    pub n_devices: u64,
}

/// First value, last value and number of values of one series in a window; the number is at least 1.
pub type FirstAndLast = (Sample, Sample, u64);
