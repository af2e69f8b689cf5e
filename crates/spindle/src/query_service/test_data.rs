//! Values and events for the tests of queries.

use std::sync::Arc;

use spindle_core::{Batch, Criticality, DeviceMetric, DeviceName, Event, EventType, Labels, MetricType, Timestamp};
use spindle_store::Store;

pub(super) fn name(text: &str) -> DeviceName {
    DeviceName::new(text).unwrap()
}

pub(super) fn metric(device: &str, metric_type: &str, timestamp: Timestamp, value: f64) -> DeviceMetric {
    let metric_type = MetricType::new(metric_type).unwrap();
    DeviceMetric { timestamp, source_device: name(device), metric_type, value, seq: None, labels: None }
}

pub(super) fn event(device: &str, event_type: &str, timestamp: Timestamp, labels: &[(&str, &str)]) -> Event {
    let labels: Labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Event {
        id: uuid::Uuid::new_v4().into(),
        criticality: Criticality::MIN,
        timestamp,
        source_device: name(device),
        event_type: EventType::new(event_type).unwrap(),
        event_message: None,
        seq: None,
        labels: Some(Box::new(labels)),
    }
}

pub(super) async fn put(store: &Store, batch: Batch, received: Timestamp) {
    store.write(Arc::new(batch), received).await.unwrap();
}
