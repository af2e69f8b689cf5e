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
        assert_eq!(writes_of(&facade, write_path(generation), "device_metrics").len(), 1, "{generation:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_hides_the_version_is_seen_through() {
    for generation in BOTH {
        let facade = start_with(generation, FacadeOptions { hides_version: true, ..FacadeOptions::default() });
        write(&open(&facade), metrics(&["a"]), vec![]).await.unwrap();
        assert_eq!(writes_of(&facade, write_path(generation), "device_metrics").len(), 1, "{generation:?}");
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
    for path in ["/ping", "/health", "/api/v2/setup", "/api/v3/configure/database", "/query", "/"] {
        facade.fault(Fault::answer(path, 200, page));
    }
    expect_message(&store.check().await.unwrap_err(), &["Please log in", "INFLUXDB_HOST", "INFLUXDB_VERSION"]);

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
        expect_message(&store.ping().await.unwrap_err(), &["is this an InfluxDB"]);
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

/// A version 2 built without a release.
#[tokio::test]
async fn a_server_without_a_release_version_is_asked_further() {
    for release in ["dev", "nightly", "vendor-7"] {
        for hides_version in [false, true] {
            let options = FacadeOptions { release: release.to_owned(), hides_version, ..FacadeOptions::default() };
            let facade = start_with(Generation::V2, options);
            write(&open(&facade), metrics(&["a"]), vec![]).await.unwrap();
            assert_eq!(writes_of(&facade, "/api/v2/write", "device_metrics").len(), 1, "{release}");
            assert_eq!(facade.record_of("/api/v2/setup").len(), 1, "{release}");
        }
        let options = FacadeOptions { release: release.to_owned(), ..FacadeOptions::default() };
        let facade = start_with(Generation::V3, options);
        write(&open(&facade), metrics(&["a"]), vec![]).await.unwrap();
    }
}

/// It answers the health check of version 3, takes every line, and returns no point to a query.
#[tokio::test]
async fn another_product_is_named() {
    let facade = start_with(Generation::V2, FacadeOptions { hides_version: true, ..FacadeOptions::default() });
    for (path, status, body) in [
        ("/ping", 204, ""),
        ("/health", 200, "OK"),
        ("/api/v2/setup", 400, "unsupported path requested: \"/api/v2/setup\""),
        ("/api/v3/configure/database", 400, "unsupported path requested"),
        ("/query", 200, r#"{"results":[{"name":"databases","columns":["name"],"values":[]}]}"#),
        ("/", 200, "<h2>Single-node VictoriaMetrics</h2></br>See docs at <a href='https://x'>x</a>"),
    ] {
        facade.fault(Fault::answer(path, status, body).header("Server", "nginx/1.22").times(usize::MAX));
    }
    let error = open(&facade).check().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Permanent);
    expect_message(&error, &["Single-node VictoriaMetrics", "nginx/1.22", "INFLUXDB_HOST", "opengemini"]);
}

/// It calls itself a version of InfluxDB, and has few of its paths.
#[tokio::test]
async fn a_product_that_only_claims_a_version_is_named() {
    let facade = start(Generation::V2);
    facade.fault(Fault::answer("/api/v2/buckets", 404, "No such file or directory").times(usize::MAX));
    let error = open(&facade).check().await.unwrap_err();
    expect_message(
        &error,
        &["none of the paths of InfluxDB 2", "404", "No such file or directory", "INFLUXDB_VERSION"],
    );
    let facade = start(Generation::OpenGemini);
    facade.fault(Fault::answer("/query", 404, "<html>no such page</html>").times(usize::MAX));
    let configured = InfluxSettings { version: Some(InfluxVersion::V1), ..settings(&facade) };
    let error = Store::open_influx(configured).unwrap().check().await.unwrap_err();
    expect_message(&error, &["404", "no such page", "is this an InfluxDB"]);
}

/// An error beside an answer gives the answer, and never denies it.
#[tokio::test]
async fn an_answer_that_came_is_given() {
    for (status, body, permanent) in [
        (401, r#"{"error":"authorization failed"}"#, true),
        (403, r#"{"error":"error authorizing query: fleet not authorized"}"#, true),
        (404, "page not found", true),
        (500, r#"{"error":"engine is closed"}"#, false),
        (503, "starting up", false),
    ] {
        let facade = start(Generation::V2);
        let store = open(&facade);
        store.check().await.unwrap();
        facade.fault(Fault::answer("/query", status, body).times(usize::MAX));
        for error in [store.ping().await.unwrap_err(), store.probe().await.unwrap_err()] {
            let said = body.trim_start_matches("{\"error\":\"").trim_end_matches("\"}");
            expect_message(&error, &[&status.to_string(), said]);
            let denied = ["does not answer", "does not respond", "does not exist"];
            assert!(!denied.iter().any(|denial| error.to_string().contains(denial)), "{error}");
            assert_eq!(!error.is_transient(), permanent, "{error}");
        }
    }
}
