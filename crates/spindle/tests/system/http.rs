//! The HTTP server, over raw sockets: access control, and the effect of a malicious client (none).

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use spindle_testkit::wait_until;

use crate::harness::{NO_SOURCES, PATIENCE, System, is_running, send_signal, spindle};

const TOKEN: &str = "a-token-of-32-characters-0123456";
/// `any:` and the token, as a browser sends it.
const BASIC: &str = "Basic YW55OmEtdG9rZW4tb2YtMzItY2hhcmFjdGVycy0wMTIzNDU2";
const QUERY: &str = "/api/v1/query?query_type=devices";

/// One response, head and body.
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads until the server closes the connection; a reset counts as closed.
fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("the server does not close: {error}"),
        Ok(_) | Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

pub(crate) fn exchange(address: &str, request: &str) -> HttpResponse {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    parse(&read_to_end(&mut stream))
}

fn parse(text: &str) -> HttpResponse {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    HttpResponse { status, head: head.to_lowercase(), body: body.to_owned() }
}

fn get(address: &str, path: &str, headers: &str) -> HttpResponse {
    let response =
        exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"));
    for header in [
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'; script-src 'self'",
        "frame-ancestors 'none'",
        "x-frame-options: deny",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(response.head.contains(header), "{path} lacks {header}: {}", response.head);
    }
    assert!(!response.head.contains("access-control"), "{}", response.head);
    response
}

/// Returns the answer of a running system as JSON.
pub(crate) fn get_json(system: &System, path: &str) -> serde_json::Value {
    serde_json::from_str(&get(&system.http(), path, "").body).unwrap()
}

