//! Detection of the version, and its credentials.

use spindle_store::{InfluxSettings, InfluxVersion, Store, StoreErrorKind};
use spindle_testkit::{Fault, Generation};

use crate::*;

#[tokio::test]
async fn the_version_is_found_by_asking_once() {
    for generation in BOTH {
        let facade = start(generation);
        let store = open(&facade);
        store.check().await.unwrap();
        store.check().await.unwrap();
        write(&store, metrics(&["a"]), vec![]).await.unwrap();
        assert_eq!(facade.record_of("/ping").len(), 1, "{generation:?}");
        assert_eq!(value_writes(&facade, write_path(generation)).len(), 1, "{generation:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_hides_the_version_is_seen_through() {
    for generation in BOTH {
        let facade = start_with(generation, FacadeOptions { hides_version: true, ..FacadeOptions::default() });
        write(&open(&facade), metrics(&["a"]), vec![]).await.unwrap();
        assert_eq!(value_writes(&facade, write_path(generation)).len(), 1, "{generation:?}");
    }
}

#[tokio::test]
async fn a_version_that_is_reported_is_not_asked_for() {
    for (generation, version) in [(Generation::V2, InfluxVersion::V2), (Generation::V3, InfluxVersion::V3)] {
        let facade = start(generation);
        facade.fault(Fault::answer("/ping", 500, "").times(usize::MAX));
        let store = Store::open_influx(InfluxSettings { version: Some(version), ..settings(&facade) }).unwrap();
        write(&store, metrics(&["a"]), vec![]).await.unwrap();
        assert_eq!(facade.record_of("/ping").len(), 0);
    }
    let facade = start(Generation::V2);
    let configured = InfluxSettings { version: Some(InfluxVersion::V3), ..settings(&facade) };
    let error = Store::open_influx(configured).unwrap().check().await.unwrap_err();
    expect_message(&error, &["404", "INFLUXDB_VERSION"]);
}

#[tokio::test]
async fn a_wrong_token_is_said_without_saying_it() {
    for generation in BOTH {
        let facade = start(generation);
        for token in [Some("wrong-token"), None] {
            let wrong = InfluxSettings { token: token.map(str::to_owned), ..settings(&facade) };
            let error = write(&Store::open_influx(wrong).unwrap(), metrics(&["a"]), vec![]).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Permanent);
            expect_message(&error, &["INFLUXDB_TOKEN", &facade.url()]);
        }
        assert_eq!(facade.record_of(write_path(generation)).len(), 0, "nothing is sent without credentials");
    }
}

/// Version 3 would call the header malformed, and a line feed could not be sent.
#[tokio::test]
async fn a_token_that_cannot_be_one_is_refused_at_once() {
    let facade = start(Generation::V3);
    for token in ["wrong-token with blanks", "wrong-token\n"] {
        let wrong = InfluxSettings { token: Some(token.to_owned()), ..settings(&facade) };
        expect_message(
            &Store::open_influx(wrong).unwrap_err(),
            &["INFLUXDB_TOKEN", "whitespace or a control character"],
        );
    }
}

#[tokio::test]
async fn a_token_that_is_taken_away_later_is_said() {
    for generation in BOTH {
        let facade = start(generation);
        let store = open(&facade);
        write(&store, metrics(&["a"]), vec![]).await.unwrap();
        for path in [write_path(generation), "/query"] {
            facade.fault(Fault::answer(path, 401, r#"{"code":"unauthorized","message":"unauthorized access"}"#));
        }
        expect_message(&write(&store, metrics(&["b"]), vec![]).await.unwrap_err(), &["INFLUXDB_TOKEN", "write"]);
        expect_message(&store.ping().await.unwrap_err(), &["INFLUXDB_TOKEN", "read"]);
        // Restoring the token is enough.
        write(&store, metrics(&["b"]), vec![]).await.unwrap();
        assert_eq!(counts(&facade, &store).await, (2, 0));
    }
}

#[tokio::test]
async fn a_server_that_is_no_influxdb_is_said() {
    let page = "<html><body>Please log in</body></html>";
    let facade = start_with(Generation::V2, FacadeOptions { hides_version: true, ..FacadeOptions::default() });
    let store = open(&facade);
    for path in ["/ping", "/health"] {
        facade.fault(Fault::answer(path, 200, page));
    }
    expect_message(&store.check().await.unwrap_err(), &["INFLUXDB_HOST", "INFLUXDB_VERSION"]);

    // A proxy that requires a login from a certain moment on.
    for generation in BOTH {
        let facade = start(generation);
        let store = open(&facade);
        store.check().await.unwrap();
        for path in [write_path(generation), "/query"] {
            facade.fault(Fault::answer(path, 200, page));
        }
        let error = write(&store, metrics(&["a"]), vec![]).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Permanent);
        expect_message(&error, &["200", "is this an InfluxDB"]);
        expect_message(&store.ping().await.unwrap_err(), &["not JSON", "is this an InfluxDB"]);
        write(&store, metrics(&["a"]), vec![]).await.unwrap();
        assert_eq!(counts(&facade, &store).await, (1, 0));
    }
}

#[tokio::test]
async fn a_server_that_starts_is_waited_for() {
    for generation in BOTH {
        let facade = start(generation);
        facade.fault(Fault::answer("/ping", 503, "starting"));
        let store = open(&facade);
        assert!(store.check().await.unwrap_err().is_transient());
        store.check().await.unwrap();
    }
}

/// Version 3 reports the process that responds; version 2 does not, which is not an error.
#[tokio::test]
async fn the_run_of_a_server_is_reported_where_it_says_so() {
    for (generation, is_reported) in [(Generation::V2, false), (Generation::V3, true)] {
        let facade = start(generation);
        let store = open(&facade);
        let first = store.server_incarnation().await.unwrap();
        assert_eq!(first.is_some(), is_reported, "{generation:?}");
        assert_eq!(store.server_incarnation().await.unwrap(), first);
    }
}
