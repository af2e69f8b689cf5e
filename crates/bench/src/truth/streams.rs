//! Claims about streams: those that lose what they acknowledged, and those that refuse.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::ledger::Ledger;
use super::rig::{PATIENCE, Rig, get, wait_for_readiness};
use super::stored;
use crate::harness::nats::jetstream;
use crate::harness::process::Role;

/// Configuration of a stream that is not what Spindle would create.
struct Unsafe {
    field: &'static str,
    configuration: Value,
    /// It loses messages, or refuses some for good. A writer can live with the others.
    loses: bool,
}

fn unsafe_configurations() -> Vec<Unsafe> {
    let case = |field, loses, configuration| Unsafe { field, configuration, loses };
    vec![
        case("max_msgs_per_subject", true, json!({ "max_msgs_per_subject": 100, "discard": "old" })),
        case("max_msgs", true, json!({ "max_msgs": 50, "discard": "old" })),
        case("discard", true, json!({ "max_bytes": 20_000, "discard": "old" })),
        case("no_ack", true, json!({ "no_ack": true })),
        case("max_age", true, json!({ "max_age": 1_000_000_000_u64 })),
        case("storage", true, json!({ "storage": "memory" })),
        case("retention", true, json!({ "retention": "interest" })),
        case("max_msg_size", true, json!({ "max_msg_size": 4_096 })),
        case("max_consumers", false, json!({ "max_consumers": 50 })),
    ]
}

/// Creates the stream. The server removes the files of one that was deleted a moment later.
async fn create(rig: &Rig, configuration: &Value) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match jetstream(&rig.address(), "STREAM.CREATE.METRICS", configuration).await {
            Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(100)).await,
            created => return created.map(drop),
        }
    }
}

/// A stream that loses messages is refused, with the field; with any other, a writer that says it is ready stores what the
/// stream has acknowledged, over a restart of NATS.
pub(super) async fn unsafe_streams(rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
    let mut configurations = unsafe_configurations();
    rig.random.shuffle(&mut configurations);
    for Unsafe { field, configuration: extra, loses } in configurations {
        let mut configuration =
            json!({ "name": "METRICS", "subjects": ["events.metrics"], "discard": "new", "storage": "file" });
        for (key, value) in extra.as_object().into_iter().flatten() {
            configuration[key] = value.clone();
        }
        create(rig, &configuration).await?;
        let writer = rig.start(&["writer"], &[("SPINDLE_NATS_CONNECT_TIMEOUT", "3s")])?;
        let ended = ready_or_ended(rig, writer).await?;
        let log = rig.whole_log("writer");
        if loses {
            ledger.equal(format!("exit code with {field}"), ended.flatten(), Some(2));
            let is_named = log.contains(&format!("{field} is "));
            ledger.holds(format!("refusal of {field}"), &log, "names the field and its value", is_named);
        } else {
            ledger.equal(format!("exit code with {field}"), ended, None);
            stores_what_was_acknowledged(rig, ledger, field).await?;
        }
        rig.roles.clear();
        std::fs::remove_file(rig.folder.path().join("writer.log"))?;
        jetstream(&rig.address(), "STREAM.DELETE.METRICS", &Value::Null).await?;
    }
    Ok(())
}

/// Waits until the last role is ready or has ended; returns its exit code in the second case.
async fn ready_or_ended(rig: &Rig, port: u16) -> Result<Option<Option<i32>>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = rig.roles.last().and_then(Role::ended) {
            return Ok(Some(status.code()));
        }
        if get(port, "/readyz").await.is_ok_and(|(status, _)| status == 200) {
            return Ok(None);
        }
        ensure!(Instant::now() < deadline, "neither ready nor ended: {}", rig.log("writer"));
        sleep(Duration::from_millis(50)).await;
    }
}

async fn stores_what_was_acknowledged(rig: &mut Rig, ledger: &mut Ledger, field: &str) -> Result<()> {
    let device = format!("unsafe-{field}");
    let payloads: Vec<String> = (0..300)
        .map(|n| {
            let time = spindle_core::Timestamp::from_ns(1_700_000_000_000_000_000 + n);
            format!(r#"{{"timestamp":"{time}","sourceDevice":"{device}","metricType":"Truth","value":{n}}}"#)
        })
        .collect();
    rig.roles.iter().for_each(Role::kill);
    let n_acked = rig.publish("events.metrics", &payloads).await?;
    ensure!(n_acked > 0, "the stream acknowledged nothing");
    rig.nats.kill();
    rig.nats.restart()?;
    rig.start_writer(&[]).await?;
    rig.wait_until_acknowledged().await?;
    let n_stored = stored::count_values(&rig.store().await?, &[device], "Truth").await?;
    ledger.equal(format!("ready with {field}: stored of what was acknowledged"), n_stored, n_acked);
    Ok(())
}

/// A stream that refuses because a forgotten consumer holds it makes readiness red, and is named with its holder.
pub(super) async fn full_stream(rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
    let small = [("SPINDLE_METRICS_BYTES", "1MiB"), ("SPINDLE_REPLAY_TAIL", "0s")];
    let writer = rig.start_writer(&small).await?;
    let holder = ["debug", "grafana-test", "old_pipeline"][rig.random.below(3)];
    let consumer = json!({ "stream_name": "METRICS", "config": { "durable_name": holder, "ack_policy": "explicit" } });
    jetstream(&rig.address(), &format!("CONSUMER.DURABLE.CREATE.METRICS.{holder}"), &consumer).await?;
    let element = |n: u64| {
        let time = spindle_core::Timestamp::from_ns((1_700_000_000_000_000_000 + n) as i64);
        format!(r#"{{"timestamp":"{time}","sourceDevice":"full","metricType":"Truth","value":{n}}}"#)
    };
    let (mut n_sent, mut n_acked, mut is_refused) = (0_u64, 0, false);
    for _ in 0..40 {
        let payloads: Vec<String> = (0..4)
            .map(|_| {
                n_sent += 100;
                format!("[{}]", (n_sent - 100..n_sent).map(element).collect::<Vec<_>>().join(","))
            })
            .collect();
        let acked = rig.publish("events.metrics", &payloads).await?;
        n_acked += acked;
        if acked < payloads.len() {
            is_refused = true;
            break;
        }
        rig.wait_until_acknowledged().await?;
    }
    ledger.equal("the stream refuses in the end", is_refused, true);
    if is_refused {
        let red = wait_for_readiness(writer, Duration::from_secs(30), |status, _| status == 503).await;
        ledger.holds("readiness of a stream that refuses", red.as_ref().ok(), "not ready", red.is_ok());
        let (_, text) = get(writer, "/readyz").await?;
        ledger.holds("its reason", &text, "names stream and holder", text.contains("METRICS") && text.contains(holder));
    }
    rig.wait_until_acknowledged().await?;
    let n_stored = stored::count_values(&rig.store().await?, &["full".to_owned()], "Truth").await?;
    ledger.equal("stored of what was acknowledged", n_stored, n_acked * 100);
    Ok(())
}
