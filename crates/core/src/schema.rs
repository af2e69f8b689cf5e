//! Schema of a time-series database: measurements, their tags and their fields. The InfluxDB store writes them;
//! dashboards and alert rules are checked against them.

/// Type of a field. InfluxDB fixes it with the first point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// 64-bit floating point.
    Float,
    /// 64-bit signed integer.
    Integer,
    /// Text.
    Text,
}

/// Field of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Key.
    pub name: &'static str,
    /// Type; it can never change.
    pub field_type: FieldType,
    /// Meaning, with its unit.
    pub meaning: &'static str,
}

/// Measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// Name.
    pub name: &'static str,
    /// Keys of the tags.
    pub tags: &'static [&'static str],
    /// Fields. A point need not have all of them.
    pub fields: &'static [Field],
}

/// Values of metrics.
pub const DEVICE_METRICS: Measurement = Measurement {
    name: "device_metrics",
    tags: &["source_device", "metric_type"],
    fields: &[
        float("value", "the value, in the unit of its metric type"),
        integer("seq", "the sender's counter for this device, if it sends one"),
    ],
};

/// Sequence numbers of values that another value of the same device, metric type and time replaced.
pub const REPLACED_NUMBERS: Measurement = Measurement {
    name: "replaced_numbers",
    tags: &["source_device", "metric_type"],
    fields: &[
        integer("seq", "the sequence number that is gone"),
        integer(
            "timestamp_ns",
            "the time of both values, in nanoseconds since 1970; the point's own time is up to a millisecond later",
        ),
    ],
};

/// Events. `slot` is present only on events that share device, type and time with another.
pub const EVENTS: Measurement = Measurement {
    name: "events",
    tags: &["source_device", "event_type", "slot"],
    fields: &[
        text("event_id", "the event's id"),
        integer("criticality", "1 to 10"),
        text("event_message", "what happened, if the sender provides it"),
        integer(
            "timestamp_ns",
            "when it happened, in nanoseconds since 1970: exact, the point's own time is up to a millisecond later, or a second after a whole second",
        ),
        integer("received_ns", "when it was stored, in nanoseconds since 1970"),
        integer("seq", "the sender's counter for this device, if it sends one"),
        text("labels", "the labels it came with, as a JSON object, if any"),
    ],
};

/// Arrivals of events: an index by the time of storage, whose entries point at the points of [`EVENTS`]. An entry's own
/// time is up to a millisecond after the arrival; `slot` is present only on entries that share device, type and time
/// with another.
pub const EVENT_ARRIVALS: Measurement = Measurement {
    name: "event_arrivals",
    tags: &["source_device", "event_type", "slot"],
    fields: &[
        text("event_id", "the event's id"),
        integer("criticality", "1 to 10"),
        integer("timestamp_ns", "when it happened, in nanoseconds since 1970"),
        integer("received_ns", "when it was stored, in nanoseconds since 1970"),
        integer("place_ns", "time of the event's point in `events`, in nanoseconds since 1970"),
    ],
};

/// Devices: a point of each writer for a device at the end of the present period, of up to 30 days; devices are carried
/// from period to period. An index: the list of devices takes no look at their data, nor at past periods.
pub const DEVICES: Measurement = Measurement {
    name: "devices",
    tags: &["source_device"],
    fields: &[
        integer("first_ns", "time of the oldest data known, in nanoseconds since 1970"),
        integer("last_ns", "time of the newest data known, up to an hour old, in nanoseconds since 1970"),
    ],
};

/// Marker of the indexes [`EVENT_ARRIVALS`] and [`DEVICES`]: they are complete, also for what earlier versions stored.
pub const INDEXES: Measurement = Measurement {
    name: "spindle_indexes",
    tags: &[],
    fields: &[
        integer("index_version", "version of the indexes that are complete"),
        integer(
            "devices_from_ns",
            "time from which on the points of `devices` and `device_labels` name all of them, in nanoseconds since 1970",
        ),
    ],
};

/// Labels of devices: the newest value of each key.
pub const DEVICE_LABELS: Measurement = Measurement {
    name: "device_labels",
    tags: &["source_device", "label"],
    fields: &[text("value", "the label's value")],
};

/// Newest arrival of values of each device, one point per hour of arrival.
pub const DEVICE_ARRIVALS: Measurement = Measurement {
    name: "device_arrivals",
    tags: &["source_device"],
    fields: &[
        integer("received_ns", "when the newest values of the hour were stored, in nanoseconds since 1970"),
        integer("measured_ns", "the newest time of measurement among them, in nanoseconds since 1970"),
    ],
};

/// Metrics of the pipeline itself, every 10 s from each writer. Rates refer to the time since the previous point.
pub const PIPELINE: Measurement = Measurement {
    name: "spindle_pipeline",
    tags: &["role", "instance"],
    fields: &[
        float("values_per_second", "metric values stored, 1/s"),
        float("events_per_second", "events stored, 1/s"),
        float("metrics_lag", "messages of the stream METRICS not yet stored"),
        float("events_lag", "messages of the stream EVENTS not yet stored"),
        float("dead_letters", "messages in the stream DEADLETTER"),
        float("dead_letters_per_second", "dead letters kept by this writer, 1/s"),
        float("redelivered_per_second", "messages delivered more than once, 1/s"),
        float("store_latency_seconds", "mean time of a write to the store, s"),
        float("store_latency_p99_seconds", "upper bound of the 99th percentile of that time, s"),
        float("store_retries_per_second", "writes that failed and are retried, 1/s"),
        float("ready", "1 if the writer can store, else 0"),
        float("uptime_seconds", "time since the writer started, s"),
    ],
};

/// Probe point: tells, while the server refuses points, if it takes any. It overwrites itself within ten minutes.
pub const PROBE: Measurement =
    Measurement { name: "spindle_probe", tags: &[], fields: &[integer("ok", "1: the server took the point")] };

/// All measurements with data of the pipeline, and their indexes.
pub const MEASUREMENTS: [Measurement; 9] = [
    DEVICE_METRICS,
    REPLACED_NUMBERS,
    EVENTS,
    EVENT_ARRIVALS,
    DEVICES,
    INDEXES,
    DEVICE_LABELS,
    DEVICE_ARRIVALS,
    PIPELINE,
];

/// Returns the measurement with a name.
pub fn measurement(name: &str) -> Option<&'static Measurement> {
    static ALL: [Measurement; 9] = MEASUREMENTS;
    ALL.iter().find(|measurement| measurement.name == name)
}

const fn float(name: &'static str, meaning: &'static str) -> Field {
    Field { name, field_type: FieldType::Float, meaning }
}

const fn integer(name: &'static str, meaning: &'static str) -> Field {
    Field { name, field_type: FieldType::Integer, meaning }
}

const fn text(name: &'static str, meaning: &'static str) -> Field {
    Field { name, field_type: FieldType::Text, meaning }
}
