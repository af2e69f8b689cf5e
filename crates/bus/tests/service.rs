//! Request and reply, and the discoverable micro service.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use spindle_bus::{Bus, BusError, BusErrorKind, Endpoint, Reply, ServiceLimits, Unanswered, serve};
use spindle_testkit::NatsServer;
use support::{chain, connect, ends, header, until};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

const TIMEOUT: Duration = Duration::from_secs(10);

const LIMITS: ServiceLimits = ServiceLimits { max_request_bytes: 64 << 10, deadline: Duration::from_secs(2), refuse };
static N_EXPIRED: AtomicUsize = AtomicUsize::new(0);
static N_BUSY: AtomicUsize = AtomicUsize::new(0);

fn refuse(reason: Unanswered) -> Option<Reply> {
    let (code, text) = match reason {
        Unanswered::TooLarge(n_bytes) => (413, format!("{n_bytes} bytes are too many")),
        Unanswered::Busy => {
            N_BUSY.fetch_add(1, Ordering::Relaxed);
            (503, "busy".to_owned())
        }
        Unanswered::Expired => {
            N_EXPIRED.fetch_add(1, Ordering::Relaxed);
            return None;
        }
    };
    Some(Reply { body: text.clone().into(), error: Some((code, text)) })
}

/// Endpoint 0 answers with its payload in capitals, 1 refuses, 2 answers when `gate` opens.
struct Service {
    gate: Arc<Gate>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), BusError>>,
}

/// Delays slow requests and counts those that have arrived.
struct Gate {
    permits: Semaphore,
    n_begun: AtomicUsize,
}

async fn service(server: &NatsServer) -> (Service, Bus) {
    let endpoints = ["echo", "refuse", "slow"].map(|name| Endpoint {
        name: name.to_owned(),
        subject: format!("test.{name}"),
        description: format!("does {name}"),
    });
    let gate = Arc::new(Gate { permits: Semaphore::new(0), n_begun: AtomicUsize::new(0) });
    let (stop, stopped) = oneshot::channel();
    let bus = connect(server).await.another_for_answering("test").await.unwrap();
    let running = tokio::spawn({
        let gate = gate.clone();
        async move {
            let handle = move |index, payload| answer(index, payload, gate.clone());
            let stopped = async { stopped.await.unwrap_or_default() };
            serve(&bus, ("test-reader", "1.2.3"), &endpoints, LIMITS, handle, stopped).await
        }
    });
    let asking = connect(server).await;
    until("the service to answer", async || ask(&asking, "test.echo", "").await.is_ok()).await;
    until("its last endpoint", async || {
        let info = ask(&asking, "$SRV.INFO.test-reader", "").await.unwrap();
        serde_json::from_slice::<Value>(&info).unwrap()["endpoints"].as_array().unwrap().len() == 3
    })
    .await;
    (Service { gate, stop, running }, asking)
}

async fn answer(index: usize, payload: Bytes, gate: Arc<Gate>) -> Reply {
    let body = Bytes::from(payload.to_ascii_uppercase());
    match index {
        0 => Reply { body, error: None },
        1 => Reply { body: "the reason".into(), error: Some((422, "not\r\nthis way".to_owned())) },
        _ => {
            gate.n_begun.fetch_add(1, Ordering::Relaxed);
            gate.permits.acquire().await.unwrap().forget();
            Reply { body, error: None }
        }
    }
}

async fn ask(bus: &Bus, subject: &str, payload: &'static str) -> Result<Bytes, BusError> {
    bus.request(subject, payload.into(), TIMEOUT).await
}

#[tokio::test]
async fn a_reply_and_an_error_with_headers_and_body() {
    let server = NatsServer::start().unwrap();
    let (_service, asking) = service(&server).await;
    assert_eq!(ask(&asking, "test.echo", "hello").await.unwrap(), "HELLO");
    assert_eq!(ask(&asking, "test.refuse", "x").await.unwrap(), "the reason", "old clients read the body");
    let witness = async_nats::connect(server.url()).await.unwrap();
    let reply = witness.request("test.refuse", "x".into()).await.unwrap();
    assert_eq!(reply.payload, "the reason");
    assert_eq!(header(&reply, "Nats-Service-Error"), "not  this way");
    assert_eq!(header(&reply, "Nats-Service-Error-Code"), "422");
    // Nobody waits for the reply: the service must not fail.
    witness.publish("test.echo", "x".into()).await.unwrap();
    witness.flush().await.unwrap();
    assert_eq!(ask(&asking, "test.echo", "still there").await.unwrap(), "STILL THERE");
}

#[tokio::test]
async fn where_nobody_answers_it_is_said_at_once_and_a_late_answer_is_a_time_out() {
    let server = NatsServer::start().unwrap();
    let (_service, asking) = service(&server).await;
    let error = ask(&asking, "test.unknown", "").await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Transient);
    assert!(error.to_string().contains("nobody answers on 'test.unknown'"), "{error}");
    let error = asking.request("test.slow", Bytes::new(), Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Transient);
    assert!(error.to_string().contains("no answer on 'test.slow' within 0.2 s"), "{error}");
    let too_large = vec![0; asking.max_payload() + 1].into();
    let error = asking.request("test.echo", too_large, TIMEOUT).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Permanent, "{}", chain(&error));
}

