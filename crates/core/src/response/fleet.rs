//! Health of a whole fleet: the devices that are not well, and the counts of all.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::Basis;
use crate::decision::DecisionInForce;
use crate::health::{Health, HealthReason};
use crate::name::{DeviceName, EventType};
use crate::timestamp::Timestamp;
use crate::wire::Labels;

/// Most groups listed, the worst first.
const MAX_GROUPS: usize = 500;
/// Most devices listed as gone, those seen last first.
const MAX_GONE: usize = 100;

/// Result of `fleet_health`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FleetHealth {
    /// Devices, worst first.
    pub data: Vec<FleetRow>,
    /// Counts over all devices.
    pub summary: FleetSummary,
    /// Parameters that request the next page, if there are more rows.
    pub next: Option<BTreeMap<&'static str, serde_json::Value>>,
    /// Data it is based on.
    pub basis: Basis,
    /// `true` if the verdicts are those of the present. Known to the client, so not sent.
    #[serde(skip)]
    pub present: bool,
}

/// Verdict on a device, as far as a list shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FleetRow {
    /// Device.
    pub source_device: DeviceName,
    /// Verdict.
    pub health: Health,
    /// From 100 down to 0; `None` if health is unknown.
    pub score: Option<u8>,
    /// `true` if the drive is in standby, as it said.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub asleep: bool,
    /// Start of the verdict, by the detector.
    pub since: Option<Timestamp>,
    /// Most important reason, with its advice.
    pub reason: Option<HealthReason>,
    /// Number of reasons.
    pub n_reasons: usize,
    /// Labels.
    pub labels: Labels,
    /// Newest time of its data, by its own clock.
    pub last_seen: Timestamp,
    /// Time at which its newest values arrived, by Spindle's clock.
    pub last_received: Option<Timestamp>,
    /// Newest event of the detector about it.
    pub detector_seen: Option<Timestamp>,
    /// Acknowledgment in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<DecisionInForce>,
}

/// Counts over a fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FleetSummary {
    /// Devices, without those that are gone.
    pub n_devices: u64,
    /// Devices by verdict.
    pub counts: HealthCounts,
    /// Devices in standby, which are `unknown` unless something is known against them.
    pub n_asleep: u64,
    /// Devices that somebody works on.
    pub n_acknowledged: u64,
    /// Devices by group, the worst groups first; at most 500.
    pub groups: Vec<GroupHealth>,
    /// Number of all groups.
    pub n_groups: u64,
    /// Number of devices that are gone.
    pub n_gone: u64,
    /// Devices of which nothing was seen for 30 days, and those that another drive has replaced; at most 100.
    pub gone: Vec<GoneDevice>,
    /// Newest event of the detector about any device.
    pub detector_seen: Option<Timestamp>,
    /// Event types with more events than one answer reads: verdicts that depend on those not read are `unknown`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cut_off: Vec<EventType>,
    /// `true` if there are more events of other types that call a person (criticality 8 and above) than one answer reads.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub calls_cut_off: bool,
}

/// Number of devices by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HealthCounts {
    /// Well.
    pub ok: u64,
    /// Not known.
    pub unknown: u64,
    /// Worth a look.
    pub warning: u64,
    /// Act now.
    pub critical: u64,
}

/// Devices of one enclosure, host or model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupHealth {
    /// Name; `None` for devices without the label.
    pub group: Option<String>,
    /// Devices by verdict.
    #[serde(flatten)]
    pub counts: HealthCounts,
}

/// Device that is gone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GoneDevice {
    /// Device.
    pub source_device: DeviceName,
    /// Newest time of its data.
    pub last_seen: Timestamp,
    /// `true` if another drive stands in its place.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replaced: bool,
}

impl HealthCounts {
    /// Counts a device.
    pub fn add(&mut self, health: Health) {
        match health {
            Health::Ok => self.ok += 1,
            Health::Unknown => self.unknown += 1,
            Health::Warning => self.warning += 1,
            Health::Critical => self.critical += 1,
        }
    }
}

impl FleetRow {
    /// Returns the key by which rows are sorted: worst verdict, lowest score, name.
    pub fn rank(&self) -> (Reverse<Health>, Option<u8>, &DeviceName) {
        (Reverse(self.health), self.score, &self.source_device)
    }
}

impl FleetSummary {
    /// Counts devices, grouped by a label. `gone` are those not among them.
    pub fn of(rows: &[FleetRow], group_by: &str, mut gone: Vec<GoneDevice>) -> Self {
        let mut counts = HealthCounts::default();
        let mut by_group: BTreeMap<Option<&String>, HealthCounts> = BTreeMap::new();
        for row in rows {
            counts.add(row.health);
            by_group.entry(row.labels.get(group_by)).or_default().add(row.health);
        }
        let n_groups = by_group.len() as u64;
        let mut groups: Vec<_> =
            by_group.into_iter().map(|(group, counts)| GroupHealth { group: group.cloned(), counts }).collect();
        groups.sort_by_key(|GroupHealth { counts, .. }| {
            (Reverse(counts.critical), Reverse(counts.warning), Reverse(counts.unknown))
        });
        groups.truncate(MAX_GROUPS);
        let n_gone = gone.len() as u64;
        gone.sort_by(|one, other| (other.last_seen, &one.source_device).cmp(&(one.last_seen, &other.source_device)));
        gone.truncate(MAX_GONE);
        let count = |is_counted: fn(&&FleetRow) -> bool| rows.iter().filter(is_counted).count() as u64;
        Self {
            n_devices: rows.len() as u64,
            counts,
            n_asleep: count(|row| row.asleep),
            n_acknowledged: count(|row| row.acknowledged.is_some()),
            groups,
            n_groups,
            n_gone,
            gone,
            detector_seen: rows.iter().filter_map(|row| row.detector_seen).max(),
            cut_off: Vec::new(),
            calls_cut_off: false,
        }
    }
}
