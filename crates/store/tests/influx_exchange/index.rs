//! Index of devices: its size does not depend on history, and devices silent for years keep name, labels and life.

use spindle_core::Timestamp;

use crate::*;

const MONTH: i64 = 30 * 86_400_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn carries_silent_devices_and_their_labels_on() {
    for generation in BOTH {
        let facade = start(generation);
        // Two writers side by side; one restarts each month.
        let other = open(&facade);
        for month in 0..24 {
            let one = open(&facade);
            let received = Timestamp::from_ns(NOON + month * MONTH);
            let mut alive = metric("alive", received.as_ns());
            alive.labels = Some(Box::new([("rack".to_owned(), (month / 12).to_string())].into_iter().collect()));
            let mut silent = metric("silent", NOON);
            silent.labels = Some(Box::new([("model".to_owned(), "ST4000".to_owned())].into_iter().collect()));
            let metrics = if month == 0 { vec![alive, silent] } else { vec![alive] };
            for store in [&one, &other] {
                let batch = Arc::new(Batch { metrics: metrics.clone(), events: vec![] });
                store.write(batch, received).await.unwrap();
                store.complete_indexes(received).await.unwrap();
            }
            let devices = other.devices(None, 10).await.unwrap();
            let lives: Vec<_> = devices
                .iter()
                .map(|record| (record.source_device.as_str(), record.first_seen.as_ns(), record.last_seen.as_ns()))
                .collect();
            assert_eq!(lives, [("alive", NOON, received.as_ns()), ("silent", NOON, NOON)], "{generation:?} {month}");
            assert_eq!(devices[1].labels["model"], "ST4000", "{generation:?} {month}");
            assert_eq!(devices[0].labels["rack"], (month / 12).to_string(), "{generation:?} {month}");
        }
        let count = |text: &str| {
            let response = facade.server().query(DATABASE, text).unwrap();
            response["results"][0]["series"][0]["values"][0][1].as_i64().unwrap_or(0)
        };
        let from = count("SELECT last(devices_from_ns) FROM spindle_indexes");
        assert!(from > NOON + 20 * MONTH, "{generation:?}");
        let n_read = count(&format!("SELECT count(last_ns) FROM devices WHERE time >= {from}"));
        assert!(n_read <= 2 * 2 * 4, "{generation:?}: {n_read} points for two devices");
    }
}
