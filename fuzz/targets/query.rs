//! Arbitrary bytes as the payload of a query, and as a query in text (`type`, then `name=value`, one per line).

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use spindle_core::Timestamp;
use spindle_core::query::{AnomaliesQuery, AuditQuery, ColumnsQuery, EventsQuery, FleetQuery, IncidentsQuery, Query, QueryError};
use spindle_core::records::Window;
use spindle_fuzz::is_one_line;

const NOW: Timestamp = Timestamp::from_seconds(1_750_000_000);

fuzz_target!(|data: &[u8]| {
    match Query::from_json(data, NOW) {
        Err(error) => is_helpful(&error),
        Ok(query) => {
            is_in_range(&query);
            assert_eq!(in_words(data), query, "the same query in text");
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let query_type = lines.next().unwrap_or_default();
    let words: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    match Query::body_from_words(query_type, &words, NOW) {
        Err(error) => is_helpful(&error),
        Ok(body) => {
            let query = Query::from_json(&body, NOW).expect("a payload made from text parses");
            is_in_range(&query);
            assert_eq!(Query::from_words(query_type, &words, NOW), Ok(query));
        }
    }
});

fn is_helpful(error: &QueryError) {
    let words = is_one_line(error);
    assert!(matches!(error, QueryError::TooLarge(_) | QueryError::Json(_)) || words.contains("expected "), "{words}");
}

/// Parses the same query from text.
fn in_words(body: &[u8]) -> Query {
    let body: Value = serde_json::from_slice(body).expect("a query is JSON");
    let given = body["params"].as_object().into_iter().flatten();
    let words: Vec<(String, String)> = given
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let query_type = body["query_type"].as_str().expect("a query has a type");
    Query::from_words(query_type, &words, NOW).expect("text is as good as JSON")
}

/// Checks that every query stays within the limits of the stores.
fn is_in_range(query: &Query) {
    let is_window = |window: &Window| assert!(window.from < window.until, "{window:?}");
    match query {
        Query::AlertsCritical(events) | Query::Events(events) => {
            let EventsQuery { window, limit, offset, .. } = events;
            is_window(window);
            assert!((1..=10_000).contains(limit) && *offset <= 10_000_000);
        }
        Query::AuditGaps(AuditQuery { window, limit, .. }) => {
            is_window(window);
            assert!((1..=1_000).contains(limit));
        }
        Query::DeviceHealth { window, .. } => is_window(window),
        Query::AnomalyTemperature { window, threshold, .. } => {
            is_window(window);
            assert!((0.01..=100.0).contains(threshold));
        }
        Query::FleetHealth(FleetQuery { window, limit, .. }) => {
            is_window(window);
            assert!((1..=1_000).contains(limit));
        }
        Query::Incidents(IncidentsQuery { window, limit, offset, min_criticality, .. }) => {
            is_window(window);
            assert!((1..=1_000).contains(limit) && *offset <= 10_000_000 && (1..=10).contains(min_criticality));
        }
        Query::Fleet(ColumnsQuery { window, metric_types, .. }) => {
            is_window(window);
            assert!(metric_types.len() <= 16);
        }
        Query::FleetSeries { window, bucket, .. } => {
            is_window(window);
            assert!(bucket.as_secs() >= 1 && window.seconds() / bucket.as_secs_f64() <= 501.0, "{window:?} {bucket:?}");
        }
        Query::Pipeline { window, bucket } => {
            is_window(window);
            assert!(bucket.as_secs() >= 1 && window.seconds() / bucket.as_secs_f64() <= 1_001.0, "{window:?} {bucket:?}");
        }
        Query::FleetHistory { window } | Query::HealthHistory { window, .. } => is_window(window),
        Query::Anomalies(AnomaliesQuery { window, limit, offset, .. }) => {
            is_window(window);
            assert!((1..=10_000).contains(limit) && *offset <= 10_000_000);
        }
        Query::Devices { limit, .. } => assert!((1..=1_000).contains(limit)),
        Query::Series { window, bucket, .. } => {
            is_window(window);
            assert!(
                bucket.as_millis() >= 1 && window.seconds() / bucket.as_secs_f64() <= 10_001.0,
                "{window:?} {bucket:?}"
            );
        }
    }
}
