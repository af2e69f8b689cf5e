//! Single points that the server refuses: exactly these are reported, all others are stored.

use spindle_testkit::{Fault, Generation};

use crate::*;

/// Of four values and two events, those with a sequence number conflict with the type of the column.
#[tokio::test]
async fn points_of_a_wrong_type_stand_alone() {
    for generation in BOTH {
        let facade = start(generation);
        let store = open(&facade);
        store.check().await.unwrap();
        facade.write(DATABASE, &format!("device_metrics,source_device=x,metric_type=x seq=0.5 {NOON}")).unwrap();
        let mut four = metrics(&["a", "b", "c", "d"]);
        (four[1].seq, four[3].seq) = (Some(1), Some(2));
        let mut two = vec![event(1), event(2)];
        two[1].seq = Some(3);
        let written = write(&store, four, two).await.unwrap();
        assert_eq!(refused(&written), [RefusedItem::Metric(1), RefusedItem::Metric(3)], "{generation:?}");
        let expected = match generation {
            Generation::V2 | Generation::OpenGemini => "field type conflict",
            Generation::V3 => "invalid column type for column 'seq'",
        };
        assert!(written.refused.iter().all(|refused| refused.message.contains(expected)), "{:?}", written.refused);
        assert_eq!((written.n_metrics, written.n_events), (2, 2));
        // Neither version stores a point without its conflicting field.
        assert_eq!(counts(&facade, &store).await, (2, 2), "{generation:?}");
    }
}

#[tokio::test]
async fn events_of_a_wrong_type_stand_alone() {
    for generation in BOTH {
        let facade = start(generation);
        let store = open(&facade);
        store.check().await.unwrap();
        facade.write(DATABASE, &format!("events,source_device=x,event_type=x seq=0.5 {NOON}")).unwrap();
        let mut three = vec![event(1), event(2), event(3)];
        three[1].seq = Some(3);
        let written = write(&store, metrics(&["a"]), three).await.unwrap();
        assert_eq!(refused(&written), [RefusedItem::Event(1)], "{generation:?}");
        assert_eq!((written.n_metrics, written.n_events), (1, 2));
        assert_eq!(counts(&facade, &store).await, (1, 2), "{generation:?}");
    }
}

/// Version 3 names every line it refuses: one request for all lines, and one more for the rest.
#[tokio::test]
async fn lines_that_are_named_are_not_looked_for() {
    let facade = start(Generation::V3);
    let store = open(&facade);
    store.check().await.unwrap();
    facade.write(DATABASE, &format!("device_metrics,source_device=x,metric_type=x seq=0.5 {NOON}")).unwrap();
    let mut many: Vec<_> = (0..200).map(|number| metric(&format!("disk-{number}"), NOON)).collect();
    for number in [0, 57, 199] {
        many[number].seq = Some(1);
    }
    let written = write(&store, many, vec![]).await.unwrap();
    let expected = [0, 57, 199].map(RefusedItem::Metric);
    assert_eq!((refused(&written).as_slice(), written.n_metrics), (&expected[..], 197));
    assert_eq!(writes_of(&facade, "/api/v3/write_lp", "device_metrics").len(), 2);
}

/// Version 2 refuses all lines because of one that it cannot parse.
#[tokio::test]
async fn a_line_that_keeps_all_others_out_is_found() {
    let facade = start(Generation::V2);
    let store = open(&facade);
    let body = r#"{"code":"invalid","message":"unable to parse 'something': bad timestamp"}"#;
    facade.fault(Fault::answer("/api/v2/write", 400, body).if_body_holds("disk-61,").times(usize::MAX));
    let many = (0..100).map(|number| metric(&format!("disk-{number}"), NOON)).collect();
    let written = write(&store, many, vec![event(1)]).await.unwrap();
    assert_eq!((refused(&written), written.n_metrics), (vec![RefusedItem::Metric(61)], 99));
    assert_eq!(counts(&facade, &store).await, (99, 1));
}

