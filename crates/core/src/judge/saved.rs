//! Saved state of the judge: a version, then records in order, each with its length and a checksum, in the format of
//! postcard.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use super::FleetJudge;
use super::device::Device;
use super::device::agreement::{RecentAlarms, Shelves};
use super::device::drives::DriveWatch;
use super::device::evidence::KeptEvents;
use super::device::note_control::NoteControl;
use super::device::notes::DayOfNotes;
use super::device::own_past::OwnPast;
use super::device::pages::PageLog;
use super::device::peers::PeerWatch;
use super::device::series::{Grade, NewestSample, Series, Uses};
use super::device::verdicts::{Standing, Stated};
use crate::detect::{Detector, SavedDetectorError};
use crate::event_id::EventId;
use crate::health::Health;
use crate::name::{DeviceName, EventType, MetricType};
use crate::records::{Arrival, EventRecord};
use crate::timestamp::Timestamp;
use crate::wire::{Criticality, Event, Labels};

const VERSION: u32 = 3;
/// Longest record: the judge of drives, with a million of them.
const MAX_RECORD_BYTES: u64 = 2 << 30;

/// Error of [`FleetJudge::save`] and [`FleetJudge::restore`].
#[derive(Debug, thiserror::Error)]
pub enum SavedJudgeError {
    /// Not written or read.
    #[error("saved state of the detector: {0}")]
    Io(#[from] std::io::Error),
    /// Not readable as a record.
    #[error("saved state of the detector is not usable: {0}")]
    Format(#[from] postcard::Error),
    /// Saved by another version.
    #[error("version {0} of the saved state of the detector is unknown: everything must be learnt again")]
    Version(u32),
    /// Other bytes than were written.
    #[error("saved state of the detector is damaged: {0}")]
    Damaged(&'static str),
    /// A series is damaged.
    #[error("saved state of the detector is damaged: {0}")]
    Series(#[from] SavedDetectorError),
}

#[derive(Serialize, Deserialize)]
struct SavedHead {
    now: Timestamp,
    ticked: Timestamp,
    due: Timestamp,
    quiet_until: Timestamp,
    n_left_out: u64,
    minute: Option<i64>,
    slow: Vec<(String, DeviceName, Timestamp)>,
    cohorts_swept: Timestamp,
    shelves: Shelves,
    made: Vec<SavedEvent>,
    n_devices: u64,
}

#[derive(Serialize, Deserialize)]
struct SavedDevice {
    name: DeviceName,
    labels: Labels,
    arrival: Option<(Timestamp, Timestamp)>,
    seen: Timestamp,
    due: Timestamp,
    other: Option<NewestSample>,
    events: Vec<SavedEvent>,
    decisions: Vec<SavedEvent>,
    pages: PageLog,
    standing: SavedStanding,
    peers: PeerWatch,
    own_past: OwnPast,
    drive: DriveWatch,
    notes: DayOfNotes,
    alarms: RecentAlarms,
    history: Option<Vec<u8>>,
    n_series: u64,
}

#[derive(Serialize, Deserialize)]
struct SavedStanding {
    is_dirty: bool,
    is_unknown: bool,
    stated: Option<(SavedHealth, Timestamp, Timestamp)>,
    pending: Option<(SavedHealth, Timestamp)>,
    again_at: Timestamp,
    changes: Vec<Timestamp>,
    critical: Vec<String>,
}

/// The bytes of the detector follow.
#[derive(Serialize, Deserialize)]
struct SavedSeries {
    metric_type: MetricType,
    newest: Option<NewestSample>,
    interval_before_s: f32,
    grade: Grade,
    control: NoteControl,
}

#[derive(Serialize, Deserialize)]
struct SavedEvent {
    id: String,
    criticality: u8,
    timestamp: Timestamp,
    source_device: DeviceName,
    event_type: EventType,
    message: Option<String>,
    labels: Option<Labels>,
    received: Timestamp,
}

/// Verdict by its name.
#[derive(Serialize, Deserialize)]
struct SavedHealth(String);

impl FleetJudge {
    /// Writes the state; at most 8 KiB for each series, 4 KiB for each device, and the names. Events not taken yet are
    /// part of it.
    ///
    /// # Errors
    /// [`SavedJudgeError::Io`] if `out` fails.
    pub fn save(&self, mut out: impl Write) -> Result<(), SavedJudgeError> {
        out.write_all(&VERSION.to_le_bytes())?;
        let mut record = Vec::new();
        put(&mut out, &mut record, &self.head(), &[])?;
        put(&mut out, &mut record, &self.drives, &[])?;
        for device in self.devices.iter() {
            let history = self.peers.cohorts.history(&device.name).transpose()?;
            put(&mut out, &mut record, &SavedDevice::of(device, history), &[])?;
            for series in &device.series {
                let detector = series.detector.as_ref().map(|detector| detector.to_bytes()).unwrap_or_default();
                put(&mut out, &mut record, &SavedSeries::of(series), &detector)?;
            }
        }
        Ok(())
    }

    /// Reads the state that [`Self::save`] wrote, and nothing behind it.
    ///
    /// # Errors
    /// [`SavedJudgeError`] if it is of another version, damaged or not complete.
    pub fn restore(mut input: impl Read) -> Result<Self, SavedJudgeError> {
        let mut version = [0; 4];
        input.read_exact(&mut version)?;
        let version = u32::from_le_bytes(version);
        if version != VERSION {
            return Err(SavedJudgeError::Version(version));
        }
        let mut record = Vec::new();
        let (head, _): (SavedHead, _) = take(&mut input, &mut record)?;
        let n_devices = head.n_devices;
        let mut judge = Self::with(head)?;
        (judge.drives, _) = take(&mut input, &mut record)?;
        for _ in 0..n_devices {
            let (saved, _): (SavedDevice, _) = take(&mut input, &mut record)?;
            if let Some(history) = &saved.history {
                judge.peers.cohorts.enter(saved.name.clone(), history)?;
            }
            let n_series = saved.n_series;
            let mut device = saved.device()?;
            for _ in 0..n_series {
                let (saved, detector): (SavedSeries, &[u8]) = take(&mut input, &mut record)?;
                let series = saved.series(detector)?;
                judge.n_series += usize::from(series.detector.is_some());
                device.series.push(series);
            }
            device.learn_limits();
            judge.peers.count(&device);
            judge.devices.push(device);
        }
        Ok(judge)
    }

    fn head(&self) -> SavedHead {
        SavedHead {
            now: self.now,
            ticked: self.ticked,
            due: self.due,
            quiet_until: self.quiet_until,
            n_left_out: self.n_left_out,
            minute: self.peers.minute,
            slow: self
                .peers
                .slow
                .iter()
                .map(|(enclosure, (name, at))| (enclosure.clone(), name.clone(), *at))
                .collect(),
            cohorts_swept: self.peers.cohorts.swept,
            shelves: self.shelves.clone(),
            made: self.made.iter().map(|event| SavedEvent::of(event, event.timestamp)).collect(),
            n_devices: self.devices.len() as u64,
        }
    }

    fn with(head: SavedHead) -> Result<Self, SavedJudgeError> {
        let mut judge = Self {
            now: head.now,
            ticked: head.ticked,
            due: head.due,
            quiet_until: head.quiet_until,
            n_left_out: head.n_left_out,
            ..Self::default()
        };
        judge.peers.minute = head.minute;
        judge.peers.slow = head.slow.into_iter().map(|(enclosure, name, at)| (enclosure, (name, at))).collect();
        judge.peers.cohorts.swept = head.cohorts_swept;
        judge.shelves = head.shelves;
        for saved in head.made {
            judge.made.push(saved.record()?.event);
        }
        Ok(judge)
    }
}

impl SavedDevice {
    fn of(device: &Device, history: Option<Vec<u8>>) -> Self {
        let saved = |records: &[EventRecord]| {
            records.iter().map(|record| SavedEvent::of(&record.event, record.received)).collect()
        };
        Self {
            name: device.name.clone(),
            labels: device.labels.clone(),
            arrival: device.arrival.map(|arrival| (arrival.received, arrival.measured)),
            seen: device.seen,
            due: device.due,
            other: device.other.clone(),
            events: saved(&device.kept.events),
            decisions: saved(&device.kept.decisions),
            pages: device.pages.clone(),
            standing: SavedStanding::of(&device.standing),
            peers: device.peers.clone(),
            own_past: device.own_past.clone(),
            drive: device.drive.clone(),
            notes: device.notes.clone(),
            alarms: device.alarms.clone(),
            history,
            n_series: device.series.len() as u64,
        }
    }

    fn device(self) -> Result<Device, SavedJudgeError> {
        let records = |saved: Vec<SavedEvent>| saved.into_iter().map(SavedEvent::record).collect::<Result<_, _>>();
        let kept = KeptEvents { events: records(self.events)?, decisions: records(self.decisions)? };
        Ok(Device {
            labels: self.labels,
            arrival: self.arrival.map(|(received, measured)| Arrival { received, measured }),
            due: self.due,
            other: self.other,
            kept,
            pages: self.pages,
            standing: self.standing.standing()?,
            peers: self.peers,
            own_past: self.own_past,
            drive: self.drive,
            notes: self.notes,
            alarms: self.alarms,
            ..Device::new(self.name, self.seen)
        })
    }
}

impl SavedStanding {
    fn of(standing: &Standing) -> Self {
        let Standing { is_dirty, is_unknown, stated, pending, again_at, changes, critical } = standing.clone();
        Self {
            is_dirty,
            is_unknown,
            stated: stated.map(|stated| (SavedHealth::of(stated.health), stated.since, stated.at)),
            pending: pending.map(|(health, since)| (SavedHealth::of(health), since)),
            again_at,
            changes,
            critical,
        }
    }

    fn standing(self) -> Result<Standing, SavedJudgeError> {
        let Self { is_dirty, is_unknown, stated, pending, again_at, changes, critical } = self;
        let stated =
            stated.map(|(health, since, at)| Ok::<_, SavedJudgeError>(Stated { health: health.read()?, since, at }));
        let pending = pending.map(|(health, since)| Ok::<_, SavedJudgeError>((health.read()?, since)));
        let (stated, pending) = (stated.transpose()?, pending.transpose()?);
        Ok(Standing { is_dirty, is_unknown, stated, pending, again_at, changes, critical })
    }
}

impl SavedSeries {
    fn of(series: &Series) -> Self {
        let Series { interval_before_s, grade, .. } = *series;
        let (metric_type, newest) = (series.metric_type.clone(), series.newest.clone());
        Self { metric_type, newest, interval_before_s, grade, control: series.control.clone() }
    }

    fn series(self, detector: &[u8]) -> Result<Series, SavedJudgeError> {
        let detector = match detector {
            [] => None,
            bytes => Some(Box::new(Detector::from_bytes(bytes)?)),
        };
        let uses = Uses::of(&self.metric_type);
        let Self { metric_type, newest, interval_before_s, grade, control } = self;
        Ok(Series { metric_type, uses, newest, interval_before_s, grade, detector, control })
    }
}

impl SavedEvent {
    fn of(event: &Event, received: Timestamp) -> Self {
        Self {
            id: event.id.to_string(),
            criticality: event.criticality.level(),
            timestamp: event.timestamp,
            source_device: event.source_device.clone(),
            event_type: event.event_type.clone(),
            message: event.event_message.clone(),
            labels: event.labels.as_deref().cloned(),
            received,
        }
    }

    fn record(self) -> Result<EventRecord, SavedJudgeError> {
        let event = Event {
            id: EventId::new(&self.id).map_err(|_| SavedJudgeError::Damaged("id of an event"))?,
            criticality: Criticality::new(u64::from(self.criticality))
                .ok_or(SavedJudgeError::Damaged("criticality of an event"))?,
            timestamp: self.timestamp,
            source_device: self.source_device,
            event_type: self.event_type,
            event_message: self.message,
            seq: None,
            labels: self.labels.map(Box::new),
        };
        Ok(EventRecord { event, received: self.received })
    }
}

impl SavedHealth {
    fn of(health: Health) -> Self {
        Self(health.name().to_owned())
    }

    fn read(self) -> Result<Health, SavedJudgeError> {
        Health::of_name(&self.0).ok_or(SavedJudgeError::Damaged("a verdict"))
    }
}

/// Writes a record and the bytes that follow it. `record` is scratch space.
fn put(out: &mut impl Write, record: &mut Vec<u8>, value: &impl Serialize, rest: &[u8]) -> Result<(), SavedJudgeError> {
    record.clear();
    *record = postcard::to_extend(value, std::mem::take(record))?;
    record.extend_from_slice(rest);
    out.write_all(&(record.len() as u64).to_le_bytes())?;
    out.write_all(&checksum(record).to_le_bytes())?;
    out.write_all(record)?;
    Ok(())
}

/// Reads a record and the bytes that follow it. `record` is scratch space.
fn take<'a, T: Deserialize<'a>>(
    input: &mut impl Read,
    record: &'a mut Vec<u8>,
) -> Result<(T, &'a [u8]), SavedJudgeError> {
    let (mut length, mut sum) = ([0; 8], [0; 8]);
    input.read_exact(&mut length)?;
    input.read_exact(&mut sum)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_RECORD_BYTES {
        return Err(SavedJudgeError::Damaged("length of a record"));
    }
    record.clear();
    // Grows with what is there: a damaged length allocates nothing.
    input.by_ref().take(length).read_to_end(record)?;
    if record.len() as u64 != length {
        return Err(SavedJudgeError::Damaged("cut off"));
    }
    if checksum(record).to_le_bytes() != sum {
        return Err(SavedJudgeError::Damaged("checksum of a record"));
    }
    Ok(postcard::take_from_bytes(record)?)
}

/// Returns a checksum that every change of a single word changes.
fn checksum(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut words = bytes.chunks_exact(8);
    let mut sum = bytes.len() as u64;
    let mut add = |word: u64| sum = (sum ^ word).wrapping_mul(ODD).rotate_left(29);
    for word in &mut words {
        add(u64::from_le_bytes(word.try_into().unwrap_or_default()));
    }
    words.remainder().iter().for_each(|byte| add(u64::from(*byte)));
    sum
}
