//! States of drives that last: failing, and a failed self-test. A change is an event, once, over restarts too.
//!
//! The file is written before its events are handed on, and keeps them until the next poll. After a crash in between
//! the same events are handed on again, with the same identity, so that the store keeps each once.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use spindle_core::backblaze::derived_id;
use spindle_core::smart::SmartReport;
use spindle_core::wire::{self, Event};
use spindle_core::{Criticality, DeviceName, EventType, Labels, Timestamp};

use crate::data_dir::atomic_file;
use crate::sources::host::{Problem, ProblemKind, Problems};

/// Most drives remembered.
const MAX_DRIVES: usize = 4096;
/// A drive that reports its failure calls a person.
const FAILED: u64 = 9;
/// A failed self-test is the drive's own word as well, but often a single sector.
const TEST_FAILED: u64 = 7;
/// The end of either is good news.
const OVER: u64 = 2;

/// Lasting states of one drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct DriveStates {
    #[serde(default)]
    is_failed: bool,
    #[serde(default)]
    has_failed_test: bool,
}

/// Content of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Saved {
    /// Drives with a state that is not good.
    drives: BTreeMap<String, DriveStates>,
    /// Events of the last change, in the wire format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unconfirmed: Vec<serde_json::Value>,
}

/// The states, and the file that keeps them.
#[derive(Debug)]
pub(super) struct States {
    path: Option<PathBuf>,
    current: Saved,
    saved: Saved,
}

impl States {
    /// Reads the file; without a path the states live as long as the process.
    pub(super) fn open(path: Option<PathBuf>, problems: &mut Problems) -> Self {
        let read = path.as_ref().map(std::fs::read);
        let saved: Saved = match read {
            None => Saved::default(),
            Some(Err(error)) if error.kind() == ErrorKind::NotFound => Saved::default(),
            Some(read) => {
                let parsed = read.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
                parsed.unwrap_or_else(|error| {
                    note(problems, &path, &format!("cannot be read: {error}; states are reported again"));
                    Saved::default()
                })
            }
        };
        Self { path, current: saved.clone(), saved }
    }

    /// Returns the events of the last change before a restart.
    pub(super) fn unconfirmed(&self) -> Vec<Event> {
        let events = self.saved.unconfirmed.iter();
        events.flat_map(|event| wire::decode_events(event.to_string().as_bytes()).items).collect()
    }

    /// Compares a report with the known states, and returns what changed. What a report does not say stays.
    pub(super) fn update(
        &mut self,
        now: Timestamp,
        device: &DeviceName,
        report: &SmartReport,
        labels: &Labels,
    ) -> Vec<Event> {
        let before = self.current.drives.get(device.as_str()).copied().unwrap_or_default();
        let is_failed = report.is_failed.unwrap_or(before.is_failed);
        let n_failed = report.value("smart_self_tests_failed");
        let has_failed_test = n_failed.map_or(before.has_failed_test, |n_failed| n_failed > 0.0);
        let after = DriveStates { is_failed, has_failed_test };
        match after == DriveStates::default() {
            true => drop(self.current.drives.remove(device.as_str())),
            false if self.current.drives.len() < MAX_DRIVES || before != DriveStates::default() => {
                self.current.drives.insert(device.to_string(), after);
            }
            false => {}
        }
        let failed_test = report.failed_self_test.clone().unwrap_or_default();
        let changes = [
            (before.is_failed, is_failed, ["SmartFailed", "SmartRecovered"], FAILED, report.failure.clone()),
            (before.has_failed_test, has_failed_test, ["SelfTestFailed", "SelfTestPassed"], TEST_FAILED, failed_test),
        ];
        let changed = changes.into_iter().filter(|(before, after, ..)| before != after);
        let events = changed.filter_map(|(_, is_bad, [bad, good], criticality, why)| match is_bad {
            true => event(now, device, bad, criticality, why, labels),
            false => event(now, device, good, OVER, "no longer reported by the drive".to_owned(), labels),
        });
        events.collect()
    }

    /// Writes the file if it changed, with the events that are about to be handed on.
    pub(super) fn save(&mut self, events: &[Event], problems: &mut Problems) {
        let encoded = events.iter().map(|event| serde_json::from_slice(&wire::encode_event(event)));
        self.current.unconfirmed = encoded.flatten().collect();
        let Some(path) = self.path.as_ref().filter(|_| self.saved != self.current) else { return };
        let bytes = serde_json::to_vec(&self.current).expect("a map of texts is always JSON");
        match atomic_file::write(path, &bytes) {
            Ok(()) => self.saved = self.current.clone(),
            Err(error) => {
                let message = format!("cannot be written: {error}; states are reported again after a restart");
                note(problems, &self.path, &message);
            }
        }
    }
}

fn note(problems: &mut Problems, path: &Option<PathBuf>, message: &str) {
    let place = path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    problems.note(Problem::new(ProblemKind::Register, place.clone(), format!("{place} {message}")));
}

fn event(
    now: Timestamp,
    device: &DeviceName,
    event_type: &str,
    criticality: u64,
    message: String,
    labels: &Labels,
) -> Option<Event> {
    let time = now.as_ns().to_be_bytes();
    Some(Event {
        id: derived_id(&[b"smart", event_type.as_bytes(), device.as_bytes(), &time]),
        criticality: Criticality::new(criticality)?,
        timestamp: now,
        source_device: device.clone(),
        event_type: EventType::new(event_type).ok()?,
        event_message: Some(message),
        seq: None,
        labels: Some(Box::new(labels.clone())),
    })
}
