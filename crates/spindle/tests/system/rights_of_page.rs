//! The live page as the deployments run it: roles with their shipped users, HTTP open to all addresses behind its
//! token, and probes at an address of their own. Everything that the page does works, and nothing without the token.

use std::net::TcpStream;

use serde_json::{Value, json};
use spindle_core::query::QUERY_TYPES;
use spindle_testkit::{NatsServer, free_port, wait_until};

use crate::audit::now;
use crate::harness::PATIENCE;
use crate::http::{HttpResponse, exchange};
use crate::page::follow;
use crate::rights::{Role, publish, server, start, start_with};

const TOKEN: &str = "p0123456789abcdefghij";

/// A writer and a web role, each with its user.
struct Platform {
    writer: Role,
    web: Role,
    page: String,
    health: String,
    _folder: tempfile::TempDir,
}

impl Platform {
    fn start(nats: &NatsServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let writer = start(&data, nats, "writer", &["writer"]);
        // It creates the streams: what is published before is lost.
        let started = wait_until(PATIENCE, "the writer has started", || writer.log().contains("writer started"));
        assert!(started.is_ok(), "{}", writer.log());
        let [page, health] = [free_port().unwrap(), free_port().unwrap()];
        let variables = [
            ("SPINDLE_HTTP", format!("0.0.0.0:{page}")),
            ("SPINDLE_HEALTH", format!("127.0.0.1:{health}")),
            ("SPINDLE_HTTP_TOKEN", TOKEN.to_owned()),
            ("SPINDLE_GRAFANA_URL", "http://127.0.0.1:3000".to_owned()),
        ];
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let web = start_with(&data, nats, "web", &["web"], &variables);
        let [page, health] = [page, health].map(|port| format!("127.0.0.1:{port}"));
        let platform = Self { writer, web, page, health, _folder: folder };
        let is_ready =
            || TcpStream::connect(&platform.health).is_ok() && get(&platform.health, "/readyz", "").status == 200;
        let came = wait_until(PATIENCE, "the page is ready", is_ready);
        assert!(came.is_ok(), "{}\n{}", platform.web.log(), platform.writer.log());
        platform
    }

    fn post(&self, path: &str, body: &Value) -> HttpResponse {
        post(&self.page, path, &authorization(), body)
    }

    /// Asks a query until its answer is the wanted one.
    fn wait_for(&self, what: &str, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut answer = Value::Null;
        let came = wait_until(PATIENCE, what, || {
            answer = serde_json::from_str(&get(&self.page, path, &authorization()).body).unwrap_or_default();
            wanted(&answer["data"])
        });
        assert!(came.is_ok(), "{what}: {answer}\n{}\n{}", self.web.log(), self.writer.log());
        answer
    }
}

fn authorization() -> String {
    format!("Authorization: Bearer {TOKEN}\r\n")
}

fn get(address: &str, path: &str, headers: &str) -> HttpResponse {
    // A name that is not this machine's: a proxy, or the service of a cluster.
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: spindle-web\r\nConnection: close\r\n{headers}\r\n"))
}

fn post(address: &str, path: &str, headers: &str, body: &Value) -> HttpResponse {
    let body = body.to_string();
    let head = "HTTP/1.1\r\nHost: spindle-web\r\nConnection: close\r\nContent-Type: application/json";
    let length = body.len();
    exchange(address, &format!("POST {path} {head}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"))
}

fn has_rows(n: usize) -> impl Fn(&Value) -> bool {
    move |data| data.as_array().is_some_and(|rows| rows.len() == n)
}

#[test]
fn everything_on_the_page_works_with_the_shipped_rights_and_its_token() {
    let nats = server();
    let platform = Platform::start(&nats);
    let metric = json!({ "timestamp": now(), "sourceDevice": "disk", "metricType": "PendingSectors", "value": 65 });
    publish(&nats, "daemon", "events.metrics", &metric.to_string());
    platform.wait_for("the device is known", "/api/v1/query?query_type=devices", has_rows(1));

    let page = get(&platform.page, "/device/disk", &authorization());
    assert!(page.status == 200 && page.body.contains("<title>Spindle</title>"), "{}", page.body);
    answers_every_query(&platform);
    streams_an_event(&platform, &nats);
    decides(&platform);
    works_on_dead_letters(&platform, &nats);
    for path in ["/metrics", "/api/v1/openapi.json"] {
        assert_eq!(get(&platform.page, path, &authorization()).status, 200, "{path}");
    }
    let log = platform.web.log();
    assert!(!log.to_lowercase().contains("permissions violation"), "{log}");
    assert!(!log.contains(TOKEN) && !log.contains("pw-web"), "{log}");
}

