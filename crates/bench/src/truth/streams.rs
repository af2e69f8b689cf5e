//! Claims about streams: those that lose what they acknowledged, and those that refuse.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::ledger::Ledger;
use super::rig::{Rig, get, wait_for_readiness};
use super::stored;
use crate::harness::nats::jetstream;
use crate::harness::process::Role;

/// Configurations under which a stream loses messages that it, or nobody, acknowledged.
fn unsafe_configurations() -> Vec<(&'static str, Value)> {
    vec![
        ("max_msgs_per_subject", json!({ "max_msgs_per_subject": 100, "discard": "old" })),
        ("max_msgs", json!({ "max_msgs": 50, "discard": "old" })),
        ("max_bytes with discard old", json!({ "max_bytes": 20_000, "discard": "old" })),
        ("no_ack", json!({ "no_ack": true })),
        ("max_age", json!({ "max_age": 1_000_000_000_u64 })),
        ("memory storage", json!({ "storage": "memory" })),
        ("max_msg_size", json!({ "max_msg_size": 64 })),
        ("interest retention", json!({ "retention": "interest" })),
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

/// A writer that says it is ready stores everything that the stream has acknowledged, and survives a restart of NATS.
pub(super) async fn unsafe_streams(rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
    let mut configurations = unsafe_configurations();
    rig.random.shuffle(&mut configurations);
    for (name, extra) in configurations {
        let mut configuration =
            json!({ "name": "METRICS", "subjects": ["events.metrics"], "discard": "new", "storage": "file" });
        for (key, value) in extra.as_object().into_iter().flatten() {
            configuration[key] = value.clone();
        }
        create(rig, &configuration).await?;
        let writer = rig.start(&["writer"], &[("SPINDLE_NATS_CONNECT_TIMEOUT", "3s")])?;
        let ready = wait_for_readiness(writer, Duration::from_secs(6), |status, _| status == 200).await;
        let log = rig.log("writer");
        if ready.is_ok() {
            let device = format!("unsafe-{}", name.replace(' ', "-"));
            let payloads: Vec<String> = (0..300)
                .map(|n| {
                    let time = spindle_core::Timestamp::from_ns(1_700_000_000_000_000_000 + n);
                    format!(r#"{{"timestamp":"{time}","sourceDevice":"{device}","metricType":"Truth","value":{n}}}"#)
                })
                .collect();
            rig.roles.iter().for_each(Role::kill);
            let n_acked = rig.publish("events.metrics", &payloads).await?;
            // Without acks nobody can know better than that everything was taken.
            let n_taken = if name == "no_ack" { payloads.len() } else { n_acked };
            rig.start_writer(&[]).await?;
            rig.wait_until_acknowledged().await?;
            let n_stored = stored::count_values(&rig.store().await?, &[device], "Truth").await?;
            ledger.equal(format!("ready with {name}: stored of what was acknowledged"), n_stored, n_taken);
        } else {
            let field = name.split(' ').next().unwrap_or(name);
            let words = ["storage", "retention", "discard"];
            let is_named = log.contains(field) || words.iter().any(|word| name.contains(word) && log.contains(word));
            ledger.holds(format!("refusal of {name}"), &log, "names the field", is_named);
        }
        rig.roles.clear();
        std::fs::remove_file(rig.folder.path().join("writer.log"))?;
        jetstream(&rig.address(), "STREAM.DELETE.METRICS", &Value::Null).await?;
    }
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
    if is_refused {
        let red = wait_for_readiness(writer, Duration::from_secs(30), |status, _| status == 503).await;
        ledger.holds("readiness of a stream that refuses", red.as_ref().ok(), "not ready", red.is_ok());
        let (_, text) = get(writer, "/readyz").await?;
        ledger.holds("its reason", &text, "names stream and holder", text.contains("METRICS") && text.contains(holder));
    } else {
        let ready = get(writer, "/readyz").await?;
        ledger.equal("readiness of a stream that takes everything", ready.0, 200);
    }
    rig.wait_until_acknowledged().await?;
    let n_stored = stored::count_values(&rig.store().await?, &["full".to_owned()], "Truth").await?;
    ledger.equal("stored of what was acknowledged", n_stored, n_acked * 100);
    Ok(())
}
