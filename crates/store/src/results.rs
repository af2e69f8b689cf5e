//! Results of writes, removals and queries that have no type in `spindle_core`.

use spindle_core::records::Sample;

/// Result of a write: the fate of each element, as the store confirmed it. Every element is counted once, or is in
/// `refused`. A batch that is already stored adds nothing and is not an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Metric values newly stored: no value of that device, type and timestamp existed. InfluxDB cannot tell
    /// and counts each as new.
    pub n_metrics: usize,
    /// Metric values that replaced a different one of the same device, type and timestamp, also within the batch. On
    /// InfluxDB, those that met in the batch, or met the value of their series that this process wrote last, by their
    /// sequence numbers.
    pub n_metrics_replaced: usize,
    /// Metric values that were stored already, equal to the last bit.
    pub n_metrics_known: usize,
    /// Events newly stored.
    pub n_events: usize,
    /// Events that were stored already.
    pub n_events_known: usize,
    /// Elements that are not stored; the rest of the batch is.
    pub refused: Vec<Refused>,
    /// What is missing beside the stored elements.
    pub missing: MissingExtras,
}

/// What InfluxDB refused beside the elements of a batch. The elements are stored all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissingExtras {
    /// Labels of devices. They are written again with the next batch that carries them.
    pub n_labels: usize,
    /// Events that no query by arrival finds; queries by their own time do.
    pub n_arrivals: usize,
    /// Message of the server about the first of the events without an arrival.
    pub arrivals_message: Option<String>,
}

impl Written {
    /// Returns the number of metric values of the batch that the store holds now.
    pub fn n_metrics_stored(&self) -> usize {
        self.n_metrics + self.n_metrics_replaced + self.n_metrics_known
    }

    /// Returns the number of events of the batch that the store holds now.
    pub fn n_events_stored(&self) -> usize {
        self.n_events + self.n_events_known
    }

    /// Returns the elements refused for one reason.
    pub fn refused_for(&self, reason: Refusal) -> impl Iterator<Item = &Refused> {
        self.refused.iter().filter(move |refused| refused.reason == reason)
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

/// Reason for which an element is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The store itself refused the element and took others: it will never accept it.
    Invalid,
    /// The element's time lies before the retention.
    BeyondRetention,
    /// A limit of the server, such as that of series, keeps new devices out. Raised, it lets the same element in.
    Limit,
    /// The element is not proven to be at fault: something between us and the store refused it, or nothing of its
    /// batch went in. The same element may go in later.
    Unproven,
    /// The element is older than the retention by one clock and not by another. It is kept until the clocks agree.
    ClocksDisagree,
}

impl Refusal {
    /// All reasons.
    pub const ALL: [Self; 5] =
        [Self::Invalid, Self::BeyondRetention, Self::Limit, Self::Unproven, Self::ClocksDisagree];

    /// Returns the reason's name, a label of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::BeyondRetention => "beyond_retention",
            Self::Limit => "limit",
            Self::Unproven => "unproven",
            Self::ClocksDisagree => "clocks_disagree",
        }
    }
}

/// Element that is not stored. Within the crate `T` may be something else that lines are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<T = RefusedItem> {
    /// The element.
    pub item: T,
    /// Reason.
    pub reason: Refusal,
    /// Details, as the store's own message.
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
