//! Several writers on one consumer share the restore of an InfluxDB that may have lost acknowledged writes.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::FromConsumer;
use async_nats::jetstream::consumer::pull::Config;
use spindle_testkit::{InfluxServer, NatsServer, wait_until};
use tokio::time::{Instant, sleep};

use crate::apart::{connect, influx_count, publish_values, wait_until_acknowledged};
use crate::harness::PATIENCE;
use crate::influxdb::{expect_sum, start, wait_for_counts};

const RESTORED_TO: &str = "spindle-restored-to";
const LOG: (&str, &str) = ("SPINDLE_LOG", "info,spindle=debug");

/// Nothing before the writer has created the consumer.
async fn restored_to(jetstream: &Context) -> Option<String> {
    let stream = jetstream.get_stream("METRICS").await.ok()?;
    stream.consumer_info("writer-metrics").await.ok()?.config.metadata.remove(RESTORED_TO)
}

async fn wait_until_restored_to(jetstream: &Context, is_wanted: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match restored_to(jetstream).await {
            Some(incarnation) if is_wanted(&incarnation) => return incarnation,
            _ => assert!(Instant::now() < deadline, "no incarnation was restored to"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_writers_restores() {
    let (nats, mut influx) = (NatsServer::start().unwrap(), InfluxServer::start().unwrap());
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let writers = [0, 1].map(|n| start(folders[n].path(), "writer", &nats, &influx, &[LOG]));
    let jetstream = connect(&nats.url()).await;
    let first = wait_until_restored_to(&jetstream, |_| true).await;
    publish_values(&jetstream, 0, 20_000, 10).await;
    wait_until_acknowledged(&jetstream, "METRICS").await;
    influx.query("spindle", "DELETE FROM device_metrics").unwrap();

    influx.restart().unwrap();
    wait_until_restored_to(&jetstream, |now| now != first).await;
    wait_for_counts(&influx, 20_000, 0);
    expect_sum(&influx, 20_000);
    let incarnation = restored_to(&jetstream).await.unwrap();
    let done = format!("restore is done already stream=\"METRICS\" incarnation={incarnation:?}");
    let asked =
        wait_until(PATIENCE, "the other one asks again", || writers.iter().any(|writer| writer.log().contains(&done)));
    assert!(asked.is_ok(), "{done}\n{}\n{}", writers[0].log(), writers[1].log());
    let n_restores = |text: &str| writers.iter().map(|writer| writer.log().matches(text).count()).sum::<usize>();
    assert_eq!(n_restores("restored stream=\"METRICS\""), 1, "{}\n{}", writers[0].log(), writers[1].log());
}

/// A writer died halfway through a restore: another one goes on where its claim ends.
#[tokio::test(flavor = "multi_thread")]
async fn the_restore_of_a_writer_that_died_is_taken_over_where_it_stopped() {
    let (nats, influx) = (NatsServer::start().unwrap(), InfluxServer::start().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let jetstream = connect(&nats.url()).await;
    let writer = start(folder.path(), "writer", &nats, &influx, &[]);
    let incarnation = wait_until_restored_to(&jetstream, |_| true).await;
    publish_values(&jetstream, 0, 1_000, 10).await;
    wait_until_acknowledged(&jetstream, "METRICS").await;
    drop(writer);
    influx.query("spindle", "DELETE FROM device_metrics").unwrap();
    let stream = jetstream.get_stream("METRICS").await.unwrap();
    let mut config =
        Config::try_from_consumer_config(stream.consumer_info("writer-metrics").await.unwrap().config).unwrap();
    config.metadata.insert(RESTORED_TO.to_owned(), "an earlier one".to_owned());
    config.metadata.insert("spindle-restore-claim".to_owned(), format!("{incarnation} another 41"));
    stream.update_consumer(config).await.unwrap();

    let writer = start(folder.path(), "writer", &nats, &influx, &[LOG]);
    wait_until(PATIENCE, "the claim is seen", || {
        writer.log().contains("restore is left to another writer stream=\"METRICS\"")
    })
    .unwrap();
    assert_eq!(influx_count(&influx, "device_metrics", "value"), 0, "the claim was not respected");
    let restored = wait_until(PATIENCE, "the claim is taken over", || {
        writer.log().contains("restored stream=\"METRICS\" first=41 last=100")
    });
    assert!(restored.is_ok(), "{}", writer.log());
    assert_eq!(influx_count(&influx, "device_metrics", "value"), 600);
}
