//! Faults of single devices: from the event that opens one to the event that closes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Decisions, IncidentEvidence, IncidentReason};
use crate::advice::{self, Finding};
use crate::health::{self, Acceptances, Health, HealthReason, Statement, fault_of, moment, reason_of};
use crate::judge::events;
use crate::name::DeviceName;
use crate::records::EventRecord;
use crate::timestamp::Timestamp;

/// Time after its last event at which a fault without a closing event counts as over.
const RECENT: Duration = Duration::from_secs(3_600);

/// Kind of a fault, which decides what may have the same cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family<'a> {
    /// Failure of a drive.
    Failed,
    /// Drive that is expected to fail.
    Worn,
    /// Slow, or odd in several metrics.
    Slow,
    /// Too hot, or without a fan.
    Hot,
    /// Enclosure that is away.
    Away,
    /// Damaged data.
    Corrupt,
    /// Any other event type or metric.
    Other(&'a str),
}

/// Fault of one device.
#[derive(Clone, Debug)]
pub(super) struct DeviceFault<'a> {
    pub(super) device: &'a DeviceName,
    pub(super) event_type: &'a str,
    /// Event type, or metric of a verdict by values.
    pub(super) cause: &'a str,
    pub(super) family: Family<'a>,
    pub(super) health: Health,
    pub(super) criticality: u8,
    pub(super) opened: Timestamp,
    pub(super) closed: Option<Timestamp>,
    pub(super) changed: Timestamp,
    newest: &'a EventRecord,
    /// Devices that its events name beside their own.
    others: BTreeSet<DeviceName>,
}

impl<'a> DeviceFault<'a> {
    fn open(record: &'a EventRecord) -> Self {
        let event = &record.event;
        let event_type = event.event_type.as_str();
        let cause = cause(record);
        Self {
            device: &event.source_device,
            event_type,
            cause,
            family: family(event_type, cause, record),
            health: match fault_of(event_type) {
                Some(fault) => fault.health,
                None if event_type == events::HEALTH_CHANGED => Health::Critical,
                None => Health::Warning,
            },
            criticality: event.criticality.level(),
            opened: moment(record),
            closed: None,
            changed: moment(record),
            newest: record,
            others: named_by(record).collect(),
        }
    }

    /// Takes a further event of an open fault.
    fn repeat(&mut self, record: &'a EventRecord) {
        self.criticality = self.criticality.max(record.event.criticality.level());
        self.changed = moment(record);
        self.newest = record;
        self.others.extend(named_by(record));
    }

    fn close(&mut self, at: Timestamp) {
        self.closed = Some(at);
        self.changed = at;
    }

    /// Returns the devices of the fault.
    pub(super) fn devices(&self) -> impl Iterator<Item = &DeviceName> {
        std::iter::once(self.device).chain(&self.others)
    }

    /// Returns `true` for a fault of an enclosure, which explains those of its devices.
    pub(super) fn explains(&self) -> bool {
        self.family == Family::Away || self.event_type == "FanFailure"
    }

    /// Returns the fault as a reason, as of its newest event.
    pub(super) fn reason(&self) -> IncidentReason {
        let reason = reason_of(self.newest);
        let known = match self.family {
            Family::Hot => Some(advice::for_finding(Finding::Hot)),
            _ => advice::for_name(self.cause),
        };
        let advice = reason.advice.clone().or_else(|| known.map(|known| known.sentence.into()));
        let reason = HealthReason {
            metric: self.cause.to_owned(),
            health: self.health,
            since: Some(self.opened),
            advice,
            ..reason
        };
        IncidentReason { source_device: self.device.clone(), until: self.closed, reason }
    }
}

/// Returns the devices that agree, of an enclosure.
fn named_by(record: &EventRecord) -> impl Iterator<Item = DeviceName> {
    let event = &record.event;
    let names = event.labels.as_ref().and_then(|labels| labels.get("devices"));
    let names = names.filter(|_| event.event_type.as_str() == events::ANOMALIES_AGREE);
    names.into_iter().flat_map(|names| names.split(',')).filter_map(|name| DeviceName::new(name).ok())
}

/// Returns the faults of all devices that are not accepted, in order of their start.
pub(super) fn faults<'a>(evidence: &IncidentEvidence<'a>, decisions: &Decisions<'_>) -> Vec<DeviceFault<'a>> {
    let now = evidence.window.until;
    let mut by_device: BTreeMap<&DeviceName, Vec<&'a EventRecord>> = BTreeMap::new();
    for record in evidence.events.iter().filter(|record| moment(record) < now) {
        by_device.entry(&record.event.source_device).or_default().push(record);
    }
    let mut faults = Vec::new();
    for (device, mut records) in by_device {
        records
            .sort_by_key(|record| (moment(record), ends_something(record), record.event.timestamp, &record.event.id));
        let decisions = decisions.get(device).map(Vec::as_slice).unwrap_or_default();
        let acceptances = Acceptances::at(decisions, &[], now);
        let of_device = of_device(&records, now).into_iter();
        faults.extend(of_device.filter(|fault| {
            let is_accepted = acceptances.covers(fault.cause, fault.newest);
            fault.closed.is_some() || !is_accepted
        }));
    }
    faults.sort_by_key(|fault| (fault.opened, fault.device, fault.event_type, fault.closed));
    faults
}

