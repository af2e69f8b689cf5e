//! Meaning of a response to a write: a decision table over status code and message, first match wins.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// Settings that hold the credentials.
pub(crate) const CREDENTIALS: &str = "INFLUXDB_TOKEN, or INFLUXDB_USERNAME and INFLUXDB_PASSWORD for InfluxDB 1";

/// Outcome of a write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WriteOutcome {
    /// Everything is stored.
    Stored,
    /// Everything is stored except points older than the server's retention.
    StoredWithinRetention { message: String },
    /// Everything is stored except these lines (counted from 0), each with the server's message. An empty list: some
    /// lines that the response does not name.
    StoredExcept { lines: Vec<(usize, String)>, message: String },
    /// Nothing (certain) is stored, and the same bytes may be stored later. `may_be_poison`: if it happens again and
    /// again, one line may make the server fail.
    Retry { after: Option<Duration>, message: String, may_be_poison: bool },
    /// The body is too large: send it in halves.
    Split { message: String },
    /// One line is refused, but not named: send halves until it stands alone.
    Bisect { message: String },
    /// Send the same lines once more, uncompressed; then bisect.
    RetryUncompressed { message: String },
    /// The database does not exist.
    DatabaseMissing { message: String },
    /// An operator must fix something; everything is kept until then.
    Misconfigured { message: String },
}

/// Status for a connection that broke off before a response; not an HTTP status.
pub(crate) const BROKEN_OFF: u16 = 0;

/// Response to a write.
#[derive(Clone, Debug)]
pub(crate) struct WriteResponse {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: String,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(alias = "message")]
    error: Option<String>,
    data: Option<Value>,
}

impl WriteResponse {
    /// Returns the outcome for the lines that were sent.
    pub(crate) fn outcome(&self, lines: &[&str]) -> WriteOutcome {
        if self.status == 204 {
            return WriteOutcome::Stored;
        }
        let body = serde_json::Deserializer::from_str(&self.body).into_iter::<ErrorBody>().next().and_then(Result::ok);
        let (message, data) = match body {
            Some(ErrorBody { error: Some(error), data }) => (error, data),
            _ => (self.body.trim().to_owned(), None),
        };
        if self.status == BROKEN_OFF {
            let message = format!("could not write: the connection broke off: {}", brief(&message));
            return WriteOutcome::Retry { after: None, message, may_be_poison: true };
        }
        let lower = message.to_lowercase();
        let reason = strip(&lower, REPORTED_BY);
        let mut detail = format!("{} {}", self.status, brief(&message));
        if contains(reason, FULL) {
            detail.push_str(WHEN_FULL);
        }
        self.size_outcome(reason, &detail)
            .or_else(|| self.partial_outcome(reason, &message, data.as_ref(), &detail, lines))
            .or_else(|| self.reason_outcome(reason, &detail))
            .unwrap_or_else(|| self.status_outcome(reason, detail))
    }

    /// A request that took too long or is too large.
    fn size_outcome(&self, reason: &str, detail: &str) -> Option<WriteOutcome> {
        if matches!(self.status, 408 | 499) {
            return Some(self.retry(reason, detail.to_owned()));
        }
        let is_too_large = self.status == 413 || starts(reason, &["max request size (", "request entity too large"]);
        is_too_large.then(|| WriteOutcome::Split { message: detail.to_owned() })
    }

    /// A limit of the server, or a batch of which only a part is stored.
    fn partial_outcome(
        &self,
        reason: &str,
        message: &str,
        data: Option<&Value>,
        detail: &str,
        lines: &[&str],
    ) -> Option<WriteOutcome> {
        if !matches!(self.status, 400 | 422) {
            return None;
        }
        let detail = detail.to_owned();
        let partial = reason.strip_prefix("partial write: ");
        let limit = partial.unwrap_or(reason);
        if LIMITS.iter().any(|text| limit.starts_with(text) || any_line_error(data, text)) {
            return Some(WriteOutcome::Misconfigured { message: detail });
        }
        if reason.starts_with("partial write of line protocol") {
            return Some(WriteOutcome::StoredExcept { lines: named_lines(data, lines.len()), message: detail });
        }
        partial.map(|partial| match is_retention(partial) {
            true => WriteOutcome::StoredWithinRetention { message: detail },
            false => WriteOutcome::StoredExcept { lines: quoted_lines(message, lines), message: detail },
        })
    }

