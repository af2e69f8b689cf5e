//! The role `web` with its shipped rights, and with one of them missing.

use serde_json::Value;
use spindle_testkit::{NatsServer, Options, wait_until};

use crate::harness::PATIENCE;
use crate::http::{HttpResponse, exchange};
use crate::rights::{Role, is_denied, publish_acknowledged, rights, start};

/// Returns the shipped user alone, with a password.
fn shipped() -> String {
    let rights = rights();
    let at = rights.find("user: web").unwrap();
    let (from, until) = (rights[..at].rfind("    {\n").unwrap(), at + rights[at..].find("\n    }\n").unwrap());
    rights[from..until + "\n    }\n".len()].to_owned()
}

fn server(web: &str) -> NatsServer {
    let admin = "{ user: admin, password: pw-admin }";
    let extra_config = format!("authorization {{ users: [ {admin}\n{web} ] }}");
    NatsServer::start_with(Options { extra_config, ..Options::default() }).unwrap()
}

/// A writer and a web role, each with its user.
struct Site {
    _writer: Role,
    web: Role,
    address: String,
    _folder: tempfile::TempDir,
}

impl Site {
    fn start(nats: &NatsServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let writer = start(&data, nats, "admin", &["writer"]);
        let metric = r#"{"timestamp":"2026-01-01T00:00:00Z","sourceDevice":"disk","metricType":"IOPs","value":1}"#;
        wait_until(PATIENCE, "the stream exists", || publish_acknowledged(nats, "events.metrics", metric)).unwrap();
        let address = format!("127.0.0.1:{}", spindle_testkit::free_port().unwrap());
        let web = start(&data, nats, "web", &["web", "--http", &address]);
        Self { _writer: writer, web, address, _folder: folder }
    }

    fn get(&self, path: &str) -> HttpResponse {
        exchange(&self.address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    fn post(&self, path: &str, body: &str) -> HttpResponse {
        let head = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json";
        exchange(&self.address, &format!("POST {path} {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// Repeats a request until its response is wanted.
    fn until(
        &self,
        what: &str,
        request: impl Fn() -> HttpResponse,
        wanted: impl Fn(&HttpResponse) -> bool,
    ) -> HttpResponse {
        let mut last = None;
        let came = wait_until(PATIENCE, what, || {
            last = std::net::TcpStream::connect(&self.address).is_ok().then(&request);
            last.as_ref().is_some_and(&wanted)
        });
        assert!(came.is_ok(), "{what}: {:?}\n{}", last.map(|last| last.body), self.web.log());
        last.unwrap()
    }

    fn n_letters(&self, n: usize) -> String {
        let count = |response: &HttpResponse| {
            let answer: Value = serde_json::from_str(&response.body).unwrap_or_default();
            answer["data"].as_array().is_some_and(|rows| rows.len() == n)
        };
        self.until("the dead letters", || self.get("/api/v1/dead_letters"), count).body
    }
}

#[test]
fn the_web_decides_with_the_shipped_rights_and_names_a_missing_one() {
    let check = |web: &str, expected: u16| {
        let nats = server(web);
        let site = Site::start(&nats);
        let decide = || site.post("/api/v1/acknowledge", r#"{"source_device":"disk","reason":"x"}"#);
        let response = site.until("the device is known", decide, |response| response.status != 404);
        assert_eq!(response.status, expected, "{}", response.body);
        response.body
    };
    check(&shipped(), 200);
    let message = check(&shipped().replace("\"events.event\"", "\"nothing\""), 500);
    assert!(message.contains("the NATS user may not publish to 'events.event'"), "{message}");
}

#[test]
fn the_web_works_on_dead_letters_with_the_shipped_rights_and_no_more() {
    let nats = server(&shipped());
    let site = Site::start(&nats);
    for _ in 0..3 {
        assert!(publish_acknowledged(&nats, "events.metrics", "no json"));
    }
    site.n_letters(3);
    assert_eq!(site.get("/api/v1/dead_letters/1").status, 200);
    let replayed = site.post("/api/v1/dead_letters/replay", r#"{"sequences":[1]}"#);
    assert!(replayed.body.contains(r#""outcome":"replayed""#), "{}", replayed.body);
    assert!(site.n_letters(3).contains(r#""replays":1"#));
    let dropped = site.post("/api/v1/dead_letters/drop", r#"{"sequences":[2,3,4],"confirm":3}"#);
    assert!(dropped.body.contains(r#""dropped":3"#), "{}", dropped.body);
    assert!(!site.web.log().to_lowercase().contains("permissions violation"), "{}", site.web.log());
    for subject in [
        "reader.query",
        "deadletter.x",
        "$JS.API.STREAM.PURGE.DEADLETTER",
        "$JS.API.STREAM.DELETE.DEADLETTER",
        "$JS.API.STREAM.MSG.GET.METRICS",
        "$JS.API.STREAM.MSG.DELETE.METRICS",
        "$JS.API.CONSUMER.CREATE.METRICS.mine",
        "$JS.API.CONSUMER.DELETE.EVENTS.writer-events",
    ] {
        assert!(is_denied(&nats, "web", subject, true), "{subject}");
    }
    assert!(
        is_denied(&nats, "web", "deadletter.>", false) && is_denied(&nats, "web", "_INBOX.spindle-writer.>", false)
    );
}

#[test]
fn without_a_right_the_answer_about_dead_letters_names_it() {
    for (right, request) in [
        ("$JS.API.STREAM.INFO.DEADLETTER", None),
        ("$JS.API.CONSUMER.CREATE.DEADLETTER.>", None),
        ("$JS.API.STREAM.MSG.GET.DEADLETTER", Some(("replay", r#"{"sequences":[1]}"#))),
        ("$JS.API.STREAM.INFO.METRICS", Some(("replay", r#"{"sequences":[1]}"#))),
        ("events.metrics", Some(("replay", r#"{"sequences":[1]}"#))),
        ("$JS.API.STREAM.MSG.DELETE.DEADLETTER", Some(("drop", r#"{"sequences":[1],"confirm":1}"#))),
    ] {
        let quoted = format!("\"{right}\"");
        assert!(shipped().contains(&quoted), "{right}");
        let nats = server(&shipped().replace(&quoted, "\"nothing\""));
        let site = Site::start(&nats);
        assert!(publish_acknowledged(&nats, "events.metrics", "no json"));
        let subject = right.trim_end_matches('>');
        let expected = format!("the NATS user may not publish to '{subject}");
        let response = match request {
            None => site.until(
                "the dead letter is there",
                || site.get("/api/v1/dead_letters"),
                |response| !response.body.contains(r#""data":[]"#),
            ),
            Some((act, body)) => site.until(
                "the dead letter is there",
                || site.post(&format!("/api/v1/dead_letters/{act}"), body),
                |response| !response.body.contains(r#""outcome":"gone""#),
            ),
        };
        assert!(response.status == 500 && response.body.contains(&expected), "{right}: {}", response.body);
    }
}
