//! Repeated writes, concurrent writes, and refused writes.

use std::sync::Arc;

use spindle_store::{StoreErrorKind, Written};

use crate::fixture::*;

pub(crate) async fn a_batch_twice_is_stored_once(store: &Store) {
    let metrics = (0..100).map(|time| metric("disk", "IOPs", time, time as f64)).collect();
    let batch = batch(metrics, (0..50).map(|id| event(id, "disk", "Note", 7, 1)).collect());
    let first = store.write(Arc::clone(&batch), at(NOON)).await.unwrap();
    let again = store.write(batch, at(NOON + DAY)).await.unwrap();
    assert_eq!(first, Written { n_metrics: 100, n_events: 50, ..Written::default() });
    assert_eq!(again, Written { n_metrics_known: 100, n_events_known: 50, ..Written::default() });
    assert_eq!(counts(store).await, (100, 50, 1, 1));
}

pub(crate) async fn the_newest_value_of_a_metric_wins(store: &Store) {
    let value = async || store.latest(&device("disk"), always()).await.unwrap()[0].value;
    put_metrics(store, vec![metric("disk", "IOPs", NOON, 1.0)]).await;
    let replaced = put_metrics(store, vec![metric("disk", "IOPs", NOON, 2.5)]).await;
    assert_eq!((replaced.n_metrics, replaced.n_metrics_replaced), (0, 1));
    assert_eq!(value().await, 2.5);
    // Within one batch the later one is the newer one.
    put_metrics(store, vec![metric("disk", "IOPs", NOON, 3.0), metric("disk", "IOPs", NOON, 0.0)]).await;
    put_metrics(store, vec![metric("disk", "IOPs", NOON, -0.0)]).await;
    assert_eq!(value().await.to_bits(), (-0.0_f64).to_bits());
    assert_eq!(counts(store).await, (1, 0, 1, 1));
}

pub(crate) async fn an_event_keeps_its_first_arrival(store: &Store) {
    for received in [NOON + 5, NOON + 9, NOON] {
        store.write(batch(vec![], vec![event(1, "disk", "Note", 3, 1)]), at(received)).await.unwrap();
    }
    let stored = store.events(events_in(always())).await.unwrap();
    assert_eq!(stored.iter().map(|record| record.received).collect::<Vec<_>>(), [at(NOON + 5)]);
}

pub(crate) async fn an_empty_batch_is_nothing(store: &Store) {
    store.ping().await.unwrap();
    assert_eq!(put_metrics(store, vec![]).await, Written::default());
    assert_eq!(counts(store).await, (0, 0, 0, 0));
    assert_eq!(store.events(events_in(always())).await.unwrap(), []);
    assert_eq!(store.devices(None, 10).await.unwrap(), []);
}

/// Good batches queued with it are stored.
pub(crate) async fn a_value_that_is_no_number_is_refused_with_its_batch(store: &Store) {
    let writes: Vec<_> = (0..40)
        .map(|number| {
            let value = if number % 10 == 3 { f64::NAN } else { 1.0 };
            let mut second = metric(&format!("disk-{number}"), "IOPs", NOON, value);
            second.labels = Some(Box::new(labels(&[("number", &number.to_string())])));
            let metrics = vec![metric(&format!("disk-{number}"), "Latency", NOON, 1.0), second];
            let (store, batch) = (store.clone(), batch(metrics, vec![]));
            tokio::spawn(async move { store.write(batch, at(NOON)).await })
        })
        .collect();
    for (number, write) in writes.into_iter().enumerate() {
        match write.await.unwrap() {
            Ok(written) => assert_eq!((number % 10 == 3, written.n_metrics), (false, 2)),
            Err(error) => {
                assert_eq!((number % 10 == 3, error.kind()), (true, StoreErrorKind::Rejected));
                assert_eq!(error.to_string(), format!("batch refused: IOPs of disk-{number} is NaN, not finite"));
            }
        }
    }
    assert_eq!(counts(store).await, (72, 0, 36, 72));
    // The refused batches left nothing half written: their devices can be written now.
    let metrics = (0..40).map(|number| metric(&format!("disk-{number}"), "IOPs", NOON + 1, 1.0)).collect();
    put_metrics(store, metrics).await;
    assert_eq!(counts(store).await, (112, 0, 40, 76));
    let labelled = store.device(&device("disk-7")).await.unwrap().unwrap().labels;
    assert_eq!(labelled, labels(&[("number", "7")]));
}

pub(crate) async fn many_writers_at_once_lose_nothing(store: &Store) {
    let writes: Vec<_> = (0..100)
        .map(|number| {
            // Neighbours overlap by half.
            let metrics = (0..20).map(|time| metric("disk", "IOPs", number * 10 + time, 1.0)).collect();
            let (store, batch) = (store.clone(), batch(metrics, vec![event(number as u128 / 2, "disk", "Note", 1, 1)]));
            tokio::spawn(async move { store.write(batch, at(NOON)).await.unwrap() })
        })
        .collect();
    let mut total = Written::default();
    for write in writes {
        let written = write.await.unwrap();
        total.n_metrics += written.n_metrics;
        total.n_events += written.n_events;
    }
    assert_eq!((total.n_metrics, total.n_events), (1010, 50));
    assert_eq!(counts(store).await, (1010, 50, 1, 1));
}

pub(crate) async fn a_closed_store_says_so(store: &Store) {
    put_metrics(store, vec![metric("disk", "IOPs", NOON, 1.0)]).await;
    store.close().await.unwrap();
    let write = store.write(batch(vec![metric("disk", "IOPs", NOON, 1.0)], vec![]), at(NOON)).await;
    assert_eq!(write.unwrap_err().kind(), StoreErrorKind::Closed);
    assert_eq!(store.ping().await.unwrap_err().kind(), StoreErrorKind::Closed);
    assert_eq!(store.close().await.unwrap_err().kind(), StoreErrorKind::Closed);
}
