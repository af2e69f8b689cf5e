//! The testkit with a real server: it must recognize a server that is ready, gone and back.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use spindle_testkit::{NatsServer, Options, free_port, wait_until};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends one request over a new connection, with just enough of the NATS protocol for JetStream.
fn request(server: &NatsServer, subject: &str, payload: &str) -> Value {
    let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut out = stream;
    write!(
        out,
        "CONNECT {{\"verbose\":false}}\r\nSUB reply 1\r\nPUB {subject} reply {}\r\n{payload}\r\n",
        payload.len()
    )
    .unwrap();
    loop {
        let line = lines.next().expect("the server closed the connection").unwrap();
        if line.starts_with("MSG reply ") {
            let body = lines.next().expect("a message has a body").unwrap();
            return serde_json::from_str(&body).unwrap();
        }
        assert!(!line.starts_with("-ERR"), "{line}");
    }
}

fn n_messages(server: &NatsServer) -> Value {
    request(server, "$JS.API.STREAM.INFO.TEST", "")["state"]["messages"].clone()
}

fn is_running(pid: u32) -> bool {
    rustix::process::Pid::from_raw(pid.cast_signed()).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill_and_a_restart_on_the_same_port() {
    let mut server = NatsServer::start_with(Options { sync_always: true, ..Options::default() }).unwrap();
    let (port, first_pid) = (server.port(), server.pid());
    let created =
        request(&server, "$JS.API.STREAM.CREATE.TEST", r#"{"name":"TEST","subjects":["t"],"storage":"file"}"#);
    assert_eq!(created["error"], Value::Null, "{created}");
    for expected_seq in 1..=3 {
        assert_eq!(request(&server, "t", "hello")["seq"], expected_seq);
    }

    server.kill();
    assert!(!is_running(first_pid));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    server.kill(); // a second time does nothing

    server.restart().unwrap();
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), first_pid);
    assert_eq!(n_messages(&server), 3);

    server.stop().unwrap();
    assert!(!is_running(server.pid()));
    server.stop().unwrap(); // a second time does nothing
    server.restart().unwrap();
    server.restart().unwrap(); // and a running one is stopped first
    assert_eq!(n_messages(&server), 3);
}

#[test]
fn a_given_store_outlives_the_server_and_a_temporary_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let given = dir.path().join("a folder with spaces");
    let server = NatsServer::start_with(Options { store_dir: Some(given.clone()), ..Options::default() }).unwrap();
    assert_eq!(server.store_dir(), given);
    drop(server);
    assert!(given.join("jetstream").is_dir());

    let server = NatsServer::start().unwrap();
    let (pid, temporary) = (server.pid(), server.store_dir().to_path_buf());
    assert!(temporary.is_dir());
    drop(server);
    assert!(!temporary.exists());
    wait_until(TIMEOUT, "the dropped server to be gone", || !is_running(pid)).unwrap();
}

#[test]
fn options_reach_the_server() {
    let port = free_port().unwrap();
    let server = NatsServer::start_with(Options {
        port: Some(port),
        max_file_store: Some(1_000_000),
        extra_config: "max_payload: 4096".to_owned(),
        ..Options::default()
    })
    .unwrap();
    assert_eq!(server.url(), format!("nats://127.0.0.1:{port}"));
    assert!(server.monitoring().starts_with("127.0.0.1:"), "{}", server.monitoring());
    let too_large = r#"{"name":"BIG","subjects":["b"],"storage":"file","max_bytes":2000000}"#;
    let refused = request(&server, "$JS.API.STREAM.CREATE.BIG", too_large);
    assert_eq!(refused["error"]["err_code"], 10047, "{refused}");
    let mut greeting = String::new();
    BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap()).read_line(&mut greeting).unwrap();
    assert!(greeting.contains("\"max_payload\":4096"), "{greeting}");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let broken = Options { extra_config: "no_such_setting: 1".to_owned(), ..Options::default() };
    let error = format!("{:#}", NatsServer::start_with(broken).unwrap_err());
    assert!(error.contains("did not come up") && error.contains("no_such_setting"), "{error}");

    let first = NatsServer::start().unwrap();
    let taken = Options { port: Some(first.port()), ..Options::default() };
    let error = format!("{:#}", NatsServer::start_with(taken).unwrap_err());
    assert!(error.contains("address already in use"), "{error}");
}

#[test]
fn many_servers_start_at_once_on_ports_of_their_own() {
    let servers: Vec<NatsServer> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..4).map(|_| scope.spawn(|| NatsServer::start().unwrap())).collect();
        starting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut ports: Vec<u16> = servers.iter().map(NatsServer::port).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), servers.len());
}