/// Returns the faults of a device from its events in order of time.
fn of_device<'a>(records: &[&'a EventRecord], now: Timestamp) -> Vec<DeviceFault<'a>> {
    let mut open: BTreeMap<&str, DeviceFault<'a>> = BTreeMap::new();
    let mut closed = Vec::new();
    for &record in records {
        let (event_type, at) = (record.event.event_type.as_str(), moment(record));
        let ended: Vec<&str> =
            open.values().filter(|fault| ends(record, fault)).map(|fault| fault.event_type).collect();
        for mut fault in ended.into_iter().filter_map(|event_type| open.remove(event_type)) {
            fault.close(end_told_by(record, &fault));
            closed.push(fault);
        }
        if !opens(record) {
            continue;
        }
        if let Some(over) = open.get(event_type).and_then(|fault| end_without_event(fault, at)) {
            closed.extend(open.remove(event_type).map(|mut fault| {
                fault.close(over);
                fault
            }));
        }
        open.entry(event_type).and_modify(|fault| fault.repeat(record)).or_insert_with(|| DeviceFault::open(record));
    }
    let oldest = now.minus(health::FAULT_LOOKBACK);
    for mut fault in open.into_values() {
        if let Some(over) = end_without_event(&fault, now) {
            fault.close(over);
        }
        if fault.closed.is_some() || moment(fault.newest) >= oldest {
            closed.push(fault);
        }
    }
    closed
}

fn opens(record: &EventRecord) -> bool {
    let event = &record.event;
    match event.event_type.as_str() {
        events::HEALTH_CHANGED => {
            let is_critical = Statement::of(record).is_some_and(|statement| statement.health == Health::Critical);
            is_critical && event.criticality.calls()
        }
        event_type if health::is_deciding(event_type) => fault_of(event_type).is_some(),
        _ => event.criticality.level() >= health::PAGING_CRITICALITY,
    }
}

/// Returns `true` if an event closes a fault of its device.
fn ends(record: &EventRecord, fault: &DeviceFault<'_>) -> bool {
    let event_type = record.event.event_type.as_str();
    match fault.event_type {
        events::HEALTH_CHANGED => {
            let statement = Statement::of(record);
            event_type == "DriveReplaced" || statement.is_some_and(|statement| statement.health != Health::Critical)
        }
        opened_by => fault_of(opened_by).is_some_and(|fault| fault.resolved_by.contains(&event_type)),
    }
}

/// Returns the end of a fault that an event closes. A verdict may be stated a day after it changed.
fn end_told_by(record: &EventRecord, fault: &DeviceFault<'_>) -> Timestamp {
    let at = moment(record);
    let changed = Statement::of(record).filter(|_| fault.event_type == events::HEALTH_CHANGED);
    changed.map_or(at, |statement| statement.since.max(fault.changed).min(at))
}

/// Returns `true` for an event that may close a fault. At one instant, such events come after those that open faults.
fn ends_something(record: &EventRecord) -> bool {
    !opens(record)
}

/// Returns the end of a fault that no event closes, if it is over at `at`.
fn end_without_event(fault: &DeviceFault<'_>, at: Timestamp) -> Option<Timestamp> {
    let is_closed_by_event = match fault_of(fault.event_type) {
        Some(known) => !known.resolved_by.is_empty(),
        None => fault.event_type == events::HEALTH_CHANGED,
    };
    let over = moment(fault.newest).plus(RECENT);
    (!is_closed_by_event && at >= over).then_some(over)
}

/// Returns the event type, or the metric of a verdict by values.
fn cause(record: &EventRecord) -> &str {
    let event = &record.event;
    let metric = event.labels.as_ref().and_then(|labels| labels.get("why")).filter(|metric| !metric.is_empty());
    match metric {
        Some(metric) if event.event_type.as_str() == events::HEALTH_CHANGED => metric,
        _ => &event.event_type,
    }
}

fn family<'a>(event_type: &'a str, cause: &'a str, record: &EventRecord) -> Family<'a> {
    match event_type {
        "DriveFailure" => Family::Failed,
        "ShelfOffline" => Family::Away,
        "FanFailure" => Family::Hot,
        "DataCorruption" => Family::Corrupt,
        "SmartFailed" | "SelfTestFailed" | events::FAILURE_PREDICTED | events::FAILURE_RISK_RAISED => Family::Worn,
        events::DEVICE_SLOW | events::LATENCY_RAISED => Family::Slow,
        events::ANOMALIES_AGREE if is_about_heat(record) => Family::Hot,
        events::ANOMALIES_AGREE => Family::Slow,
        events::HEALTH_CHANGED => of_metric(cause),
        other => Family::Other(other),
    }
}

fn of_metric(metric: &str) -> Family<'_> {
    use Finding::{EndToEnd, Hot, Pending, Reallocated, SelfReported, Slow, Uncorrectable, Worn};
    match advice::for_name(metric).map(|advice| advice.finding) {
        Some(Hot) => Family::Hot,
        Some(Slow) => Family::Slow,
        Some(Reallocated | Uncorrectable | Pending | EndToEnd | Worn | SelfReported) => Family::Worn,
        _ => Family::Other(metric),
    }
}

/// Returns `true` if what agrees are temperatures alone.
fn is_about_heat(record: &EventRecord) -> bool {
    let labels = record.event.labels.as_ref();
    labels.and_then(|labels| labels.get("families")).is_some_and(|families| families == "temperature")
}
