//! Several addresses of one store: any of them serves, and one that is away is passed over and shown.

use std::time::Duration;

use spindle_store::{InfluxSettings, Store, StoreErrorKind};
use spindle_testkit::{Fault, Generation, InfluxFacade, free_port};
use tokio::time::{Instant, sleep};

use crate::*;

/// Nobody listens there.
fn nowhere() -> String {
    format!("http://127.0.0.1:{}", free_port().unwrap())
}

fn open_list(facade: &InfluxFacade, host: String) -> Store {
    Store::open_influx(InfluxSettings { host, ..settings(facade) }).unwrap()
}

fn problems(store: &Store) -> Vec<Option<String>> {
    store.addresses().into_iter().map(|status| status.problem).collect()
}

const EVERY: [Generation; 3] = [Generation::V2, Generation::V3, Generation::OpenGemini];

#[tokio::test]
async fn one_that_is_away_is_passed_over_and_shown() {
    for generation in EVERY {
        let facade = start(generation);
        let address = facade.url().replace("://", "://me:sesame@");
        for host in [format!("{}, {address}", nowhere()), format!("{address} ,{}", nowhere())] {
            let store = open_list(&facade, host.clone());
            write(&store, metrics(&["a"]), vec![]).await.unwrap();
            store.ping().await.unwrap();
            assert!(store.probe().await.unwrap());
            let statuses = store.addresses();
            for status in &statuses {
                let is_away = status.address != facade.url();
                assert_eq!(status.problem.is_some(), is_away, "{generation:?} {host}: {statuses:?}");
                assert!(!status.address.contains("sesame"), "{statuses:?}");
            }
        }
    }
}

/// The error names each address with its reason, and no password.
#[tokio::test]
async fn none_that_serves_is_an_outage() {
    let facade = start(Generation::V2);
    let away = nowhere();
    let store = open_list(&facade, format!("{away},{}", nowhere().replace("://", "://me:sesame@")));
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { responded: false, .. }), "{error:?}");
    expect_message(&error, &[&away, "refused"]);
    assert!(!error.to_string().contains("sesame"), "{error}");
}

/// A write whose answer was lost is repeated elsewhere: it is idempotent.
#[tokio::test]
async fn a_request_in_doubt_goes_to_the_next_address() {
    for generation in EVERY {
        let facade = start(generation);
        // Two addresses of one server: the fault of the first request is the fault of one address.
        let second = facade.url().replace("127.0.0.1", "localhost");
        let store = open_list(&facade, format!("{},{second}", facade.url()));
        store.check().await.unwrap();
        let path = write_path(generation);
        let faults = [
            Fault::reset(path),
            Fault::reset(path).after(),
            Fault::answer(path, 503, "busy"),
            Fault::answer(path, 500, "no node available").after(),
        ];
        for (round, fault) in faults.into_iter().enumerate() {
            facade.fault(fault.clone());
            let written = write(&store, vec![metric("a", NOON + round as i64)], vec![]).await;
            assert_eq!(written.unwrap().n_metrics, 1, "{generation:?} {fault:?}");
        }
        facade.show_all().unwrap();
        assert_eq!(counts(&facade, &store).await, (4, 0), "{generation:?}");
    }
}

/// It hangs: its connections are accepted, and no answer comes.
#[tokio::test]
async fn one_that_hangs_holds_up_one_request() {
    let facade = start(Generation::OpenGemini);
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{},{}", hanging.local_addr().unwrap(), facade.url());
    let store = open_list(&facade, host);
    let began = Instant::now();
    write(&store, metrics(&["a"]), vec![]).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let again = Instant::now();
    write(&store, metrics(&["b"]), vec![]).await.unwrap();
    assert!(again.elapsed() < Duration::from_secs(3), "{:?}", again.elapsed());
    assert!(
        problems(&store)[0].as_ref().is_some_and(|problem| problem.contains("timed out")),
        "{:?}",
        problems(&store)
    );
}

#[tokio::test]
async fn one_that_comes_back_is_used_again_and_counted() {
    let facade = start(Generation::V2);
    let second = facade.url().replace("127.0.0.1", "localhost");
    let store = open_list(&facade, format!("{},{second}", facade.url()));
    store.check().await.unwrap();
    assert_eq!((problems(&store), store.n_recoveries()), (vec![None, None], 0));
    facade.fault(Fault::reset("/api/v2/write"));
    write(&store, metrics(&["a"]), vec![]).await.unwrap();
    assert_eq!(problems(&store).iter().flatten().count(), 1);
    let deadline = Instant::now() + Duration::from_secs(20);
    while problems(&store) != [None, None] {
        assert!(Instant::now() < deadline, "{:?}", problems(&store));
        sleep(Duration::from_millis(50)).await;
        store.ping().await.unwrap();
    }
    assert_eq!(store.n_recoveries(), 1, "it may have come back with less");
}

/// Their data would be split between two products.
#[tokio::test]
async fn servers_of_different_kinds_are_not_mixed() {
    let (right, wrong) = (start(Generation::OpenGemini), start(Generation::V3));
    let store = open_list(&right, format!("{},{}", right.url(), wrong.url()));
    store.probe().await.unwrap();
    let problems = problems(&store);
    assert!(problems[0].is_none(), "{problems:?}");
    let problem = problems[1].as_deref().unwrap_or_default();
    assert!(problem.contains("InfluxDB 3") && problem.contains("openGemini"), "{problem}");
    right.fault(Fault::reset("/write").times(usize::MAX));
    assert!(write(&store, metrics(&["a"]), vec![]).await.unwrap_err().is_transient());
    assert_eq!(wrong.record_of("/api/v3/write_lp").len(), 0, "nothing goes to the other");
}

#[tokio::test]
async fn a_malformed_list_is_refused_at_once() {
    let facade = start(Generation::V2);
    for host in ["http://127.0.0.1:1,ftp://b", "a b,c", ",", "http://me:sesame@h:port,http://b"] {
        let error = Store::open_influx(InfluxSettings { host: host.to_owned(), ..settings(&facade) }).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Permanent);
        expect_message(&error, &["INFLUXDB_HOST"]);
        assert!(!error.to_string().contains("sesame"), "{error}");
    }
}