    /// Any other message with a known meaning.
    fn reason_outcome(&self, reason: &str, detail: &str) -> Option<WriteOutcome> {
        let status = self.status;
        let message = detail.to_owned();
        if status == 400 && starts(reason, UNREADABLE_LINE) {
            return Some(WriteOutcome::Bisect { message });
        }
        if matches!(status, 400 | 500) && starts(reason, &["field type conflict", "engine: field type conflict"]) {
            return Some(WriteOutcome::RetryUncompressed { message });
        }
        if reason.contains("error from wal: ") {
            return Some(self.retry(reason, message));
        }
        if matches!(status, 400 | 500) && starts(reason, ENCODING) {
            return Some(WriteOutcome::RetryUncompressed { message });
        }
        if status == 403 && reason.starts_with("disable write") {
            return Some(WriteOutcome::Misconfigured { message });
        }
        if matches!(status, 401 | 403) || (status == 400 && reason.starts_with("authorization header was malformed")) {
            let message = format!("{message}: the credentials ({CREDENTIALS}) do not allow writes");
            return Some(WriteOutcome::Misconfigured { message });
        }
        if matches!(status, 404 | 500) && starts(reason, NO_DATABASE) {
            return Some(WriteOutcome::DatabaseMissing { message });
        }
        let is_misconfigured =
            (status == 400 && starts(reason, CONFIGURATION)) || reason.starts_with("retention policy not found");
        is_misconfigured.then_some(WriteOutcome::Misconfigured { message })
    }

    /// An unknown message: the status decides.
    fn status_outcome(&self, reason: &str, detail: String) -> WriteOutcome {
        match self.status {
            429 | 500..=599 => self.retry(reason, detail),
            400 | 422 => WriteOutcome::Bisect { message: detail },
            _ => WriteOutcome::Misconfigured { message: format!("{detail}: {NOT_INFLUXDB}") },
        }
    }

    fn retry(&self, reason: &str, message: String) -> WriteOutcome {
        let may_be_poison = self.status == 500 && !contains(reason, CONDITIONS) && !contains(reason, FULL);
        WriteOutcome::Retry { after: self.retry_after, message, may_be_poison }
    }
}

/// Advice for a response that no InfluxDB sends.
pub(crate) const NOT_INFLUXDB: &str = "is this an InfluxDB, and no proxy in between?";
const REPORTED_BY: &[&str] =
    &["failure writing points to database: ", "unexpected error writing points to database: ", "write buffer error: "];
const LIMITS: &[&str] = &[
    "max-series-per-database",
    "max-values-per-tag",
    "too many series in database",
    "update to schema would exceed",
    "adding a new database would exceed",
];
const UNREADABLE_LINE: &[&str] = &[
    "line protocol parsing error",
    "parsing failed for write_lp",
    "line protocol parse failed",
    "unable to parse '",
    // openGemini
    "cannot parse ",
];
const NO_DATABASE: &[&str] = &["database not found", "bucket ", "no dbrp mapping found", "organization name"];
/// Messages with a 500 that blame the server and no line.
const CONDITIONS: &[&str] = &[
    "timeout",
    "cache-max-memory-size exceeded",
    "read-only file system",
    "input/output error",
    "too many open files",
    "engine is closed",
    "shard is disabled",
    "error from wal: ",
];
const FULL: &[&str] = &["no space left on device", "disk quota exceeded", "not enough space on the disk"];
/// Seen on 1.6.7 and known of 1.x and 2.x (influxdb issues 9923, 24460): their log's buffer keeps the error.
const WHEN_FULL: &str = ": the disk of InfluxDB is full. Free space there; versions 1 and 2 repeat this error for the same days of data until they are restarted";
const ENCODING: &[&str] = &[
    "gzip: ",
    "unexpected eof",
    "error decoding gzip stream",
    "unable to read data",
    "body content is not valid utf8",
];
const CONFIGURATION: &[&str] = &[
    "invalid precision",
    "serde error",
    "missing ",
    "invalid character",
    "cannot write to soft-deleted",
    "database is required",
    "please provide either orgid",
    // openGemini
    "readonly now",
];

fn starts(reason: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| reason.starts_with(beginning))
}

fn contains(reason: &str, texts: &[&str]) -> bool {
    texts.iter().any(|text| reason.contains(text))
}

fn strip<'a>(text: &'a str, beginnings: &[&str]) -> &'a str {
    beginnings.iter().find_map(|beginning| text.strip_prefix(beginning)).unwrap_or(text)
}

/// `points beyond retention policy dropped=2`, `dropped 2 points outside retention policy of …`, and openGemini's
/// `point time is expired, compared with rp duration dropped=1`
fn is_retention(reason: &str) -> bool {
    starts(reason, &["points beyond retention policy", "point time is expired"])
        || (reason.starts_with("dropped ") && reason.contains("points outside retention policy"))
}

