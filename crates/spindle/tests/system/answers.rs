//! Every query over NATS with an independent client, and the responses to bad publishers and bad queries.

use std::time::Duration;

use async_nats::jetstream;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::harness::{NO_SOURCES, System};

/// Messages in the legacy wire format, of the Event Handling demo.
const LEGACY_METRIC: &str =
    r#"{"timestamp":"2025-06-06T12:08:40.123456789Z","sourceDevice":"DiskUnit","metricType":"DiskTemp","value":45.75}"#;
const LEGACY_EVENT: &str = r#"{"id":"e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90","criticality":8,"timestamp":"2025-06-06T12:08:40.987654321Z","sourceDevice":"StorageArray","eventType":"UnauthorizedAccess","eventMessage":"who is there?"}"#;

pub(crate) struct Requester {
    client: async_nats::Client,
    jetstream: jetstream::Context,
}

impl Requester {
    pub(crate) async fn new(system: &System) -> Self {
        let client = system.nats().await;
        Self { jetstream: jetstream::new(client.clone()), client }
    }

    pub(crate) async fn publish(&self, subject: &'static str, payload: impl Into<Vec<u8>>) {
        self.jetstream.publish(subject, payload.into().into()).await.unwrap().await.unwrap();
    }

    pub(crate) async fn query(&self, payload: impl Into<Vec<u8>>) -> Value {
        let reply = self.client.request("reader.query", payload.into().into()).await.unwrap();
        serde_json::from_slice(&reply.payload).unwrap()
    }

