//! Meaning of a response to an InfluxQL query: from bytes to documents, to series, to records of the store.
//!
//! Pure: no network, no runtime. The bytes come from a server (or a proxy) and are not trusted: a row of another shape
//! than requested is skipped, and no response causes a panic.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};

use serde::Deserialize;
use serde_json::Value;
use spindle_core::records::{Bucket, EventRecord, Sample};
use spindle_core::{Criticality, DeviceName, Event, EventId, EventType, Timestamp};

use super::line;
use super::write_outcome::{NOT_INFLUXDB, brief};

/// One document of a response: versions 1 and 2 end each with a line feed, 3 with CR LF or nothing.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    #[serde(default)]
    results: Vec<QueryResult>,
    error: Option<String>,
}

/// Part of the response to one statement.
#[derive(Debug, Deserialize)]
struct QueryResult {
    statement_id: Option<u64>,
    series: Option<Vec<SeriesPart>>,
    error: Option<String>,
    /// More of the same series follows.
    #[serde(default)]
    partial: bool,
}

/// What has arrived of a response. Documents that are whole do not make it complete: a proxy may end it after any.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    n_documents: usize,
    /// Statements of which something has arrived.
    n_statements: u64,
    is_partial: bool,
}

/// Part of one series of a response.
#[derive(Debug, Deserialize)]
pub(crate) struct SeriesPart {
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, Option<String>>,
    pub(crate) columns: Vec<String>,
    #[serde(default)]
    pub(crate) values: Vec<Vec<Value>>,
}

/// Reason for a response without rows, or without further rows.
#[derive(Debug)]
pub(crate) enum ResponseError {
    /// The response broke off, or the server cannot serve the query now: try again.
    Transient(String),
    /// An operator must fix something.
    Misconfigured(String),
    /// The server refuses the query, or is not an InfluxDB.
    Refused(String),
}

/// Causes of a last part that announces further ones. InfluxDB 1 limits the rows of a response without chunks, which is
/// not requested, but a proxy may drop the parameter.
const ROWS_WITHHELD: &str = ": the connection was cut, or a limit of rows withheld the rest (InfluxDB 1: set \
     max-row-limit = 0 in its section [http], and let a proxy pass on chunked=true)";

/// Parses the documents of a response as they arrive. The first that fails is the last.
pub(crate) fn documents(body: impl Read) -> impl Iterator<Item = serde_json::Result<Document>> {
    serde_json::Deserializer::from_reader(BufReader::new(body)).into_iter()
}

impl Progress {
    /// Returns the series of the next document, possibly none, or the server's error.
    pub(crate) fn series(&mut self, document: serde_json::Result<Document>) -> Result<Vec<SeriesPart>, ResponseError> {
        let document = document.map_err(|error| unreadable(&error))?;
        self.n_documents += 1;
        if document.results.is_empty() && document.error.is_none() {
            return Err(other_shape("a document without results"));
        }
        let mut found = Vec::new();
        let mut error = document.error;
        for result in document.results {
            if result.statement_id.is_none() && result.series.is_none() && result.error.is_none() {
                return Err(other_shape("a result without a statement"));
            }
            self.n_statements = self.n_statements.max(result.statement_id.unwrap_or(0).saturating_add(1));
            self.is_partial = result.partial;
            error = error.or(result.error.filter(|error| !is_empty(error)));
            found.extend(result.series.into_iter().flatten());
        }
        match error {
            Some(message) if message.contains("database not found") => {
                Err(ResponseError::Misconfigured(brief(&message)))
            }
            Some(message) if is_transient(&message) => Err(ResponseError::Transient(brief(&message))),
            Some(message) => Err(ResponseError::Refused(brief(&message))),
            None => Ok(found),
        }
    }

    /// Checks the end of the response to some statements.
    pub(crate) fn end(&self, n_statements: u64) -> Result<(), ResponseError> {
        if self.n_documents == 0 {
            return Err(ResponseError::Transient("empty response to a query".to_owned()));
        }
        if self.is_partial || self.n_statements < n_statements {
            let Self { n_statements: seen, .. } = self;
            let mut message = format!("the response ended before its last part, in statement {seen} of {n_statements}");
            if self.is_partial {
                message += ROWS_WITHHELD;
            }
            return Err(ResponseError::Transient(message));
        }
        Ok(())
    }
}

