//! Differences between the configuration of a stream and the one that Spindle needs. Compares the server's JSON, field
//! by field: a typed configuration leaves out the fields that the client library does not know yet.

use std::fmt;

use serde_json::{Map, Value};

/// Effect of a difference on the messages of a stream or consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impact {
    /// No effect on messages: an operator's decision.
    Harmless,
    /// Messages are safe, but something works less well.
    Weakens,
    /// Messages are lost, or never accepted.
    Loses,
}

/// A field of a stream's or consumer's configuration that is not as Spindle wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Name of the field in the server's JSON.
    pub field: String,
    /// The value found.
    pub found: String,
    /// The value wanted.
    pub wanted: String,
    /// Its effect.
    pub impact: Impact,
    /// The effect in words; empty if there is none.
    pub consequence: &'static str,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, found, wanted, consequence, .. } = self;
        write!(f, "{field} is {found} instead of {wanted}")?;
        if consequence.is_empty() { Ok(()) } else { write!(f, " ({consequence})") }
    }
}

/// What Spindle wants of a stream, as far as it is not the server's default.
#[derive(Clone, Debug)]
pub(super) struct Requirements {
    pub(super) subject: &'static str,
    pub(super) max_bytes: i64,
    pub(super) duplicate_window_ns: i64,
    /// Age below which no message may expire; `i64::MAX` if none may ever.
    pub(super) min_age_ns: i64,
    /// Size of the largest message that the server takes.
    pub(super) max_payload: i64,
    /// The writer removes what is stored, and the stream fills up if it cannot.
    pub(super) is_trimmed: bool,
}

/// Fields that must keep the server's default. Their order does not matter.
const SWITCHES: [(&str, Impact, &str); 21] = [
    ("no_ack", Impact::Loses, "the server acknowledges nothing"),
    ("sealed", Impact::Loses, "it takes no messages"),
    ("mirror", Impact::Loses, "a mirror takes no messages of its own"),
    ("persist_mode", Impact::Loses, "messages are acknowledged before they are written to disk"),
    ("allow_rollup_hdrs", Impact::Loses, "any sender may remove the messages of all others"),
    ("allow_msg_counter", Impact::Loses, "it takes only counters"),
    ("allow_msg_ttl", Impact::Weakens, "messages with the header Nats-TTL expire, stored or not"),
    ("allow_msg_schedules", Impact::Weakens, "messages with the header Nats-Schedule are delayed"),
    ("subject_delete_marker_ttl", Impact::Weakens, "the server adds markers, which become dead letters"),
    ("deny_delete", Impact::Weakens, "single messages cannot be removed"),
    ("subject_transform", Impact::Weakens, "messages are stored under another subject"),
    ("sources", Impact::Weakens, "it takes the messages of other streams too"),
    ("consumer_limits", Impact::Weakens, "the writer's consumer may be refused or removed"),
    ("max_consumers", Impact::Weakens, "the writer's consumer may be refused"),
    ("republish", Impact::Harmless, "every message is sent once more"),
    ("compression", Impact::Harmless, ""),
    ("placement", Impact::Harmless, ""),
    ("first_seq", Impact::Harmless, ""),
    ("allow_direct", Impact::Harmless, ""),
    ("allow_atomic", Impact::Harmless, ""),
    ("allow_batched", Impact::Harmless, ""),
];
/// Fields that say nothing about messages.
const IGNORED: [&str; 5] = ["name", "description", "metadata", "mirror_direct", "template_owner"];
/// Fields that `nats stream edit` cannot set back.
const FIXED: [&str; 9] = [
    "storage",
    "persist_mode",
    "mirror",
    "sealed",
    "deny_purge",
    "deny_delete",
    "allow_msg_ttl",
    "allow_msg_counter",
    "allow_msg_schedules",
];

/// Returns all differences, those that lose messages first.
pub(super) fn differences(config: &Map<String, Value>, wanted: &Requirements) -> Vec<Difference> {
    let mut found: Vec<_> = subjects(config, wanted).into_iter().collect();
    found.extend(config.iter().filter_map(|(field, value)| difference(field, value, config, wanted)));
    found.sort_by(|one, other| other.impact.cmp(&one.impact).then_with(|| one.field.cmp(&other.field)));
    found
}

/// Returns the remedy for those differences of a stream that lose messages.
pub(super) fn remedy(name: &str, differences: &[Difference]) -> String {
    let loses = || differences.iter().filter(|difference| difference.impact == Impact::Loses);
    let (fixed, editable): (Vec<_>, Vec<_>) = loses()
        .map(|difference| difference.field.as_str())
        .partition(|field| FIXED.contains(field) || (*field == "retention" && is_work_queue(differences)));
    match (editable.is_empty(), fixed.is_empty()) {
        (_, true) => format!("correct it with `nats stream edit {name}`"),
        (_, false) => format!(
            "`nats stream edit {name}` cannot change {}: once its messages are no longer needed, delete it with `nats stream rm {name}`, and it is created again",
            fixed.join(", ")
        ),
    }
}

fn is_work_queue(differences: &[Difference]) -> bool {
    differences.iter().any(|difference| difference.found == "workqueue")
}

fn difference(field: &str, value: &Value, config: &Map<String, Value>, wanted: &Requirements) -> Option<Difference> {
    let make = |impact, wanted: String, consequence| {
        let found = if is_duration(field) { seconds(number(Some(value))) } else { text(value) };
        Some(Difference { field: field.to_owned(), found, wanted, impact, consequence })
    };
    if IGNORED.contains(&field) || field == "subjects" {
        return None;
    }
    if let Some((impact, wanted, consequence)) = of_meaning(field, value, config, wanted) {
        return make(impact, wanted, consequence);
    }
    if KNOWN.contains(&field) || is_default(value) {
        return None;
    }
    if let Some((_, impact, consequence)) = SWITCHES.iter().find(|(name, ..)| *name == field) {
        return make(*impact, "the default".to_owned(), consequence);
    }
    make(Impact::Weakens, "the default".to_owned(), "this version does not know the field")
}

