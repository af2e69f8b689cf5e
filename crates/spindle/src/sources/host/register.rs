//! Register of the machine's drives: the last place of each, kept in a file so that a move over a restart is seen.
//!
//! A drive that appears elsewhere has moved ([`MOVED`]). A drive never seen before in the place of one that is gone has
//! replaced it ([`REPLACED`]); that event names the old drive, whose `DriveFailure` it ends. The first list of drives
//! is the baseline and gives no events.
//!
//! The file is written before its events are handed on, and keeps them until the next list of drives. After a crash in
//! between the same events are handed on again, with the same identity, so that the store keeps each once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spindle_core::backblaze::derived_id;
use spindle_core::wire::{self, Event};
use spindle_core::{Criticality, DeviceName, EventType, Labels, Timestamp};

use super::drives::Drive;
use super::place::Place;
use super::problems::{Problem, ProblemKind, Problems};
use crate::data_dir::atomic_file;

/// Event of a drive that has another kernel name, bay or host than before.
const MOVED: &str = "DeviceMoved";
/// Event of a drive in whose place there is another one.
const REPLACED: &str = "DriveReplaced";
/// Neither calls a person.
const CRITICALITY: u64 = 2;
/// Most drives remembered that are gone; the oldest are forgotten first.
const MAX_GONE: usize = 1024;

/// Last known state of a drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    host: String,
    place: Place,
    #[serde(default)]
    serial: Option<String>,
    #[serde(default)]
    wwn: Option<String>,
    /// Time of the last sample with the drive, once it is gone.
    #[serde(default)]
    gone_since: Option<Timestamp>,
    #[serde(default)]
    replaced_by: Option<String>,
}

/// Content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    drives: BTreeMap<String, Entry>,
    /// Names that several drives had.
    #[serde(default)]
    shared: BTreeSet<String>,
    /// Events of the last change, in the wire format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unconfirmed: Vec<serde_json::Value>,
}

/// The register, and the file that keeps it.
#[derive(Debug)]
pub(super) struct Register {
    path: Option<PathBuf>,
    /// `None` before the first list of drives.
    known: Option<Known>,
    saved: Option<Known>,
    /// Names that several drives had at some time.
    pub(super) shared: BTreeSet<String>,
}

impl Register {
    /// Reads the register; without a path it lives as long as the process.
    pub(super) fn open(path: Option<PathBuf>, problems: &mut Problems) -> Self {
        let known = path.as_deref().and_then(|path| read(path, problems));
        let shared = known.as_ref().map(|known| known.shared.clone()).unwrap_or_default();
        Self { path, saved: known.clone(), known, shared }
    }

    /// Returns the events of the last change before a restart, which may not have been handed on. Call it before
    /// [`Register::update`].
    pub(super) fn unconfirmed(&self) -> Vec<Event> {
        let events = self.known.iter().flat_map(|known| &known.unconfirmed);
        events.flat_map(|event| wire::decode_events(event.to_string().as_bytes()).items).collect()
    }

    /// Compares the drives with the register, updates it and its file, and returns what changed.
    pub(super) fn update(
        &mut self,
        now: Timestamp,
        host: &str,
        drives: &[Drive],
        problems: &mut Problems,
    ) -> Vec<Event> {
        let events = self.compare(now, host, drives);
        if let Some(known) = &mut self.known {
            let encoded = events.iter().map(|event| serde_json::from_slice(&wire::encode_event(event)));
            known.unconfirmed = encoded.flatten().collect();
        }
        self.save(problems);
        events
    }

    fn compare(&mut self, now: Timestamp, host: &str, drives: &[Drive]) -> Vec<Event> {
        let is_baseline = self.known.is_none();
        let known = self.known.get_or_insert_default();
        known.shared.clone_from(&self.shared);
        let mut events = Vec::new();
        let present: BTreeSet<&str> = drives.iter().map(|drive| drive.device.as_str()).collect();
        let (old, new): (Vec<&Drive>, Vec<&Drive>) =
            drives.iter().partition(|drive| known.drives.contains_key(&drive.device));
        for drive in &new {
            let replaced = known.drives.iter_mut().find(|(name, entry)| {
                !present.contains(name.as_str()) && entry.is_replaced_by(drive) && entry.host == host
            });
            if let Some((name, entry)) = replaced.filter(|_| !is_baseline) {
                entry.replaced_by = Some(drive.device.clone());
                events.extend(replaced_event(now, name, entry, drive));
            }
        }
        for drive in old {
            if let Some(entry) = known.drives.get(&drive.device) {
                events.extend(moved_event(now, host, entry, drive));
            }
        }
        for (name, entry) in &mut known.drives {
            if !present.contains(name.as_str()) {
                entry.gone_since.get_or_insert(now);
            }
        }
        for drive in drives {
            known.drives.insert(drive.device.clone(), Entry::of(host, drive));
        }
        known.forget_oldest();
        events
    }

