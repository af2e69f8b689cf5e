//! Meaning of a response to a write: a decision table over status code and message, first match wins.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

/// Settings that hold the credentials.
pub(crate) const CREDENTIALS: &str = "INFLUXDB_TOKEN, or INFLUXDB_USERNAME and INFLUXDB_PASSWORD for InfluxDB 1";

/// Outcome of a write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WriteOutcome {
    /// Everything is stored.
    Stored,
    /// Everything is stored except `n_dropped` points older than the server's retention; `are_oldest` if these are
    /// exactly the oldest of the request.
    BeyondRetention { n_dropped: Option<usize>, are_oldest: bool, message: String },
    /// Everything is stored except these lines (counted from 0), each with the server's message. An empty list: some
    /// lines that the response does not name, `n_dropped` of them. `is_limit`: a limit of the server keeps them out.
    StoredExcept { lines: Vec<(usize, String)>, n_dropped: Option<usize>, is_limit: bool, message: String },
    /// Nothing (certain) is stored, and the same bytes may be stored later. `may_be_poison`: if it happens again and
    /// again, one line may make the server fail. `is_own` if InfluxDB itself responded.
    Retry { after: Option<Duration>, message: String, may_be_poison: bool, is_own: bool },
    /// The body is too large: send it in halves. `is_own` if InfluxDB itself responded.
    Split { message: String, is_own: bool },
    /// Nothing is stored because of some lines: these, or, if the list is empty, lines that the response does not name.
    Bisect { lines: Vec<(usize, String)>, message: String },
    /// Send the same lines once more, uncompressed; then bisect.
    RetryUncompressed { message: String },
    /// The database does not exist.
    DatabaseMissing { message: String },
    /// An operator must fix something; everything is kept until then.
    Misconfigured { message: String },
    /// Something other than InfluxDB refused the request: a proxy, or a wrong address. No line is to blame.
    Foreign { message: String },
}

/// Status for a connection that broke off before a response; not an HTTP status.
pub(crate) const BROKEN_OFF: u16 = 0;

/// Response to a write.
#[derive(Clone, Debug)]
pub(crate) struct WriteResponse {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) content_type: Option<String>,
    /// A header that InfluxDB sets, and no proxy.
    pub(crate) has_own_header: bool,
    pub(crate) body: String,
}

/// Returns whether a header is InfluxDB's (or openGemini's) own.
pub(crate) fn is_own_header(name: &str) -> bool {
    name == "x-platform-error-code" || name.starts_with("x-influxdb-") || name.starts_with("x-geminidb-")
}

/// Error in one of InfluxDB's forms: `error`, and `data` in version 3; `code` and `message`, and details, in version 2.
/// Proxies respond with JSON as well, and with other members.
struct ErrorBody {
    message: String,
    data: Option<Value>,
}

impl ErrorBody {
    fn of(body: &str) -> Option<Self> {
        let document = serde_json::Deserializer::from_str(body).into_iter::<Value>().next()?;
        let Ok(Value::Object(mut members)) = document else { return None };
        let has_only = |known: &[&str]| members.keys().all(|key| known.contains(&key.as_str()));
        let message = match members.get("code").is_some_and(Value::is_string) {
            true if has_only(&["code", "message", "op", "error", "err", "line"]) => members.get("message")?,
            false if has_only(&["error", "data"]) => members.get("error")?,
            _ => return None,
        };
        let message = message.as_str()?.to_owned();
        Some(Self { message, data: members.remove("data") })
    }
}

impl WriteResponse {
    /// Returns the outcome for the lines that were sent.
    pub(crate) fn outcome(&self, lines: &[&str]) -> WriteOutcome {
        if self.status == 204 {
            return WriteOutcome::Stored;
        }
        let body = ErrorBody::of(&self.body);
        let is_own = self.is_own();
        let (message, data) = match body {
            Some(ErrorBody { message, data }) => (message, data),
            None => (self.body.trim().to_owned(), None),
        };
        if self.status == BROKEN_OFF {
            let message = format!("could not write: the connection broke off: {}", brief(&message));
            return WriteOutcome::Retry { after: None, message, may_be_poison: true, is_own: false };
        }
        let lower = message.to_lowercase();
        let reason = strip(&lower, REPORTED_BY);
        let mut detail = format!("{} {}", self.status, brief(&message));
        if contains(reason, FULL) {
            detail.push_str(WHEN_FULL);
        }
        self.size_outcome(reason, &detail, is_own)
            .or_else(|| self.foreign_outcome(is_own, &message))
            .or_else(|| self.partial_outcome(reason, &message, data.as_ref(), &detail, lines))
            .or_else(|| self.reason_outcome(reason, &message, &detail, lines))
            .unwrap_or_else(|| self.status_outcome(reason, detail))
    }

