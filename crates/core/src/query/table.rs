//! Table of the query types. Parsing, errors, the command line's help and docs/queries.md are built from it.

use crate::name::MAX_NAME_BYTES;

/// Query type.
#[derive(Clone, Copy, Debug)]
pub struct QueryType {
    /// Name on the wire.
    pub name: &'static str,
    /// Content of the response, in one line.
    pub help: &'static str,
    /// Parameters.
    pub params: &'static [Param],
}

/// Parameter of a query type.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Name on the wire.
    pub name: &'static str,
    /// Values it takes.
    pub kind: ParamKind,
    /// Default, as text; `None` if it is required.
    pub default: Option<&'static str>,
    /// Meaning, in one line.
    pub help: &'static str,
}

/// Values of a parameter.
#[derive(Clone, Copy, Debug)]
pub enum ParamKind {
    /// Integer from minimum to maximum, both inclusive.
    Integer(i64, i64),
    /// Number from minimum to maximum, both inclusive.
    Number(f64, f64),
    /// Device, metric or event name.
    Name,
    /// Place in a list, as `next` contains it.
    Place,
    /// RFC 3339 time.
    Time,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Names with commas between them, at most so many.
    Names(usize),
}

/// A hundred years: enough for any recording, and far from the ends of the time range.
const MAX_MINUTES: i64 = 52_560_000;

const fn optional(name: &'static str, kind: ParamKind, default: &'static str, help: &'static str) -> Param {
    Param { name, kind, default: Some(default), help }
}

const fn required(name: &'static str, kind: ParamKind, help: &'static str) -> Param {
    Param { name, kind, default: None, help }
}

/// Most metrics in one answer to `fleet`.
pub(super) const MAX_COLUMNS: usize = 16;
const MAX_ROWS: &str = "maximum number of rows in one response";
const SINCE: &str = "length of the window in minutes, if `from` is not given";
const PRESENT: Param = optional(
    "present",
    ParamKind::Choice(&["yes", "no"]),
    "no",
    "`yes` judges by arrivals although the end of the window has passed; `next` contains it, so that all pages are judged alike",
);
const MAX_DEVICES: Param =
    optional("limit", ParamKind::Integer(1, 1000), "200", "maximum number of devices in one response");
const AFTER_DEVICE: Param = optional(
    "after",
    ParamKind::Name,
    "the start",
    "only devices whose name sorts after this one; `next` contains the value for the next page",
);
const CRITICALITY: &str = "only events of this criticality or higher";
const WINDOW: Param = optional(
    "window_minutes",
    ParamKind::Integer(1, MAX_MINUTES),
    "60",
    "length of the window in minutes, ending at `at`",
);
const ANY_DEVICE: Param = optional("source_device", ParamKind::Name, "all", "only this device, or drive (`host:sda`)");
const ONE_DEVICE: Param = required("source_device", ParamKind::Name, "device; `host:sda` is the drive there now");
const FROM: Param = optional("from", ParamKind::Time, "since_minutes before until", "start of the window, inclusive");
const UNTIL: Param = optional("until", ParamKind::Time, "now", "end of the window, exclusive");
const AT: Param = optional("at", ParamKind::Time, "now", "instant of the response, end of the window");
const BY: Param = optional(
    "by",
    ParamKind::Choice(&["any", "time", "received"]),
    "any",
    "time that must be in the window: when the event happened (`time`), when it was stored (`received`), or either (`any`)",
);
const OFFSET: Param = optional(
    "offset",
    ParamKind::Integer(0, 10_000_000),
    "0",
    "number of newest rows to skip; `next` contains the value for the next page",
);

