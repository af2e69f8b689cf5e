//! Incidents: open and recently closed faults, told by their causes. One cause is one incident, however many devices and
//! events show it.
//!
//! Pure function of events, decisions and labels. The order of events does not matter; more events that open faults never
//! remove an incident, though they may join two of them; one that shows an earlier start parts a fault from what it preceded.

mod fault;
mod grouping;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use uuid::Builder;

use crate::advice::{self, Finding};
use crate::decision::{self, DecisionInForce};
use crate::health::{self, Health, HealthReason};
use crate::identity::IdentityDigest;
use crate::judge::events::HEALTH_CHANGED;
use crate::name::{DeviceName, EventType};
use crate::records::{EventRecord, Window};
use crate::timestamp::Timestamp;
use crate::wire::Labels;

use fault::DeviceFault;

/// Most reasons of one incident; [`Incident::n_reasons`] counts all.
const MAX_REASONS: usize = 5;
/// Labels that tell a place.
const PLACE: [&str; 3] = ["enclosure", "host", "bay"];

/// One cause with the devices that it concerns.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Incident {
    /// Id: that of the first event, so it stays when others join.
    pub id: String,
    /// State.
    pub state: IncidentState,
    /// Event type or metric of the fault that explains the others.
    pub cause: String,
    /// Verdict on its devices.
    pub health: Health,
    /// Highest criticality of its events, 1 to 10; of those that are not closed, while it is open.
    pub criticality: u8,
    /// Device with the cause.
    pub source_device: DeviceName,
    /// All its devices, by name.
    pub devices: Vec<DeviceName>,
    /// Labels `enclosure`, `host` and `bay` that all its devices share.
    pub place: Labels,
    /// Start.
    pub since: Timestamp,
    /// End, once it is closed.
    pub until: Option<Timestamp>,
    /// Time of the newest event that opened or closed one of its faults.
    pub changed: Timestamp,
    /// Action, as an imperative sentence.
    pub advice: Option<Cow<'static, str>>,
    /// Its faults, the cause first; at most five.
    pub reasons: Vec<IncidentReason>,
    /// Number of its faults.
    pub n_reasons: usize,
    /// Acknowledgment in force, of any of its devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<DecisionInForce>,
}

/// State of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentState {
    /// Not over, and nobody works on it.
    Open,
    /// Not over, and somebody works on it.
    Acknowledged,
    /// Over.
    Closed,
}

/// Fault of one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IncidentReason {
    /// Device.
    pub source_device: DeviceName,
    /// End, if it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Fault.
    #[serde(flatten)]
    pub reason: HealthReason,
}

/// Input of [`incidents`].
#[derive(Clone, Debug)]
pub struct IncidentEvidence<'a> {
    /// Incidents that were open in this window; its end is the time as of which they are told.
    pub window: Window,
    /// Events of [`event_types`] and those of [`health::PAGING_CRITICALITY`] from [`health::FAULT_LOOKBACK`] before the
    /// end of the window on, in any order.
    pub events: &'a [EventRecord],
    /// Events of [`decision::event_types`], in any order.
    pub decisions: &'a [EventRecord],
    /// Labels by device, where they are known.
    pub labels: &'a BTreeMap<DeviceName, Labels>,
}

/// Returns the event types that open and close incidents.
pub fn event_types() -> impl Iterator<Item = EventType> {
    health::event_types().chain(EventType::new(HEALTH_CHANGED).ok())
}

/// Returns the incidents that were open in the window, worst first: those that are not closed, then those that nobody
/// works on, by criticality, number of devices and age.
pub fn incidents(evidence: &IncidentEvidence<'_>) -> Vec<Incident> {
    let decisions = by_device(evidence.decisions);
    let in_force = |(device, records): (_, &Vec<EventRecord>)| {
        decision::acknowledged(records, evidence.window.until).map(|decision| (device, decision))
    };
    let acknowledged = decisions.iter().filter_map(|(device, records)| in_force((*device, records))).collect();
    let faults = fault::faults(evidence, &decisions);
    let groups = grouping::group(&faults, |device| enclosure(evidence, device));
    let mut incidents: Vec<Incident> = groups
        .iter()
        .map(|group| incident(group, evidence, &acknowledged))
        .filter(|found| was_open_in(found, evidence.window))
        .collect();
    incidents.sort_by(|one, other| rank(one).cmp(&rank(other)));
    incidents
}

/// Decisions by their device.
type Decisions<'a> = BTreeMap<&'a DeviceName, Vec<EventRecord>>;

fn by_device(decisions: &[EventRecord]) -> Decisions<'_> {
    let mut of_devices = Decisions::new();
    for record in decisions {
        of_devices.entry(&record.event.source_device).or_default().push(record.clone());
    }
    of_devices
}

fn was_open_in(incident: &Incident, window: Window) -> bool {
    incident.until.is_none_or(|until| until >= window.from)
}

