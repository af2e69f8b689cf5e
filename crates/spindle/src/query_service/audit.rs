//! `audit_gaps`: missing and duplicate sequence numbers, device by device, and the points examined.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use spindle_core::audit::{SeqTimes, Tally};
use spindle_core::query::AuditQuery;
use spindle_core::records::Window;
use spindle_core::response::{AuditState, AuditedDevice, Basis, GapAudit, GapRow};
use spindle_core::{DeviceName, Timestamp};
use spindle_store::Store;
use tokio::time::{Instant, sleep};

use super::fit::{Page, json_bytes};

/// Maximum number of devices read together; `Tally` bounds the memory of each.
const MAX_GROUP: usize = 16;
/// Target time for reading a group: a device can have millions of points, or a handful.
const GROUP_SECONDS: f64 = 0.5;
/// Time after which no further group is started and the rest becomes another page; well below a query's timeout.
const BUDGET: Duration = Duration::from_secs(4);
/// Minimum margin outside the window in which a missing number is searched; a longer window has a margin of its own
/// length. Clocks are set, and an event can be older than the metric with the previous number.
const MIN_MARGIN: Duration = Duration::from_secs(3600);

/// Audits the requested devices, as many as the time budget allows.
pub(super) async fn gaps(store: &Store, query: AuditQuery) -> Result<GapAudit> {
    let AuditQuery { window, source_device, after, limit } = query;
    let deadline = Instant::now() + BUDGET;
    let (devices, has_more) = match source_device {
        Some(device) => (vec![device], false),
        None => device_names(store, after.as_ref(), limit).await?,
    };
    let mut audit = GapAudit { data: Vec::new(), summary: Vec::new(), next: None, basis: Basis::of(window, 0) };
    let (mut rest, mut n_group) = (&devices[..], 1);
    while !rest.is_empty() && (audit.summary.is_empty() || Instant::now() < deadline) {
        let (group, others) = rest.split_at(n_group.min(rest.len()));
        rest = others;
        let started = Instant::now();
        let mut tallies = store.tally(group, window).await?;
        for (device, tally) in group.iter().zip(&mut tallies) {
            fill_gaps(store, device, tally, window).await?;
        }
        fill_gaps_after_lag(store, group, &mut tallies, window).await?;
        for (device, tally) in group.iter().zip(tallies) {
            audit_device(store, &mut audit, device, tally, window).await?;
        }
        n_group = next_group_size(group.len(), started.elapsed());
    }
    if has_more || !rest.is_empty() {
        audit.next = next_devices(&audit);
    }
    Ok(audit)
}

/// Returns the size of the next group, given the time that the last one took.
fn next_group_size(n_devices: usize, took: Duration) -> usize {
    let per_device = took.as_secs_f64() / n_devices.max(1) as f64;
    ((GROUP_SECONDS / per_device.max(1e-6)) as usize).clamp(1, MAX_GROUP)
}

async fn device_names(store: &Store, after: Option<&DeviceName>, limit: usize) -> Result<(Vec<DeviceName>, bool)> {
    let mut records = store.devices(after, limit + 1).await?;
    let has_more = records.len() > limit;
    records.truncate(limit);
    Ok((records.into_iter().map(|record| record.source_device).collect(), has_more))
}

/// Looks for the missing numbers around the window.
async fn fill_gaps(store: &Store, device: &DeviceName, tally: &mut Tally, window: Window) -> Result<()> {
    if let Some(seqs) = tally.gaps().filter(|_| !tally.overflowed()) {
        *tally = store.sequences(device, wider(window), seqs, std::mem::take(tally)).await?;
    }
    Ok(())
}

/// Looks for numbers still missing once more, in a store whose queries miss its last writes for a while.
async fn fill_gaps_after_lag(
    store: &Store,
    devices: &[DeviceName],
    tallies: &mut [Tally],
    window: Window,
) -> Result<()> {
    let lag = store.read_lag();
    if lag.is_zero() || tallies.iter().all(|tally| tally.gaps().is_none()) {
        return Ok(());
    }
    sleep(lag).await;
    for (device, tally) in devices.iter().zip(tallies) {
        fill_gaps(store, device, tally, window).await?;
    }
    Ok(())
}

/// Adds one device to the audit: its summary, and a row for each producer epoch with findings.
async fn audit_device(
    store: &Store,
    audit: &mut GapAudit,
    device: &DeviceName,
    tally: Tally,
    window: Window,
) -> Result<()> {
    let audited = AuditedDevice::new(device.clone(), &tally);
    audit.basis.n_points += audited.n_points;
    if audited.state == AuditState::Gaps {
        let mut epochs = tally.findings();
        let mut times = SeqTimes::default();
        epochs.iter().for_each(|findings| times.extend(findings.seq_times()));
        if let Some(seqs) = times.range() {
            times = store.sequences(device, wider(window), seqs, times).await?;
        }
        epochs.iter_mut().for_each(|findings| findings.locate(&times));
        let row = |findings| GapRow { source_device: device.clone(), findings };
        audit.data.extend(epochs.into_iter().map(row));
    }
    audit.summary.push(audited);
    Ok(())
}

/// Returns the window with a margin on both sides.
fn wider(window: Window) -> Window {
    let length = Duration::try_from_secs_f64(window.seconds()).unwrap_or_default();
    let margin = length.max(MIN_MARGIN);
    Window { from: window.from.minus(margin), until: window.until.plus(margin) }
}

/// A row is a device: its summary, and its findings.
impl Page for GapAudit {
    fn row_bytes(&self) -> Vec<usize> {
        let mut findings: BTreeMap<&DeviceName, usize> = BTreeMap::new();
        for (index, row) in self.data.iter().enumerate() {
            *findings.entry(&row.source_device).or_default() += json_bytes(row) + usize::from(index > 0);
        }
        let of_device = |(index, device): (usize, &AuditedDevice)| {
            json_bytes(device) + usize::from(index > 0) + findings.get(&device.source_device).copied().unwrap_or(0)
        };
        self.summary.iter().enumerate().map(of_device).collect()
    }

    fn truncate(&mut self, n_rows: usize) {
        let left_out: BTreeSet<_> = self.summary.drain(n_rows..).map(|device| device.source_device).collect();
        self.data.retain(|row| !left_out.contains(&row.source_device));
        self.basis.n_points = self.summary.iter().map(|device| device.n_points).sum();
        self.next = next_devices(self);
    }

    fn frame_bytes(&self) -> usize {
        json_bytes(&self.next) + json_bytes(&self.basis)
    }
}

/// Returns the parameters of the next page. They pin the window, whose end would otherwise move with the clock.
fn next_devices(audit: &GapAudit) -> Option<BTreeMap<&'static str, Value>> {
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
        assert_eq!(next_group_size(1, Duration::from_millis(5)), MAX_GROUP);
        assert_eq!(next_group_size(1, Duration::from_millis(100)), 5);
        assert_eq!(next_group_size(16, Duration::from_secs(30)), 1);
        assert_eq!(next_group_size(1, Duration::ZERO), MAX_GROUP);
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
        audit.truncate(1);
        assert_eq!((audit.summary.len(), audit.data.len(), audit.basis.n_points), (1, 1, 2));
        let next = serde_json::json!({ "after": "a", "from": "1970-01-01T00:00:00Z", "until": "1970-01-01T00:00:10Z" });
        assert_eq!(serde_json::json!(audit.next), next);
    }
}