fn any_line_error(data: Option<&Value>, text: &str) -> bool {
    data.and_then(Value::as_array).into_iter().flatten().any(|rejected| {
        rejected["error_message"].as_str().is_some_and(|message| message.to_lowercase().starts_with(text))
    })
}

/// Version 3 numbers lines from 1 and skips blank lines and comments, which are never sent.
fn named_lines(data: Option<&Value>, n_lines: usize) -> Vec<(usize, String)> {
    let rejected = data.and_then(Value::as_array).into_iter().flatten();
    let named = rejected.filter_map(|line| {
        let number = usize::try_from(line["line_number"].as_u64()?).ok()?.checked_sub(1)?;
        Some((number, line["error_message"].as_str().unwrap_or_default()))
    });
    once_each(named.filter(|(number, _)| *number < n_lines))
}

/// Versions 1 and 2 quote the lines that they cannot read.
fn quoted_lines(message: &str, lines: &[&str]) -> Vec<(usize, String)> {
    let quoted = message.split("unable to parse '").skip(1);
    once_each(quoted.filter_map(|rest| {
        let number = lines.iter().position(|line| rest.starts_with(line) && rest[line.len()..].starts_with("': "))?;
        Some((number, &rest[lines[number].len() + 3..]))
    }))
}

/// Keeps the first message of each line: a line is refused once, however often a response names it.
fn once_each<'a>(named: impl Iterator<Item = (usize, &'a str)>) -> Vec<(usize, String)> {
    let mut refused: BTreeMap<usize, String> = BTreeMap::new();
    for (number, message) in named {
        refused.entry(number).or_insert_with(|| brief(message));
    }
    refused.into_iter().collect()
}