    /// Writes the register if it changed.
    fn save(&mut self, problems: &mut Problems) {
        let (Some(path), Some(known)) = (&self.path, &self.known) else { return };
        if self.saved.as_ref() == Some(known) {
            return;
        }
        let bytes = serde_json::to_vec(known).expect("a map of texts is always JSON");
        match atomic_file::write(path, &bytes) {
            Ok(()) => self.saved = Some(known.clone()),
            Err(error) => {
                let message = format!("cannot write {}: {error}; moves over a restart go unseen", path.display());
                problems.note(Problem::new(ProblemKind::Register, path.display().to_string(), message));
            }
        }
    }
}

fn read(path: &Path, problems: &mut Problems) -> Option<Known> {
    let error = match std::fs::read(path) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(known) => return Some(known),
            Err(error) => error.to_string(),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => error.to_string(),
    };
    let message = format!("cannot read {}: {error}; the drives found now are the new baseline", path.display());
    problems.note(Problem::new(ProblemKind::Register, path.display().to_string(), message));
    None
}

impl Known {
    fn forget_oldest(&mut self) {
        let gone = |drives: &BTreeMap<String, Entry>| {
            let mut gone: Vec<_> =
                drives.iter().filter_map(|(name, entry)| Some((entry.gone_since?, name.clone()))).collect();
            gone.sort();
            gone
        };
        let gone = gone(&self.drives);
        for (_, name) in gone.iter().take(gone.len().saturating_sub(MAX_GONE)) {
            self.drives.remove(name);
        }
    }
}

impl Entry {
    fn of(host: &str, drive: &Drive) -> Self {
        let (serial, wwn) = (drive.identity.serial.clone(), drive.identity.wwn.clone());
        Self { host: host.to_owned(), place: drive.place.clone(), serial, wwn, gone_since: None, replaced_by: None }
    }

    /// Returns true if a drive that was not known before sits in the place of this one. Both need an identity of their
    /// own: the same drive may be named differently than before.
    fn is_replaced_by(&self, drive: &Drive) -> bool {
        let differs = |one: &Option<String>, other: &Option<String>| one.is_none() || one != other;
        let is_known = |serial: &Option<String>, wwn: &Option<String>| serial.is_some() || wwn.is_some();
        self.replaced_by.is_none()
            && is_known(&self.serial, &self.wwn)
            && is_known(&drive.identity.serial, &drive.identity.wwn)
            && differs(&self.serial, &drive.identity.serial)
            && differs(&self.wwn, &drive.identity.wwn)
            && self.place.is_same(&drive.place)
    }
}

fn moved_event(now: Timestamp, host: &str, entry: &Entry, drive: &Drive) -> Option<Event> {
    let (from, to) = (&entry.place, &drive.place);
    let bay_changed =
        from.bay.is_some() && to.bay.is_some() && (&from.bay, &from.enclosure) != (&to.bay, &to.enclosure);
    if entry.host == host && from.shares_name(to) && !bay_changed {
        return None;
    }
    let message = format!("moved from {}:{} to {host}:{}", entry.host, from.describe(), to.describe());
    let mut labels = drive.labels(host);
    labels.insert("previous_host".to_owned(), entry.host.clone());
    labels.insert("previous_name".to_owned(), from.names.join(","));
    labels.extend(from.bay.clone().map(|bay| ("previous_bay".to_owned(), bay)));
    event(now, &drive.device, MOVED, message, labels)
}

fn replaced_event(now: Timestamp, name: &str, entry: &Entry, drive: &Drive) -> Option<Event> {
    let message = format!("replaced by {} at {}:{}", drive.device, entry.host, drive.place.describe());
    let labels = Labels::from([("replaced_by".to_owned(), drive.device.clone())]);
    event(now, name, REPLACED, message, labels)
}

/// Builds an event; `None` if the device's name is not valid, which its metrics report.
fn event(now: Timestamp, device: &str, event_type: &str, message: String, labels: Labels) -> Option<Event> {
    let time = now.as_ns().to_be_bytes();
    Some(Event {
        id: derived_id(&[b"register", event_type.as_bytes(), device.as_bytes(), message.as_bytes(), &time]),
        criticality: Criticality::new(CRITICALITY)?,
        timestamp: now,
        source_device: DeviceName::new(device).ok()?,
        event_type: EventType::new(event_type).ok()?,
        event_message: Some(message),
        seq: None,
        labels: Some(Box::new(labels)),
    })
}