#[tokio::test]
async fn a_slow_request_does_not_block_a_fast_one() {
    let server = NatsServer::start().unwrap();
    let (service, asking) = service(&server).await;
    let slow = tokio::spawn({
        let asking = asking.clone();
        async move { futures::future::join_all(["a", "b", "c"].map(|text| ask(&asking, "test.slow", text))).await }
    });
    for _ in 0..20 {
        assert_eq!(ask(&asking, "test.echo", "fast").await.unwrap(), "FAST");
    }
    assert!(!slow.is_finished());
    service.gate.permits.add_permits(3);
    let replies: Vec<_> = ends("the slow ones", slow).await.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(replies, ["A", "B", "C"]);
}

#[tokio::test]
async fn it_is_found_by_ping_and_info_and_counts_its_answers() {
    let server = NatsServer::start().unwrap();
    let (_service, asking) = service(&server).await;
    let ask =
        async |subject: &str| -> Value { serde_json::from_slice(&ask(&asking, subject, "").await.unwrap()).unwrap() };
    let ping = ask("$SRV.PING").await;
    assert_eq!((&ping["name"], &ping["version"]), (&"test-reader".into(), &"1.2.3".into()), "{ping}");
    assert_eq!(ping["type"], "io.nats.micro.v1.ping_response");
    let info = ask("$SRV.INFO.test-reader").await;
    let endpoints = info["endpoints"].as_array().unwrap();
    assert_eq!(endpoints.len(), 3, "{info}");
    for name in ["echo", "refuse", "slow"] {
        let endpoint = endpoints.iter().find(|endpoint| endpoint["name"] == name).unwrap();
        assert_eq!(endpoint["subject"], format!("test.{name}"));
        assert_eq!(endpoint["metadata"]["description"], format!("does {name}"));
    }
    asking.request("test.refuse", Bytes::new(), TIMEOUT).await.unwrap();
    let stats = ask("$SRV.STATS.test-reader").await;
    let refuse = stats["endpoints"].as_array().unwrap().iter().find(|endpoint| endpoint["name"] == "refuse").unwrap();
    assert_eq!(refuse["num_requests"], 1, "{stats}");
}

#[tokio::test]
async fn it_finishes_what_is_in_hand_when_it_stops_and_is_gone_from_the_list() {
    let server = NatsServer::start().unwrap();
    let (service, asking) = service(&server).await;
    let witness = async_nats::connect(server.url()).await.unwrap();
    let in_flight = tokio::spawn(async move { witness.request("test.slow", "in flight".into()).await });
    until("the request to be in flight", async || service.gate.n_begun.load(Ordering::Relaxed) == 1).await;
    service.stop.send(()).unwrap();
    // Requests that come meanwhile do not vanish: the caller gets an error at once that nobody answers.
    let is_gone = async |subject: &str| {
        let asked = asking.request(subject, Bytes::new(), Duration::from_millis(200)).await;
        asked.is_err_and(|error| error.to_string().contains("nobody answers"))
    };
    until("the endpoints to be gone", async || is_gone("test.echo").await && is_gone("test.slow").await).await;
    until("the service to be gone", async || is_gone("$SRV.PING.test-reader").await).await;
    assert!(!service.running.is_finished());
    service.gate.permits.add_permits(1);
    let reply = ends("the request in flight", in_flight).await.unwrap().unwrap();
    assert_eq!(reply.payload, "IN FLIGHT");
    ends("serve()", service.running).await.unwrap().unwrap();
}

/// The handler is stuck; what arrives meanwhile must neither pile up nor be answered when nobody waits any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_is_stuck_large_requests_are_refused_at_once_and_old_ones_dropped() {
    const SEATS: usize = 32;
    const N_LARGE: usize = 200;
    let server = NatsServer::start().unwrap();
    let (service, asking) = service(&server).await;
    let (expired_before, busy_before) = (N_EXPIRED.load(Ordering::Relaxed), N_BUSY.load(Ordering::Relaxed));
    let ask_slow = || asking.request("test.slow", Bytes::from_static(b"x"), TIMEOUT);
    let stuck = futures::future::join_all((0..SEATS + 10).map(|_| ask_slow()));
    let busy = async {
        until("every seat to be taken", async || service.gate.n_begun.load(Ordering::Relaxed) == SEATS).await;
        // Refused at once, though no seat is free.
        let started = std::time::Instant::now();
        let large = Bytes::from(vec![b'x'; 900_000]);
        for _ in 0..N_LARGE {
            let reply = asking.request("test.slow", large.clone(), TIMEOUT).await.unwrap();
            assert_eq!(reply, "900000 bytes are too many");
        }
        assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
        // More bytes than it holds.
        let medium = Bytes::from(vec![b'x'; 60 << 10]);
        let asked = (0..N_LARGE).map(|_| asking.request("test.slow", medium.clone(), TIMEOUT));
        let replies = futures::future::join_all(asked).await;
        let n_busy = replies.iter().filter(|reply| reply.as_ref().is_ok_and(|reply| reply == "busy")).count();
        assert!(n_busy >= N_LARGE / 2, "{n_busy} of {N_LARGE}");
        // Each ends in one of two ways, as the service counts them: a reply may come too late for its asker.
        let n_ended = || {
            let (n_expired, n_busy) = (N_EXPIRED.load(Ordering::Relaxed), N_BUSY.load(Ordering::Relaxed));
            (n_expired - expired_before) + (n_busy - busy_before)
        };
        until("all of them to end", async || n_ended() == SEATS + 10 + N_LARGE).await;
        // The seats are free again, and nothing old is answered first.
        assert_eq!(ask(&asking, "test.echo", "fresh").await.unwrap(), "FRESH");
    };
    let (stuck, ()) = tokio::join!(stuck, busy);
    assert!(stuck.iter().all(Result::is_err), "an expired request was answered");
}
