//! Claims about the health of devices.

use std::time::Duration;

use anyhow::Result;

use super::ledger::Ledger;
use super::rig::{Rig, ago};

fn metric(device: &str, age_s: u64, metric: &str, value: f64) -> String {
    let time = ago(Duration::from_secs(age_s));
    format!(r#"{{"timestamp":"{time}","sourceDevice":"{device}","metricType":"{metric}","value":{value}}}"#)
}

fn event(device: &str, age_s: u64, event_type: &str, criticality: u8, number: usize) -> String {
    let time = ago(Duration::from_secs(age_s));
    format!(
        r#"{{"id":"{device}-{number}","criticality":{criticality},"timestamp":"{time}","sourceDevice":"{device}","eventType":"{event_type}"}}"#
    )
}

/// Three words of 16 bits in one raw value: of a temperature, now, lowest and highest.
fn packed(low: u64, middle: u64, high: u64) -> f64 {
    (low | middle << 16 | high << 32) as f64
}

/// Evidence of a sick drive: its name, the verdicts that are true, metrics, and events.
type Sickness = (&'static str, &'static [&'static str], Vec<(&'static str, f64)>, Vec<(&'static str, u8)>);

const CRITICAL: &[&str] = &["critical"];
const BAD: &[&str] = &["warning", "critical"];
/// A count beyond anything plausible may be packed.
const BAD_OR_UNCLEAR: &[&str] = &["unknown", "warning", "critical"];

fn sicknesses() -> Vec<Sickness> {
    vec![
        ("failed", CRITICAL, vec![], vec![("DriveFailure", 9)]),
        ("shelf", CRITICAL, vec![], vec![("ShelfOffline", 9)]),
        ("corrupt", BAD, vec![], vec![("DataCorruption", 9)]),
        ("reallocated", BAD_OR_UNCLEAR, vec![("smart_5_raw", 70_000.0)], vec![]),
        ("pending", BAD_OR_UNCLEAR, vec![("smart_197_raw", 65_535.0)], vec![]),
        ("uncorrectable", BAD_OR_UNCLEAR, vec![("smart_198_raw", 100_000.0)], vec![]),
        ("many", BAD, vec![("smart_5_raw", 4_000.0)], vec![]),
        ("hot", CRITICAL, vec![("DiskTemp", 75.0)], vec![]),
        ("packed-hot", CRITICAL, vec![("smart_194_raw", packed(75, 20, 80))], vec![]),
    ]
}

/// A sick drive is never `ok`, whatever else is known of it.
pub(super) async fn dead_drives(rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
    rig.start_writer(&[]).await?;
    rig.start(&["reader"], &[])?;
    let (mut metrics, mut events) = (Vec::new(), Vec::new());
    for (device, _, values, faults) in sicknesses() {
        for (name, value) in values {
            metrics.push(metric(device, 20, name, value));
        }
        for (number, (event_type, criticality)) in faults.iter().enumerate() {
            events.push(event(device, 3_000, event_type, *criticality, number));
        }
        // Good news beside it.
        metrics.push(metric(device, 10, "DiskTemp", if device == "hot" { 75.0 } else { 31.0 }));
        metrics.push(metric(device, 10, "CapacityUsed", 40.0));
        metrics.push(metric(device, 10, "smart_9_raw", 20_000.0));
    }
    // Notes bury the one event that counts.
    let n_notes = 1_001 + rig.random.below(500);
    let notes: Vec<String> = (0..n_notes).map(|n| event("failed", 2, "Note", 1, 10 + n)).collect();
    events.extend(notes.chunks(200).map(|notes| format!("[{}]", notes.join(","))));
    rig.publish("events.metrics", &metrics).await?;
    rig.publish("events.event", &events).await?;
    rig.wait_until_acknowledged().await?;
    for (device, wanted, _, _) in sicknesses() {
        let answer = rig.query(&["device_health", &format!("source_device={device}")])?;
        let health = answer["data"]["health"].as_str().unwrap_or("no answer").to_owned();
        ledger.holds(format!("health of '{device}'"), &health, &wanted.join(" or "), wanted.contains(&&*health));
        let n_reasons = answer["data"]["reasons"].as_array().map_or(0, Vec::len);
        ledger.holds(format!("reasons for '{device}'"), n_reasons, "at least one", n_reasons > 0);
    }
    Ok(())
}

/// A sound drive is not condemned for the way in which its vendor packs a number.
pub(super) async fn sound_drives(rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
    rig.start_writer(&[]).await?;
    rig.start(&["reader"], &[])?;
    let readings = [
        ("packed-16", "smart_194_raw", packed(33, 20, 45)),
        ("packed-8", "smart_194_raw", 8_481.0),
        ("airflow", "smart_190_raw", f64::from(30_u32 | 25 << 16 | 40 << 24)),
        ("timeouts", "smart_188_raw", packed(0, 0, 0)),
        ("seek-errors", "smart_7_raw", 3_221_225_472.0),
        ("read-errors", "smart_1_raw", 221_225_472.0),
    ];
    let mut metrics = Vec::new();
    for (device, name, value) in readings {
        metrics.push(metric(device, 10, name, value));
        metrics.push(metric(device, 10, "DiskTemp", 33.0));
    }
    rig.publish("events.metrics", &metrics).await?;
    rig.wait_until_acknowledged().await?;
    for (device, name, value) in readings {
        let answer = rig.query(&["device_health", &format!("source_device={device}")])?;
        let health = answer["data"]["health"].as_str().unwrap_or("no answer").to_owned();
        ledger.equal(format!("health with {name} {value}"), health.as_str(), "ok");
        ledger.holds(format!("reasons with {name}"), &answer["data"]["reasons"], "no impossible temperature", {
            !answer["data"]["reasons"].to_string().contains("8481")
        });
    }
    Ok(())
}