fn post(address: &str, headers: &str, body: &str) -> HttpResponse {
    let length = body.len();
    exchange(
        address,
        &format!(
            "POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ),
    )
}

#[test]
fn a_token_is_demanded_for_everything_but_alive_and_ready() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let system = System::start(&format!("{NO_SOURCES}[http]\ntoken_file = \"{}\"\n", file.display()), &[]);
    let http = system.http();
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for path in ["/", "/page.css", QUERY, "/metrics", "/nowhere", "/healthz/", "//healthz", "/readyz/../metrics"] {
        for wrong in ["", "Authorization: Bearer a-token-of-32-characters-0123457\r\n", "Authorization: Basic YTpi\r\n"]
        {
            let response = get(&http, path, wrong);
            assert_eq!(response.status, 401, "{path} {wrong}");
            assert!(
                response.head.contains("www-authenticate: bearer realm")
                    && response.head.contains("www-authenticate: basic realm"),
                "{}",
                response.head
            );
        }
        let status = get(&http, path, &bearer).status;
        assert!(status == 200 || status == 404, "{path}: {status}");
        assert_eq!(get(&http, path, &format!("Authorization: {BASIC}\r\n")).status, status);
    }
    assert_eq!(post(&http, "", "{}").status, 401);
    assert_eq!(post(&http, &bearer, r#"{"query_type":"devices"}"#).status, 200);
    assert_eq!(get(&http, "/healthz", "").body, "ok\n");
    wait_until(PATIENCE, "an anonymous caller sees that it is ready", || get(&http, "/readyz", "").body == "ready\n")
        .unwrap();
    // Details are for authenticated callers only.
    send_signal(system.nats_pid(), "STOP");
    wait_until(PATIENCE, "the lost connection is noticed", || get(&http, "/readyz", "").status == 503).unwrap();
    assert_eq!(get(&http, "/readyz", "").body, "not ready\n");
    // The writer notices that it fetches nothing before the connection counts as lost.
    let names_nats = || get(&http, "/readyz", &bearer).body.contains("NATS is not connected");
    wait_until(PATIENCE, "the connection is named", names_nats).unwrap();
    let mut health = spindle(&system.data_dir());
    health.args(["health", "--config", "test.toml"]).current_dir(system.folder.path()).env("SPINDLE_HTTP", &http);
    let output = health.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("NATS is not connected"));
    send_signal(system.nats_pid(), "CONT");
    let metrics = get(&http, "/metrics", &bearer).body;
    let n_wrong = r#"spindle_web_refused_requests_total{reason="wrong_token"} 16"#;
    assert!(metrics.contains(n_wrong) && metrics.contains(r#"{reason="no_token"}"#), "{metrics}");
    let log = system.log();
    assert_eq!(log.matches("wrong token refused").count(), 1, "logged once within the interval:\n{log}");
    assert!(log.contains("127.0.0.1") && !log.contains("a-token-of"), "{log}");
}

#[test]
fn beyond_the_loopback_a_token_opens() {
    let system = System::start(
        &format!("{NO_SOURCES}[http]\nlisten = \"0.0.0.0:0\"\ntoken = \"{TOKEN}\"\n"),
        &["--http", "0.0.0.0:0"],
    );
    let port = system.http().rsplit_once(':').unwrap().1.to_owned();
    let status = |host: &str, headers: &str| {
        let request = format!("GET {QUERY} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
        exchange(&format!("127.0.0.1:{port}"), &request).status
    };
    assert_eq!(status("spindle.example", ""), 401);
    assert_eq!(status("spindle.example", &format!("Authorization: Bearer {TOKEN}\r\n")), 200);
}

#[test]
fn a_role_alone_tells_its_health_to_all_and_its_counters_with_the_token() {
    let nats = spindle_testkit::NatsServer::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let port = spindle_testkit::free_port().unwrap();
    let check = |token: Option<&str>, metrics_status: u16| {
        let mut command = spindle(&folder.path().join("data"));
        command.arg("writer").env("NATS_URL", nats.url()).env("SPINDLE_HEALTH", format!("0.0.0.0:{port}"));
        command.envs(token.map(|token| ("SPINDLE_HTTP_TOKEN", token)));
        let mut writer = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        let address = format!("127.0.0.1:{port}");
        let is_ready = wait_until(PATIENCE, "the writer is ready", || {
            TcpStream::connect(&address).is_ok() && get(&address, "/readyz", "").status == 200
        });
        let metrics = is_ready.is_ok().then(|| get(&address, "/metrics", "").status);
        writer.kill().unwrap();
        writer.wait().unwrap();
        assert_eq!(metrics, Some(metrics_status));
    };
    check(None, 200);
    check(Some(TOKEN), 401);
}

#[test]
fn the_ipv6_loopback_is_a_loopback() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("NOT CHECKED, no IPv6 on this machine");
        return;
    }
    let system = System::start(NO_SOURCES, &["--http", "[::1]:0"]);
    let http = system.http();
    let status =
        |host: &str| exchange(&http, &format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).status;
    assert_eq!((status(&http), status("localhost"), status("evil.example")), (200, 200, 421));
}

#[test]
fn an_address_with_a_mistake_is_answered_with_that_mistake() {
    let system = System::start(NO_SOURCES, &[]);
    let http = system.http();
    let check = |query: &str, expected: &str| {
        let response = get(&http, &format!("/api/v1/query?{query}"), "");
        assert_eq!(response.status, 400, "{query}");
        assert!(response.body.contains(expected), "{query}: {}", response.body);
    };
    // `limit` is valid; only `by` is not.
    check("query_type=events&limit=5&by=arrival", "parameter 'by' of events");
    check("query_type=events&limit=5&limit=6", "parameter 'limit' of events is given more than once");
    check("query_type=events&limit=many", "parameter 'limit' of events is \\\"many\\\": expected a whole number");
    check("query_type=x", "unknown query_type 'x'");
    check("limit=5", "field 'query_type' is missing");
    let counted = get(&http, "/metrics", "").body;
    assert!(counted.contains(r#"{query_type="invalid",status="error"} 5"#), "{counted}");
}

#[test]
fn a_page_elsewhere_reads_nothing_and_sends_nothing() {
    let system = System::start(NO_SOURCES, &[]);
    let http = system.http();
    let status = |request: &str| {
        let response = exchange(&http, &format!("{request}Connection: close\r\n\r\n"));
        assert!(!response.head.contains("access-control"));
        response.status
    };
    for path in [QUERY, "/metrics", "/healthz", "/"] {
        assert_eq!(status(&format!("GET {path} HTTP/1.1\r\nHost: evil.example:8080\r\n")), 421, "{path}");
        assert_eq!(status(&format!("GET {path} HTTP/1.1\r\nHost: {http}\r\n")), 200, "{path}");
    }
    assert_eq!(status("GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n"), 421);
    assert_eq!(status("GET / HTTP/1.1\r\n"), 421);
    assert_eq!(status("GET / HTTP/1.0\r\n"), 200);
    assert_eq!(post(&http, "Origin: http://evil.example\r\n", "{}").status, 403);
    assert_eq!(post(&http, "Sec-Fetch-Site: cross-site\r\n", "{}").status, 403);
    assert_eq!(post(&http, "Origin: http://localhost\r\n", r#"{"query_type":"devices"}"#).status, 200);
    assert_eq!(status("OPTIONS /api/v1/query HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n"), 403);
}

/// Sends `start`, then a byte now and then, until the server closes the connection.
fn dribble(address: &str, start: &str) -> (String, Duration) {
    let mut stream = connect(address);
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let started = Instant::now();
    stream.write_all(start.as_bytes()).unwrap();
    let mut received = Vec::new();
    let mut piece = [0; 1024];
    while started.elapsed() < PATIENCE {
        let _ = stream.write_all(b"x");
        match stream.read(&mut piece) {
            Ok(0) => return (String::from_utf8_lossy(&received).into_owned(), started.elapsed()),
            Ok(n) => received.extend_from_slice(&piece[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return (String::from_utf8_lossy(&received).into_owned(), started.elapsed()),
        }
    }
    panic!("a client that sends {start:?} and then dribbles is never disconnected");
}

/// The server still answers other clients.
fn assert_alive(http: &str, after: &str) {
    assert_eq!(get(http, "/healthz", "").status, 200, "after {after}");
}

fn send_oversized(http: &str) {
    let huge = "x".repeat(100 << 10);
    for (what, head) in [
        ("a huge header", format!("X-Huge: {huge}")),
        ("many headers", "X: y\r\n".repeat(100)),
        ("a header of 20 KiB", format!("X-Large: {}", &huge[..20 << 10])),
    ] {
        let mut stream = connect(http);
        // The server may close before everything is sent.
        let _ = stream.write_all(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n").as_bytes());
        let received = read_to_end(&mut stream);
        assert!(received.is_empty() || received.starts_with("HTTP/1.1 431"), "{what}: {received}");
        assert_alive(http, what);
    }
    let mut stream = connect(http);
    stream.write_all(b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
    for _ in 0..100 {
        // The server has refused; the kernel decides if more can be sent.
        let _ = stream.write_all(&[b'x'; 1024]);
    }
    let received = read_to_end(&mut stream);
    assert!(received.is_empty() || received.starts_with("HTTP/1.1 413"), "{received}");
    assert_alive(http, "a huge body");
    assert_eq!(post(http, "", &"x".repeat(70_000)).status, 413);
}

fn send_garbage(http: &str) {
    for garbage in [
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n\0\u{1}garbage\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "GET  /  HTTP/1.1\r\n\r\n",
        "POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        "POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}{}{}",
        "POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        "CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ] {
        let mut stream = connect(http);
        stream.write_all(garbage.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let received = read_to_end(&mut stream);
        let well_formed = received.is_empty() || received.starts_with("HTTP/1.");
        assert!(
            well_formed && !received.contains("evil") && !received.contains("HTTP/1.1 5"),
            "{garbage:?}: {received}"
        );
        assert_alive(http, garbage);
    }
}

fn send_half_a_request(http: &str) {
    let mut half = connect(http);
    half.write_all(b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let received = read_to_end(&mut half);
    assert!(received.is_empty() || received.starts_with("HTTP/1.1 400"), "{received}");
    assert_alive(http, "half a request");
}

fn stop_with_a_query_in_flight(mut system: System) {
    let http = system.http();
    // Idle connections do not delay the shutdown.
    let _idle = [connect(&http), connect(&http)];
    // A query in flight is still answered; "continue" shows that the server waits for its body.
    let mut in_flight = connect(&http);
    let body = r#"{"query_type":"devices"}"#;
    let head = format!(
        "POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    in_flight.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    in_flight.read_exact(&mut interim).unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100"));
    let nats = system.nats_pid();
    let stopping = Instant::now();
    system.signal("TERM");
    wait_until(PATIENCE, "it is stopping", || system.log().contains("shutting down")).unwrap();
    in_flight.write_all(body.as_bytes()).unwrap();
    assert_eq!(parse(&read_to_end(&mut in_flight)).status, 200);
    assert_eq!(system.wait_for_end().code(), Some(0));
    assert!(stopping.elapsed() < Duration::from_secs(20), "stopped after {:?}", stopping.elapsed());
    assert!(!is_running(nats));
}

#[test]
fn slow_greedy_and_broken_clients_are_cut_off() {
    let system = System::start(NO_SOURCES, &[]);
    let http = system.http();
    let slow: Vec<_> = [
        "",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nX-Slow: ",
    ]
    .into_iter()
    .map(|start| {
        let http = http.clone();
        thread::spawn(move || dribble(&http, start))
    })
    .collect();
    let slow_body = {
        let http = http.clone();
        let head =
            "POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 5000\r\n\r\n";
        thread::spawn(move || dribble(&http, head))
    };
    let silent = {
        let mut stream = connect(&http);
        thread::spawn(move || read_to_end(&mut stream))
    };
    send_oversized(&http);
    send_garbage(&http);
    send_half_a_request(&http);

    for client in slow {
        let (_, lasted) = client.join().unwrap();
        assert!(lasted > Duration::from_secs(8) && lasted < Duration::from_secs(40), "disconnected after {lasted:?}");
    }
    let (received, _) = slow_body.join().unwrap();
    assert!(received.starts_with("HTTP/1.1 408"), "{received}");
    assert_eq!(silent.join().unwrap(), "");
    assert_alive(&http, "slow clients");

    stop_with_a_query_in_flight(system);
}

#[test]
fn more_connections_than_seats_wait_their_turn() {
    let system = System::start(NO_SOURCES, &[]);
    let http = system.http();
    let silent: Vec<_> = (0..300).map(|_| connect(&http)).collect();
    // The silent ones are disconnected, and then the request is answered.
    let metrics = get(&http, "/metrics", "").body;
    let line = metrics.lines().find(|line| line.starts_with("spindle_web_open_connections ")).unwrap();
    let n_open: u32 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!((1..=256).contains(&n_open), "{n_open} open");
    drop(silent);
    assert_eq!(get(&http, "/healthz", "").status, 200);
}