/// Error for JSON that no InfluxDB sends.
fn other_shape(problem: &str) -> ResponseError {
    ResponseError::Misconfigured(format!(
        "the response to a query is JSON of another shape ({problem}): {NOT_INFLUXDB}"
    ))
}

/// Converts a parser's error, which quotes unexpected input at full length.
fn unreadable(error: &serde_json::Error) -> ResponseError {
    let message = brief(&error.to_string());
    if error.is_io() || error.is_eof() {
        return ResponseError::Transient(format!("the response broke off: {message}"));
    }
    if error.is_data() {
        return other_shape(&message);
    }
    ResponseError::Refused(format!("the response is not JSON ({message}): {NOT_INFLUXDB}"))
}

/// openGemini reports a measurement that has never been written; InfluxDB returns an empty result.
fn is_empty(error: &str) -> bool {
    error.trim_start().starts_with("measurement not found")
}

fn is_transient(message: &str) -> bool {
    ["timeout", "max-concurrent-queries", "engine is closed", "shard is disabled", "too many open files"]
        .iter()
        .any(|text| message.contains(text))
}

impl SeriesPart {
    /// Returns the index of a column.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// Returns a tag that the query groups by; empty if absent.
    pub(crate) fn tag(&self, key: &str) -> &str {
        self.tags.get(key).and_then(Option::as_deref).unwrap_or_default()
    }
}

/// Reads rows of time and value.
pub(crate) fn samples(series: &SeriesPart) -> impl Iterator<Item = Sample> {
    series.values.iter().filter_map(|row| {
        let (time, value) = (row.first()?.as_i64()?, row.get(1)?.as_f64()?);
        Some(Sample { time: Timestamp::from_ns(time), value })
    })
}

/// Sums up rows of time and count.
pub(crate) fn count(series: &SeriesPart) -> u64 {
    series.values.iter().filter_map(|row| row.get(1)?.as_u64()).fold(0, u64::saturating_add)
}

/// Reads rows of time, minimum, mean, maximum and count. The time is some instant of the bucket, the server's choice.
pub(crate) fn buckets(series: &SeriesPart) -> impl Iterator<Item = Bucket> {
    series.values.iter().filter_map(|row| {
        let number = |at: usize| row.get(at).and_then(Value::as_f64);
        let time = Timestamp::from_ns(row.first()?.as_i64()?);
        let (min, mean, max, count) = (number(1)?, number(2)?, number(3)?, row.get(4)?.as_u64()?);
        // Rounding may put a mean outside its bounds; a row with reversed bounds is not a bucket.
        (min <= max && count > 0).then(|| Bucket { time, min, mean: mean.clamp(min, max), max, count })
    })
}

/// Merges part of a bucket, or a single value, into the bucket that starts at `start`.
pub(crate) fn merge(found: &mut BTreeMap<i128, Bucket>, start: i128, part: Bucket) {
    let time = Timestamp::from_ns(i64::try_from(start).unwrap_or(i64::MIN));
    let Some(whole) = found.get_mut(&start) else {
        found.insert(start, Bucket { time, ..part });
        return;
    };
    let count = whole.count.saturating_add(part.count);
    // Weighted step by step, so that no sum of large values overflows.
    let share = part.count as f64 / count as f64;
    let mean = whole.mean * (1.0 - share) + part.mean * share;
    let (min, max) = (whole.min.min(part.min), whole.max.max(part.max));
    *whole = Bucket { time, min, mean: mean.clamp(min, max), max, count };
}

/// Reads a row with all columns of an event.
pub(crate) fn event(series: &SeriesPart, row: &[Value]) -> Option<EventRecord> {
    let cell = |name: &str| series.column(name).and_then(|at| row.get(at));
    let text = |name: &str| cell(name).and_then(Value::as_str).map(|text| line::decode(text).into_owned());
    let time = cell("timestamp_ns").and_then(Value::as_i64)?;
    let event = Event {
        id: EventId::new(&text("event_id")?).ok()?,
        criticality: Criticality::new(cell("criticality")?.as_u64()?)?,
        timestamp: Timestamp::from_ns(time),
        source_device: DeviceName::new(&text("source_device")?).ok()?,
        event_type: EventType::new(&text("event_type")?).ok()?,
        event_message: text("event_message"),
        seq: cell("seq").and_then(Value::as_i64).map(i64::cast_unsigned),
        labels: text("labels").and_then(|labels| serde_json::from_str(&labels).ok()).map(Box::new),
    };
    let received = Timestamp::from_ns(cell("received_ns").and_then(Value::as_i64).unwrap_or(time));
    Some(EventRecord { event, received })
}

