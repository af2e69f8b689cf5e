//! Memory of roles under loads that anybody can cause: it is bounded by settings, not by what arrives.

use std::net::TcpListener;
use std::time::Duration;

use async_nats::RequestErrorKind;
use bytes::Bytes;
use spindle_testkit::{NatsServer, wait_until};

use crate::apart::RoleProcess;
use crate::harness::PATIENCE;

/// Pause before a question is asked again that found nobody.
const AGAIN: Duration = Duration::from_millis(50);
/// Room for a debug build: code, runtime, connections.
const BASE_BYTES: u64 = 96 << 20;

/// Returns the largest memory that a process has ever used, in bytes.
fn peak_bytes(process: &RoleProcess) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_store_hangs_refuses_a_thousand_large_queries_and_keeps_none() {
    let nats = NatsServer::start().unwrap();
    // Accepts connections and never answers: the kernel's queue is long enough.
    let store = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", store.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let variables = [("NATS_URL", nats.url()), ("INFLUXDB_HOST", host), ("INFLUXDB_VERSION", "1".to_owned())];
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let reader = RoleProcess::start(folder.path(), "reader", &variables);
    // 900 MB pass through the reader first.
    let options = async_nats::ConnectOptions::new().request_timeout(Some(Duration::from_secs(90)));
    let client = options.connect(nats.url()).await.unwrap();
    let ask = async |payload: Bytes| client.request("reader.query", payload).await;
    // Its probes are there before it is subscribed.
    while ask("{}".into()).await.is_err() {
        tokio::time::sleep(AGAIN).await;
    }
    // Questions that the store never answers take every turn.
    let inbox = client.new_inbox();
    for _ in 0..100 {
        client.publish_with_reply("reader.query", inbox.clone(), r#"{"query_type":"devices"}"#.into()).await.unwrap();
    }
    let large = Bytes::from(vec![b' '; 900_000]);
    for _ in 0..1_000 {
        client.publish_with_reply("reader.query", inbox.clone(), large.clone()).await.unwrap();
    }
    // On a busy machine the server disconnects a reader that is slow to take all of them; it comes back.
    let answer = loop {
        match ask(large.clone()).await {
            Err(error) if error.kind() == RequestErrorKind::NoResponders => tokio::time::sleep(AGAIN).await,
            answer => break answer.unwrap(),
        }
    };
    let text = String::from_utf8_lossy(&answer.payload).into_owned();
    assert!(text.contains("larger than 65536"), "{text}");
    let code = answer.headers.unwrap().get("Nats-Service-Error-Code").unwrap().to_string();
    assert_eq!(code, "413");
    let peak = peak_bytes(&reader);
    assert!(peak < BASE_BYTES + (64 << 20), "{} MiB", peak >> 20);
    // Those that waited for the store are dropped once nobody waits for them.
    wait_until(PATIENCE, "old queries are dropped", || {
        let metrics = reader.get("/metrics");
        metrics.lines().any(|line| {
            line.strip_prefix("spindle_reader_expired_requests_total ").is_some_and(|n| n.parse::<f64>().unwrap() > 0.0)
        })
    })
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_hold_takes_little_more_than_its_setting() {
    const BUFFER_MIB: u64 = 64;
    for per_message in ["1", "500"] {
        let mut nats = NatsServer::start().unwrap();
        let (folder, url) = (tempfile::tempdir().unwrap(), nats.url());
        let variables = [
            ("NATS_URL", url.as_str()),
            ("SPINDLE_SOURCES", "simulate"),
            ("SPINDLE_DEVICES", "2000"),
            ("SPINDLE_INTERVAL", "200ms"),
            ("SPINDLE_METRICS_PER_MESSAGE", per_message),
            ("SPINDLE_BUFFER_BYTES", "64MiB"),
        ];
        let daemon = RoleProcess::start(folder.path(), "daemon", &variables);
        let is_publishing = || {
            daemon.get("/metrics").lines().any(|line| {
                line.strip_prefix("spindle_daemon_acked_items_total ").is_some_and(|n_acked| n_acked != "0")
            })
        };
        wait_until(PATIENCE, "the daemon publishes", is_publishing).unwrap();
        nats.kill();
        let dropped = |line: &str| line.starts_with("spindle_daemon_dropped_items_total{reason=\"buffer_full\"} ");
        let is_full = || {
            let metrics = daemon.get("/metrics");
            metrics.lines().any(|line| dropped(line) && !line.ends_with(" 0"))
        };
        wait_until(PATIENCE, "the hold is full", is_full).unwrap();
        // Dropping and adding goes on.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let peak = peak_bytes(&daemon);
        let limit = (BUFFER_MIB << 20) * 3 / 2 + BASE_BYTES;
        assert!(peak < limit, "{} MiB with {per_message} metrics in a message", peak >> 20);
    }
}
