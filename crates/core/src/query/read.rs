//! From bytes or words to a [`Query`]: every parameter is looked up in the table, checked and defaulted.

use std::time::Duration;

use serde_json::{Map, Value};

use super::table::{self, Param, ParamKind, QueryType};
use super::{AuditQuery, EventsQuery, MAX_QUERY_BYTES, Query, QueryError};
use crate::name::{DeviceName, EventType, MetricType};
use crate::records::{TimeBasis, Window};
use crate::timestamp::{Timestamp, shorten};
use crate::wire::Criticality;

/// Buckets in an answer to `series`, at most: what a chart can show and a message can hold.
const MAX_BUCKETS: f64 = 10_000.0;
/// Buckets in an answer to `series` that names no bucket length.
const DEFAULT_BUCKETS: f64 = 300.0;
/// An audit that names no end leaves out what is younger: it may still be on its way. What a killed writer had in
/// hand comes again after 30 s; the rest is for storing it.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

pub(super) fn from_bytes(payload: &[u8], now: Timestamp) -> Result<Query, QueryError> {
    if payload.len() > MAX_QUERY_BYTES {
        return Err(QueryError::TooLarge(payload.len()));
    }
    let body = match serde_json::from_slice(payload).map_err(|error| QueryError::Json(error.to_string()))? {
        Value::Object(body) => body,
        other => return Err(QueryError::Json(format!("found {}", shorten(&other.to_string())))),
    };
    let query_type = match body.get("query_type") {
        None => return Err(QueryError::NoType),
        Some(Value::String(name)) => {
            table::find(name).ok_or_else(|| QueryError::UnknownType(format!("'{}'", shorten(name))))?
        }
        Some(other) => return Err(QueryError::UnknownType(shorten(&other.to_string()))),
    };
    refuse_unknown_fields(query_type, &body)?;
    let empty = Map::new();
    let params = match body.get("params") {
        None | Some(Value::Null) => &empty,
        Some(Value::Object(params)) => params,
        Some(other) => {
            let found = shorten(&other.to_string());
            return Err(QueryError::Json(format!("field 'params' is {found}: expected an object")));
        }
    };
    let arguments = Arguments { query_type, params, now };
    arguments.refuse_unknown()?;
    build(&arguments)
}

/// What is not understood is said: a parameter beside `params` would change nothing, in silence.
fn refuse_unknown_fields(query_type: &'static QueryType, body: &Map<String, Value>) -> Result<(), QueryError> {
    let Some(field) = body.keys().find(|name| !["query_type", "params"].contains(&name.as_str())) else {
        return Ok(());
    };
    let meant = query_type.params.iter().find(|param| param.name == field);
    let example = meant.unwrap_or(&query_type.params[0]).name;
    Err(QueryError::UnknownField { query_type: query_type.name, field: shorten(field), example })
}

pub(super) fn body_from_words(
    query_type: &str,
    words: &[(String, String)],
    now: Timestamp,
) -> Result<Vec<u8>, QueryError> {
    let table = table::find(query_type).ok_or_else(|| QueryError::UnknownType(format!("'{}'", shorten(query_type))))?;
    let mut params = Map::new();
    for (name, word) in words {
        let numeric = table
            .params
            .iter()
            .any(|param| param.name == name && matches!(param.kind, ParamKind::Integer(..) | ParamKind::Number(..)));
        let number = numeric.then(|| word.parse::<serde_json::Number>().ok()).flatten();
        let value = number.map_or_else(|| Value::String(word.clone()), Value::Number);
        if params.insert(name.clone(), value).is_some() {
            return Err(QueryError::RepeatedParam { query_type: table.name, param: shorten(name) });
        }
    }
    let body = serde_json::json!({ "query_type": query_type, "params": params }).to_string().into_bytes();
    // Wrong words are refused here, where they were typed, and not only by whoever answers.
    from_bytes(&body, now)?;
    Ok(body)
}

