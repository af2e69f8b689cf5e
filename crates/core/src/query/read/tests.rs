//! Messages and defaults of queries.

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_750_000_000);

fn error(body: &str) -> String {
    Query::from_json(body.as_bytes(), NOW).unwrap_err().to_string()
}

#[test]
fn the_first_systems_questions_are_understood() {
    let alerts = br#"{"query_type":"alerts_critical","params":{"since_minutes":15,"min_criticality":8}}"#;
    let Query::AlertsCritical(query) = Query::from_json(alerts, NOW).unwrap() else { panic!("another type") };
    assert_eq!(query.window.seconds(), 900.0);
    assert_eq!((query.min_criticality.level(), query.basis, query.limit), (8, TimeBasis::Either, 1000));
    let anomaly = br#"{"query_type":"anomaly_temperature","params":{"source_device":"DiskUnit","threshold":1.3,"window_minutes":20}}"#;
    assert_eq!(Query::from_json(anomaly, NOW).unwrap().query_type(), "anomaly_temperature");
}

#[test]
fn every_mistake_is_named_with_its_remedy() {
    let check = |body: &str, expected: &str| {
        let message = error(body);
        assert!(message.contains(expected), "{body}: {message}");
    };
    check("", "not a valid JSON object");
    check("[]", "not a valid JSON object: found []");
    check(&format!("\"{}\"", "x".repeat(5_000)), &format!("found \"{}…", "x".repeat(59)));
    check("{}", "'query_type' is missing: expected one of alerts_critical,");
    check(r#"{"query_type":"x"}"#, "unknown query_type 'x': expected one of alerts_critical,");
    check(r#"{"query_type":7}"#, "unknown query_type 7");
    check(r#"{"query_type":"devices","params":[]}"#, "'params' is []: expected an object");
    check(
        r#"{"query_type":"devices","params":{"lim":1}}"#,
        "unknown parameter 'lim' for devices: expected source_device, limit, after, at",
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
        let Query::AuditGaps(query) = Query::from_json(body.as_bytes(), NOW).unwrap() else { panic!("another type") };
        (NOW.seconds_since(query.window.from), NOW.seconds_since(query.window.until))
    };
    assert_eq!(window(r#"{"query_type":"audit_gaps"}"#), (3660.0, 60.0));
    let until_now = format!(r#"{{"query_type":"audit_gaps","params":{{"since_minutes":5,"until":"{NOW}"}}}}"#);
    assert_eq!(window(&until_now), (300.0, 0.0));
}

#[test]
fn a_place_in_the_list_of_a_fleet_is_read_as_it_is_written() {
    let read = |after: &str| {
        let body = format!(r#"{{"query_type":"fleet_health","params":{{"after":"{after}"}}}}"#);
        match Query::from_json(body.as_bytes(), NOW) {
            Ok(Query::FleetHealth(query)) => Ok(query.after.unwrap()),
            other => Err(other.unwrap_err().to_string()),
        }
    };
    for (device, score) in [("disk", Some(39)), ("vm1:sda", None)] {
        let cursor = FleetCursor { health: Health::Unknown, score, device: DeviceName::new(device).unwrap() };
        assert_eq!(read(&cursor.to_string()), Ok(cursor));
    }
    for odd in ["", "disk", "critical:disk", "critical:300:disk", "ill:3:disk", "ok:3:"] {
        assert!(read(odd).unwrap_err().contains("the value in `next` of the page before"), "{odd}");
    }
}

#[test]
fn words_become_a_body_that_parses() {
    let words = [("since_minutes".to_owned(), "30".to_owned()), ("source_device".to_owned(), "7".to_owned())];
    let body = Query::body_from_words("events", &words, NOW).unwrap();
    let Query::Events(query) = Query::from_json(&body, NOW).unwrap() else { panic!("another type") };
    assert_eq!(query.source_device.unwrap().as_str(), "7");
    assert_eq!(query.window.seconds(), 1800.0);
    assert!(Query::body_from_words("events", &[("limit".to_owned(), "many".to_owned())], NOW).is_err());
    let twice = [("limit".to_owned(), "1".to_owned()), ("limit".to_owned(), "2".to_owned())];
    let refused = Query::body_from_words("events", &twice, NOW).unwrap_err().to_string();
    assert_eq!(refused, "parameter 'limit' of events is given more than once: expected it once");
    let recent = [("from".to_owned(), "2025-06-01T00:00:00Z".to_owned())];
    assert!(Query::body_from_words("events", &recent, NOW).is_ok(), "a start without an end ends now");
}

#[test]
fn parameters_of_an_address_and_words_are_the_same_query() {
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    };
    let params = pairs(&[("limit", "5"), ("query_type", "devices"), ("after", "a")]);
    let words = pairs(&[("limit", "5"), ("after", "a")]);
    let query = Query::from_words("devices", &words, NOW).unwrap();
    assert_eq!(Query::from_params(&params, NOW).unwrap(), query);
    let body = Query::body_from_words("devices", &words, NOW).unwrap();
    assert_eq!(Query::from_json(&body, NOW).unwrap(), query);
    assert_eq!(Query::from_params(&words, NOW), Err(QueryError::NoType));
    let twice = pairs(&[("query_type", "devices"), ("query_type", "events")]);
    assert!(matches!(Query::from_params(&twice, NOW), Err(QueryError::UnknownParam { .. })));
    let long = pairs(&[("after", &"x".repeat(MAX_QUERY_BYTES))]);
    assert!(matches!(Query::from_words("devices", &long, NOW), Err(QueryError::TooLarge(_))));
}
