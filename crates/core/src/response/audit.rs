//! Result of `audit_gaps`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Basis;
use crate::audit::{EpochFindings, Tally};
use crate::name::DeviceName;

/// Missing and duplicate sequences, and the devices audited.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GapAudit {
    /// Epochs with missing or duplicate sequences, by device; empty if there are none.
    pub data: Vec<GapRow>,
    /// All audited devices, by name. Without them "no gaps" could mean "no data".
    pub summary: Vec<AuditedDevice>,
    /// Parameters that request the devices after these, if there are any.
    pub next: Option<BTreeMap<&'static str, serde_json::Value>>,
    /// Data it is based on.
    pub basis: Basis,
}

/// Epoch of one device with missing or duplicate sequences.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GapRow {
    /// Device.
    pub source_device: DeviceName,
    /// Missing and duplicate sequences.
    #[serde(flatten)]
    pub findings: EpochFindings,
}

/// Audit of one device over all its epochs. The names on the wire are older than those here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditedDevice {
    /// Device.
    pub source_device: DeviceName,
    /// Result of the audit.
    pub state: AuditState,
    /// Points in the window.
    pub n_points: u64,
    /// Points without a `seq`, which cannot be audited.
    #[serde(rename = "n_without_number")]
    pub n_without_seq: u64,
    /// Epochs in the window.
    #[serde(rename = "n_runs")]
    pub n_epochs: u64,
    /// Distinct sequences stored.
    #[serde(rename = "n_numbers")]
    pub n_sequences: u64,
    /// Sequences missing between them, and those of values that another value replaced.
    pub n_missing: u64,
    /// Sequences carried by more than one point.
    #[serde(rename = "n_doubled")]
    pub n_duplicates: u64,
}

/// Result of the audit of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditState {
    /// There are sequences; none is missing and none is duplicate.
    Complete,
    /// Some are missing or duplicate.
    Gaps,
    /// There are points, but none has a `seq`.
    NoNumbers,
    /// There is no point in the window.
    NoData,
    /// Too many sequences, or values that are not a counter: nothing was judged.
    NotCounted,
}

impl AuditedDevice {
    /// Evaluates a tally.
    pub fn new(source_device: DeviceName, tally: &Tally) -> Self {
        let (n_sequences, n_missing, n_duplicates) = if tally.overflowed() { (0, 0, 0) } else { tally.totals() };
        let state = match tally.n_points() {
            0 => AuditState::NoData,
            _ if tally.overflowed() => AuditState::NotCounted,
            _ if n_missing + n_duplicates > 0 => AuditState::Gaps,
            _ if n_sequences == 0 => AuditState::NoNumbers,
            _ => AuditState::Complete,
        };
        Self {
            source_device,
            state,
            n_points: tally.n_points(),
            n_without_seq: tally.n_without_seq(),
            n_epochs: tally.n_epochs(),
            n_sequences,
            n_missing,
            n_duplicates,
        }
    }
}
