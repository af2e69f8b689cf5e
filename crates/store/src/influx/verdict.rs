//! What an answer to a write means: the decision table of INFLUXDB_CONTRACT.md section 7, first match wins.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// Which settings hold the credentials.
pub(crate) const CREDENTIALS: &str = "INFLUXDB_TOKEN, or INFLUXDB_USERNAME and INFLUXDB_PASSWORD for InfluxDB 1";

/// What to do after an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// All is in.
    Stored,
    /// All that the server keeps is in; the rest is older than its retention.
    StoredWithinRetention { words: String },
    /// All is in but these lines (counted from 0), each with the server's words. An empty list: some lines
    /// that the answer does not name.
    StoredExcept { lines: Vec<(usize, String)>, words: String },
    /// Nothing (certain) is in, and the same bytes may go in later. `may_be_a_line`: again and again, it may be
    /// one line that the server chokes on.
    Later { after: Option<Duration>, words: String, may_be_a_line: bool },
    /// The body is too large: send it in halves.
    Split { words: String },
    /// Something in it is refused, nothing says what: send it in halves until it stands alone.
    Bisect { words: String },
    /// Send the same once more, uncompressed; then bisect.
    OnceMore { words: String },
    /// The database is not there.
    Missing { words: String },
    /// An operator must mend something; everything is kept until then.
    Operator { words: String },
}

/// No HTTP status: the connection broke off before an answer.
pub(crate) const BROKEN_OFF: u16 = 0;

/// The answer to a write.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: String,
}

#[derive(Deserialize)]
struct Told {
    #[serde(alias = "message")]
    error: Option<String>,
    data: Option<Value>,
}

impl Answer {
    /// `lines` are those that were sent.
    pub(crate) fn verdict(&self, lines: &[&str]) -> Verdict {
        let told = serde_json::Deserializer::from_str(&self.body).into_iter::<Told>().next().and_then(Result::ok);
        let (words, data) = match told {
            Some(Told { error: Some(error), data }) => (error, data),
            _ => (self.body.trim().to_owned(), None),
        };
        let shown = format!("{} {}", self.status, brief(&words));
        let lower = words.to_lowercase();
        let reason = strip(&lower, REPORTED_BY);
        self.decide(reason, &words, data.as_ref(), shown, lines)
    }

    fn decide(&self, reason: &str, words: &str, data: Option<&Value>, shown: String, lines: &[&str]) -> Verdict {
        let status = self.status;
        let bad_request = matches!(status, 400 | 422);
        let starts = |beginnings: &[&str]| beginnings.iter().any(|beginning| reason.starts_with(beginning));
        if status == 204 {
            return Verdict::Stored;
        }
        if status == BROKEN_OFF {
            let words = format!("could not write: the connection broke off: {}", brief(words));
            return Verdict::Later { after: None, words, may_be_a_line: true };
        }
        let may_be_a_line = status == 500 && !CONDITIONS.iter().chain(FULL).any(|text| reason.contains(text));
        let shown = if FULL.iter().any(|text| reason.contains(text)) { format!("{shown}{WHEN_FULL}") } else { shown };
        let later = |words| Verdict::Later { after: self.retry_after, words, may_be_a_line };
        if matches!(status, 408 | 499) {
            return later(shown);
        }
        if status == 413 || starts(&["max request size (", "request entity too large"]) {
            return Verdict::Split { words: shown };
        }
        let partial = reason.strip_prefix("partial write: ");
        let limit = partial.unwrap_or(reason);
        if bad_request && LIMITS.iter().any(|text| limit.starts_with(text) || data_says(data, text)) {
            return Verdict::Operator { words: shown };
        }
        if bad_request && reason.starts_with("partial write of line protocol") {
            return Verdict::StoredExcept { lines: named_lines(data, lines.len()), words: shown };
        }
        if bad_request && partial.is_some_and(is_retention) {
            return Verdict::StoredWithinRetention { words: shown };
        }
        if bad_request && partial.is_some() {
            return Verdict::StoredExcept { lines: quoted_lines(words, lines), words: shown };
        }
        if status == 400
            && starts(&[
                "line protocol parsing error",
                "parsing failed for write_lp",
                "line protocol parse failed",
                "unable to parse '",
            ])
        {
            return Verdict::Bisect { words: shown };
        }
        if matches!(status, 400 | 500) && starts(&["field type conflict", "engine: field type conflict"]) {
            return Verdict::OnceMore { words: shown };
        }
        if reason.contains("error from wal: ") {
            return later(shown);
        }
        if matches!(status, 400 | 500) && starts(ENCODING) {
            return Verdict::OnceMore { words: shown };
        }
        if matches!(status, 401 | 403) || (status == 400 && reason.starts_with("authorization header was malformed")) {
            return Verdict::Operator {
                words: format!("{shown}: the credentials ({CREDENTIALS}) do not let us write"),
            };
        }
        if matches!(status, 404 | 500)
            && starts(&["database not found", "bucket ", "no dbrp mapping found", "organization name"])
        {
            return Verdict::Missing { words: shown };
        }
        if status == 400 && starts(CONFIGURATION) || starts(&["retention policy not found"]) {
            return Verdict::Operator { words: shown };
        }
        match status {
            429 | 500..=599 => later(shown),
            400 | 422 => Verdict::Bisect { words: shown },
            _ => Verdict::Operator { words: format!("{shown}: is this an InfluxDB, and no proxy in between?") },
        }
    }
}