fn build(arguments: &Arguments<'_>) -> Result<Query, QueryError> {
    Ok(match arguments.query_type.name {
        "alerts_critical" => Query::AlertsCritical(events_query(arguments, 15, 8, 1000)?),
        "events" => Query::Events(events_query(arguments, 60, 1, 200)?),
        "device_health" => {
            Query::DeviceHealth { source_device: arguments.device()?, window: arguments.window_minutes(60)? }
        }
        "anomaly_temperature" => Query::AnomalyTemperature {
            source_device: arguments.device()?,
            threshold: arguments.number("threshold", 1.3)?,
            window: arguments.window_minutes(20)?,
        },
        "devices" => Query::Devices {
            after: arguments.name("after", DeviceName::new)?,
            limit: arguments.integer("limit", 200)? as usize,
            at: arguments.time("at")?.unwrap_or(arguments.now),
        },
        "audit_gaps" => Query::AuditGaps(AuditQuery {
            window: arguments.since_minutes_before(arguments.now.minus(SETTLED_AFTER), 60)?,
            source_device: arguments.name("source_device", DeviceName::new)?,
            after: arguments.name("after", DeviceName::new)?,
            limit: arguments.integer("limit", 200)? as usize,
        }),
        _series => series(arguments)?,
    })
}

fn events_query(
    arguments: &Arguments<'_>,
    minutes: i64,
    criticality: i64,
    limit: i64,
) -> Result<EventsQuery, QueryError> {
    let basis = match arguments.text("by")? {
        Some("time") => TimeBasis::Happened,
        Some("received") => TimeBasis::Received,
        None | Some(_) => TimeBasis::Either,
    };
    let min_criticality = arguments.integer("min_criticality", criticality)?;
    Ok(EventsQuery {
        window: arguments.since_minutes(minutes)?,
        basis,
        source_device: arguments.name("source_device", DeviceName::new)?,
        event_type: if arguments.has("event_type") { arguments.name("event_type", EventType::new)? } else { None },
        min_criticality: Criticality::new(min_criticality.unsigned_abs()).unwrap_or(Criticality::MAX),
        limit: arguments.integer("limit", limit)? as usize,
        offset: arguments.integer("offset", 0)? as usize,
    })
}

fn series(arguments: &Arguments<'_>) -> Result<Query, QueryError> {
    let window = arguments.since_minutes(60)?;
    let metric_type = arguments.required("metric_type", arguments.name("metric_type", MetricType::new)?)?;
    let fallback = (window.seconds() / DEFAULT_BUCKETS).max(1.0).ceil();
    let seconds = arguments.number("bucket_seconds", fallback)?;
    if window.seconds() / seconds > MAX_BUCKETS {
        let least = (window.seconds() / MAX_BUCKETS * 1000.0).ceil() / 1000.0;
        return Err(arguments.bad(
            "bucket_seconds",
            &seconds.to_string(),
            format!("at least {least} for this window, so that an answer has at most {MAX_BUCKETS} buckets"),
        ));
    }
    Ok(Query::Series {
        source_device: arguments.device()?,
        metric_type,
        window,
        bucket: Duration::from_secs_f64(seconds),
    })
}

/// The parameters of one question, read by name.
struct Arguments<'a> {
    query_type: &'static QueryType,
    params: &'a Map<String, Value>,
    now: Timestamp,
}

