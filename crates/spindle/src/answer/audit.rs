//! `audit_gaps`: which numbers are missing or doubled, device after device, and what was looked at to say so.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use spindle_core::audit::{SeqTimes, Tally};
use spindle_core::query::AuditQuery;
use spindle_core::records::Window;
use spindle_core::response::{AuditState, AuditedDevice, Basis, GapAudit, GapRow};
use spindle_core::{DeviceName, Timestamp};
use spindle_store::Store;
use tokio::time::Instant;

/// Most devices that are read together; what they may take of memory stands at `Tally`.
const MAX_GROUP: usize = 16;
/// A group is to take about this long: devices can have millions of points, or a handful.
const GROUP_SECONDS: f64 = 0.5;
/// After this long no further group is begun: the rest is another page. Well before an answer's time is up.
const BUDGET: Duration = Duration::from_secs(4);
/// A number that is missing in the window is looked for this far outside it, or as far as the window is long:
/// clocks are set, and an event can be older than a metric with the number before.
const LEAST_MARGIN: Duration = Duration::from_secs(3600);

/// Audits the devices asked for, as many as there is time for.
pub(super) async fn gaps(store: &Store, query: AuditQuery) -> Result<GapAudit> {
    let AuditQuery { window, source_device, after, limit } = query;
    let deadline = Instant::now() + BUDGET;
    let (devices, more) = match source_device {
        Some(device) => (vec![device], false),
        None => names(store, after.as_ref(), limit).await?,
    };
    let mut audit = GapAudit { data: Vec::new(), summary: Vec::new(), next: None, basis: Basis::of(window, 0) };
    let (mut rest, mut n_group) = (&devices[..], 1);
    while !rest.is_empty() && (audit.summary.is_empty() || Instant::now() < deadline) {
        let (group, others) = rest.split_at(n_group.min(rest.len()));
        rest = others;
        let began = Instant::now();
        for (device, tally) in group.iter().zip(store.tally(group, window).await?) {
            add(store, &mut audit, device, tally, window).await?;
        }
        n_group = group_after(group.len(), began.elapsed());
    }
    if more || !rest.is_empty() {
        audit.next = after_last(&audit);
    }
    Ok(audit)
}

/// How many devices to read next, after so many took so long.
fn group_after(n_devices: usize, took: Duration) -> usize {
    let per_device = took.as_secs_f64() / n_devices.max(1) as f64;
    ((GROUP_SECONDS / per_device.max(1e-6)) as usize).clamp(1, MAX_GROUP)
}

async fn names(store: &Store, after: Option<&DeviceName>, limit: usize) -> Result<(Vec<DeviceName>, bool)> {
    let mut records = store.devices(after, limit + 1).await?;
    let more = records.len() > limit;
    records.truncate(limit);
    Ok((records.into_iter().map(|record| record.source_device).collect(), more))
}

async fn add(store: &Store, audit: &mut GapAudit, device: &DeviceName, mut tally: Tally, window: Window) -> Result<()> {
    let wider = wider(window);
    if let Some(seqs) = tally.gaps().filter(|_| !tally.overflowed()) {
        tally = store.sequences(device, wider, seqs, tally).await?;
    }
    let audited = AuditedDevice::new(device.clone(), &tally);
    audit.basis.n_points += audited.n_points;
    if audited.state == AuditState::Gaps {
        let mut runs = tally.findings();
        let mut places = SeqTimes::default();
        runs.iter().for_each(|findings| places.extend(findings.seq_times()));
        if let Some(seqs) = places.range() {
            places = store.sequences(device, wider, seqs, places).await?;
        }
        runs.iter_mut().for_each(|findings| findings.locate(&places));
        let row = |findings| GapRow { source_device: device.clone(), findings };
        audit.data.extend(runs.into_iter().map(row));
    }
    audit.summary.push(audited);
    Ok(())
}

/// The window, and as much again on both sides.
fn wider(window: Window) -> Window {
    let length = Duration::try_from_secs_f64(window.seconds()).unwrap_or_default();
    let margin = length.max(LEAST_MARGIN);
    Window { from: window.from.minus(margin), until: window.until.plus(margin) }
}

/// Leaves out the devices of the second half; whether there is anything left to answer.
pub(super) fn cut(audit: &mut GapAudit) -> bool {
    let n_after = audit.summary.len() / 2;
    if n_after == 0 {
        return false;
    }
    audit.summary.truncate(n_after);
    let is_kept = |row: &GapRow| audit.summary.iter().any(|device| device.source_device == row.source_device);
    audit.data = std::mem::take(&mut audit.data).into_iter().filter(is_kept).collect();
    audit.basis.n_points = audit.summary.iter().map(|device| device.n_points).sum();
    audit.next = after_last(audit);
    true
}

/// What asks for the devices behind these, in the same window: left to itself, its end goes on with the clock.
fn after_last(audit: &GapAudit) -> Option<BTreeMap<&'static str, Value>> {
    let last = audit.summary.last()?;
    let time = |time: Timestamp| Value::from(time.to_string());
    let mut next = BTreeMap::from([("after", Value::from(last.source_device.as_str()))]);
    next.insert("until", time(audit.basis.until));
    next.extend(audit.basis.from.map(|from| ("from", time(from))));
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_with_many_points_are_read_one_by_one() {
        assert_eq!(group_after(1, Duration::from_millis(5)), MAX_GROUP);
        assert_eq!(group_after(1, Duration::from_millis(100)), 5);
        assert_eq!(group_after(16, Duration::from_secs(30)), 1);
        assert_eq!(group_after(1, Duration::ZERO), MAX_GROUP);
    }

    #[test]
    fn the_wider_window_never_overflows() {
        let window = |from, until| Window { from: Timestamp::from_ns(from), until: Timestamp::from_ns(until) };
        assert_eq!(wider(window(i64::MIN, i64::MAX)), window(i64::MIN, i64::MAX));
        let hour = 3_600_000_000_000;
        assert_eq!(wider(window(0, 1)), window(-hour, 1 + hour));
        assert_eq!(wider(window(0, 2 * hour)), window(-2 * hour, 4 * hour));
    }

    #[test]
    fn a_cut_audit_keeps_whole_devices_and_says_how_to_go_on() {
        let device = |name: &str| DeviceName::new(name).unwrap();
        let mut tally = Tally::default();
        for seq in [1, 3] {
            tally.see(spindle_core::audit::PointKind::Metric, Some(seq));
        }
        let until = Timestamp::from_seconds(10);
        let basis = Basis::of(Window { from: Timestamp::from_ns(0), until }, 6);
        let mut audit = GapAudit { data: Vec::new(), summary: Vec::new(), next: None, basis };
        for name in ["a", "b", "c"] {
            audit.summary.push(AuditedDevice::new(device(name), &tally));
            let row = |findings| GapRow { source_device: device(name), findings };
            audit.data.extend(tally.findings().into_iter().map(row));
        }
        assert!(cut(&mut audit));
        assert_eq!((audit.summary.len(), audit.data.len(), audit.basis.n_points), (1, 1, 2));
        let next = serde_json::json!({ "after": "a", "from": "1970-01-01T00:00:00Z", "until": "1970-01-01T00:00:10Z" });
        assert_eq!(serde_json::json!(audit.next), next);
        assert!(!cut(&mut audit), "one device cannot be halved");
    }
}