/// All query types, in the order in which errors and help list them.
pub const QUERY_TYPES: &[QueryType] = &[
    QueryType {
        name: "alerts_critical",
        help: "critical events that happened or became known in the window, and their number per device",
        params: &[
            optional("since_minutes", ParamKind::Integer(1, MAX_MINUTES), "15", SINCE),
            optional("min_criticality", ParamKind::Integer(1, 10), "8", CRITICALITY),
            ANY_DEVICE,
            FROM,
            UNTIL,
            BY,
            optional("limit", ParamKind::Integer(1, 10_000), "1000", MAX_ROWS),
            OFFSET,
        ],
    },
    QueryType {
        name: "device_health",
        help: "ok, warning, critical or unknown, with a score from 0 to 100 and the reasons",
        params: &[ONE_DEVICE, WINDOW, AT],
    },
    QueryType {
        name: "anomaly_temperature",
        help: "the ratio of a device's last to its first temperature in the window, and whether it reaches the threshold",
        params: &[
            ONE_DEVICE,
            optional(
                "threshold",
                ParamKind::Number(0.01, 100.0),
                "1.3",
                "ratio from which on the change counts as an anomaly",
            ),
            optional(
                "window_minutes",
                ParamKind::Integer(1, MAX_MINUTES),
                "20",
                "length of the window in minutes, ending at `at`",
            ),
            AT,
        ],
    },
    QueryType {
        name: "devices",
        help: "the devices by name, with labels and latest values (those of the week before a device's last sign of life)",
        params: &[
            ANY_DEVICE,
            MAX_DEVICES,
            AFTER_DEVICE,
            optional("at", ParamKind::Time, "now", "instant of the response"),
        ],
    },
    QueryType {
        name: "events",
        help: "events, newest first",
        params: &[
            optional("since_minutes", ParamKind::Integer(1, MAX_MINUTES), "60", SINCE),
            optional("min_criticality", ParamKind::Integer(1, 10), "1", CRITICALITY),
            ANY_DEVICE,
            optional("event_type", ParamKind::Name, "all", "only this type of event"),
            FROM,
            UNTIL,
            BY,
            optional("limit", ParamKind::Integer(1, 10_000), "200", MAX_ROWS),
            OFFSET,
        ],
    },
    QueryType {
        name: "series",
        help: "minimum, mean, maximum and count of one metric of one device per bucket of time",
        params: &[
            ONE_DEVICE,
            required("metric_type", ParamKind::Name, "metric"),
            optional("since_minutes", ParamKind::Integer(1, MAX_MINUTES), "60", SINCE),
            FROM,
            UNTIL,
            optional(
                "bucket_seconds",
                ParamKind::Number(0.001, 1e9),
                "a 300th of the window",
                "length of a bucket in seconds; a response has at most 10,000 buckets",
            ),
            optional(
                "expected",
                ParamKind::Choice(&["yes", "no"]),
                "no",
                "`yes` adds the range expected of each bucket, from those before it, and the stretches out of it",
            ),
        ],
    },
    QueryType {
        name: "audit_gaps",
        help: "missing and duplicate sequence numbers (seq) per device; the most recent data is left out, it may be in flight",
        params: &[
            ANY_DEVICE,
            optional("since_minutes", ParamKind::Integer(1, MAX_MINUTES), "60", SINCE),
            FROM,
            optional("until", ParamKind::Time, "a minute ago", "end of the window, exclusive"),
            MAX_DEVICES,
            AFTER_DEVICE,
        ],
    },
    QueryType {
        name: "fleet_health",
        help: "the verdict on every device, worst first, and the number of devices by verdict, in all and per group",
        params: &[
            optional(
                "health",
                ParamKind::Choice(&["not_ok", "all", "ok", "unknown", "warning", "critical"]),
                "not_ok",
                "only devices with this verdict; the counts are those of all",
            ),
            optional(
                "group_by",
                ParamKind::Choice(&["enclosure", "host", "model"]),
                "enclosure",
                "label by which devices are counted",
            ),
            WINDOW,
            AT,
            MAX_DEVICES,
            optional("after", ParamKind::Place, "the start", "only devices after this place in the list"),
            PRESENT,
        ],
    },
    QueryType {
        name: "fleet",
        help: "all devices in columns: state, place and newest values of some metrics, and the reasons of those that are not ok",
        params: &[
            optional(
                "metric_types",
                ParamKind::Names(MAX_COLUMNS),
                "none",
                "metrics whose newest values are returned, such as `DiskTemp,Latency`",
            ),
            WINDOW,
            AT,
            optional("serials", ParamKind::Choice(&["yes", "no"]), "no", "`yes` adds the label `serial`"),
            optional(
                "names",
                ParamKind::Choice(&["plain", "front_coded"]),
                "plain",
                "`front_coded` replaces `device` by `device_front_coded`: for each name, the number of characters `shared` with the name before it, and the `rest`; a twentieth as long where names are numbered",
            ),
        ],
    },
    QueryType {
        name: "fleet_history",
        help: "the number of devices that the detector found not ok, over time: steps, oldest first",
        params: &[optional("since_minutes", ParamKind::Integer(1, MAX_MINUTES), "1440", SINCE), FROM, UNTIL],
    },
    QueryType {
        name: "fleet_series",
        help: "one metric of all devices per bucket of time: sum, median, and the highest with its device",
        params: &[
            required("metric_type", ParamKind::Name, "metric"),
            optional("since_minutes", ParamKind::Integer(1, MAX_MINUTES), "1440", SINCE),
            FROM,
            UNTIL,
            optional(
                "bucket_seconds",
                ParamKind::Number(1.0, 1e9),
                "a 100th of the window, at least 60",
                "length of a bucket in seconds; a response has at most 500 buckets, and each counts the last value of a device in it",
            ),
        ],
    },
    QueryType {
        name: "pipeline",
        help: "rates, backlog and store latency of the pipeline itself per bucket of time, as its writers report them every 10 s",
        params: &[
            optional("since_minutes", ParamKind::Integer(1, MAX_MINUTES), "60", SINCE),
            FROM,
            UNTIL,
            optional(
                "bucket_seconds",
                ParamKind::Number(1.0, 1e9),
                "a 300th of the window, at least 10",
                "length of a bucket in seconds; a response has at most 1000 buckets; one without a report is left out",
            ),
        ],
    },
    QueryType {
        name: "incidents",
        help: "what is wrong, worst first: one incident for each cause, with its devices, place, start, state and advice",
        params: &[
            optional("since_minutes", ParamKind::Integer(1, MAX_MINUTES), "1440", SINCE),
            FROM,
            UNTIL,
            optional(
                "state",
                ParamKind::Choice(&["any", "open", "acknowledged", "closed"]),
                "any",
                "only incidents in this state",
            ),
            ANY_DEVICE,
            optional(
                "min_criticality",
                ParamKind::Integer(1, 10),
                "1",
                "only incidents with an event of this criticality or higher",
            ),
            optional("limit", ParamKind::Integer(1, 1000), "200", MAX_ROWS),
            OFFSET,
            PRESENT,
        ],
    },
    QueryType {
        name: "health_history",
        help: "the verdicts on a device over time, as the detector stated them: segments without gaps, oldest first",
        params: &[
            ONE_DEVICE,
            optional("since_minutes", ParamKind::Integer(1, MAX_MINUTES), "1440", SINCE),
            FROM,
            UNTIL,
        ],
    },
    QueryType {
        name: "anomalies",
        help: "values that the detector found odd, and those that agree, newest first",
        params: &[
            optional("since_minutes", ParamKind::Integer(1, MAX_MINUTES), "1440", SINCE),
            FROM,
            UNTIL,
            ANY_DEVICE,
            optional("metric_type", ParamKind::Name, "all", "only this metric"),
            optional("limit", ParamKind::Integer(1, 10_000), "200", MAX_ROWS),
            OFFSET,
        ],
    },
];

