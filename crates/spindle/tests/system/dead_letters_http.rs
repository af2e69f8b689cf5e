//! Dead letters over HTTP: listed, shown, replayed and dropped, with the protections of everything that changes.

use async_nats::jetstream;
use serde_json::{Value, json};
use spindle_testkit::wait_until;

use crate::harness::{NO_SOURCES, PATIENCE, System, send_signal, spindle};
use crate::http::{HttpResponse, exchange};

const JSON: &str = "Content-Type: application/json\r\n";
const LIST: &str = "/api/v1/dead_letters";
const ACTS: [&str; 2] = ["/api/v1/dead_letters/replay", "/api/v1/dead_letters/drop"];

fn get(system: &System, path: &str) -> (u16, Value) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    parsed(path, &exchange(&system.http(), &request))
}

fn parsed(path: &str, response: &HttpResponse) -> (u16, Value) {
    let answer = serde_json::from_str(&response.body).unwrap_or_else(|_| panic!("{path}: {}", response.body));
    (response.status, answer)
}

fn post(system: &System, path: &str, headers: &str, body: &str) -> HttpResponse {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}");
    exchange(&system.http(), &format!("{head}\r\n{headers}\r\n{body}"))
}

fn act(system: &System, path: &str, body: &Value) -> (u16, Value) {
    parsed(path, &post(system, path, JSON, &body.to_string()))
}

fn replay(system: &System, sequences: &[u64]) -> Value {
    let (status, answer) = act(system, ACTS[0], &json!({ "sequences": sequences, "by": "anna" }));
    assert_eq!(status, 200, "{answer}");
    answer["data"].clone()
}

fn rows(system: &System) -> Vec<Value> {
    get(system, LIST).1["data"].as_array().unwrap().clone()
}

fn wait_for_rows(system: &System, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut last = Vec::new();
    let came = wait_until(PATIENCE, what, || {
        last = rows(system);
        wanted(&last)
    });
    assert!(came.is_ok(), "{what}: {last:?}");
    last
}

fn metric(device: &str, value: &str) -> String {
    format!(
        r#"{{"timestamp":"2025-06-06T12:08:40Z","sourceDevice":"{device}","metricType":"DiskTemp","value":{value}}}"#
    )
}

/// Publishes to a stream and waits for the acknowledgment.
async fn publish(system: &System, subject: &'static str, payload: impl Into<Vec<u8>>) {
    let jetstream = jetstream::new(system.nats().await);
    jetstream.publish(subject, payload.into().into()).await.unwrap().await.unwrap();
}