    /// InfluxDB itself responded: the header or the body is in its form.
    fn is_own(&self) -> bool {
        self.has_own_header || ErrorBody::of(&self.body).is_some()
    }

    /// A request that took too long or is too large.
    fn size_outcome(&self, reason: &str, detail: &str, is_own: bool) -> Option<WriteOutcome> {
        if matches!(self.status, 408 | 499) {
            return Some(self.retry(reason, detail.to_owned()));
        }
        let is_too_large = self.status == 413 || starts(reason, &["max request size (", "request entity too large"]);
        is_too_large.then(|| WriteOutcome::Split { message: detail.to_owned(), is_own })
    }

    /// A response that is not InfluxDB's own. Those that ask for credentials or for patience mean the same from anybody;
    /// a page or a redirection has nothing to do with what was sent.
    fn foreign_outcome(&self, is_own: bool, message: &str) -> Option<WriteOutcome> {
        if is_own || matches!(self.status, 401 | 429 | 500..=599) {
            return None;
        }
        let content_type = self.content_type.as_deref().map(|text| format!(" {}", brief(text))).unwrap_or_default();
        let message = format!("{}{content_type}: {}: {NOT_INFLUXDB}", self.status, brief(message));
        Some(match self.status {
            400..=499 => WriteOutcome::Foreign { message },
            _ => WriteOutcome::Misconfigured { message },
        })
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
        if starts(limit, &[NO_MORE_DATABASES]) {
            return Some(WriteOutcome::Misconfigured { message: detail });
        }
        let mut named = named_lines(data, lines.len());
        let is_limit = starts(limit, LIMITS) || named.iter().any(|(_, message)| is_limit_message(message));
        if is_limit || reason.starts_with("partial write of line protocol") {
            if is_limit {
                // The others are named again when they are sent again without these.
                named.retain(|(_, message)| is_limit_message(message));
            }
            return Some(WriteOutcome::StoredExcept {
                lines: named,
                n_dropped: n_dropped(limit),
                is_limit,
                message: detail,
            });
        }
        partial.map(|partial| match is_retention(partial) {
            true => WriteOutcome::BeyondRetention {
                n_dropped: n_dropped(partial),
                are_oldest: partial.starts_with("points beyond retention policy"),
                message: detail,
            },
            false => WriteOutcome::StoredExcept {
                lines: quoted_lines(message, lines),
                n_dropped: n_dropped(partial),
                is_limit: false,
                message: detail,
            },
        })
    }

    /// Any other message with a known meaning.
    fn reason_outcome(&self, reason: &str, full: &str, detail: &str, lines: &[&str]) -> Option<WriteOutcome> {
        let status = self.status;
        let message = detail.to_owned();
        if status == 400 && starts(reason, UNREADABLE_LINE) {
            return Some(WriteOutcome::Bisect { lines: quoted_lines(full, lines), message });
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
            400 | 422 => WriteOutcome::Bisect { lines: Vec::new(), message: detail },
            _ => WriteOutcome::Misconfigured { message: format!("{detail}: {NOT_INFLUXDB}") },
        }
    }

    fn retry(&self, reason: &str, message: String) -> WriteOutcome {
        let may_be_poison = self.status == 500 && !contains(reason, CONDITIONS) && !contains(reason, FULL);
        WriteOutcome::Retry { after: self.retry_after, message, may_be_poison, is_own: self.is_own() }
    }
}

/// Advice for a response that no InfluxDB sends.
pub(crate) const NOT_INFLUXDB: &str = "is this an InfluxDB, and no proxy in between?";
const REPORTED_BY: &[&str] =
    &["failure writing points to database: ", "unexpected error writing points to database: ", "write buffer error: "];
/// Limits that keep new series, tables or columns out, and nothing else.
const LIMITS: &[&str] =
    &["max-series-per-database", "max-values-per-tag", "too many series in database", "update to schema would exceed"];
const NO_MORE_DATABASES: &str = "adding a new database would exceed";
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

fn is_limit_message(message: &str) -> bool {
    starts(&message.to_lowercase(), LIMITS)
}

/// Number in `… dropped=2` and `dropped 2 points …`, the whole message being in lower case.
fn n_dropped(reason: &str) -> Option<usize> {
    let rest = reason.strip_prefix("dropped ").or_else(|| Some(reason.rsplit_once("dropped=")?.1))?;
    let digits = rest.split(|ch: char| !ch.is_ascii_digit()).next()?;
    digits.parse().ok()
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
mod tests;
