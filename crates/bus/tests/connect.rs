//! Connecting: problems that an operator must fix fail at once, those that may pass are retried.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use spindle_bus::{Bus, BusErrorKind, Credentials, NatsSettings};
use spindle_testkit::{NatsServer, Options, free_port};
use support::{chain, ends, settings};

fn server_with_a_password() -> NatsServer {
    let extra_config = "authorization { user: spindle, password: right }".to_owned();
    NatsServer::start_with(Options { extra_config, ..Options::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_said_at_once_and_never_shown() {
    let server = server_with_a_password();
    let patient = NatsSettings { connect_timeout: Duration::from_secs(600), ..settings(&server.url()) };
    let named = |user: &str, password: &str| Credentials {
        user: Some(user.to_owned()),
        password: Some(password.to_owned()),
        ..Credentials::default()
    };
    let with = |credentials| NatsSettings { credentials, ..patient.clone() };
    let in_address = |userinfo: &str| NatsSettings {
        url: format!("nats://{userinfo}@127.0.0.1:{}", server.port()),
        ..patient.clone()
    };
    for wrong in [patient.clone(), with(named("spindle", "wr0ng")), in_address("spindle:wr0ng")] {
        let error = ends("a refused connection", Bus::connect(&wrong, "test")).await.unwrap_err();
        assert_eq!(error.kind(), BusErrorKind::Configuration, "{}", chain(&error));
        assert!(error.to_string().contains(&server.port().to_string()), "{error}");
        assert!(!chain(&error).contains("wr0ng"), "the password is in {}", chain(&error));
    }
    for right in [with(named("spindle", "right")), in_address("spindle:right")] {
        assert!(Bus::connect(&right, "test").await.unwrap().is_connected());
    }
}

#[tokio::test]
async fn a_wrong_address_or_a_missing_file_is_an_operators_matter() {
    let check = async |wrong: NatsSettings, expected: &str| {
        let patient = NatsSettings { connect_timeout: Duration::from_secs(600), ..wrong };
        let error = ends("a hopeless connect", Bus::connect(&patient, "test")).await.unwrap_err();
        assert_eq!(error.kind(), BusErrorKind::Configuration, "{}", chain(&error));
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!chain(&error).contains("secret"), "{}", chain(&error));
    };
    check(settings(" , "), "empty").await;
    check(settings("nats://user:secret@host:port"), "host:port").await;
    let creds = Credentials { creds: Some("no/such.creds".into()), ..Credentials::default() };
    check(NatsSettings { credentials: creds, ..settings("nats://127.0.0.1:4222") }, "no/such.creds").await;
    let nkey = Credentials { nkey: Some("no/such.nk".into()), ..Credentials::default() };
    check(NatsSettings { credentials: nkey, ..settings("nats://127.0.0.1:4222") }, "no/such.nk").await;
}

#[tokio::test]
async fn nothing_listening_is_transient_when_the_timeout_expires() {
    let url = format!("nats://127.0.0.1:{}", free_port().unwrap());
    let impatient = NatsSettings { connect_timeout: Duration::from_millis(400), ..settings(&url) };
    let started = Instant::now();
    let error = ends("an impatient connect", Bus::connect(&impatient, "test")).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Transient, "{}", chain(&error));
    assert!(error.to_string().contains("within 0.4 s"), "{error}");
    // It ends early by at most the last pause, which would have exceeded the timeout.
    assert!(started.elapsed() >= Duration::from_millis(150), "failed after {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_late_is_waited_for_and_one_that_returns_is_found_again() {
    let port = free_port().unwrap();
    let url = format!("nats://127.0.0.1:{port}");
    let waiting = tokio::spawn(async move { Bus::connect(&settings(&url), "test").await });
    let mut server = NatsServer::start_with(Options { port: Some(port), ..Options::default() }).unwrap();
    let bus = ends("the waiting connect", waiting).await.unwrap().unwrap();
    assert_eq!((bus.is_connected(), bus.n_connects()), (true, 1));
    let reported = async_nats::connect(server.url()).await.unwrap().server_info().version;
    assert_eq!(reported, server.version().to_string());
    server.kill();
    support::until("the loss to be noticed", async || !bus.is_connected()).await;
    server.restart().unwrap();
    support::until("the connection to be back", async || bus.is_connected()).await;
    assert_eq!(bus.n_connects(), 2);
    let other = bus.another("other").await.unwrap();
    bus.close().await;
    let asking = || bus.request("$SRV.PING", Bytes::new(), Duration::from_secs(1));
    support::until("the closed connection to fail", async || {
        asking().await.is_err_and(|error| error.kind() == BusErrorKind::Permanent)
    })
    .await;
    assert!(other.is_connected(), "the other connection is independent");
}