/// Shortens a server's message for a log line: its first line, without control characters, which move a cursor.
pub(crate) fn brief(message: &str) -> String {
    let line = message.trim().lines().next().unwrap_or("(no message)");
    line.chars().take(300).map(|ch| if ch.is_control() { ' ' } else { ch }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, body: &str, lines: &[&str]) -> WriteOutcome {
        WriteResponse { status, retry_after: None, body: body.to_owned() }.outcome(lines)
    }

    #[test]
    fn each_answer_of_the_contract_is_understood() {
        use WriteOutcome as W;
        let name = |outcome: WriteOutcome| match outcome {
            W::Stored => "stored",
            W::StoredWithinRetention { .. } => "retention",
            W::StoredExcept { .. } => "except",
            W::Retry { .. } => "retry",
            W::Split { .. } => "split",
            W::Bisect { .. } => "bisect",
            W::RetryUncompressed { .. } => "retry uncompressed",
            W::DatabaseMissing { .. } => "missing",
            W::Misconfigured { .. } => "misconfigured",
        };
        for (status, body, expect) in [
            (204, "", "stored"),
            (408, "", "retry"),
            (BROKEN_OFF, "connection reset", "retry"),
            (413, "Request Entity Too Large", "split"),
            (500, "max request size (10485760 bytes) exceeded", "split"),
            (
                400,
                r#"{"error":"partial write: max-series-per-database exceeded database=x limit=1000000 dropped=3"}"#,
                "misconfigured",
            ),
            (422, r#"{"error":"Adding a new database would exceed limit of 5 databases"}"#, "misconfigured"),
            (
                422,
                r#"{"error":"partial write of line protocol occurred","data":[{"error_message":"Update to schema would exceed number of columns","line_number":1}]}"#,
                "misconfigured",
            ),
            (400, r#"{"error":"partial write: points beyond retention policy dropped=1"}"#, "retention"),
            (
                422,
                r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: dropped 2 points outside retention policy of duration 1h0m0s - oldest"}"#,
                "retention",
            ),
            (400, r#"{"error":"partial write: field type conflict: input field \"f\" dropped=1"}"#, "except"),
            (400, r#"{"error":"line protocol parsing error","data":{"line_number":1}}"#, "bisect"),
            (400, r#"{"code":"invalid","message":"unable to parse 'x': bad"}"#, "bisect"),
            (400, r#"{"error":"field type conflict"}"#, "retry uncompressed"),
            (500, r#"{"error":"engine: field type conflict"}"#, "retry uncompressed"),
            (400, r#"{"code":"invalid","message":"write buffer error: error from wal: wal is shutdown"}"#, "retry"),
            (500, r#"{"code":"internal error","message":"unable to read data: unexpected EOF"}"#, "retry uncompressed"),
            (401, r#"{"error":"authorization failed"}"#, "misconfigured"),
            (403, r#"{"code":"forbidden","message":"insufficient permissions for write"}"#, "misconfigured"),
            (400, r#"{"error": "Authorization header was malformed, x"}"#, "misconfigured"),
            (404, r#"{"error":"database not found: \"x\""}"#, "missing"),
            (404, r#"{"code":"not found","message":"bucket \"b\" not found"}"#, "missing"),
            (500, r#"{"error":"retention policy not found: x"}"#, "misconfigured"),
            (400, r#"{"error":"database is required"}"#, "misconfigured"),
            (503, "request throttled, queue full", "retry"),
            (500, r#"{"error":"timeout"}"#, "retry"),
            (500, "Internal Server Error", "retry"),
            (422, r#"{"message":"something new"}"#, "bisect"),
            (200, "<html>", "misconfigured"),
        ] {
            assert_eq!(name(outcome(status, body, &["x"])), expect, "{status} {body}");
        }
    }

    /// A condition of the server is not blamed on a line.
    #[test]
    fn a_full_disk_is_said_and_no_line_is_suspected() {
        let may_be_poison = |status, body: &str| match outcome(status, body, &["x"]) {
            WriteOutcome::Retry { may_be_poison, .. } => may_be_poison,
            other => panic!("{other:?}"),
        };
        let full = r#"{"error":"engine: error writing WAL entry: write /x/_00001.wal: no space left on device"}"#;
        assert!(!may_be_poison(500, full) && !may_be_poison(500, r#"{"error":"timeout"}"#));
        assert!(may_be_poison(500, "Internal Server Error") && may_be_poison(BROKEN_OFF, "reset"));
        let WriteOutcome::Retry { message, .. } = outcome(500, full, &["x"]) else { panic!() };
        assert!(message.contains("no space left on device") && message.ends_with(WHEN_FULL), "{message}");
    }

    #[test]
    fn a_line_that_is_named_twice_is_refused_once() {
        let body = r#"{"error":"partial write of line protocol occurred","data":[{"error_message":"bad","line_number":1},{"error_message":"worse","line_number":1},{"line_number":2},{"line_number":0},{"line_number":3}]}"#;
        let WriteOutcome::StoredExcept { lines, .. } = outcome(400, body, &["a", "b"]) else { panic!() };
        assert_eq!(lines, [(0, "bad".to_owned()), (1, "(no message)".to_owned())]);
        let body = r#"{"error":"partial write: unable to parse 'a': bad\nunable to parse 'a': worse dropped=0"}"#;
        let WriteOutcome::StoredExcept { lines, .. } = outcome(400, body, &["a", "a"]) else { panic!() };
        assert_eq!(lines, [(0, "bad".to_owned())]);
    }

    #[test]
    fn words_are_one_short_line() {
        let body = format!(
            r#"{{"error":"partial write of line protocol occurred","data":[{{"error_message":"a\r\u001b[31m{}\nb","line_number":1}}]}}"#,
            "ü".repeat(400)
        );
        let WriteOutcome::StoredExcept { lines, .. } = outcome(400, &body, &["a"]) else { panic!() };
        assert!(lines[0].1.starts_with("a  [31mü") && lines[0].1.chars().count() == 300, "{}", lines[0].1);
        let WriteOutcome::Retry { message, .. } = outcome(BROKEN_OFF, "reset\nby peer", &[]) else { panic!() };
        assert_eq!(message, "could not write: the connection broke off: reset");
        let WriteOutcome::Misconfigured { message } = outcome(302, "\n<html>\u{85}\r\n<b>", &[]) else { panic!() };
        assert!(message.starts_with("302 <html> : is this"), "{message}");
        let WriteOutcome::Retry { message, .. } = outcome(503, " \n", &[]) else { panic!() };
        assert_eq!(message, "503 (no message)");
    }

    #[test]
    fn refused_lines_are_found() {
        let body = r#"{"error":"partial write: unable to parse 'b x=1': missing tag value\nunable to parse 'c': missing fields dropped=0"}"#;
        let WriteOutcome::StoredExcept { lines, .. } = outcome(400, body, &["a x=1", "b x=1", "c"]) else { panic!() };
        assert_eq!(lines.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
        let body =
            r#"{"error":"partial write of line protocol occurred","data":[{"error_message":"bad","line_number":2}]}"#;
        let WriteOutcome::StoredExcept { lines, .. } = outcome(400, body, &["a", "b"]) else { panic!() };
        assert_eq!(lines, [(1, "bad".to_owned())]);
    }
}