    /// Repeats a query until `is_expected` accepts the response.
    pub(crate) async fn wait_for(&self, query: Value, is_expected: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + crate::harness::PATIENCE;
        loop {
            let response = self.query(query.to_string()).await;
            if is_expected(&response) {
                return response;
            }
            assert!(tokio::time::Instant::now() < deadline, "{query}: {response:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_first_system_publishes_is_stored_and_its_questions_are_answered() {
    let system = System::start(NO_SOURCES, &[]);
    let requester = Requester::new(&system).await;
    requester.publish("events.metrics", LEGACY_METRIC).await;
    requester.publish("events.event", LEGACY_EVENT).await;
    let now = time::OffsetDateTime::now_utc();
    let at = |minutes_ago: i64| {
        (now - Duration::from_secs(60 * minutes_ago as u64))
            .format(&time::format_description::well_known::Rfc3339)
            .unwrap()
    };
    let temperatures = json!([
        { "timestamp": at(10), "sourceDevice": "DiskUnit", "metricType": "DiskTemp", "value": 40.1 },
        { "timestamp": at(1), "sourceDevice": "DiskUnit", "metricType": "DiskTemp", "value": 58.2 },
    ]);
    requester.publish("events.metrics", temperatures.to_string()).await;

    // The event happened in 2025 and was received just now: the default window goes by either time.
    let alerts = requester
        .wait_for(json!({"query_type":"alerts_critical","params":{"since_minutes":15,"min_criticality":8}}), |answer| {
            !answer["data"].as_array().unwrap().is_empty()
        })
        .await;
    let row = &alerts["data"][0];
    assert_eq!(alerts["status"], "success");
    assert_eq!(
        (&row["time"], &row["event_id"]),
        (&json!("2025-06-06T12:08:40.987654321Z"), &json!("e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90"))
    );
    assert_eq!(
        (&row["source_device"], &row["event_type"], &row["criticality"]),
        (&json!("StorageArray"), &json!("UnauthorizedAccess"), &json!(8))
    );
    assert_eq!(alerts["summary"], json!([{ "source_device": "StorageArray", "critical_event_count": 1 }]));
    let strict = requester.query(json!({"query_type":"alerts_critical","params":{"by":"time"}}).to_string()).await;
    assert_eq!(strict["data"], json!([]));

    let query = json!({"query_type":"anomaly_temperature","params":{"source_device":"DiskUnit","threshold":1.3,"window_minutes":20}});
    let anomaly = requester.wait_for(query, |answer| answer["data"]["latest_temp"] == 58.2).await;
    assert_eq!((&anomaly["data"]["device"], &anomaly["data"]["initial_temp"]), (&json!("DiskUnit"), &json!(40.1)));
    assert!((anomaly["data"]["ratio"].as_f64().unwrap() - 1.4514).abs() < 1e-3);
    assert_eq!(anomaly["data"]["anomaly"], true);

    let health =
        requester.query(json!({"query_type":"device_health","params":{"source_device":"DiskUnit"}}).to_string()).await;
    assert_eq!((&health["data"]["device"], &health["data"]["health"]), (&json!("DiskUnit"), &json!("warning")));
    assert!(health["data"]["score"].as_u64().unwrap() < 100);
    let reason = &health["data"]["reasons"][0];
    assert_eq!(
        (&reason["metric"], &reason["value"], &reason["limit"]),
        (&json!("DiskTemp"), &json!(58.2), &json!(55.0))
    );
    assert!(reason["why"].is_string());
    check_lists(&requester).await;
}

async fn check_lists(requester: &Requester) {
    let series = requester.query(json!({"query_type":"series","params":{"source_device":"DiskUnit","metric_type":"DiskTemp","bucket_seconds":3600}}).to_string()).await;
    let count: u64 = series["data"].as_array().unwrap().iter().map(|bucket| bucket["count"].as_u64().unwrap()).sum();
    assert_eq!((count, &series["unit"]), (2, &json!("°C")));
    let events =
        requester.query(json!({"query_type":"events","params":{"event_type":"UnauthorizedAccess"}}).to_string()).await;
    assert_eq!(events["data"][0]["event_message"], "who is there?");
    // The typed endpoint takes the parameters alone.
    let reply = requester.client.request("reader.query.devices", "{\"limit\":1}".into()).await.unwrap();
    let devices: Value = serde_json::from_slice(&reply.payload).unwrap();
    assert_eq!(
        (&devices["data"][0]["source_device"], &devices["next"]["after"]),
        (&json!("DiskUnit"), &json!("DiskUnit"))
    );
    for (params, expected) in [
        (json!({"source_device":"StorageArray"}), vec!["StorageArray"]),
        (json!({"source_device":"StorageArray","after":"DiskUnit"}), vec!["StorageArray"]),
        (json!({"source_device":"StorageArray","after":"StorageArray"}), vec![]),
        (json!({"source_device":"nobody"}), vec![]),
    ] {
        let found = requester.query(json!({"query_type":"devices","params":params}).to_string()).await;
        let names: Vec<_> = found["data"].as_array().unwrap().iter().map(|row| row["source_device"].clone()).collect();
        assert_eq!(
            (names, &found["next"]),
            (expected.into_iter().map(Value::from).collect(), &Value::Null),
            "{params}"
        );
    }
    let found = requester.client.request("$SRV.INFO.spindle-reader", "".into()).await.unwrap();
    let info: Value = serde_json::from_slice(&found.payload).unwrap();
    assert!(info["endpoints"].as_array().unwrap().iter().any(|endpoint| endpoint["subject"] == "reader.query"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_fell_silent_is_unknown_and_since_when_is_said() {
    // Silence is judged by arrival, so the question is asked as of later.
    let system = System::start(NO_SOURCES, &[]);
    let requester = Requester::new(&system).await;
    let now = time::OffsetDateTime::now_utc();
    let rfc_3339 = |time: time::OffsetDateTime| time.format(&time::format_description::well_known::Rfc3339).unwrap();
    let ago = |minutes: u64| rfc_3339(now - Duration::from_secs(60 * minutes));
    let later = |minutes: u64| Some(rfc_3339(now + Duration::from_secs(60 * minutes + 59)));
    let values = |device: &str, metric: &str, minutes: &[u64]| -> String {
        let value = |minutes: &u64| json!({ "timestamp": ago(*minutes), "sourceDevice": device, "metricType": metric, "value": 40.0 });
        json!(minutes.iter().map(value).collect::<Vec<_>>()).to_string()
    };
    requester.publish("events.metrics", values("often", "DiskTemp", &[6, 5, 4, 3, 2, 1, 0])).await;
    requester.publish("events.metrics", values("rarely", "DiskTemp", &[30, 20, 10, 0])).await;
    requester.publish("events.metrics", values("once", "DiskTemp", &[0])).await;
    requester.publish("events.metrics", values("strange", "Zing", &[0])).await;
    requester.wait_for(json!({"query_type":"devices"}), |answer| answer["data"].as_array().unwrap().len() == 4).await;
    let health = |device: &str, at: Option<String>| {
        let query = json!({"query_type":"device_health","params":{"source_device":device,"at":at}});
        requester.query(query.to_string())
    };
    let reason = |answer: &Value| answer["data"]["reasons"][0]["why"].as_str().unwrap_or_default().to_owned();
    let often = health("often", later(24)).await;
    assert_eq!((&often["data"]["health"], &often["data"]["score"]), (&json!("unknown"), &Value::Null));
    assert!(reason(&often).contains("silent since") && reason(&often).contains("24 minutes"), "{often}");
    // Silence counts up to the time in the query.
    assert_eq!(health("often", None).await["data"]["health"], "ok");
    assert_eq!(health("rarely", later(20)).await["data"]["health"], "ok");
    assert_eq!(health("once", later(20)).await["data"]["health"], "unknown");
    let strange = health("strange", None).await;
    assert_eq!(strange["data"]["health"], "unknown");
    assert!(reason(&strange).contains("nothing it sends is judged"), "{strange}");
    let output = system.query(&["device_health", "source_device=often", &format!("at={}", later(24).unwrap())]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("often is unknown\n") && text.contains("last seen 20") && text.contains(", received 20"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_questions_get_clear_errors_and_the_reader_lives_on() {
    let system = System::start(NO_SOURCES, &[]);
    let requester = Requester::new(&system).await;
    let deep = format!("{}1{}", "[".repeat(30_000), "]".repeat(30_000));
    let huge = format!("{{\"query_type\":\"devices\",\"params\":{{\"after\":\"{}\"}}}}", "x".repeat(900_000));
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "not a valid JSON"),
        (b"\xff\xfe\x00".to_vec(), "not a valid JSON"),
        (b"{\"query_type\":".to_vec(), "not a valid JSON"),
        (deep.into_bytes(), "not a valid JSON"),
        (huge.into_bytes(), "larger than"),
        (json!({"query_type":"x"}).to_string().into(), "unknown query_type 'x': expected one of alerts_critical"),
        (
            json!({"query_type":"device_health","params":{"source_device":7}}).to_string().into(),
            "parameter 'source_device' of device_health is 7",
        ),
        (
            json!({"query_type":"alerts_critical","params":{"since_minutes":"15"}}).to_string().into(),
            "expected a whole number",
        ),
        (json!({"query_type":"alerts_critical","params":{"min_criticality":11}}).to_string().into(), "from 1 to 10"),
        (json!({"query_type":"devices","limit":1}).to_string().into(), "unknown field 'limit'"),
    ];
    for (payload, expected) in cases {
        let excerpt = String::from_utf8_lossy(&payload[..payload.len().min(80)]).into_owned();
        let payload_is_large = payload.len() > 64 << 10;
        let reply = requester.client.request("reader.query", payload.into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&reply.payload).unwrap();
        assert_eq!(answer["status"], "error", "{excerpt}");
        assert!(answer["message"].as_str().unwrap().contains(expected), "{excerpt}: {answer}");
        let headers = reply.headers.unwrap();
        let code = if payload_is_large { "413" } else { "400" };
        assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), code, "{excerpt}");
    }
    assert_eq!(requester.query(json!({"query_type":"devices"}).to_string()).await["status"], "success");
}

/// Events received between two pages are newer than the first page, and on no later one.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_page_of_events_repeats_no_row_while_more_arrive() {
    let system = System::start(NO_SOURCES, &[]);
    let requester = Requester::new(&system).await;
    let publish = async |number: u64| {
        let (now, id) = (time::OffsetDateTime::now_utc(), uuid::Uuid::from_u64_pair(7, number));
        let time = now.format(&time::format_description::well_known::Rfc3339).unwrap();
        let event = json!({ "id": id, "criticality": 9, "timestamp": time, "sourceDevice": "d", "eventType": "Test" });
        requester.publish("events.event", event.to_string()).await;
    };
    let count = |answer: &Value| answer["data"].as_array().unwrap().len();
    for number in 0..3 {
        publish(number).await;
    }
    requester.wait_for(json!({"query_type":"events"}), |answer| count(answer) == 3).await;
    for query_type in ["events", "alerts_critical"] {
        let first = requester.query(json!({ "query_type": query_type, "params": { "limit": 2 } }).to_string()).await;
        let n_before = count(&requester.query(json!({"query_type":"events"}).to_string()).await);
        publish(n_before as u64).await;
        requester.wait_for(json!({"query_type":"events"}), |answer| count(answer) == n_before + 1).await;
        let mut params = first["next"].clone();
        params["limit"] = json!(2);
        let second = requester.query(json!({ "query_type": query_type, "params": params }).to_string()).await;
        let id = |answer: &Value, row: usize| answer["data"][row]["event_id"].clone();
        assert!(![id(&first, 0), id(&first, 1)].contains(&id(&second, 0)), "{first:#}\n{second:#}");
        assert_eq!(second["basis"]["until"], first["basis"]["until"]);
        assert_ne!(id(&second, 0), Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_become_dead_letters_with_every_byte_and_block_nothing() {
    let system = System::start(NO_SOURCES, &[]);
    let requester = Requester::new(&system).await;
    let hot = LEGACY_METRIC.replace("45.75", "4575").replace("DiskUnit", "broken");
    requester.publish("events.metrics", "no json").await;
    requester.publish("events.metrics", format!("[{LEGACY_METRIC}, {hot}]")).await;
    requester.publish("events.event", LEGACY_EVENT.replace("\"criticality\":8", "\"criticality\":11")).await;
    requester.publish("events.event", b"\xff\x00\xfe".to_vec()).await;
    requester.publish("events.event", LEGACY_EVENT).await;
    requester.wait_for(json!({"query_type":"events"}), |answer| answer["data"].as_array().unwrap().len() == 1).await;
    requester.wait_for(json!({"query_type":"devices"}), |answer| answer["data"].as_array().unwrap().len() == 2).await;

    let mut stream = requester.jetstream.get_stream("DEADLETTER").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 4);
    let consumer = stream.create_consumer(jetstream::consumer::pull::Config::default()).await.unwrap();
    let mut letters: Vec<_> =
        consumer.fetch().max_messages(10).messages().await.unwrap().map(Result::unwrap).collect().await;
    letters.sort_by_key(|letter| letter.subject.to_string());
    let header = |index: usize, name: &str| letters[index].headers.as_ref().unwrap().get(name).unwrap().to_string();
    let subjects: Vec<_> = letters.iter().map(|letter| letter.subject.as_str()).collect();
    assert_eq!(
        subjects,
        ["deadletter.bad_field", "deadletter.bad_field", "deadletter.bad_json", "deadletter.bad_json"]
    );
    let bodies: Vec<&[u8]> = letters.iter().map(|letter| letter.payload.as_ref()).collect();
    assert!(
        bodies.contains(&hot.as_bytes())
            && bodies.contains(&b"no json".as_slice())
            && bodies.contains(&b"\xff\x00\xfe".as_slice())
    );
    let index = bodies.iter().position(|body| *body == hot.as_bytes()).unwrap();
    assert_eq!(
        (header(index, "Spindle-Subject"), header(index, "Spindle-Index")),
        ("events.metrics".to_owned(), "1".to_owned())
    );
    assert!(
        header(index, "Spindle-Detail").contains("field 'value' is 4575 °C, outside -60 to 200 for DiskTemp"),
        "{}",
        header(index, "Spindle-Detail")
    );
}