impl Arguments<'_> {
    fn refuse_unknown(&self) -> Result<(), QueryError> {
        for name in self.params.keys() {
            if !self.has(name) {
                let expected: Vec<_> = self.query_type.params.iter().map(|param| param.name).collect();
                return Err(QueryError::UnknownParam {
                    query_type: self.query_type.name,
                    param: shorten(name),
                    expected: expected.join(", "),
                });
            }
        }
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.query_type.params.iter().any(|param| param.name == name)
    }

    /// The table's row; a name that is not in it is a mistake in this file that every test of the type meets.
    fn row(&self, name: &str) -> &'static Param {
        self.query_type.params.iter().find(|param| param.name == name).unwrap_or(&self.query_type.params[0])
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.params.get(name).filter(|value| !value.is_null())
    }

    fn bad(&self, name: &str, found: &str, expected: String) -> QueryError {
        QueryError::BadParam {
            query_type: self.query_type.name,
            param: self.row(name).name,
            found: shorten(found),
            expected,
        }
    }

    fn wrong(&self, name: &str, found: &Value) -> QueryError {
        self.bad(name, &found.to_string(), self.row(name).expected())
    }

    fn integer(&self, name: &str, default: i64) -> Result<i64, QueryError> {
        let Some(value) = self.value(name) else { return Ok(default) };
        match (value.as_i64(), self.row(name).kind) {
            (Some(number), ParamKind::Integer(min, max)) if (min..=max).contains(&number) => Ok(number),
            _ => Err(self.wrong(name, value)),
        }
    }

    fn number(&self, name: &str, default: f64) -> Result<f64, QueryError> {
        let Some(value) = self.value(name) else { return Ok(default) };
        match (value.as_f64(), self.row(name).kind) {
            (Some(number), ParamKind::Number(min, max)) if (min..=max).contains(&number) => Ok(number),
            _ => Err(self.wrong(name, value)),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&str>, QueryError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match (value.as_str(), self.row(name).kind) {
            (Some(word), ParamKind::Choice(words)) if !words.contains(&word) => Err(self.wrong(name, value)),
            (Some(word), _) => Ok(Some(word)),
            (None, _) => Err(self.wrong(name, value)),
        }
    }

    fn name<T, E: std::fmt::Display>(
        &self,
        name: &str,
        new: fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, QueryError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        if text.is_empty() {
            return Err(self.bad(name, "empty", self.row(name).expected()));
        }
        new(text).map(Some).map_err(|error| self.bad(name, text, format!("a name, but it {error}")))
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, QueryError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        Timestamp::parse(text).map(Some).map_err(|_| self.bad(name, text, self.row(name).expected()))
    }

    fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, QueryError> {
        value.ok_or_else(|| QueryError::MissingParam {
            query_type: self.query_type.name,
            param: self.row(name).name,
            expected: self.row(name).expected(),
        })
    }

    fn device(&self) -> Result<DeviceName, QueryError> {
        self.required("source_device", self.name("source_device", DeviceName::new)?)
    }

    fn window_minutes(&self, default: i64) -> Result<Window, QueryError> {
        let until = self.time("at")?.unwrap_or(self.now);
        Ok(Window::ending_at(just_after(until), minutes(self.integer("window_minutes", default)?)))
    }

    fn since_minutes(&self, default: i64) -> Result<Window, QueryError> {
        self.since_minutes_before(just_after(self.now), default)
    }

    /// The window that ends at `end`, if nothing else is asked for.
    fn since_minutes_before(&self, end: Timestamp, default: i64) -> Result<Window, QueryError> {
        let until = self.time("until")?.unwrap_or(end);
        let length = minutes(self.integer("since_minutes", default)?);
        let from = self.time("from")?.unwrap_or_else(|| until.minus(length));
        if from >= until {
            return Err(self.bad("from", &from.to_string(), format!("a time before until ({until})")));
        }
        Ok(Window { from, until })
    }
}

/// Windows exclude their end, and what was measured right now belongs in.
fn just_after(instant: Timestamp) -> Timestamp {
    instant.plus(Duration::from_nanos(1))
}

