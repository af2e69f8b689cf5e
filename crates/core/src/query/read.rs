//! Parses JSON or text into a [`Query`].

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::{Map, Value};

use super::arguments::Arguments;
use super::error::QueryError;
use super::table::{self, ParamKind, QueryType};
use super::{
    AnomaliesQuery, AuditQuery, ColumnsQuery, EventsQuery, FleetCursor, FleetQuery, HealthChoice, IncidentsQuery,
    MAX_QUERY_BYTES, Query,
};
use crate::health::Health;
use crate::incidents::IncidentState;
use crate::name::{DeviceName, EventType, MetricType};
use crate::records::{TimeBasis, Window};
use crate::timestamp::{Timestamp, shorten};
use crate::wire::Criticality;

/// Maximum number of buckets in the response to `series`: what fits into a chart and a message.
const MAX_BUCKETS: f64 = 10_000.0;
/// Number of buckets in the response to `series` without a bucket length.
const DEFAULT_BUCKETS: f64 = 300.0;
/// Maximum number of buckets in the response to `fleet_series`, and their number without a bucket length: each costs a
/// seek in every series.
const MAX_FLEET_BUCKETS: f64 = 500.0;
const DEFAULT_FLEET_BUCKETS: f64 = 100.0;
/// Maximum number of buckets in the response to `pipeline`, and their number without a bucket length. Writers report
/// every 10 s.
const MAX_PIPELINE_BUCKETS: f64 = 1_000.0;
const DEFAULT_PIPELINE_BUCKETS: f64 = 300.0;
/// Age below which data is left out of an audit without an end: it may still be in flight. Messages in flight in a
/// killed writer are redelivered after 30 s; the rest is time to store them.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

impl Query {
    /// Parses the payload of a request; `now` ends windows without an end.
    ///
    /// # Errors
    /// [`QueryError`] names the mistake and the expected value.
    pub fn from_json(payload: &[u8], now: Timestamp) -> Result<Self, QueryError> {
        check_size(payload.len())?;
        let body = match serde_json::from_slice(payload).map_err(|error| QueryError::Json(error.to_string()))? {
            Value::Object(body) => body,
            other => return Err(QueryError::Json(format!("found {}", shorten(&other.to_string())))),
        };
        let query_type = match body.get("query_type") {
            None => return Err(QueryError::NoType),
            Some(Value::String(name)) => find(name)?,
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
        build(&Arguments { query_type, params, now })
    }

    /// Parses a query in text, as on a command line: type, names and values of parameters.
    ///
    /// # Errors
    /// As [`Query::from_json`]; a parameter may be given once.
    pub fn from_words(query_type: &str, words: &[(String, String)], now: Timestamp) -> Result<Self, QueryError> {
        let query_type = find(query_type)?;
        let params = typed(query_type, words)?;
        build(&Arguments { query_type, params: &params, now })
    }

    /// Parses a query in the parameters of an address, `query_type` among them.
    ///
    /// # Errors
    /// As [`Query::from_words`].
    pub fn from_params(params: &[(String, String)], now: Timestamp) -> Result<Self, QueryError> {
        let index = params.iter().position(|(name, _)| name == "query_type").ok_or(QueryError::NoType)?;
        let (before, after) = (&params[..index], &params[index + 1..]);
        Self::from_words(&params[index].1, &[before, after].concat(), now)
    }

    /// Returns the request payload for a query in text. Relative times stay relative: the reader's clock decides.
    ///
    /// # Errors
    /// As [`Query::from_words`]: mistakes are found here and not only by the reader.
    pub fn body_from_words(
        query_type: &str,
        words: &[(String, String)],
        now: Timestamp,
    ) -> Result<Vec<u8>, QueryError> {
        Self::from_words(query_type, words, now)?;
        let params = typed(find(query_type)?, words)?;
        let body = serde_json::json!({ "query_type": query_type, "params": params }).to_string().into_bytes();
        check_size(body.len())?;
        Ok(body)
    }
}

fn check_size(n_bytes: usize) -> Result<(), QueryError> {
    if n_bytes > MAX_QUERY_BYTES { Err(QueryError::TooLarge(n_bytes)) } else { Ok(()) }
}

fn find(query_type: &str) -> Result<&'static QueryType, QueryError> {
    table::find(query_type).ok_or_else(|| QueryError::UnknownType(format!("'{}'", shorten(query_type))))
}