/// Fields that [`of_meaning`] judges.
const KNOWN: [&str; 12] = [
    "discard",
    "discard_new_per_subject",
    "retention",
    "storage",
    "num_replicas",
    "max_bytes",
    "max_msgs",
    "max_msgs_per_subject",
    "max_msg_size",
    "max_age",
    "duplicate_window",
    "deny_purge",
];

/// Judges the fields whose value has to be compared; `None` if it is as wanted.
fn of_meaning(
    field: &str,
    value: &Value,
    config: &Map<String, Value>,
    wanted: &Requirements,
) -> Option<(Impact, String, &'static str)> {
    use Impact::{Harmless, Loses, Weakens};
    let n = number(Some(value));
    let limit = |field| number(config.get(field)) > 0;
    let found = match field {
        "discard" if value != "new" && (limit("max_bytes") || limit("max_msgs")) => {
            (Loses, "new", "a full stream discards old messages, stored or not")
        }
        "discard" if value != "new" => (Weakens, "new", "with a limit it would discard old messages"),
        "retention" if value != "limits" => (Loses, "limits", "messages vanish before every consumer has them"),
        "storage" if value != "file" => (Loses, "file", "messages are kept in memory only"),
        "max_msgs" if n > 0 && config.get("discard").is_none_or(|discard| discard != "new") => {
            (Loses, "-1", "a full stream discards old messages, stored or not")
        }
        "max_msgs" if n > 0 => (Weakens, "-1", "it may refuse messages before its bytes are used up"),
        "max_msgs_per_subject" if n > 0 && config.get("discard_new_per_subject") == Some(&Value::Bool(true)) => {
            (Weakens, "-1", "it may refuse messages before its bytes are used up")
        }
        "max_msgs_per_subject" if n > 0 => (Loses, "-1", "only the newest messages of a subject are kept"),
        "max_msg_size" if n > 0 && n < wanted.max_payload => (Loses, "-1", "larger messages are refused for good"),
        "deny_purge" if value == &Value::Bool(true) && wanted.is_trimmed => {
            (Loses, "false", "it cannot be trimmed, and refuses everything once it is full")
        }
        "deny_purge" if value == &Value::Bool(true) => (Weakens, "false", "messages cannot be removed"),
        "num_replicas" if n > 1 => (Harmless, "1", ""),
        "max_age" if n > 0 => return Some(age(n, wanted)),
        "duplicate_window" if n < wanted.duplicate_window_ns => {
            let consequence = "a message that is sent again later is stored in the stream twice";
            return Some((Weakens, seconds(wanted.duplicate_window_ns), consequence));
        }
        "max_bytes" if n <= 0 => {
            return Some((Weakens, wanted.max_bytes.to_string(), "it is never trimmed and fills the disk"));
        }
        "max_bytes" if n != wanted.max_bytes => return Some((Harmless, wanted.max_bytes.to_string(), "")),
        _ => return None,
    };
    Some((found.0, found.1.to_owned(), found.2))
}

fn age(n: i64, wanted: &Requirements) -> (Impact, String, &'static str) {
    match wanted.min_age_ns {
        min_age if n >= min_age => (Impact::Harmless, "0 s".to_owned(), "messages expire"),
        i64::MAX => (Impact::Loses, "0 s".to_owned(), "messages expire, stored or not"),
        min_age => (Impact::Loses, format!("0 s or at least {}", seconds(min_age)), "messages expire, stored or not"),
    }
}

/// Compares the subjects: the wanted one must be covered, and others are messages that Spindle does not expect.
fn subjects(config: &Map<String, Value>, wanted: &Requirements) -> Option<Difference> {
    let subjects: Vec<&str> =
        config.get("subjects").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if subjects == [wanted.subject] {
        return None;
    }
    let (impact, consequence) = if subjects.iter().any(|subject| covers(subject, wanted.subject)) {
        (Impact::Weakens, "it takes other messages too, which may become dead letters")
    } else {
        (Impact::Loses, "it does not take every message of Spindle")
    };
    let found = if subjects.is_empty() { "empty".to_owned() } else { subjects.join(", ") };
    Some(Difference { field: "subjects".to_owned(), found, wanted: wanted.subject.to_owned(), impact, consequence })
}

/// Returns `true` if every subject that matches `narrow` matches `wide` too.
fn covers(wide: &str, narrow: &str) -> bool {
    let (mut wide, mut narrow) = (wide.split('.'), narrow.split('.'));
    loop {
        match (wide.next(), narrow.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// Returns `true` for the values with which a server describes an unset field.
pub(crate) fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_set) => !is_set,
        Value::Number(number) => number.as_i64().is_some_and(|number| number <= 0),
        Value::String(text) => ["", "none", "default", "0001-01-01T00:00:00Z"].contains(&text.as_str()),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(fields) => fields.values().all(is_default),
    }
}

fn number(value: Option<&Value>) -> i64 {
    value.and_then(Value::as_i64).unwrap_or(0)
}

fn is_duration(field: &str) -> bool {
    ["max_age", "duplicate_window", "subject_delete_marker_ttl"].contains(&field)
}

/// Formats a duration of the server, which is in nanoseconds.
fn seconds(ns: i64) -> String {
    format!("{} s", ns as f64 / 1e9)
}

/// Formats a value: texts without quotation marks.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