fn answers_every_query(platform: &Platform) {
    for query_type in QUERY_TYPES {
        let required = query_type.params.iter().filter(|param| param.default.is_none());
        let value = |name| if name == "metric_type" { "PendingSectors" } else { "disk" };
        let params: serde_json::Map<_, _> =
            required.map(|param| (param.name.to_owned(), value(param.name).into())).collect();
        let response = platform.post("/api/v1/query", &json!({ "query_type": query_type.name, "params": params }));
        assert_eq!(response.status, 200, "{}: {}", query_type.name, response.body);
    }
}

fn streams_an_event(platform: &Platform, nats: &NatsServer) {
    let mut stream = follow(&platform.page, &authorization());
    assert!(stream.head.starts_with("http/1.1 200") && stream.head.contains("text/event-stream"), "{}", stream.head);
    stream.until(|line| line.starts_with("event: beat"));
    let event =
        json!({ "id": "streamed", "criticality": 9, "timestamp": now(), "sourceDevice": "disk", "eventType": "Noise" });
    publish(nats, "daemon", "events.event", &event.to_string());
    stream.until(|line| line.starts_with("data:") && line.contains("streamed"));
    // The server of the probes does not hide the open page: the stream, and the connection that asks.
    assert_eq!(get(&platform.health, "/readyz", "").status, 200);
    let metrics = get(&platform.health, "/metrics", &authorization()).body;
    let open = metrics.lines().find_map(|line| line.strip_prefix("spindle_web_open_connections ")).unwrap();
    assert!(open.parse::<u32>().unwrap() >= 2, "{open}");
}

fn decides(platform: &Platform) {
    let accept = json!({ "source_device": "disk", "metric": "PendingSectors", "reason": "known", "by": "anna" });
    let accepted = platform.post("/api/v1/accept", &accept);
    assert_eq!(accepted.status, 200, "{}", accepted.body);
    let acknowledge = json!({ "source_device": "disk", "reason": "on it", "by": "anna" });
    let acknowledged = platform.post("/api/v1/acknowledge", &acknowledge);
    assert_eq!(acknowledged.status, 200, "{}", acknowledged.body);
    let is_decided = |data: &Value| !data["accepted"].is_null() && !data["acknowledged"].is_null();
    platform.wait_for("both count", "/api/v1/query?query_type=device_health&source_device=disk", is_decided);
}

fn works_on_dead_letters(platform: &Platform, nats: &NatsServer) {
    for _ in 0..2 {
        publish(nats, "daemon", "events.metrics", "no json");
    }
    platform.wait_for("the dead letters are listed", "/api/v1/dead_letters", has_rows(2));
    let shown = get(&platform.page, "/api/v1/dead_letters/1", &authorization());
    assert!(shown.status == 200 && shown.body.contains("no json"), "{}", shown.body);
    let replayed = platform.post("/api/v1/dead_letters/replay", &json!({ "sequences": [1] }));
    assert!(replayed.body.contains(r#""outcome":"replayed""#), "{}", replayed.body);
    // It is as bad as before, and comes back.
    platform.wait_for("it is a dead letter again", "/api/v1/dead_letters", has_rows(2));
    let dropped = platform.post("/api/v1/dead_letters/drop", &json!({ "sequences": [2, 3], "confirm": 2 }));
    assert!(dropped.body.contains(r#""dropped":2"#), "{}", dropped.body);
    platform.wait_for("none is left", "/api/v1/dead_letters", has_rows(0));
}

#[test]
fn nothing_is_shown_or_changed_without_the_token() {
    let nats = server();
    let platform = Platform::start(&nats);
    let wrong = "Authorization: Bearer p0123456789abcdefghik\r\n";
    for headers in ["", wrong] {
        for path in [
            "/",
            "/device/disk",
            "/theme.js",
            "/metrics",
            "/api/v1/live",
            "/api/v1/query?query_type=devices",
            "/api/v1/dead_letters",
            "/api/v1/dead_letters/1",
            "/api/v1/openapi.json",
        ] {
            assert_eq!(get(&platform.page, path, headers).status, 401, "{path}");
        }
        for path in ["query", "accept", "acknowledge", "dead_letters/replay", "dead_letters/drop"] {
            assert_eq!(post(&platform.page, &format!("/api/v1/{path}"), headers, &json!({})).status, 401, "{path}");
        }
        // Probes are open on both addresses; the one for probes has no page.
        for address in [&platform.page, &platform.health] {
            for path in ["/healthz", "/readyz"] {
                assert_eq!(get(address, path, headers).status, 200, "{path}");
            }
        }
        assert_eq!(get(&platform.health, "/metrics", headers).status, 401);
    }
    assert_eq!(get(&platform.health, "/", &authorization()).status, 404);
}