impl Param {
    /// Describes the values that the parameter takes.
    pub fn expected(&self) -> String {
        match self.kind {
            ParamKind::Integer(min, max) => format!("a whole number from {min} to {max}"),
            ParamKind::Number(min, max) => format!("a number from {min} to {max}"),
            ParamKind::Name => "a name".to_owned(),
            ParamKind::Place => {
                "the value in `next` of the page before, such as 'critical:39:DiskUnit-0001'".to_owned()
            }
            ParamKind::Time => "a time such as 2025-06-06T12:08:40Z".to_owned(),
            ParamKind::Choice(words) => format!("one of {}", words.join(", ")),
            ParamKind::Names(most) => format!("at most {most} names with commas between them"),
        }
    }
}

pub(super) fn find(query_type: &str) -> Option<&'static QueryType> {
    QUERY_TYPES.iter().find(|candidate| candidate.name == query_type)
}

pub(super) fn names() -> String {
    QUERY_TYPES.iter().map(|query_type| query_type.name).collect::<Vec<_>>().join(", ")
}

/// Renders the table as the Markdown of docs/queries.md.
pub fn markdown() -> String {
    let mut text = String::new();
    for QueryType { name, help, params } in QUERY_TYPES {
        text += &format!("\n### `{name}`\n\nReturns {help}.\n\n");
        text += "| parameter | default | range | meaning |\n|---|---|---|---|\n";
        for param in *params {
            let range = match param.kind {
                ParamKind::Integer(min, max) => format!("{min} to {max}"),
                ParamKind::Number(min, max) => format!("{min} to {max}"),
                ParamKind::Name => format!("name, 1 to {MAX_NAME_BYTES} bytes"),
                ParamKind::Place => "value in `next`".to_owned(),
                ParamKind::Time => "RFC 3339 time".to_owned(),
                ParamKind::Choice(words) => words.join(", "),
                ParamKind::Names(most) => format!("at most {most} names, with commas"),
            };
            let default = param.default.unwrap_or("required");
            text += &format!("| `{}` | {default} | {range} | {} |\n", param.name, param.help);
        }
    }
    text
}