const REPORTED_BY: &[&str] =
    &["failure writing points to database: ", "unexpected error writing points to database: ", "write buffer error: "];
const LIMITS: &[&str] = &[
    "max-series-per-database",
    "max-values-per-tag",
    "update to schema would exceed",
    "adding a new database would exceed",
];
/// What a server says with a 500 when it is the server that has a problem, and no line.
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
/// Seen on 1.6.7, and known of 1.x and 2.x (influxdb issues 9923, 24460): their log's buffer keeps the error.
const WHEN_FULL: &str = ": the disk of InfluxDB is full. Free space there; versions 1 and 2 go on saying this for the same days of data until they are restarted";
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
];

fn strip<'a>(text: &'a str, beginnings: &[&str]) -> &'a str {
    beginnings.iter().find_map(|beginning| text.strip_prefix(beginning)).unwrap_or(text)
}

/// `points beyond retention policy dropped=2`, `dropped 2 points outside retention policy of …`
fn is_retention(reason: &str) -> bool {
    reason.starts_with("points beyond retention policy")
        || (reason.starts_with("dropped ") && reason.contains("points outside retention policy"))
}

fn data_says(data: Option<&Value>, text: &str) -> bool {
    data.and_then(Value::as_array).into_iter().flatten().any(|rejected| {
        rejected["error_message"].as_str().is_some_and(|message| message.to_lowercase().starts_with(text))
    })
}

/// Version 3 counts from 1, the lines that are neither blank nor comments: we send no others.
fn named_lines(data: Option<&Value>, n_lines: usize) -> Vec<(usize, String)> {
    let rejected = data.and_then(Value::as_array).into_iter().flatten();
    let named = rejected.filter_map(|line| {
        let number = usize::try_from(line["line_number"].as_u64()?).ok()?.checked_sub(1)?;
        Some((number, line["error_message"].as_str().unwrap_or_default()))
    });
    once_each(named.filter(|(number, _)| *number < n_lines))
}

/// Versions 1 and 2 quote the lines that they could not read.
fn quoted_lines(words: &str, lines: &[&str]) -> Vec<(usize, String)> {
    let quoted = words.split("unable to parse '").skip(1);
    once_each(quoted.filter_map(|rest| {
        let number = lines.iter().position(|line| rest.starts_with(line) && rest[line.len()..].starts_with("': "))?;
        Some((number, &rest[lines[number].len() + 3..]))
    }))
}

/// A line is refused once, with the first words said of it, however often an answer names it.
fn once_each<'a>(named: impl Iterator<Item = (usize, &'a str)>) -> Vec<(usize, String)> {
    let mut refused: BTreeMap<usize, String> = BTreeMap::new();
    for (number, words) in named {
        refused.entry(number).or_insert_with(|| brief(words));
    }
    refused.into_iter().collect()
}