/// Rejects fields outside `params`: a misplaced parameter would be ignored silently.
fn refuse_unknown_fields(query_type: &'static QueryType, body: &Map<String, Value>) -> Result<(), QueryError> {
    let Some(field) = body.keys().find(|name| !["query_type", "params"].contains(&name.as_str())) else {
        return Ok(());
    };
    let meant = query_type.params.iter().find(|param| param.name == field);
    let example = meant.unwrap_or(&query_type.params[0]).name;
    Err(QueryError::UnknownField { query_type: query_type.name, field: shorten(field), example })
}

/// Converts text to JSON values: numbers for parameters that take numbers, strings otherwise.
fn typed(query_type: &'static QueryType, words: &[(String, String)]) -> Result<Map<String, Value>, QueryError> {
    check_size(words.iter().map(|(name, word)| name.len() + word.len()).sum())?;
    let mut params = Map::new();
    for (name, word) in words {
        let is_number = query_type
            .params
            .iter()
            .any(|param| param.name == name && matches!(param.kind, ParamKind::Integer(..) | ParamKind::Number(..)));
        let number = is_number.then(|| word.parse::<serde_json::Number>().ok()).flatten();
        let value = number.map_or_else(|| Value::String(word.clone()), Value::Number);
        if params.insert(name.clone(), value).is_some() {
            return Err(QueryError::RepeatedParam { query_type: query_type.name, param: shorten(name) });
        }
    }
    Ok(params)
}

fn build(arguments: &Arguments<'_>) -> Result<Query, QueryError> {
    arguments.refuse_unknown()?;
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
            source_device: arguments.name("source_device", DeviceName::new)?,
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
        "fleet_health" => Query::FleetHealth(fleet(arguments)?),
        "fleet" => Query::Fleet(ColumnsQuery {
            window: arguments.window_minutes(60)?,
            metric_types: arguments.names("metric_types", MetricType::new)?,
            with_serials: arguments.text("serials")? == Some("yes"),
            front_coded: arguments.text("names")? == Some("front_coded"),
        }),
        "fleet_history" => Query::FleetHistory { window: arguments.since_minutes(1_440)? },
        "fleet_series" => fleet_series(arguments)?,
        "pipeline" => pipeline(arguments)?,
        "incidents" => Query::Incidents(incidents(arguments)?),
        "health_history" => {
            Query::HealthHistory { source_device: arguments.device()?, window: arguments.since_minutes(1_440)? }
        }
        "anomalies" => Query::Anomalies(AnomaliesQuery {
            window: arguments.since_minutes(1_440)?,
            source_device: arguments.name("source_device", DeviceName::new)?,
            metric_type: arguments.name("metric_type", MetricType::new)?,
            limit: arguments.integer("limit", 200)? as usize,
            offset: arguments.integer("offset", 0)? as usize,
        }),
        _series => series(arguments)?,
    })
}

fn fleet(arguments: &Arguments<'_>) -> Result<FleetQuery, QueryError> {
    let health = match arguments.text("health")? {
        Some("all") => HealthChoice::All,
        word => word.and_then(Health::of_name).map_or(HealthChoice::NotOk, HealthChoice::Only),
    };
    Ok(FleetQuery {
        window: arguments.window_minutes(60)?,
        present: is_present(arguments)?,
        health,
        group_by: arguments.text("group_by")?.unwrap_or("enclosure").to_owned(),
        after: cursor(arguments)?,
        limit: arguments.integer("limit", 200)? as usize,
    })
}

