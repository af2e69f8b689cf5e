//! Labels of live devices outlast a retention that only the server has.

use spindle_core::Timestamp;

use crate::*;

const HOUR: i64 = 3_600_000_000_000;

#[allow(clippy::disallowed_methods, reason = "the server under test reads the same clock")]
#[tokio::test(flavor = "multi_thread")]
async fn outlast_a_retention_of_the_server() {
    // The server has a day, and later an hour. Spindle has no retention configured.
    {
        let generation = Generation::V2;
        let facade = start(generation);
        let store = open(&facade);
        store.check().await.unwrap();
        let retention = |duration: &str| {
            let text =
                format!("ALTER RETENTION POLICY \"autogen\" ON \"{DATABASE}\" DURATION {duration} SHARD DURATION 1h");
            facade.server().query(DATABASE, &text).unwrap();
        };
        retention("24h");
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = i64::try_from(since_epoch.as_nanos()).unwrap();
        let write_at = async |time: i64| {
            let mut metric = metric("a", time);
            metric.labels = Some(Box::new([("rack".to_owned(), "7".to_owned())].into_iter().collect()));
            let batch = Arc::new(Batch { metrics: vec![metric], events: vec![] });
            assert_eq!(store.write(batch, Timestamp::from_ns(time)).await.unwrap().refused, []);
        };
        let n_written = || writes_of(&facade, write_path(generation), "device_labels").len();
        let start = now - 20 * HOUR;
        for (hours, expected) in [(0, 1), (5, 1), (6, 2), (11, 2), (12, 3), (18, 4)] {
            write_at(start + hours * HOUR).await;
            assert_eq!(n_written(), expected, "{generation:?} after {hours} hours");
        }
        retention("1h");
        write_at(start + 19 * HOUR + HOUR / 2).await;
        assert_eq!(n_written(), 5, "{generation:?}: a shorter retention counts at once");
    }
}
