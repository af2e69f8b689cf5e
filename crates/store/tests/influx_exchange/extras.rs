//! Labels and entries of indexes that the server refuses: the elements are stored, and what is missing is counted.

use spindle_core::records::{EventFilter, TimeBasis};
use spindle_store::MissingExtras;
use spindle_testkit::Fault;

use crate::*;

const DAY: i64 = 86_400_000_000_000;

fn labelled(device: &str, labels: &[(&str, &str)]) -> DeviceMetric {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    DeviceMetric { labels: Some(Box::new(labels)), ..metric(device, NOON) }
}

/// A limit, a type conflict and a proxy: a label is not worth an element, and each element counts once.
#[tokio::test]
async fn a_refused_label_keeps_no_element_out() {
    let limit = r#"{"code":"unprocessable entity","message":"partial write: max-values-per-tag limit exceeded (1/1): measurement=\"device_labels\" tag=\"key\" value=\"bad\" dropped=1"}"#;
    let conflict = r#"{"error":"partial write: field type conflict: input field \"value\" dropped=1"}"#;
    for generation in BOTH {
        let path = write_path(generation);
        for (status, body) in [(422, limit), (400, conflict), (400, "<html>no</html>")] {
            let facade = start(generation);
            let store = open(&facade);
            facade.fault(
                Fault::answer(path, status, body)
                    .if_body_holds("device_labels,source_device=a,label=bad")
                    .times(usize::MAX),
            );
            let values = || vec![labelled("a", &[("bad", "1"), ("good", "2")]), labelled("b", &[("bad", "3")])];
            let labelled_event = || {
                let labels = labelled("a", &[("bad", "1")]).labels;
                Event { labels, source_device: DeviceName::new("a").unwrap(), ..event(1) }
            };
            let written = write(&store, values(), vec![labelled_event()]).await.unwrap();
            assert_eq!((written.n_metrics, written.n_events), (2, 1), "{generation:?} {body}");
            assert_eq!((written.refused.len(), written.missing.n_labels), (0, 1), "{generation:?} {body}");
            assert_eq!(counts(&facade, &store).await, (2, 1));
            let labels = async |name: &str| {
                let record = store.device(&DeviceName::new(name).unwrap()).await.unwrap().unwrap();
                serde_json::to_value(record.labels).unwrap()
            };
            assert_eq!(labels("a").await, serde_json::json!({"good": "2"}), "{body}");
            assert_eq!(labels("b").await, serde_json::json!({"bad": "3"}), "{body}");
            // The next batch writes it, once a limit is tried again.
            facade.clear_faults();
            let later = Timestamp::from_ns(NOON + 6_000_000_000);
            let written = store.write(Arc::new(Batch { metrics: values(), events: vec![] }), later).await.unwrap();
            assert_eq!(written.missing, MissingExtras::default());
            assert_eq!(labels("a").await, serde_json::json!({"bad": "1", "good": "2"}), "{body}");
        }
    }
}

async fn found(store: &Store, basis: TimeBasis, from: i64) -> usize {
    let filter = EventFilter {
        window: window(from, from + DAY),
        basis,
        source_device: None,
        event_type: None,
        min_criticality: Criticality::new(1).unwrap(),
        limit: 100,
        offset: 0,
    };
    store.events(filter).await.unwrap().len()
}

/// The index of arrivals has a field of another type: events are stored and found by their time. Once the schema is
/// repaired, the next start completes the index.
#[tokio::test]
async fn a_conflict_in_the_index_of_arrivals_keeps_no_event_out() {
    for generation in BOTH {
        let facade = start(generation);
        let store = open(&facade);
        store.complete_indexes(Timestamp::from_ns(NOON)).await.unwrap();
        let conflict = format!("event_arrivals,source_device=x,event_type=x place_ns=\"text\" {NOON}");
        facade.write(DATABASE, &conflict).unwrap();
        let happened = NOON - 10 * DAY;
        let late = |id| Event { timestamp: Timestamp::from_ns(happened), ..event(id) };
        let written = write(&store, vec![], vec![late(1), late(2)]).await.unwrap();
        assert_eq!((written.n_events, written.refused.len()), (2, 0), "{generation:?} {written:?}");
        assert_eq!(written.missing.n_arrivals, 2);
        assert!(written.missing.arrivals_message.unwrap().contains("type"));
        let by_time_and_arrival = async |store: &Store| {
            (found(store, TimeBasis::Happened, happened).await, found(store, TimeBasis::Received, NOON).await)
        };
        assert_eq!(by_time_and_arrival(&store).await, (2, 0), "{generation:?}");
        // The facade of version 3 keeps its types.
        if generation == spindle_testkit::Generation::V3 {
            continue;
        }
        // A start while the conflict lasts leaves the gap marked.
        let minute = 60_000_000_000;
        open(&facade).complete_indexes(Timestamp::from_ns(NOON + minute)).await.unwrap();
        facade.server().query(DATABASE, "DROP MEASUREMENT event_arrivals").unwrap();
        let again = open(&facade);
        again.complete_indexes(Timestamp::from_ns(NOON + 2 * minute)).await.unwrap();
        assert_eq!(by_time_and_arrival(&again).await, (2, 2), "{generation:?}");
        let written = write(&again, vec![], vec![late(1)]).await.unwrap();
        assert_eq!((written.n_events_known, written.missing.n_arrivals), (1, 0));
    }
}