/// Reads the place after which a page begins: a name alone does not tell where a device stood that has left the list.
fn cursor(arguments: &Arguments<'_>) -> Result<Option<FleetCursor>, QueryError> {
    let Some(text) = arguments.text("after")? else { return Ok(None) };
    let read = || {
        let mut parts = text.splitn(3, ':');
        let (health, score, device) = (Health::of_name(parts.next()?)?, parts.next()?, parts.next()?);
        let score = if score.is_empty() { None } else { Some(score.parse().ok().filter(|score| *score <= 100)?) };
        Some(FleetCursor { health, score, device: DeviceName::new(device).ok()? })
    };
    read().map(Some).ok_or_else(|| arguments.unexpected("after", text))
}

fn is_present(arguments: &Arguments<'_>) -> Result<bool, QueryError> {
    Ok(arguments.text("present")? == Some("yes"))
}

fn incidents(arguments: &Arguments<'_>) -> Result<IncidentsQuery, QueryError> {
    let state = match arguments.text("state")? {
        Some("open") => Some(IncidentState::Open),
        Some("acknowledged") => Some(IncidentState::Acknowledged),
        Some("closed") => Some(IncidentState::Closed),
        None | Some(_) => None,
    };
    Ok(IncidentsQuery {
        window: arguments.since_minutes(1_440)?,
        present: is_present(arguments)?,
        state,
        source_device: arguments.name("source_device", DeviceName::new)?,
        min_criticality: arguments.integer("min_criticality", 1)? as u8,
        limit: arguments.integer("limit", 200)? as usize,
        offset: arguments.integer("offset", 0)? as usize,
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

fn fleet_series(arguments: &Arguments<'_>) -> Result<Query, QueryError> {
    let window = arguments.since_minutes(1_440)?;
    let metric_type = arguments.required("metric_type", arguments.name("metric_type", MetricType::new)?)?;
    let fallback = (window.seconds() / DEFAULT_FLEET_BUCKETS).max(60.0).ceil();
    let bucket = Duration::from_secs_f64(bucket_seconds(arguments, window, fallback, MAX_FLEET_BUCKETS)?);
    Ok(Query::FleetSeries { metric_type, window, bucket })
}

fn pipeline(arguments: &Arguments<'_>) -> Result<Query, QueryError> {
    let window = arguments.since_minutes(60)?;
    let fallback = (window.seconds() / DEFAULT_PIPELINE_BUCKETS).max(10.0).ceil();
    let bucket = Duration::from_secs_f64(bucket_seconds(arguments, window, fallback, MAX_PIPELINE_BUCKETS)?);
    Ok(Query::Pipeline { window, bucket })
}

/// Returns the length of a bucket, which must be so long that the window has at most `most` of them.
fn bucket_seconds(arguments: &Arguments<'_>, window: Window, fallback: f64, most: f64) -> Result<f64, QueryError> {
    let seconds = arguments.number("bucket_seconds", fallback)?;
    if window.seconds() / seconds > most {
        let least = (window.seconds() / most * 1000.0).ceil() / 1000.0;
        return Err(arguments.bad(
            "bucket_seconds",
            &seconds.to_string(),
            format!("at least {least} for this window, so that a response has at most {most} buckets"),
        ));
    }
    Ok(seconds)
}

fn series(arguments: &Arguments<'_>) -> Result<Query, QueryError> {
    let window = arguments.since_minutes(60)?;
    let metric_type = arguments.required("metric_type", arguments.name("metric_type", MetricType::new)?)?;
    let fallback = (window.seconds() / DEFAULT_BUCKETS).max(1.0).ceil();
    let seconds = bucket_seconds(arguments, window, fallback, MAX_BUCKETS)?;
    Ok(Query::Series {
        source_device: arguments.device()?,
        metric_type,
        window,
        bucket: Duration::from_secs_f64(seconds),
        with_expected: arguments.text("expected")? == Some("yes"),
    })
}