/// Leaves a dead letter as an older Spindle would have.
async fn leave(system: &System, subject: &str, payloads: impl IntoIterator<Item = String>) {
    let jetstream = jetstream::new(system.nats().await);
    for payload in payloads {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Spindle-Subject", subject);
        let sent = jetstream.publish_with_headers("deadletter.bad_field", headers, payload.into()).await.unwrap();
        sent.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_replayed_and_dropped() {
    let system = System::start(NO_SOURCES, &[]);
    assert_eq!(
        get(&system, LIST),
        (200, json!({ "status": "success", "data": [], "summary": { "messages": 0, "size_bytes": 0 }, "next": null }))
    );
    publish(&system, "events.metrics", "no json <b>\u{1b}[2J").await;
    wait_for_rows(&system, "the first", |rows| rows.len() == 1);
    publish(&system, "events.metrics", metric("hot", "4575")).await;
    wait_for_rows(&system, "the second", |rows| rows.len() == 2);
    publish(&system, "events.event", [0xff, 0, b'x']).await;
    let found = wait_for_rows(&system, "all three", |rows| rows.len() == 3);
    let column = |name: &str| found.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("sequence"), [3, 2, 1]);
    assert_eq!(column("reason"), ["bad_json", "bad_field", "bad_json"]);
    assert_eq!(column("subject"), ["events.event", "events.metrics", "events.metrics"]);
    assert_eq!(column("device"), [Value::Null, json!("hot"), Value::Null]);
    assert_eq!(column("size_bytes"), [json!(3), json!(metric("hot", "4575").len()), json!(15)]);
    let (_, first_page) = get(&system, &format!("{LIST}?limit=2"));
    assert_eq!(
        (first_page["data"].as_array().unwrap().len(), &first_page["next"]),
        (2, &json!({ "limit": 2, "before": 2 }))
    );
    let (_, second_page) = get(&system, &format!("{LIST}?limit=2&before=2"));
    assert_eq!((&second_page["data"][0]["sequence"], &second_page["next"]), (&json!(1), &Value::Null));

    let show = |sequence: u64| get(&system, &format!("{LIST}/{sequence}")).1["data"].clone();
    let text = show(1);
    assert_eq!((&text["encoding"], &text["payload"]), (&json!("text"), &json!("no json <b>\u{1b}[2J")));
    assert_eq!((&text["headers"]["Spindle-Subject"], &text["is_cut"]), (&json!("events.metrics"), &json!(false)));
    assert_eq!((&show(3)["encoding"], &show(3)["payload"]), (&json!("base64"), &json!("/wB4")));

    // As bad as before: through the same checks, and back as a new one.
    assert_eq!(replay(&system, &[2]), json!([{ "sequence": 2, "outcome": "replayed" }]));
    let back = wait_for_rows(&system, "it is back", |rows| rows.iter().any(|row| row["sequence"] == 4));
    assert_eq!((&back[0]["reason"], &back[0]["replays"], back.len()), (&json!("bad_field"), &json!(1), 3));
    // What can be stored now is stored; what has no stream remains, with the reason; each has its own outcome.
    leave(&system, "events.metrics", [metric("cool", "40")]).await;
    leave(&system, "nowhere", ["{}".to_owned()]).await;
    let outcomes = replay(&system, &[99, 6, 5]);
    assert_eq!(
        (&outcomes[0], &outcomes[2]),
        (&json!({ "sequence": 99, "outcome": "gone" }), &json!({ "sequence": 5, "outcome": "replayed" }))
    );
    assert_eq!(outcomes[1]["outcome"], "refused");
    assert!(outcomes[1]["reason"].as_str().unwrap().contains("came from 'nowhere'"), "{outcomes}");
    system.wait_for(&["devices"], "it is stored", |answer| answer["data"][0]["source_device"] == "cool");

    let all: Vec<u64> = rows(&system).iter().map(|row| row["sequence"].as_u64().unwrap()).collect();
    assert_eq!(all, [6, 4, 3, 1]);
    let (status, dropped) = act(&system, ACTS[1], &json!({ "sequences": [1, 6, 2], "confirm": 3 }));
    assert_eq!((status, &dropped["summary"]), (200, &json!({ "dropped": 2, "gone": 1 })), "{dropped}");
    assert_eq!(rows(&system).len(), 2);
    let output = spindle(&system.data_dir()).args(["dlq", "ls", "--format", "json"]).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap().as_array().unwrap().len(), 2);
    let log = system.log();
    assert!(
        log.contains("dead letters changed over HTTP") && log.contains("anna") && log.contains("127.0.0.1"),
        "{log}"
    );
    let metrics =
        exchange(&system.http(), "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").body;
    for line in
        ["{outcome=\"dropped\"} 2", "{outcome=\"gone\"} 2", "{outcome=\"refused\"} 1", "{outcome=\"replayed\"} 2"]
    {
        assert!(metrics.contains(&format!("spindle_web_dead_letters_total{line}")), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_in_parts_is_shown_whole_and_leaves_as_one() {
    let system = System::start(NO_SOURCES, &[]);
    let brim = vec![0xfe; 1 << 20];
    publish(&system, "events.event", brim.clone()).await;
    let parts = wait_for_rows(&system, "both parts", |rows| rows.len() == 2);
    assert_eq!((&parts[0]["part"], &parts[1]["part"]), (&json!("2/2"), &json!("1/2")));
    let (_, shown) = get(&system, &format!("{LIST}/2"));
    assert_eq!((&shown["data"]["size_bytes"], &shown["data"]["sequences"]), (&json!(1 << 20), &json!([1, 2])));
    let (_, dropped) = act(&system, ACTS[1], &json!({ "sequences": [2, 1], "confirm": 2 }));
    assert_eq!(
        dropped["data"],
        json!([{ "sequence": 2, "outcome": "dropped" }, { "sequence": 1, "outcome": "dropped" }])
    );
    assert_eq!(rows(&system), [Value::Null; 0]);
    assert_eq!(get(&system, &format!("{LIST}/2")).0, 404);
    // A longer text is cut, and says so.
    let jetstream = jetstream::new(system.nats().await);
    for part in 1..=2 {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Spindle-Part", format!("{part}/2"));
        headers.insert("Nats-Msg-Id", format!("long-{part}"));
        let sent = jetstream.publish_with_headers("deadletter.bad_json", headers, "ü".repeat(300_001).into()).await;
        sent.unwrap().await.unwrap();
    }
    let (_, shown) = get(&system, &format!("{LIST}/4"));
    let data = &shown["data"];
    assert_eq!((data["payload"].as_str().unwrap().len(), &data["is_cut"]), (1 << 20, &json!(true)));
    assert_eq!(data["size_bytes"], 1_200_004);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_request_is_explained_and_changes_nothing() {
    let system = System::start(NO_SOURCES, &[]);
    publish(&system, "events.metrics", "no json").await;
    wait_for_rows(&system, "a dead letter", |rows| rows.len() == 1);
    let many: Vec<u64> = (1..=1001).collect();
    for (body, expected) in [
        (json!({}), "field 'sequences' is missing or not an array"),
        (json!({ "sequences": 1 }), "field 'sequences' is missing or not an array"),
        (json!({ "sequences": [] }), "field 'sequences' has 0 elements: expected 1 to 1000"),
        (json!({ "sequences": many, "confirm": 1001 }), "field 'sequences' has 1001 elements"),
        (json!({ "sequences": [1, -1] }), "not a whole number from 1"),
        (json!({ "sequences": [0] }), "not a whole number from 1"),
        (json!({ "sequences": [1, 1], "confirm": 2 }), "names a dead letter twice"),
        (json!({ "sequences": [1], "confirm": 1, "by": "" }), "field 'by' is not a text of 1 to 256 characters"),
        (json!({ "sequences": [1], "all": true }), "unknown field \"all\": expected sequences"),
        (json!([1]), "body is not a valid JSON object"),
    ] {
        for path in ACTS {
            let mut body = body.clone();
            if path == ACTS[0]
                && let Some(fields) = body.as_object_mut()
            {
                fields.remove("confirm");
            }
            let (status, answer) = act(&system, path, &body);
            assert_eq!((status, &answer["status"]), (400, &json!("error")), "{path} {body}: {answer}");
            assert!(answer["message"].as_str().unwrap().contains(expected), "{path} {body}: {answer}");
        }
    }
    for confirm in [Value::Null, json!(0), json!(2), json!("1"), json!(true)] {
        let (status, answer) = act(&system, ACTS[1], &json!({ "sequences": [1], "confirm": confirm }));
        assert_eq!(status, if confirm.is_number() { 409 } else { 400 }, "{answer}");
        assert!(answer["message"].as_str().unwrap().contains("field 'confirm' is not 1"), "{answer}");
    }
    for path in ["?limit=0", "?limit=201", "?before=x", "?page=1", "/x", "/0", "/-1", "/18446744073709551616"] {
        let (status, answer) = get(&system, &format!("{LIST}{path}"));
        assert!(status == 400 && answer["status"] == "error", "{path}: {answer}");
    }
    let (status, answer) = get(&system, &format!("{LIST}/7"));
    assert!(status == 404 && answer["message"].as_str().unwrap().contains("no dead letter 7"), "{answer}");
    assert_eq!(rows(&system).len(), 1);
}

#[test]
fn no_other_site_and_no_stranger_touches_dead_letters() {
    const TOKEN: &str = "a-token-of-32-characters-0123456";
    let open = System::start(NO_SOURCES, &[]);
    let guarded = System::start(&format!("{NO_SOURCES}[http]\ntoken = \"{TOKEN}\"\n"), &[]);
    for path in ACTS {
        let body = r#"{"sequences":[7]}"#;
        let body = if path == ACTS[1] { body.replace(']', "],\"confirm\":1") } else { body.to_owned() };
        let status = |headers: &str| post(&open, path, headers, &body).status;
        assert_eq!(status(&format!("{JSON}Origin: https://evil.example\r\n")), 403);
        assert_eq!(status(&format!("{JSON}Sec-Fetch-Site: same-site\r\n")), 403);
        for kind in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"] {
            assert_eq!(status(kind), 415, "{kind}");
        }
        assert_eq!(status(&format!("{JSON}Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost\r\n")), 200);
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            assert_eq!(exchange(&open.http(), &request).status, 405, "{method}");
        }
        assert_eq!(post(&open, path, JSON, &"x".repeat(70_000)).status, 413);
        assert_eq!(post(&guarded, path, JSON, &body).status, 401);
        assert_eq!(post(&guarded, path, &format!("{JSON}Authorization: Bearer {TOKEN}\r\n"), &body).status, 200);
    }
    for path in [LIST.to_owned(), format!("{LIST}/1")] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(exchange(&guarded.http(), &request).status, 401);
    }
    let statuses: Vec<u16> = (0..62).map(|_| act(&open, ACTS[0], &json!({ "sequences": [7] })).0).collect();
    assert!(statuses.contains(&200) && statuses.last() == Some(&429), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_are_replayed_at_once_and_without_nats_nothing_is_called_done() {
    let system = System::start(NO_SOURCES, &[]);
    let payload = |number: u64| metric("cool", "40").replace("40Z", &format!("40.{number:09}Z"));
    leave(&system, "events.metrics", (1..=1001).map(payload)).await;
    let all: Vec<u64> = (1..=1000).collect();
    let began = std::time::Instant::now();
    let outcomes = replay(&system, &all);
    println!("1000 replayed in {:?}", began.elapsed());
    assert!(outcomes.as_array().unwrap().iter().all(|row| row["outcome"] == "replayed"), "{outcomes}");
    assert_eq!(rows(&system).len(), 1);
    wait_until(PATIENCE, "all are stored", || system.stored().0 == 1000).unwrap();
    send_signal(system.nats_pid(), "STOP");
    let drop_last = || post(&system, ACTS[1], JSON, r#"{"sequences":[1001],"confirm":1}"#);
    let unanswered = drop_last();
    let mut gone = unanswered.body.clone();
    let is_noticed = wait_until(PATIENCE, "the lost connection is noticed", || {
        gone = drop_last().body;
        gone.contains("NATS is not connected: nothing was done")
    });
    send_signal(system.nats_pid(), "CONT");
    assert!(is_noticed.is_ok(), "{gone}");
    assert!(unanswered.status == 503 && unanswered.head.contains("retry-after: "), "{}", unanswered.body);
    let dropped = || drop_last().status == 200 && get(&system, LIST).1["summary"]["messages"] == 0;
    wait_until(PATIENCE, "it is dropped", dropped).unwrap();
}