/// Enough of the server's words for a log line: their first line, without what moves the cursor of a terminal.
pub(crate) fn brief(words: &str) -> String {
    let line = words.trim().lines().next().unwrap_or("(without a word)");
    line.chars().take(300).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, body: &str, lines: &[&str]) -> Verdict {
        Answer { status, retry_after: None, body: body.to_owned() }.verdict(lines)
    }

    #[test]
    fn each_answer_of_the_contract_is_understood() {
        use Verdict as V;
        let name = |verdict: Verdict| match verdict {
            V::Stored => "stored",
            V::StoredWithinRetention { .. } => "retention",
            V::StoredExcept { .. } => "except",
            V::Later { .. } => "later",
            V::Split { .. } => "split",
            V::Bisect { .. } => "bisect",
            V::OnceMore { .. } => "once more",
            V::Missing { .. } => "missing",
            V::Operator { .. } => "operator",
        };
        for (status, body, expect) in [
            (204, "", "stored"),
            (408, "", "later"),
            (BROKEN_OFF, "connection reset", "later"),
            (413, "Request Entity Too Large", "split"),
            (500, "max request size (10485760 bytes) exceeded", "split"),
            (
                400,
                r#"{"error":"partial write: max-series-per-database exceeded database=x limit=1000000 dropped=3"}"#,
                "operator",
            ),
            (422, r#"{"error":"Adding a new database would exceed limit of 5 databases"}"#, "operator"),
            (
                422,
                r#"{"error":"partial write of line protocol occurred","data":[{"error_message":"Update to schema would exceed number of columns","line_number":1}]}"#,
                "operator",
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
            (400, r#"{"error":"field type conflict"}"#, "once more"),
            (500, r#"{"error":"engine: field type conflict"}"#, "once more"),
            (400, r#"{"code":"invalid","message":"write buffer error: error from wal: wal is shutdown"}"#, "later"),
            (500, r#"{"code":"internal error","message":"unable to read data: unexpected EOF"}"#, "once more"),
            (401, r#"{"error":"authorization failed"}"#, "operator"),
            (403, r#"{"code":"forbidden","message":"insufficient permissions for write"}"#, "operator"),
            (400, r#"{"error": "Authorization header was malformed, x"}"#, "operator"),
            (404, r#"{"error":"database not found: \"x\""}"#, "missing"),
            (404, r#"{"code":"not found","message":"bucket \"b\" not found"}"#, "missing"),
            (500, r#"{"error":"retention policy not found: x"}"#, "operator"),
            (400, r#"{"error":"database is required"}"#, "operator"),
            (503, "request throttled, queue full", "later"),
            (500, r#"{"error":"timeout"}"#, "later"),
            (500, "Internal Server Error", "later"),
            (422, r#"{"message":"something new"}"#, "bisect"),
            (200, "<html>", "operator"),
        ] {
            assert_eq!(name(verdict(status, body, &["x"])), expect, "{status} {body}");
        }
    }

    /// What ails the server is not looked for in the lines.
    #[test]
    fn a_full_disk_is_said_and_no_line_is_suspected() {
        let may_be_a_line = |status, body: &str| match verdict(status, body, &["x"]) {
            Verdict::Later { may_be_a_line, .. } => may_be_a_line,
            other => panic!("{other:?}"),
        };
        let full = r#"{"error":"engine: error writing WAL entry: write /x/_00001.wal: no space left on device"}"#;
        assert!(!may_be_a_line(500, full) && !may_be_a_line(500, r#"{"error":"timeout"}"#));
        assert!(may_be_a_line(500, "Internal Server Error") && may_be_a_line(BROKEN_OFF, "reset"));
        let Verdict::Later { words, .. } = verdict(500, full, &["x"]) else { panic!() };
        assert!(words.contains("no space left on device") && words.ends_with(WHEN_FULL), "{words}");
    }

    #[test]
    fn a_line_that_is_named_twice_is_refused_once() {
        let body = r#"{"error":"partial write of line protocol occurred","data":[{"error_message":"bad","line_number":1},{"error_message":"worse","line_number":1},{"line_number":2},{"line_number":0},{"line_number":3}]}"#;
        let Verdict::StoredExcept { lines, .. } = verdict(400, body, &["a", "b"]) else { panic!() };
        assert_eq!(lines, [(0, "bad".to_owned()), (1, "(without a word)".to_owned())]);
        let body = r#"{"error":"partial write: unable to parse 'a': bad\nunable to parse 'a': worse dropped=0"}"#;
        let Verdict::StoredExcept { lines, .. } = verdict(400, body, &["a", "a"]) else { panic!() };
        assert_eq!(lines, [(0, "bad".to_owned())]);
    }

    #[test]
    fn words_are_one_short_line() {
        let body = format!(
            r#"{{"error":"partial write of line protocol occurred","data":[{{"error_message":"a\r\u001b[31m{}\nb","line_number":1}}]}}"#,
            "ü".repeat(400)
        );
        let Verdict::StoredExcept { lines, .. } = verdict(400, &body, &["a"]) else { panic!() };
        assert!(lines[0].1.starts_with("a  [31mü") && lines[0].1.chars().count() == 300, "{}", lines[0].1);
        let Verdict::Later { words, .. } = verdict(BROKEN_OFF, "reset\nby peer", &[]) else { panic!() };
        assert_eq!(words, "could not write: the connection broke off: reset");
        let Verdict::Operator { words } = verdict(302, "\n<html>\u{85}\r\n<b>", &[]) else { panic!() };
        assert!(words.starts_with("302 <html> : is this"), "{words}");
        let Verdict::Later { words, .. } = verdict(503, " \n", &[]) else { panic!() };
        assert_eq!(words, "503 (without a word)");
    }

    #[test]
    fn refused_lines_are_found() {
        let body = r#"{"error":"partial write: unable to parse 'b x=1': missing tag value\nunable to parse 'c': missing fields dropped=0"}"#;
        let Verdict::StoredExcept { lines, .. } = verdict(400, body, &["a x=1", "b x=1", "c"]) else { panic!() };
        assert_eq!(lines.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
        let body =
            r#"{"error":"partial write of line protocol occurred","data":[{"error_message":"bad","line_number":2}]}"#;
        let Verdict::StoredExcept { lines, .. } = verdict(400, body, &["a", "b"]) else { panic!() };
        assert_eq!(lines, [(1, "bad".to_owned())]);
    }
}