fn rank(incident: &Incident) -> (IncidentState, Reverse<u8>, Reverse<usize>, Reverse<Timestamp>, &str) {
    let Incident { state, criticality, devices, since, id, .. } = incident;
    (*state, Reverse(*criticality), Reverse(devices.len()), Reverse(*since), id)
}

fn enclosure<'a>(evidence: &IncidentEvidence<'a>, device: &DeviceName) -> Option<&'a str> {
    evidence.labels.get(device)?.get("enclosure").map(String::as_str).filter(|name| !name.is_empty())
}

/// Builds the incident of some faults, of which there is one at least.
fn incident(
    faults: &[&DeviceFault<'_>],
    evidence: &IncidentEvidence<'_>,
    acknowledged: &BTreeMap<&DeviceName, DecisionInForce>,
) -> Incident {
    let devices: BTreeSet<&DeviceName> = faults.iter().flat_map(|fault| fault.devices()).collect();
    let is_open = faults.iter().any(|fault| fault.closed.is_none());
    let mut ordered = faults.to_vec();
    ordered.sort_by_key(|fault| {
        let is_explanation = devices.len() > 1 && fault.explains();
        let severity = (is_explanation, fault.health, fault.criticality);
        (fault.closed.is_some() && is_open, Reverse(severity), fault.opened, fault.device, fault.event_type)
    });
    let cause = ordered[0];
    let since = faults.iter().map(|fault| fault.opened).min().unwrap_or(cause.opened);
    let until = if is_open { None } else { faults.iter().filter_map(|fault| fault.closed).max() };
    let acknowledged = if is_open { acknowledgment(&devices, since, acknowledged) } else { None };
    let worst = faults.iter().filter(|fault| fault.closed.is_none() || !is_open);
    let reasons: Vec<IncidentReason> = ordered.iter().take(MAX_REASONS).map(|fault| fault.reason()).collect();
    let place = place(&devices, evidence);
    let is_shared = devices.len() > 1 && place.contains_key("enclosure") && !cause.explains();
    let advice = match is_shared {
        true => Some(advice::for_finding(Finding::Together).sentence.into()),
        false => reasons[0].reason.advice.clone(),
    };
    Incident {
        id: id(faults),
        state: match (is_open, &acknowledged) {
            (false, _) => IncidentState::Closed,
            (true, Some(_)) => IncidentState::Acknowledged,
            (true, None) => IncidentState::Open,
        },
        cause: cause.cause.to_owned(),
        health: worst.clone().map(|fault| fault.health).max().unwrap_or(cause.health),
        criticality: worst.map(|fault| fault.criticality).max().unwrap_or(cause.criticality),
        source_device: cause.device.clone(),
        devices: devices.into_iter().cloned().collect(),
        place,
        since,
        until,
        changed: faults.iter().map(|fault| fault.changed).max().unwrap_or(since),
        advice,
        n_reasons: faults.len(),
        reasons,
        acknowledged,
    }
}

/// Returns the id that follows from the event that opened the first fault.
fn id(faults: &[&DeviceFault<'_>]) -> String {
    let first = faults.iter().min_by_key(|fault| (fault.opened, fault.device, fault.event_type));
    let digest = first.map_or_else(
        || IdentityDigest::of(&[b"incident"]),
        |first| {
            let at = first.opened.as_ns().to_be_bytes();
            IdentityDigest::of(&[b"incident", first.event_type.as_bytes(), first.device.as_bytes(), &at])
        },
    );
    Builder::from_custom_bytes(digest.bytes()).into_uuid().to_string()
}

/// Returns the newest acknowledgment of one of the devices that was given after the start of the incident: an earlier one
/// was about something else.
fn acknowledgment(
    devices: &BTreeSet<&DeviceName>,
    since: Timestamp,
    acknowledged: &BTreeMap<&DeviceName, DecisionInForce>,
) -> Option<DecisionInForce> {
    let in_force = devices.iter().filter_map(|device| acknowledged.get(*device));
    let newest = in_force.filter(|decision| decision.since >= since);
    newest.max_by_key(|decision| (decision.since, decision.until)).cloned()
}

/// Returns the labels of the place that all devices share.
fn place(devices: &BTreeSet<&DeviceName>, evidence: &IncidentEvidence<'_>) -> Labels {
    let none = Labels::new();
    let mut shared: Option<Labels> = None;
    for device in devices {
        let of_device = evidence.labels.get(*device).unwrap_or(&none);
        let place = shared.get_or_insert_with(|| {
            let known = PLACE.iter().filter_map(|key| of_device.get_key_value(*key));
            known.map(|(key, value)| (key.clone(), value.clone())).collect()
        });
        place.retain(|key, value| of_device.get(key) == Some(value));
    }
    shared.unwrap_or_default()
}
