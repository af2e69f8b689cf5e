//! Whose fault a refusal is: the point's, the operator's, or that of something between us and the server.

use spindle_store::StoreErrorKind;
use spindle_testkit::{Fault, Generation};

use crate::*;

const HTML: &str = "<html>\r\n<head><title>400 Bad Request</title></head></html>";

fn fleet(n_devices: usize) -> Vec<DeviceMetric> {
    (0..n_devices).map(|number| metric(&format!("disk-{number}"), NOON)).collect()
}

/// Everything is refused by something that is not InfluxDB, in every way known of proxies: nothing is blamed, and few
/// requests are spent.
#[tokio::test]
async fn a_proxy_that_refuses_everything_condemns_nothing() {
    let answers = [
        (400, HTML),
        (400, ""),
        (400, r#"{"message":"Bad Request","status":400}"#),
        (400, r#"{"error":"Bad Request","status":400,"path":"/write"}"#),
        (403, HTML),
        (404, "404 page not found"),
        (405, HTML),
        (411, HTML),
        (413, HTML),
        (415, HTML),
        (422, "unprocessable"),
        (302, ""),
        (200, "<html>please log in</html>"),
        // In InfluxDB's own form, and yet nothing goes in.
        (400, r#"{"error":"unable to parse 'x': bad timestamp"}"#),
        (400, r#"{"code":"invalid","message":"something new"}"#),
        (422, r#"{"code":"unprocessable entity","message":"something new"}"#),
    ];
    for generation in BOTH {
        let (facade, path) = (start(generation), write_path(generation));
        let store = open(&facade);
        store.check().await.unwrap();
        for (status, body) in answers {
            for (values, events) in [(fleet(100), vec![]), (fleet(1), vec![]), (vec![], vec![event(1)])] {
                let n_before = facade.record_of(path).len();
                facade.fault(Fault::answer(path, status, body).header("Content-Type", "text/html").times(usize::MAX));
                let error = write(&store, values, events).await.unwrap_err();
                assert_eq!(error.kind(), StoreErrorKind::Permanent, "{status} {body}: {error}");
                // Status and first line; InfluxDB's own words without their JSON.
                let own = ["bad timestamp", "something new"].into_iter().find(|word| body.contains(word));
                let word = own.unwrap_or_else(|| body.lines().next().unwrap_or_default());
                expect_message(&error, &[&status.to_string(), word]);
                let n_requests = facade.record_of(path).len() - n_before;
                // Too large a body goes in parts, whoever says so.
                assert!(n_requests <= 3 || status == 413, "{status} {body}: {n_requests} requests");
                facade.clear_faults();
            }
        }
        let written = write(&store, fleet(100), vec![event(1)]).await.unwrap();
        assert_eq!((written.n_metrics, written.n_events, written.refused.len()), (100, 1, 0));
        assert_eq!(counts(&facade, &store).await, (100, 1));
    }
}

/// A firewall that dislikes some content: the others pass, and what it refuses is not called bad.
#[tokio::test]
async fn what_a_proxy_refuses_among_others_is_not_called_bad() {
    for generation in BOTH {
        for (status, body) in [(403, HTML), (400, HTML), (406, ""), (413, HTML)] {
            let (facade, path) = (start(generation), write_path(generation));
            let store = open(&facade);
            facade.fault(Fault::answer(path, status, body).if_body_holds("disk-61,").times(usize::MAX));
            let written = write(&store, fleet(100), vec![]).await.unwrap();
            assert_eq!(
                (refused(&written), reasons(&written)),
                (vec![RefusedItem::Metric(61)], vec![Refusal::Unproven])
            );
            assert_eq!(written.n_metrics, 99, "{status}");
            facade.clear_faults();
            assert_eq!(counts(&facade, &store).await, (99, 0));
            let again = write(&store, fleet(100), vec![]).await.unwrap();
            assert_eq!((again.n_metrics, again.refused.len()), (100, 0));
        }
    }
}

/// A point alone has no neighbour: a probe point takes its place.
#[tokio::test]
async fn a_point_that_is_refused_alone_is_to_blame_if_the_server_takes_another() {
    for generation in BOTH {
        let (facade, path) = (start(generation), write_path(generation));
        let store = open(&facade);
        let body = r#"{"error":"something about this point"}"#;
        facade.fault(Fault::answer(path, 400, body).if_body_holds("disk-0,").times(usize::MAX));
        let written = write(&store, fleet(1), vec![]).await.unwrap();
        assert_eq!((refused(&written), reasons(&written)), (vec![RefusedItem::Metric(0)], vec![Refusal::Invalid]));
        assert_eq!((written.n_metrics, counts(&facade, &store).await), (0, (0, 0)));
        let probes = facade.server().query(DATABASE, "SELECT count(ok) FROM spindle_probe").unwrap();
        assert_eq!(probes["results"][0]["series"][0]["values"][0][1], 1, "{generation:?}");
    }
}

/// A measurement whose field has another type than Spindle's refuses every point of Spindle's: the schema is at fault.
#[tokio::test]
async fn a_schema_that_refuses_everything_condemns_nothing() {
    for generation in BOTH {
        for n_devices in [1, 50] {
            let facade = start(generation);
            let store = open(&facade);
            store.check().await.unwrap();
            facade.write(DATABASE, &format!("device_metrics,source_device=x,metric_type=x value=1i {NOON}")).unwrap();
            let written = write(&store, fleet(n_devices), vec![]).await.unwrap();
            assert_eq!((written.refused.len(), reasons(&written)), (n_devices, vec![Refusal::Unproven]));
            assert_eq!(written.n_metrics, 0);
            assert!(written.refused[0].message.contains("type"), "{:?}", written.refused[0]);
            // Events have a measurement of their own.
            assert_eq!(write(&store, vec![], vec![event(1)]).await.unwrap().n_events, 1);
        }
    }
}

/// Each refused point among good ones costs few requests: the server counts or names them.
#[tokio::test]
async fn twenty_thousand_refused_points_cost_few_requests() {
    for generation in BOTH {
        let (facade, path) = (start(generation), write_path(generation));
        let store = open(&facade);
        store.check().await.unwrap();
        facade.write(DATABASE, &format!("device_metrics,source_device=x,metric_type=x seq=0.5 {NOON}")).unwrap();
        let n_before = facade.record_of(path).len();
        let mut values = fleet(20_001);
        values[..20_000].iter_mut().for_each(|metric| metric.seq = Some(1));
        let written = write(&store, values, vec![]).await.unwrap();
        assert_eq!((written.refused.len(), reasons(&written)), (20_000, vec![Refusal::Invalid]), "{generation:?}");
        assert_eq!(written.n_metrics, 1);
        let n_requests = facade.record_of(path).len() - n_before;
        assert!(n_requests < 100, "{generation:?}: {n_requests} requests");
    }
}

/// Version 3: tables and columns beyond a limit are kept out, and other lines pass.
#[tokio::test]
async fn a_limit_of_version_3_keeps_out_what_is_new_only() {
    let facade = start(Generation::V3);
    let (store, path) = (open(&facade), write_path(Generation::V3));
    let body = r#"{"error":"partial write of line protocol occurred","data":[{"error_message":"Update to schema would exceed number of tables per database","line_number":2,"original_line":"x"}]}"#;
    facade.fault(Fault::answer(path, 422, body).if_body_holds("disk-1,").times(1));
    let written = write(&store, fleet(4), vec![]).await.unwrap();
    assert_eq!((refused(&written), reasons(&written)), (vec![RefusedItem::Metric(1)], vec![Refusal::Limit]));
    assert_eq!(counts(&facade, &store).await, (3, 0));
    // For some seconds it is set aside without a request.
    let n_before = facade.record_of(path).len();
    assert_eq!(reasons(&write(&store, fleet(2)[1..].to_vec(), vec![]).await.unwrap()), [Refusal::Limit]);
    assert_eq!(facade.record_of(path).len(), n_before);
    let later = Timestamp::from_ns(NOON + 6_000_000_000);
    let written = store.write(Arc::new(Batch { metrics: fleet(4), events: vec![] }), later).await.unwrap();
    assert_eq!((written.n_metrics, written.refused.len()), (4, 0));
    assert_eq!(counts(&facade, &store).await, (4, 0));
}
