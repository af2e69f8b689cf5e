//! Answers to InfluxQL queries: from bytes to documents, to series, to what the store hands out.
//!
//! Pure: no network, no runtime. The bytes are a server's (or a proxy's), so nothing in them is believed: a row
//! that is not what was asked for is passed over, and no answer makes this panic.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};

use serde::Deserialize;
use serde_json::Value;
use spindle_core::records::{Bucket, EventRecord, Sample};
use spindle_core::{Criticality, DeviceName, Event, EventType, Timestamp};
use uuid::Uuid;

use super::line;
use super::verdict::brief;

/// One document of an answer: versions 1 and 2 end each with a line feed, 3 with a line end of Windows or nothing.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    #[serde(default)]
    results: Vec<QueryResult>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct QueryResult {
    #[serde(default)]
    series: Vec<Series>,
    error: Option<String>,
}

/// Part of one series of an answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Series {
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, Option<String>>,
    pub(crate) columns: Vec<String>,
    #[serde(default)]
    pub(crate) values: Vec<Vec<Value>>,
}

/// Why an answer has no rows, or no more.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It broke off, or the server cannot now: ask again.
    Passing(String),
    /// An operator must mend something.
    Operator(String),
    /// The server refuses the question, or is no InfluxDB.
    Refused(String),
}

/// The documents of an answer, as they arrive. The first one that fails is the last one.
pub(crate) fn documents(body: impl Read) -> impl Iterator<Item = serde_json::Result<Document>> {
    serde_json::Deserializer::from_reader(BufReader::new(body)).into_iter()
}

impl Document {
    /// Its series, possibly none; or what the server says instead.
    pub(crate) fn series(document: serde_json::Result<Self>) -> Result<Vec<Series>, Fault> {
        let document = document.map_err(|error| unreadable(&error))?;
        let mut found = Vec::new();
        let mut error = document.error;
        for result in document.results {
            error = error.or(result.error);
            found.extend(result.series);
        }
        match error {
            Some(words) if words.contains("database not found") => Err(Fault::Operator(brief(&words))),
            Some(words) if is_passing(&words) => Err(Fault::Passing(brief(&words))),
            Some(words) => Err(Fault::Refused(brief(&words))),
            None => Ok(found),
        }
    }
}

/// It repeats what it did not expect, at full length.
fn unreadable(error: &serde_json::Error) -> Fault {
    let words = brief(&error.to_string());
    if error.is_io() || error.is_eof() {
        return Fault::Passing(format!("the answer broke off: {words}"));
    }
    Fault::Refused(format!("the answer is no JSON ({words}): is this an InfluxDB, and no proxy in between?"))
}

fn is_passing(words: &str) -> bool {
    ["timeout", "max-concurrent-queries", "engine is closed", "shard is disabled", "too many open files"]
        .iter()
        .any(|text| words.contains(text))
}

impl Series {
    /// Where a column stands.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// A tag that it is grouped by.
    pub(crate) fn tag(&self, key: &str) -> &str {
        self.tags.get(key).and_then(Option::as_deref).unwrap_or_default()
    }
}

/// Rows of time and value.
pub(crate) fn samples(series: &Series) -> impl Iterator<Item = Sample> {
    series.values.iter().filter_map(|row| {
        let (time, value) = (row.first()?.as_i64()?, row.get(1)?.as_f64()?);
        Some(Sample { time: Timestamp::from_ns(time), value })
    })
}

/// Rows of time and number: the numbers' sum.
pub(crate) fn count(series: &Series) -> u64 {
    series.values.iter().filter_map(|row| row.get(1)?.as_u64()).fold(0, u64::saturating_add)
}

/// Rows of time, minimum, mean, maximum and number. The time is the server's: some instant of the bucket.
pub(crate) fn buckets(series: &Series) -> impl Iterator<Item = Bucket> {
    series.values.iter().filter_map(|row| {
        let number = |at: usize| row.get(at).and_then(Value::as_f64);
        let time = Timestamp::from_ns(row.first()?.as_i64()?);
        let (min, mean, max, count) = (number(1)?, number(2)?, number(3)?, row.get(4)?.as_u64()?);
        // Rounding may put a mean beside its bounds; bounds the wrong way round are no bucket.
        (min <= max && count > 0).then(|| Bucket { time, min, mean: mean.clamp(min, max), max, count })
    })
}

