//! Claims about what is stored: foreign answers on the store's address, and data older than the retention.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::ledger::Ledger;
use super::rig::{PATIENCE, Rig, ago, counter, get, wait_for_readiness, wait_until_ready};
use super::stored;
use super::stranger::{FOREIGN, Stranger};

const HOUR: Duration = Duration::from_secs(3600);
const N_VALUES: usize = 100;

fn metric(device: &str, time: &str, value: usize) -> String {
    format!(r#"{{"timestamp":"{time}","sourceDevice":"{device}","metricType":"Truth","value":{value}}}"#)
}

/// While somebody else answers, nothing is stored, acknowledged, dead-lettered or ready; afterwards everything is there.
pub(super) async fn foreign_answers(rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
    let influx = rig.influx.as_ref().context("a case of InfluxDB")?;
    let port = influx.url().rsplit(':').next().and_then(|port| port.parse().ok()).context("port of InfluxDB")?;
    let stranger = Stranger::start(port).await?;
    let url = stranger.url();
    let writer = rig.start_writer(&[("INFLUXDB_HOST", &url), ("SPINDLE_BATCH_MESSAGES", "20")]).await?;
    let mut answers = FOREIGN.to_vec();
    rig.random.shuffle(&mut answers);
    let mut n_sent = 0;
    for foreign in answers {
        let name = format!("{} {} {:?}", foreign.status, foreign.content_type, foreign.body);
        let status = foreign.status[..3].to_owned();
        stranger.answer(Some(foreign));
        let payloads: Vec<String> =
            (n_sent..n_sent + N_VALUES).map(|n| metric("foreign", &ago(Duration::from_millis(n as u64)), n)).collect();
        let n_acked = rig.publish("events.metrics", &payloads).await?;
        let red = wait_for_readiness(writer, PATIENCE, |code, _| code == 503).await;
        ledger.holds(format!("readiness during {name}"), red.as_ref().ok(), "nothing can be stored", red.is_ok());
        if let Ok((_, text)) = red {
            ledger.holds(format!("its reason during {name}"), &text, "names the status", text.contains(&status));
        }
        sleep(Duration::from_secs(2)).await;
        let stored = counter(writer, "spindle_writer_stored_items_total", "metric").await?;
        ledger.equal(format!("stored_items_total during {name}"), stored, n_sent as u64);
        ledger.equal(format!("unacknowledged during {name}"), rig.lag("METRICS").await?, n_acked as u64);
        ledger.equal(format!("dead letters after {name}"), rig.dead_letters().await?.values().sum::<u64>(), 0);
        n_sent += N_VALUES;
        stranger.answer(None);
        rig.wait_until_acknowledged().await?;
        let ready = wait_until_ready(writer).await;
        ledger.holds(format!("readiness after {name}"), ready.as_ref().err(), "stores again", ready.is_ok());
        let stored = counter(writer, "spindle_writer_stored_items_total", "metric").await?;
        ledger.equal(format!("stored_items_total after {name}"), stored, n_sent as u64);
    }
    let store = rig.store().await?;
    let n_stored = stored::count_values(&store, &["foreign".to_owned()], "Truth").await?;
    ledger.equal("values in the end", n_stored, n_sent);
    Ok(())
}

/// What is older than the retention is a dead letter, one per message; counters count what the store has.
pub(super) async fn aged_data(rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
    let writer = rig.start_writer(&[("SPINDLE_RETENTION", "24h")]).await?;
    let ages = [HOUR / 60, HOUR, 23 * HOUR, 25 * HOUR, 48 * HOUR, 30 * 24 * HOUR, 365 * 24 * HOUR, 3000 * 24 * HOUR];
    let (mut n_young, mut n_old_messages) = (0, 0);
    let mut payloads = Vec::new();
    for message in 0..60 {
        let mut elements = Vec::new();
        let mut is_old = false;
        for element in 0..=rig.random.below(8) {
            let age = ages[rig.random.below(ages.len())];
            is_old |= age > 24 * HOUR;
            n_young += usize::from(age < 24 * HOUR);
            let spread = Duration::from_millis((message * 100 + element) as u64);
            elements.push(metric("aged", &ago(age.saturating_sub(spread)), message));
        }
        n_old_messages += u64::from(is_old);
        payloads.push(format!("[{}]", elements.join(",")));
    }
    rig.publish("events.metrics", &payloads).await?;
    let (mut young_events, mut n_old_events, mut payloads) = (BTreeSet::new(), 0, Vec::new());
    for number in 0..40 {
        let age = ages[rig.random.below(ages.len())];
        let id = format!("00000000-0000-4000-8000-{number:012}");
        payloads.push(format!(
            r#"{{"id":"{id}","criticality":9,"timestamp":"{}","sourceDevice":"aged","eventType":"DriveFailure"}}"#,
            ago(age)
        ));
        if age < 24 * HOUR {
            young_events.insert(id);
        } else {
            n_old_events += 1;
        }
    }
    rig.publish("events.event", &payloads).await?;
    rig.wait_until_acknowledged().await?;
    let letters = rig.dead_letters().await?;
    let beyond = letters.get("beyond_retention").copied().unwrap_or(0);
    ledger.equal("dead letters beyond_retention", beyond, n_old_messages + n_old_events);
    ledger.equal("dead letters in all", letters.values().sum::<u64>(), n_old_messages + n_old_events);
    let store = rig.store().await?;
    let n_values = stored::count_values(&store, &["aged".to_owned()], "Truth").await?;
    ledger.equal("values in the store", n_values, n_young);
    let events: BTreeSet<String> =
        stored::events(&store).await?.iter().map(|record| record.event.id.to_string()).collect();
    ledger.equal("events in the store", events.len(), young_events.len());
    let metrics = counter(writer, "spindle_writer_stored_items_total", "metric").await?;
    ledger.equal("stored_items_total of metrics", metrics, n_young as u64);
    let counted = counter(writer, "spindle_writer_stored_items_total", "event").await?;
    ledger.equal("stored_items_total of events", counted, young_events.len() as u64);
    let ready = get(writer, "/readyz").await?;
    ledger.equal("readiness", ready.0, 200);
    Ok(())
}