/// Row of the index of arrivals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArrivalEntry {
    pub(crate) id: EventId,
    /// Time of the event, in nanoseconds.
    pub(crate) happened: i64,
    pub(crate) received: Timestamp,
    /// Time of the event's point, in nanoseconds.
    pub(crate) place_ns: i64,
    pub(crate) device: DeviceName,
    pub(crate) event_type: EventType,
}

/// Reads a row of the index of arrivals.
pub(crate) fn arrival(series: &SeriesPart, row: &[Value]) -> Option<ArrivalEntry> {
    let cell = |name: &str| series.column(name).and_then(|at| row.get(at));
    let text = |name: &str| cell(name).and_then(Value::as_str).map(line::decode);
    let whole = |name: &str| cell(name).and_then(Value::as_i64);
    Some(ArrivalEntry {
        id: EventId::new(&text("event_id")?).ok()?,
        happened: whole("timestamp_ns")?,
        received: Timestamp::from_ns(whole("received_ns")?),
        place_ns: whole("place_ns")?,
        device: DeviceName::new(&text("source_device")?).ok()?,
        event_type: EventType::new(&text("event_type")?).ok()?,
    })
}

/// Event stored at some position, which implies its device and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredEvent {
    pub(crate) id: EventId,
    pub(crate) happened: Timestamp,
    pub(crate) received: Timestamp,
}

impl StoredEvent {
    /// Returns whether it is this event, of the same device and type.
    pub(crate) fn is(&self, event: &Event) -> bool {
        self.id == event.id && self.happened == event.timestamp
    }
}

/// Reads a row of the position's time, event id, event time and arrival.
pub(crate) fn stored_event(row: &[Value]) -> Option<StoredEvent> {
    let (time, id) = (row.first()?.as_i64()?, event_id(row.get(1)?)?);
    let at = |column: usize| Timestamp::from_ns(row.get(column).and_then(Value::as_i64).unwrap_or(time));
    Some(StoredEvent { id, happened: at(2), received: at(3) })
}

