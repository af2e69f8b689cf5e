//! The live page and what it needs: its files, the description of the interface, and the stream of changes.

use std::io::{BufRead, BufReader, Write};

use serde_json::{Value, json};
use spindle_core::query::QUERY_TYPES;

use crate::audit::now;
use crate::harness::{NO_SOURCES, PATIENCE, System};
use crate::http::{connect, exchange};

fn get(system: &System, path: &str, headers: &str) -> crate::http::HttpResponse {
    exchange(&system.http(), &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"))
}

#[test]
fn every_view_is_the_page_and_its_files_are_kept() {
    let system = System::start(NO_SOURCES, &[]);
    let page = get(&system, "/", "");
    assert!(page.status == 200 && page.body.contains("<title>Spindle</title>"), "{}", page.body);
    for path in ["/device/a%2Fb", "/device/host:/mnt/data", "/events", "/pipeline?t=1h", "/ask", "/ask/fleet_health"] {
        let view = get(&system, path, "");
        assert_eq!((view.status, view.body), (200, page.body.clone()), "{path}");
    }
    assert_eq!(get(&system, "/device", "").status, 404);
    // Built without npm there are no such files.
    for part in page.body.split('"').filter(|part| part.starts_with("/assets/")) {
        let file = get(&system, part, "");
        assert!(file.status == 200 && file.head.contains("max-age=31536000, immutable"), "{part}: {}", file.head);
        let compressed = get(&system, part, "Accept-Encoding: br, gzip\r\n");
        assert!(compressed.head.contains("content-encoding: gzip"), "{part}: {}", compressed.head);
        assert!(!get(&system, part, "Accept-Encoding: gzip;q=0\r\n").head.contains("content-encoding"), "{part}");
    }
}

#[test]
fn the_page_names_the_grafana_that_is_configured() {
    let tag = |system: &System, path: &str| {
        let page = get(system, path, "Accept-Encoding: gzip\r\n");
        assert!(page.status == 200 && page.head.contains("cache-control: no-store"), "{}", page.head);
        assert!(page.head.contains("script-src 'self'; style-src 'self'"), "{}", page.head);
        let is_built = get(system, "/", "").body.contains("/assets/");
        let tag = page.body.split("<meta name=\"spindle-grafana\" content=\"").nth(1);
        (is_built, tag.and_then(|rest| rest.split('"').next()).map(str::to_owned))
    };
    let (_, named) = tag(&System::start(NO_SOURCES, &[]), "/device/disk");
    assert_eq!(named, None);
    let named =
        format!("{NO_SOURCES}\n[http]\nlisten = \"127.0.0.1:0\"\ngrafana_url = \"https://grafana.example.org/a&b/\"");
    let system = System::start(&named, &[]);
    // The plain page of a program built without npm has no links from devices.
    let (is_built, named) = tag(&system, "/device/disk");
    assert_eq!(named.as_deref(), is_built.then_some("https://grafana.example.org/a&amp;b"));
}

#[test]
fn the_interface_is_described_as_it_is() {
    let system = System::start(NO_SOURCES, &[]);
    let document: Value = serde_json::from_str(&get(&system, "/api/v1/openapi.json", "").body).unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().filter(|method| *method != "get") {
            let request = format!(
                "{} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
                method.to_uppercase()
            );
            let status = exchange(&system.http(), &request).status;
            let described = &methods[method]["responses"];
            assert!(!described[status.to_string()].is_null(), "{method} {path}: {status} is not described");
        }
    }
    for query_type in QUERY_TYPES {
        let schema = &document["components"]["schemas"][format!("query_{}", query_type.name)];
        let params = schema["properties"]["params"]["properties"].as_object().unwrap();
        assert_eq!(params.len(), query_type.params.len(), "{}", query_type.name);
    }
}

#[test]
fn a_long_answer_is_compressed() {
    let system = System::start(NO_SOURCES, &[]);
    let long = get(&system, "/api/v1/openapi.json", "").body.len();
    assert!(long > 4 << 10);
    let query = "/api/v1/query?query_type=devices";
    assert!(!get(&system, query, "Accept-Encoding: gzip\r\n").head.contains("content-encoding"), "a short one is not");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_streamed_and_a_reader_that_comes_back_misses_no_event() {
    let system = System::start(NO_SOURCES, &[]);
    let nats = system.nats().await;
    let send = async |id: &str| {
        let now = now();
        let event =
            json!({ "id": id, "criticality": 10, "timestamp": now, "sourceDevice": "d1", "eventType": "DriveFailure" });
        nats.publish("events.event", event.to_string().into()).await.unwrap();
        nats.flush().await.unwrap();
    };
    let mut reader = follow(&system.http(), "");
    assert!(reader.head.contains("text/event-stream"), "{}", reader.head);
    reader.until(|line| line.starts_with("event: beat"));
    send("first").await;
    // In either order: they may come with the same batch.
    let (mut has_event, mut has_fleet) = (false, false);
    reader.until(|line| {
        has_event |=
            line.starts_with("data:") && line.contains("first") && line.contains(r#""event_type":"DriveFailure""#);
        has_fleet |= line == "event: fleet";
        has_event && has_fleet
    });
    let id = reader.until(|line| line.starts_with("id: "));
    drop(reader);
    send("missed").await;
    let is_stored = |answer: &Value| answer["data"].as_array().is_some_and(|events| events.len() == 2);
    system.wait_for(&["events"], "both events are stored", is_stored);
    let mut again = follow(&system.http(), &format!("Last-Event-ID: {}\r\n", id.trim_start_matches("id: ")));
    again.until(|line| line.starts_with("data:") && line.contains("missed"));
    // After too long, or with an id of somebody else, the events are to be asked for.
    for id in ["1", "-1", "yesterday", "9000000000000000000"] {
        let mut long_away = follow(&system.http(), &format!("Last-Event-ID: {id}\r\n"));
        long_away.until(|line| line == "event: fleet");
        long_away.until(|line| line == r#"data: {"data":[],"has_more":true}"#);
    }
}

/// Reader of the stream of changes.
pub(crate) struct Stream {
    pub(crate) head: String,
    lines: BufReader<std::net::TcpStream>,
}

pub(crate) fn follow(address: &str, headers: &str) -> Stream {
    let mut stream = connect(address);
    write!(stream, "GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").unwrap();
    let mut lines = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(lines.read_line(&mut head).unwrap(), 0, "{head}");
    }
    Stream { head: head.to_lowercase(), lines }
}

impl Stream {
    /// Reads until a line is the wanted one, and returns it.
    pub(crate) fn until(&mut self, mut wanted: impl FnMut(&str) -> bool) -> String {
        let began = std::time::Instant::now();
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the stream has ended");
            let line = line.trim_end();
            if wanted(line) {
                return line.to_owned();
            }
            assert!(began.elapsed() < PATIENCE, "the last line is {line}");
        }
    }
}
