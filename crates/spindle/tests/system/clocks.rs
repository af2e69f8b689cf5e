//! Clocks that disagree: nothing is given up or removed for its age, and readiness, log, check and metrics say so.

use std::path::Path;

use spindle_testkit::{FakeClocks, InfluxServer, NatsServer};

use crate::apart::{RoleProcess, connect, wait_until_acknowledged};
use crate::harness::spindle;
use crate::truth_of_writes::{Target, failure, hours_ago, letters, n_letters, publish, value};

const DAY_S: i64 = 86_400;
const STORED: &str = "spindle_writer_stored_items_total{kind=\"metric\"}";
const OFFSET: &str = "spindle_clock_offset_seconds{against=\"nats\"}";

/// Variables of a writer with a retention of a day, and with a clock that `clocks` sets.
fn variables(target: &Target, nats: &NatsServer, clocks: &FakeClocks) -> Vec<(String, String)> {
    let mut variables = clocks.variables("writer");
    let own = [("NATS_URL", nats.url()), ("SPINDLE_RETENTION", "24h".to_owned())];
    variables.extend(own.into_iter().chain(target.variables()).map(|(name, text)| (name.to_owned(), text)));
    variables
}

fn start(folder: &Path, variables: &[(String, String)], clocks: &FakeClocks, offset_s: i64) -> RoleProcess {
    clocks.set("writer", offset_s).unwrap();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    RoleProcess::start(folder, "writer", &variables)
}

fn check(folder: &Path, variables: &[(String, String)]) -> (Option<i32>, String) {
    let mut command = spindle(&folder.join("data"));
    let output = command.args(["check"]).envs(variables.iter().cloned()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn a_wrong_clock_of_the_writer_gives_nothing_up(target: Target) {
    let (folder, nats) = (tempfile::tempdir().unwrap(), NatsServer::start().unwrap());
    let clocks = FakeClocks::find(folder.path()).unwrap().expect("libfaketime is installed (Debian: libfaketime)");
    let variables = variables(&target, &nats, &clocks);
    let right = start(folder.path(), &variables, &clocks, 0);
    right.wait_until_ready();
    let jetstream = connect(&nats.url()).await;
    publish(&jetstream, "events.metrics", value("disk-1", hours_ago(1), 0)).await;
    publish(&jetstream, "events.event", failure(0, hours_ago(1))).await;
    wait_until_acknowledged(&jetstream, "METRICS").await;
    wait_until_acknowledged(&jetstream, "EVENTS").await;
    assert_eq!(target.stored(folder.path()), (1, 1));
    drop(right);
    let mut n_stored = 1_u64;
    for offset_s in [30 * 3_600, 20 * 365 * DAY_S, -30 * 3_600, -20 * 365 * DAY_S] {
        // The pass that removes what is too old runs at the start.
        let writer = start(folder.path(), &variables, &clocks, offset_s);
        publish(&jetstream, "events.metrics", value(&format!("disk-{n_stored}"), hours_ago(2), 2)).await;
        publish(&jetstream, "events.event", failure(n_stored, hours_ago(2))).await;
        wait_until_acknowledged(&jetstream, "METRICS").await;
        wait_until_acknowledged(&jetstream, "EVENTS").await;
        let words = writer.wait_for_readiness("it names the clocks", |words| words.contains("clocks disagree"));
        for part in ["503 ", "this machine says ", "NATS says ", "NTP"] {
            assert!(words.contains(part), "{part} in {words}");
        }
        assert!(writer.log().contains("clocks disagree"), "{}", writer.log());
        let offset = writer.metric(OFFSET);
        assert!((offset - offset_s as f64).abs() < 120.0, "{offset} instead of {offset_s}");
        assert_eq!(writer.metric(STORED), 1.0);
        n_stored += 1;
        assert_eq!((n_letters(&jetstream).await, target.stored(folder.path())), (0, (n_stored, n_stored)));
        let (code, text) = check(folder.path(), &variables);
        assert!(code == Some(1) && text.contains("fail  clock of NATS: clocks disagree"), "{text}");
        // Without a restart, as by NTP.
        clocks.set("writer", 0).unwrap();
        // Entries of arrivals that InfluxDB took for too old are named a little longer.
        writer.wait_for_readiness("clocks agree", |words| !words.is_empty() && !words.contains("clocks disagree"));
        assert!(writer.log().contains("clocks agree again"), "{}", writer.log());
        let (code, text) = check(folder.path(), &variables);
        assert!(code == Some(0) && text.contains("ok    clock of NATS"), "{text}");
    }
    // Now age counts again.
    let writer = start(folder.path(), &variables, &clocks, 0);
    writer.wait_until_ready();
    publish(&jetstream, "events.metrics", value("disk-1", hours_ago(30), 1)).await;
    wait_until_acknowledged(&jetstream, "METRICS").await;
    let kept = letters(folder.path(), &nats, &["--reason", "beyond_retention"]);
    assert!(kept.len() == 1 && kept[0]["detail"].as_str().unwrap().contains("check the sender's clock"), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_gives_nothing_up_in_the_embedded_store() {
    a_wrong_clock_of_the_writer_gives_nothing_up(Target::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_gives_nothing_up_in_influxdb() {
    a_wrong_clock_of_the_writer_gives_nothing_up(Target::Influx(InfluxServer::start().unwrap())).await;
}

/// The clock steps while the writer runs, between two looks at the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_steps_gives_nothing_up() {
    let (folder, nats) = (tempfile::tempdir().unwrap(), NatsServer::start().unwrap());
    let clocks = FakeClocks::find(folder.path()).unwrap().expect("libfaketime is installed (Debian: libfaketime)");
    let target = Target::Embedded;
    let variables = variables(&target, &nats, &clocks);
    let writer = start(folder.path(), &variables, &clocks, 0);
    writer.wait_until_ready();
    let jetstream = connect(&nats.url()).await;
    let mut number = 0;
    for offset_s in [2 * DAY_S, 0, -2 * DAY_S, 3_650 * DAY_S, 0] {
        clocks.set("writer", offset_s).unwrap();
        for _ in 0..30 {
            publish(&jetstream, "events.metrics", value("disk-1", hours_ago(1), number)).await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            number += 1;
        }
    }
    wait_until_acknowledged(&jetstream, "METRICS").await;
    writer.wait_until_ready();
    assert_eq!((n_letters(&jetstream).await, writer.log().contains("retention applied")), (0, false));
    let n_stored = writer.metric(STORED) + writer.metric("spindle_writer_duplicate_items_total{kind=\"metric\"}");
    let n_replaced = writer.metric("spindle_writer_replaced_metrics_total");
    assert!(n_stored >= 150.0 && target.stored(folder.path()).0 > 0, "{n_stored} {n_replaced}");
}