/// Adds part of a bucket, or a single value, to the bucket that starts at `start`.
pub(crate) fn add(found: &mut BTreeMap<i128, Bucket>, start: i128, part: Bucket) {
    let time = Timestamp::from_ns(i64::try_from(start).unwrap_or(i64::MIN));
    let Some(whole) = found.get_mut(&start) else {
        found.insert(start, Bucket { time, ..part });
        return;
    };
    let count = whole.count.saturating_add(part.count);
    // Stepwise, so that no sum of large values overflows.
    let share = part.count as f64 / count as f64;
    let mean = whole.mean * (1.0 - share) + part.mean * share;
    let (min, max) = (whole.min.min(part.min), whole.max.max(part.max));
    *whole = Bucket { time, min, mean: mean.clamp(min, max), max, count };
}

/// A row of an event with all its columns.
pub(crate) fn event(series: &Series, row: &[Value]) -> Option<EventRecord> {
    let cell = |name: &str| series.column(name).and_then(|at| row.get(at));
    let text = |name: &str| cell(name).and_then(Value::as_str).map(|text| line::decode(text).into_owned());
    let time = cell("timestamp_ns").and_then(Value::as_i64)?;
    let event = Event {
        id: text("event_id")?.parse().ok()?,
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

/// What lies at a place of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occupant {
    /// The place, in nanoseconds.
    pub(crate) time: i64,
    pub(crate) id: Uuid,
    /// When it happened, in nanoseconds.
    pub(crate) happened: i64,
    pub(crate) received: Timestamp,
}

/// A row of time, event id, the time it happened and its arrival.
pub(crate) fn occupant(row: &[Value]) -> Option<Occupant> {
    let (time, id) = (row.first()?.as_i64()?, row.get(1)?.as_str()?.parse().ok()?);
    let whole = |column: usize| row.get(column).and_then(Value::as_i64).unwrap_or(time);
    Some(Occupant { time, id, happened: whole(2), received: Timestamp::from_ns(whole(3)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &str) -> Series {
        serde_json::from_str(&format!("{{\"columns\":[\"time\"],\"values\":{values}}}")).unwrap()
    }

    #[test]
    fn rows_that_were_not_asked_for_are_passed_over() {
        let odd = series("[[],[null],[1],[1,\"x\"],[1,-1,0],[1,2,1.5,1,3],[1,1,1.5,2,0],[1,1,1.5,2,-3]]");
        assert_eq!(buckets(&odd).count(), 0);
        assert!(odd.values.iter().all(|row| occupant(row).is_none() && event(&odd, row).is_none()));
        let [bucket] = buckets(&series("[[1,1,2.5,2,3]]")).collect::<Vec<_>>()[..] else { panic!("not one bucket") };
        assert_eq!((bucket.min, bucket.mean, bucket.max, bucket.count), (1.0, 2.0, 2.0, 3));
        let id = Uuid::from_u128(7);
        assert_eq!(
            occupant(&series(&format!("[[5,\"{id}\"]]")).values[0]),
            Some(Occupant { time: 5, id, happened: 5, received: Timestamp::from_ns(5) })
        );
    }

    #[test]
    fn what_a_server_says_is_one_short_line() {
        let long = format!("{{\"error\":\"query-timeout\\nlimit {}\"}}", "x".repeat(5_000));
        let Err(Fault::Passing(words)) = documents(long.as_bytes()).map(Document::series).next().unwrap() else {
            panic!()
        };
        assert_eq!(words, "query-timeout");
        let wrong = format!("{{\"results\":\"{}\"}}", "x".repeat(5_000));
        let Err(Fault::Refused(words)) = documents(wrong.as_bytes()).map(Document::series).next().unwrap() else {
            panic!()
        };
        assert!(words.starts_with("the answer is no JSON (invalid type: string \"xxx") && words.len() < 500, "{words}");
    }

    #[test]
    fn counts_stay_at_the_end_of_their_range() {
        let huge = series(&format!("[[1,{max}],[2,{max}],[3,1]]", max = u64::MAX));
        assert_eq!(count(&huge), u64::MAX);
        let mut found = BTreeMap::new();
        for part in buckets(&series(&format!("[[1,-1e308,0,1e308,{max}],[2,1,1,1,{max}]]", max = u64::MAX))) {
            add(&mut found, 0, part);
        }
        let bucket = found[&0];
        assert_eq!((bucket.min, bucket.max, bucket.count), (-1e308, 1e308, u64::MAX));
        assert!((0.0..=1.0).contains(&bucket.mean));
    }
}