/// Reads the cell of an event's id.
pub(crate) fn event_id(cell: &Value) -> Option<EventId> {
    EventId::new(&line::decode(cell.as_str()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series_of(body: &str) -> Result<Vec<SeriesPart>, ResponseError> {
        Progress::default().series(documents(body.as_bytes()).next().unwrap())
    }

    fn series(values: &str) -> SeriesPart {
        serde_json::from_str(&format!("{{\"columns\":[\"time\"],\"values\":{values}}}")).unwrap()
    }

    #[test]
    fn rows_that_were_not_asked_for_are_passed_over() {
        let odd = series("[[],[null],[1],[1,\"\"],[1,-1,0],[1,2,1.5,1,3],[1,1,1.5,2,0],[1,1,1.5,2,-3]]");
        assert_eq!(buckets(&odd).count(), 0);
        assert!(odd.values.iter().all(|row| stored_event(row).is_none() && event(&odd, row).is_none()));
        let [bucket] = buckets(&series("[[1,1,2.5,2,3]]")).collect::<Vec<_>>()[..] else { panic!("not one bucket") };
        assert_eq!((bucket.min, bucket.mean, bucket.max, bucket.count), (1.0, 2.0, 2.0, 3));
        let id = EventId::new("7\n").unwrap();
        assert_eq!(
            stored_event(&series(&format!("[[5,\"{}\"]]", line::encode(&id.text()))).values[0]),
            Some(StoredEvent { id, happened: Timestamp::from_ns(5), received: Timestamp::from_ns(5) })
        );
    }

    #[test]
    fn what_a_server_says_is_one_short_line() {
        let long = format!("{{\"error\":\"query-timeout\\nlimit {}\"}}", "x".repeat(5_000));
        let Err(ResponseError::Transient(message)) = series_of(&long) else { panic!() };
        assert_eq!(message, "query-timeout");
        let wrong = format!("{{\"results\":\"{}\"}}", "x".repeat(5_000));
        let Err(ResponseError::Misconfigured(message)) = series_of(&wrong) else { panic!() };
        assert!(message.contains("another shape (invalid type: string \"xxx") && message.len() < 500, "{message}");
    }

    #[test]
    fn no_result_is_read_from_json_of_another_make() {
        for other in [
            "{}",
            r#"{"status":"ok"}"#,
            r#"{"results":[]}"#,
            r#"{"results":[{}]}"#,
            r#"{"results":[{"rows":[1]}]}"#,
            r#"{"results":{"a":1}}"#,
            r#"{"results":[{"statement_id":0,"series":[{"values":[]}]}]}"#,
            "[]",
            "null",
            "7",
            "\"login\"",
        ] {
            assert!(
                matches!(series_of(other), Err(ResponseError::Misconfigured(_))),
                "{other}: {:?}",
                series_of(other)
            );
        }
        assert!(series_of(r#"{"results":[{"statement_id":0}]}"#).unwrap().is_empty());
        assert!(matches!(series_of(r#"{"error":"refused"}"#), Err(ResponseError::Refused(_))));
    }

    #[test]
    fn a_response_that_ends_early_is_not_complete() {
        let progress = |body: &str| {
            let mut progress = Progress::default();
            for document in documents(body.as_bytes()) {
                progress.series(document).unwrap();
            }
            progress
        };
        let first = r#"{"results":[{"statement_id":0,"series":[{"columns":["time"],"values":[[1]],"partial":true}],"partial":true}]}"#;
        let last = r#"{"results":[{"statement_id":0,"series":[{"columns":["time"],"values":[[2]]}]}]}"#;
        let second = r#"{"results":[{"statement_id":1}]}"#;
        for (body, n_statements, expect) in [
            (last.to_owned(), 1, None),
            (format!("{first}\n{last}\n"), 1, None),
            (first.to_owned(), 1, Some("in statement 1 of 1: the connection was cut, or a limit of rows")),
            (format!("{last}\n{}", first.replace("id\":0", "id\":1")), 2, Some("2 of 2: the connection was cut, or")),
            (String::new(), 1, Some("empty response")),
            (format!("{last}\n"), 2, Some("in statement 1 of 2")),
            (format!("{last}\n{second}"), 2, None),
        ] {
            let problem = match progress(&body).end(n_statements) {
                Err(ResponseError::Transient(message)) => Some(message),
                other => other.map(|()| None).unwrap(),
            };
            assert_eq!(problem.is_some(), expect.is_some(), "{body} of {n_statements}: {problem:?}");
            assert!(problem.is_none_or(|message| message.contains(expect.unwrap())), "{body}");
        }
    }

    #[test]
    fn a_measurement_that_was_never_written_is_empty() {
        let missing = r#"{"results":[{"statement_id":0,"error":"measurement not found"}]}"#;
        assert!(series_of(missing).unwrap().is_empty());
        let database = r#"{"results":[{"statement_id":0,"error":"database not found: nodb"}]}"#;
        assert!(matches!(series_of(database), Err(ResponseError::Misconfigured(_))));
        let both = r#"{"results":[{"error":"measurement not found"},{"error":"something else"}]}"#;
        assert!(matches!(series_of(both), Err(ResponseError::Refused(_))));
    }

    #[test]
    fn counts_stay_at_the_end_of_their_range() {
        let huge = series(&format!("[[1,{max}],[2,{max}],[3,1]]", max = u64::MAX));
        assert_eq!(count(&huge), u64::MAX);
        let mut found = BTreeMap::new();
        for part in buckets(&series(&format!("[[1,-1e308,0,1e308,{max}],[2,1,1,1,{max}]]", max = u64::MAX))) {
            merge(&mut found, 0, part);
        }
        let bucket = found[&0];
        assert_eq!((bucket.min, bucket.max, bucket.count), (-1e308, 1e308, u64::MAX));
        assert!((0.0..=1.0).contains(&bucket.mean));
    }
}