/// 413 of version 3.10 and of proxies, and 500 with the same message of older releases.
#[tokio::test]
async fn a_body_that_is_too_large_goes_in_parts() {
    for (generation, release) in [(Generation::V2, ""), (Generation::V3, ""), (Generation::V3, "3.8.0")] {
        let options = FacadeOptions { release: release.to_owned(), max_body_bytes: 2_000, ..FacadeOptions::default() };
        let facade = start_with(generation, options);
        let store = open(&facade);
        let mut many: Vec<_> = (0..200).map(|number| metric(&format!("disk-{number}"), NOON)).collect();
        many.push(metric(&"long".repeat(60), NOON));
        let written = write(&store, many, vec![]).await.unwrap();
        assert_eq!((written.n_metrics, written.refused.len()), (201, 0), "{generation:?} {release}");
        assert_eq!(counts(&facade, &store).await, (201, 0), "{generation:?} {release}");
        let sizes = facade.record_of(write_path(generation)).into_iter().map(|request| request.body.len());
        assert!(sizes.clone().filter(|size| *size <= 2_000).count() >= 6, "{:?}", sizes.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_single_point_that_is_too_large_is_refused() {
    for generation in BOTH {
        let facade = start_with(generation, FacadeOptions { max_body_bytes: 300, ..FacadeOptions::default() });
        let store = open(&facade);
        let mut long = event(1);
        long.event_message = Some("x".repeat(400));
        let written = write(&store, metrics(&["a", "b", "c", "d", "e", "f"]), vec![long, event(2)]).await.unwrap();
        assert_eq!(refused(&written), [RefusedItem::Event(0)], "{generation:?}");
        assert_eq!(counts(&facade, &store).await, (6, 1), "{generation:?}");
    }
}

/// InfluxDB's answer to a request at which it panics.
fn panic(path: &str) -> Fault {
    Fault::answer(path, 500, "Internal Server Error").header("X-Influxdb-Version", "2.7.0")
}

/// A line that makes the server respond with 500, or (InfluxDB 3.6 to 3.9.3) break off: the batch is retried for a while,
/// then the line is found. It is to blame only if InfluxDB itself says that it fails.
#[tokio::test]
async fn a_line_that_the_server_chokes_on_is_found() {
    for generation in BOTH {
        let path = write_path(generation);
        for (choke, reason) in [
            (panic(path), Refusal::Invalid),
            (Fault::answer(path, 500, r#"{"error":"panic"}"#), Refusal::Invalid),
            (Fault::answer(path, 500, "<html>Internal Server Error</html>"), Refusal::Unproven),
            (Fault::reset(path), Refusal::Unproven),
            (Fault::reset(path).after(), Refusal::Unproven),
        ] {
            let facade = start(generation);
            let store = open(&facade);
            facade.fault(choke.clone().if_body_holds("disk-13,").times(usize::MAX));
            let mut n_waits = 0;
            let written = loop {
                let many = (0..40).map(|number| metric(&format!("disk-{number}"), NOON)).collect();
                match write(&store, many, vec![]).await {
                    Ok(written) => break written,
                    Err(error) => assert!(error.is_transient(), "{error}"),
                }
                // Other batches are stored meanwhile, which proves nothing about this one.
                write(&store, metrics(&["other"]), vec![event(1)]).await.unwrap();
                n_waits += 1;
                assert!(n_waits < 10, "it is never found: {choke:?}");
            };
            assert!(n_waits >= 3, "looked for too early");
            assert_eq!((refused(&written), written.n_metrics), (vec![RefusedItem::Metric(13)], 39), "{choke:?}");
            assert_eq!(reasons(&written), [reason], "{choke:?}");
        }
    }
}

/// Writes until the store decides.
async fn decided(store: &Store, values: impl Fn() -> Vec<DeviceMetric>) -> Option<Written> {
    for _ in 0..20 {
        match write(store, values(), vec![]).await {
            Ok(written) => return Some(written),
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
    None
}

/// Alone in its batch it would stop the lane: a probe point takes the place of a neighbour.
#[tokio::test]
async fn a_line_alone_that_the_server_chokes_on_is_found() {
    for generation in BOTH {
        let path = write_path(generation);
        for (choke, reason) in [(panic(path), Refusal::Invalid), (Fault::reset(path), Refusal::Unproven)] {
            let facade = start(generation);
            let store = open(&facade);
            facade.fault(choke.clone().if_body_holds("disk-13,").times(usize::MAX));
            let written = decided(&store, || metrics(&["disk-13"])).await.unwrap();
            assert_eq!((refused(&written), reasons(&written)), (vec![RefusedItem::Metric(0)], vec![reason]));
            assert_eq!(written.n_metrics, 0, "{choke:?}");
            facade.clear_faults();
            assert_eq!(write(&store, metrics(&["disk-13"]), vec![]).await.unwrap().n_metrics, 1);
        }
    }
}

/// The server fails for all points of some time, as with a damaged file: no point is to blame, with neighbours of another
/// time or alone. So it is if nothing of a batch goes in.
#[tokio::test]
async fn a_server_that_fails_for_all_points_of_a_time_condemns_none() {
    for generation in BOTH {
        let (facade, path) = (start(generation), write_path(generation));
        let store = open(&facade);
        let day = 86_400_000_000_000;
        let old = NOON - 30 * day;
        facade.fault(panic(path).if_body_holds(&format!(" {old}")).times(usize::MAX));
        let alone = || vec![metric("a", old)];
        let mixed = || vec![metric("a", NOON), metric("b", old), metric("c", NOON)];
        for values in [&alone as &dyn Fn() -> Vec<DeviceMetric>, &mixed] {
            assert_eq!(decided(&store, values).await, None, "{generation:?}");
        }
        facade.clear_faults();
        facade.fault(panic(path).if_body_holds("device_metrics,").times(usize::MAX));
        assert_eq!(decided(&store, mixed).await, None, "{generation:?}");
        facade.clear_faults();
        let written = write(&store, mixed(), vec![]).await.unwrap();
        assert_eq!((written.n_metrics, written.refused.len()), (3, 0));
    }
}

/// A server that fails all requests for a while does not condemn any line.
#[tokio::test]
async fn a_passing_fault_condemns_nothing() {
    for generation in BOTH {
        let path = write_path(generation);
        for n_faults in 1..24 {
            let facade = start(generation);
            let store = open(&facade);
            store.check().await.unwrap();
            facade.fault(Fault::reset(path).times(n_faults));
            let written = loop {
                match write(&store, metrics(&["a", "b", "c", "d"]), vec![]).await {
                    Ok(written) => break written,
                    Err(error) => assert!(error.is_transient(), "{error}"),
                }
            };
            assert_eq!((written.n_metrics, written.refused.len()), (4, 0), "after {n_faults} faults");
        }
    }
}