fn minutes(count: i64) -> Duration {
    Duration::from_secs(count.unsigned_abs() * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_750_000_000);

    fn error(body: &str) -> String {
        Query::parse(body.as_bytes(), NOW).unwrap_err().to_string()
    }

    #[test]
    fn the_first_systems_questions_are_understood() {
        let alerts = br#"{"query_type":"alerts_critical","params":{"since_minutes":15,"min_criticality":8}}"#;
        let Query::AlertsCritical(query) = Query::parse(alerts, NOW).unwrap() else { panic!("another type") };
        assert_eq!(query.window.seconds(), 900.0);
        assert_eq!((query.min_criticality.level(), query.basis, query.limit), (8, TimeBasis::Either, 1000));
        let anomaly = br#"{"query_type":"anomaly_temperature","params":{"source_device":"DiskUnit","threshold":1.3,"window_minutes":20}}"#;
        assert_eq!(Query::parse(anomaly, NOW).unwrap().query_type(), "anomaly_temperature");
    }

    #[test]
    fn every_mistake_is_named_with_its_remedy() {
        let check = |body: &str, expected: &str| {
            let message = error(body);
            assert!(message.contains(expected), "{body}: {message}");
        };
        check("", "no valid JSON object");
        check("[]", "no valid JSON object: found []");
        check(&format!("\"{}\"", "x".repeat(5_000)), &format!("found \"{}…", "x".repeat(59)));
        check("{}", "'query_type' is missing: expected one of alerts_critical,");
        check(r#"{"query_type":"x"}"#, "unknown query_type 'x': expected one of alerts_critical,");
        check(r#"{"query_type":7}"#, "unknown query_type 7");
        check(r#"{"query_type":"devices","params":[]}"#, "'params' is []: expected an object");
        check(
            r#"{"query_type":"devices","params":{"lim":1}}"#,
            "unknown parameter 'lim' for devices: expected limit, after, at",
        );
        check(
            r#"{"query_type":"devices","params":{"limit":0}}"#,
            "parameter 'limit' of devices is 0: expected a whole number from 1 to 1000",
        );
        check(
            r#"{"query_type":"devices","limit":1}"#,
            r#"unknown field 'limit' beside query_type: expected the parameters of devices in "params", as in {"query_type":"devices","params":{"limit":…}}"#,
        );
        check(r#"{"query_type":"events","params":{},"pramas":{}}"#, "unknown field 'pramas'");
        check(r#"{"query_type":"devices","params":{"limit":"5"}}"#, "is \"5\": expected a whole number");
        check(
            r#"{"query_type":"device_health"}"#,
            "parameter 'source_device' of device_health is missing: expected a name",
        );
        check(r#"{"query_type":"device_health","params":{"source_device":"a\nb"}}"#, "control character");
        check(
            r#"{"query_type":"device_health","params":{"source_device":""}}"#,
            "parameter 'source_device' of device_health is empty: expected a name",
        );
        check(r#"{"query_type":"events","params":{"by":"arrival"}}"#, "expected one of any, time, received");
        check(r#"{"query_type":"events","params":{"from":"monday"}}"#, "expected a time such as");
        check(r#"{"query_type":"events","params":{"from":"2999-01-01T00:00:00Z"}}"#, "expected a time such as");
        check(
            r#"{"query_type":"series","params":{"source_device":"a","metric_type":"b","bucket_seconds":0.001}}"#,
            "at most 10000 buckets",
        );
    }

    #[test]
    fn an_audit_leaves_out_what_may_be_on_its_way_unless_told() {
        let window = |body: &str| {
            let Query::AuditGaps(query) = Query::parse(body.as_bytes(), NOW).unwrap() else { panic!("another type") };
            (NOW.seconds_since(query.window.from), NOW.seconds_since(query.window.until))
        };
        assert_eq!(window(r#"{"query_type":"audit_gaps"}"#), (3660.0, 60.0));
        let until_now = format!(r#"{{"query_type":"audit_gaps","params":{{"since_minutes":5,"until":"{NOW}"}}}}"#);
        assert_eq!(window(&until_now), (300.0, 0.0));
    }

    #[test]
    fn words_become_a_body_that_parses() {
        let words = [("since_minutes".to_owned(), "30".to_owned()), ("source_device".to_owned(), "7".to_owned())];
        let body = Query::body_from_words("events", &words, NOW).unwrap();
        let Query::Events(query) = Query::parse(&body, NOW).unwrap() else { panic!("another type") };
        assert_eq!(query.source_device.unwrap().as_str(), "7");
        assert_eq!(query.window.seconds(), 1800.0);
        assert!(Query::body_from_words("events", &[("limit".to_owned(), "many".to_owned())], NOW).is_err());
        let twice = [("limit".to_owned(), "1".to_owned()), ("limit".to_owned(), "2".to_owned())];
        let refused = Query::body_from_words("events", &twice, NOW).unwrap_err().to_string();
        assert_eq!(refused, "parameter 'limit' of events is given more than once: expected it once");
        let recent = [("from".to_owned(), "2025-06-01T00:00:00Z".to_owned())];
        assert!(Query::body_from_words("events", &recent, NOW).is_ok(), "a start without an end ends now");
    }
}
