//! The table of questions: parsing, errors, the command line's help and the papers all read it.

/// One type of question.
#[derive(Clone, Copy, Debug)]
pub struct QueryType {
    /// Its name on the wire.
    pub name: &'static str,
    /// What it answers, in one line.
    pub help: &'static str,
    /// What it takes.
    pub params: &'static [Param],
}

/// One parameter.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name on the wire.
    pub name: &'static str,
    /// What it takes.
    pub kind: ParamKind,
    /// What holds without it, in words; `None` if it must be given.
    pub default: Option<&'static str>,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug)]
pub enum ParamKind {
    /// A whole number between two, both inclusive.
    Integer(i64, i64),
    /// A number between two, both inclusive.
    Number(f64, f64),
    /// A device, metric or event name.
    Name,
    /// An instant, RFC 3339.
    Time,
    /// One of several words.
    Choice(&'static [&'static str]),
}

/// A hundred years: enough for any recording, and far from the ends of the time range.
const MAX_MINUTES: i64 = 52_560_000;

const fn optional(name: &'static str, kind: ParamKind, default: &'static str) -> Param {
    Param { name, kind, default: Some(default) }
}

const fn required(name: &'static str, kind: ParamKind) -> Param {
    Param { name, kind, default: None }
}

const ANY_DEVICE: Param = optional("source_device", ParamKind::Name, "all");
const ONE_DEVICE: Param = required("source_device", ParamKind::Name);
const FROM: Param = optional("from", ParamKind::Time, "since_minutes before until");
const UNTIL: Param = optional("until", ParamKind::Time, "now");
const BY: Param = optional("by", ParamKind::Choice(&["any", "time", "received"]), "any");
const OFFSET: Param = optional("offset", ParamKind::Integer(0, 10_000_000), "0");

/// Every type of question, in the order in which errors and help name them.
pub const QUERY_TYPES: &[QueryType] = &[
    QueryType {
        name: "alerts_critical",
        help: "critical events that happened or became known in the window, and their number per device",
        params: &[
            optional("since_minutes", ParamKind::Integer(1, MAX_MINUTES), "15"),
            optional("min_criticality", ParamKind::Integer(1, 10), "8"),
            ANY_DEVICE,
            FROM,
            UNTIL,
            BY,
            optional("limit", ParamKind::Integer(1, 10_000), "1000"),
            OFFSET,
        ],
    },
    QueryType {
        name: "device_health",
        help: "ok, warning, critical or unknown, with a score from 0 to 100 and the reasons",
        params: &[
            ONE_DEVICE,
            optional("window_minutes", ParamKind::Integer(1, MAX_MINUTES), "60"),
            optional("at", ParamKind::Time, "now"),
        ],
    },
    QueryType {
        name: "anomaly_temperature",
        help: "the ratio of a device's last to its first temperature in the window, and whether it reaches the threshold",
        params: &[
            ONE_DEVICE,
            optional("threshold", ParamKind::Number(0.01, 100.0), "1.3"),
            optional("window_minutes", ParamKind::Integer(1, MAX_MINUTES), "20"),
            optional("at", ParamKind::Time, "now"),
        ],
    },
    QueryType {
        name: "devices",
        help: "the devices by name, with labels and latest values",
        params: &[
            optional("limit", ParamKind::Integer(1, 1000), "200"),
            optional("after", ParamKind::Name, "the start"),
            optional("at", ParamKind::Time, "now"),
        ],
    },
    QueryType {
        name: "events",
        help: "events, newest first",
        params: &[
            optional("since_minutes", ParamKind::Integer(1, MAX_MINUTES), "60"),
            optional("min_criticality", ParamKind::Integer(1, 10), "1"),
            ANY_DEVICE,
            optional("event_type", ParamKind::Name, "all"),
            FROM,
            UNTIL,
            BY,
            optional("limit", ParamKind::Integer(1, 10_000), "200"),
            OFFSET,
        ],
    },
    QueryType {
        name: "series",
        help: "minimum, mean, maximum and count of one metric of one device per bucket of time",
        params: &[
            ONE_DEVICE,
            required("metric_type", ParamKind::Name),
            optional("since_minutes", ParamKind::Integer(1, MAX_MINUTES), "60"),
            FROM,
            UNTIL,
            optional("bucket_seconds", ParamKind::Number(0.001, 1e9), "a 300th of the window"),
        ],
    },
    QueryType {
        name: "audit_gaps",
        help: "numbers (seq) that are missing or doubled, per device; what has come in lately is still left out",
        params: &[
            ANY_DEVICE,
            optional("since_minutes", ParamKind::Integer(1, MAX_MINUTES), "60"),
            FROM,
            optional("until", ParamKind::Time, "a minute ago"),
            optional("limit", ParamKind::Integer(1, 1000), "200"),
            optional("after", ParamKind::Name, "the start"),
        ],
    },
];

impl Param {
    /// What the parameter takes, in words.
    pub fn expected(&self) -> String {
        match self.kind {
            ParamKind::Integer(min, max) => format!("a whole number from {min} to {max}"),
            ParamKind::Number(min, max) => format!("a number from {min} to {max}"),
            ParamKind::Name => "a name".to_owned(),
            ParamKind::Time => "a time such as 2025-06-06T12:08:40Z".to_owned(),
            ParamKind::Choice(words) => format!("one of {}", words.join(", ")),
        }
    }
}

pub(super) fn find(query_type: &str) -> Option<&'static QueryType> {
    QUERY_TYPES.iter().find(|candidate| candidate.name == query_type)
}

pub(super) fn names() -> String {
    QUERY_TYPES.iter().map(|query_type| query_type.name).collect::<Vec<_>>().join(", ")
}
