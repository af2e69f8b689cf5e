//! Fleets and incidents for tests, as the reader sends them.

use spindle_core::Timestamp;

use super::answers::{EventRow, Incident, IncidentCause};
use super::fleet::{Columns, Fleet, NotOk, Texts};

/// A device; empty labels are none.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) enclosure: &'static str,
    pub(super) bay: &'static str,
    pub(super) class: &'static str,
    pub(super) since: Option<&'static str>,
    pub(super) advice: Option<&'static str>,
}

impl Given {
    pub(super) fn new(name: &str, state: &'static str) -> Self {
        Self { name: name.to_owned(), state, enclosure: "", bay: "", class: "DiskUnit", since: None, advice: None }
    }
}

pub(super) fn ok(n: usize) -> Vec<Given> {
    (0..n).map(|index| Given::new(&format!("ok-{index}"), "ok")).collect()
}

pub(super) fn fleet_of(devices: &[Given]) -> Fleet {
    const STATES: [&str; 6] = ["ok", "asleep", "unknown", "silent", "warning", "critical"];
    let column = |text: fn(&Given) -> &'static str| Texts {
        names: devices.iter().map(|device| text(device).to_owned()).collect(),
        index: (0..devices.len() as i32).collect(),
    };
    let ill: Vec<_> = devices.iter().enumerate().filter(|(_, device)| device.state != "ok").collect();
    let columns = Columns {
        device: devices.iter().map(|device| device.name.clone()).collect(),
        states: STATES.map(str::to_owned).to_vec(),
        state: devices.iter().map(|device| STATES.iter().position(|name| *name == device.state).unwrap()).collect(),
        heard_seconds: devices.iter().map(|_| Some(1)).collect(),
        labels: [
            ("enclosure".to_owned(), column(|device| device.enclosure)),
            ("bay".to_owned(), column(|device| device.bay)),
            ("class".to_owned(), column(|device| device.class)),
        ]
        .into(),
        not_ok: NotOk {
            index: ill.iter().map(|(index, _)| *index).collect(),
            score: ill.iter().map(|_| Some(10)).collect(),
            since: ill.iter().map(|(_, device)| device.since.map(|since| Timestamp::parse(since).unwrap())).collect(),
            reason: ill.iter().map(|_| "because".to_owned()).collect(),
            advice: ill.iter().map(|(_, device)| device.advice.map(str::to_owned)).collect(),
            acknowledged: ill.iter().map(|_| false).collect(),
        },
    };
    Fleet::new(columns, Timestamp::parse("2026-11-30T09:41:20Z").unwrap())
}

pub(super) fn incident(device: &str, health: &str, place: &[(&str, &str)], since: &str) -> Incident {
    Incident {
        state: "open".to_owned(),
        cause: "DiskFailing".to_owned(),
        health: health.to_owned(),
        source_device: device.to_owned(),
        devices: vec![device.to_owned()],
        place: place.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        since: Timestamp::parse(since).unwrap(),
        advice: Some("Replace the drive.".to_owned()),
        reasons: vec![IncidentCause { why: "unreadable sectors: PendingSectors is 65, limit 1".to_owned() }],
    }
}

pub(super) fn event(time: &str, device: &str, criticality: u8, message: &str) -> EventRow {
    EventRow {
        time: Timestamp::parse(time).unwrap(),
        source_device: device.to_owned(),
        event_type: "DiskFailing".to_owned(),
        criticality,
        event_message: Some(message.to_owned()),
    }
}
