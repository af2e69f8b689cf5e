//! Anomalies of one metric among many of others.

use spindle_core::{Batch, MetricType};

use super::*;
use crate::query_service::test_data::{event, put};

const NOW: Timestamp = Timestamp::from_seconds(1_750_000_000);

/// Follows `next` to the end; returns the ages of the rows and the number of pages.
async fn all_pages(store: &Store, metric: Option<&str>, limit: usize) -> (Vec<f64>, usize) {
    let (mut window, mut offset) = (Window::ending_at(NOW, Duration::from_secs(1_000)), 0);
    let (mut ages, mut n_pages) = (Vec::new(), 0);
    loop {
        let metric_type = metric.map(|metric| MetricType::new(metric).unwrap());
        let query = AnomaliesQuery { window, source_device: None, metric_type, limit, offset };
        let page = within(store, query, 4).await.unwrap();
        assert!(page.data.len() <= limit);
        ages.extend(page.data.iter().map(|row| NOW.seconds_since(row.time)));
        n_pages += 1;
        let Some(next) = page.next else { return (ages, n_pages) };
        window.until = Timestamp::parse(next["until"].as_str().unwrap()).unwrap();
        offset = next["offset"].as_u64().unwrap() as usize;
        assert!(n_pages < 100, "the pages do not end: {next:?}");
    }
}

#[tokio::test]
async fn the_search_for_a_metric_reaches_the_whole_window() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_embedded(&folder.path().join("a.db")).await.unwrap();
    let note =
        |age: u64, metric| event("d", METRIC_ANOMALY, NOW.minus(Duration::from_secs(age)), &[("metric", metric)]);
    let mut events: Vec<_> = (1..60).map(|age| note(age, if age % 10 == 5 { "Latency" } else { "DiskTemp" })).collect();
    // More of one instant than are searched at a time.
    events.extend((0..6).map(|_| note(70, "DiskTemp")));
    events.push(note(80, "Latency"));
    put(&store, Batch { metrics: Vec::new(), events }, NOW).await;
    let expected = [5.0, 15.0, 25.0, 35.0, 45.0, 55.0, 80.0];
    for limit in [1, 3, 100] {
        assert_eq!(all_pages(&store, Some("Latency"), limit).await.0, expected, "limit {limit}");
        assert_eq!(all_pages(&store, None, limit).await.0.len(), 66, "limit {limit}");
    }
    assert_eq!(all_pages(&store, None, 100).await.1, 1);
    assert_eq!(all_pages(&store, Some("none"), 3).await.0, [0.0; 0]);
}
