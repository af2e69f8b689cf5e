//! Signals by which a drive announces that it will fail: counters of SMART, SCSI and NVMe, grouped by what they count.

use crate::advice::Finding;
use crate::reading::{self, Reading};

/// Group of counters that count the same faults.
#[derive(Debug)]
pub(super) struct Signal {
    /// Finding that a value above zero is.
    pub(super) finding: Finding,
    /// Metrics that report it. The largest counts: the same sectors are pending and offline uncorrectable.
    pub(super) metrics: &'static [&'static str],
    /// Cause to which it points.
    pub(super) cause: Cause,
    /// Share of drives expected to have any, before the fleet has shown its own.
    pub(super) usual_share: f64,
}

/// Number of signals.
pub(super) const N_SIGNALS: usize = 10;

/// Cause to which a signal points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Drive itself.
    Drive,
    /// Drive itself, in sectors that cannot be read: each such sector is counted by several signals, so that only the
    /// strongest of them counts.
    UnreadableSectors,
    /// Cable, power supply or controller: what they did to a drive stays in its counters, so only a rise counts, and
    /// little.
    Surroundings,
    /// Verdict of the drive on itself: it fails, or a test or an attribute of usage is beyond its limit.
    OwnVerdict { is_failing: bool },
}

/// All signals. Those of the first three are what Backblaze watches first, and what the studies at Google and EMC found
/// to precede failures; 9 % of a running fleet has one of them (Backblaze, 2013).
pub(super) const SIGNALS: [Signal; N_SIGNALS] = [
    signal(Finding::Reallocated, &["smart_5_raw", "scsi_grown_defects", "ReallocatedSectors"], Cause::Drive, 0.06),
    signal(
        Finding::Uncorrectable,
        &["smart_187_raw", "nvme_media_errors", "scsi_read_total_uncorrected_errors"],
        Cause::UnreadableSectors,
        0.03,
    ),
    signal(
        Finding::Pending,
        &["smart_197_raw", "smart_198_raw", "scsi_pending_defects", "PendingSectors"],
        Cause::UnreadableSectors,
        0.03,
    ),
    signal(Finding::EndToEnd, &["smart_184_raw"], Cause::Drive, 0.01),
    signal(Finding::SpinRetries, &["smart_10_raw"], Cause::Drive, 0.01),
    signal(Finding::CommandTimeouts, &["smart_188_raw"], Cause::Surroundings, 0.05),
    signal(Finding::LinkErrors, &["smart_199_raw"], Cause::Surroundings, 0.05),
    signal(Finding::SelfReported, &["smart_failed"], Cause::OwnVerdict { is_failing: true }, 0.001),
    signal(Finding::SelfReported, &["smart_self_tests_failed"], Cause::OwnVerdict { is_failing: false }, 0.01),
    signal(Finding::Worn, &["smart_usage_at_threshold"], Cause::OwnVerdict { is_failing: false }, 0.01),
];

/// Metrics of the temperature, the best one first.
pub(super) const TEMPERATURES: [&str; 3] = ["smart_194_raw", "DiskTemp", "smart_190_raw"];
/// Metrics of the time in operation.
pub(super) const HOURS: [&str; 2] = ["smart_9_raw", "PowerOnHours"];

const fn signal(finding: Finding, metrics: &'static [&'static str], cause: Cause, usual_share: f64) -> Signal {
    Signal { finding, metrics, cause, usual_share }
}

/// Value of a signal in one row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Observed {
    /// Not reported.
    Absent,
    /// Largest value, with its metric.
    Value(f64, &'static str),
    /// Reported, but in no known layout.
    Unclear(String),
}

impl Signal {
    /// Reads the signal from the values of a row.
    pub(super) fn observe(&self, values: &[(&str, f64)]) -> Observed {
        let mut observed = Observed::Absent;
        for metric in self.metrics {
            let Some((_, stored)) = values.iter().find(|(name, _)| name == metric) else { continue };
            let value = match reading::read(metric, *stored) {
                Reading::Absent => continue,
                Reading::Value(value) => value,
                Reading::Unclear(unclear) => match unclear.at_least {
                    Some(least) => least,
                    None => {
                        if observed == Observed::Absent {
                            observed = Observed::Unclear(format!("{metric} {}", unclear.reason));
                        }
                        continue;
                    }
                },
            };
            match observed {
                Observed::Value(largest, _) if largest >= value => {}
                _ => observed = Observed::Value(value, metric),
            }
        }
        observed
    }
}

/// Returns the first of some metrics that has a value.
pub(super) fn first_value(metrics: &[&str], values: &[(&str, f64)]) -> Option<f64> {
    metrics.iter().find_map(|metric| {
        let (_, stored) = values.iter().find(|(name, _)| name == metric)?;
        match reading::read(metric, *stored) {
            Reading::Value(value) => Some(value),
            Reading::Absent | Reading::Unclear(_) => None,
        }
    })
}
