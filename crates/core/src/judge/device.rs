//! Devices as they are known from their metrics and events: labels, newest values, arrival, and all state about them.

pub(super) mod agreement;
pub(super) mod drives;
pub(super) mod evidence;
pub(super) mod note_control;
pub(super) mod notes;
pub(super) mod own_past;
pub(super) mod pages;
pub(super) mod peers;
pub(super) mod series;
pub(super) mod slow;
pub(super) mod verdicts;

use std::collections::HashMap;
use std::time::Duration;

use self::agreement::RecentAlarms;
use self::drives::DriveWatch;
use self::evidence::KeptEvents;
use self::notes::DayOfNotes;
use self::own_past::OwnPast;
use self::pages::PageLog;
use self::peers::PeerWatch;
use self::series::{NewestSample, Series, Uses};
use self::verdicts::Standing;
use crate::health::{self, CLOCK_TOLERANCE, TemperatureLimits};
use crate::name::DeviceName;
use crate::records::{Arrival, LatestSample, Window};
use crate::timestamp::Timestamp;
use crate::wire::{DeviceMetric, Event, Labels};

/// Largest number of devices; what others send is left out.
pub const MAX_DEVICES: usize = 100_000;
/// Largest number of series of a device that are kept: those that a verdict, the judge of drives or a detector reads.
const MAX_SERIES_OF_DEVICE: usize = 256;
/// Labels that are kept; all but the last go into events.
const KEPT_LABELS: [&str; 7] = ["enclosure", "bay", "host", "model", "serial", "name", "class"];
/// Longest label value that is kept, in bytes.
const MAX_LABEL_BYTES: usize = 64;

/// Place of a series in the list of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeriesPlace {
    At(usize),
    /// Nothing reads it.
    Unused,
    /// The device has [`MAX_SERIES_OF_DEVICE`] others.
    Full,
}

/// One device.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: DeviceName,
    pub(super) labels: Labels,
    /// Newest arrival of values.
    pub(super) arrival: Option<Arrival>,
    /// Newest message of any kind, by the time at which NATS took it.
    pub(super) seen: Timestamp,
    /// In order of metric type.
    pub(super) series: Vec<Series>,
    /// Newest value of any metric that is not in `series`: it shows that the device sends, and nothing else.
    pub(super) other: Option<NewestSample>,
    /// Limits that the device states about its temperature.
    pub(super) limits: TemperatureLimits,
    pub(super) kept: KeptEvents,
    pub(super) pages: PageLog,
    pub(super) standing: Standing,
    pub(super) peers: PeerWatch,
    pub(super) own_past: OwnPast,
    pub(super) drive: DriveWatch,
    pub(super) notes: DayOfNotes,
    pub(super) alarms: RecentAlarms,
    /// Time from which on the device must be looked at.
    pub(super) due: Timestamp,
    /// Place in `series` at which the next metric is expected: devices send theirs in the same order each time.
    pub(super) cursor: usize,
}

impl Device {
    pub(super) fn new(name: DeviceName, now: Timestamp) -> Self {
        Self {
            name,
            labels: Labels::new(),
            arrival: None,
            seen: now,
            series: Vec::new(),
            other: None,
            limits: TemperatureLimits::default(),
            kept: KeptEvents::default(),
            pages: PageLog::default(),
            standing: Standing::default(),
            peers: PeerWatch::default(),
            own_past: OwnPast::default(),
            drive: DriveWatch::default(),
            notes: DayOfNotes::default(),
            alarms: RecentAlarms::default(),
            due: now,
            cursor: 0,
        }
    }

    /// Notes the arrival of a value.
    pub(super) fn arrive(&mut self, measured: Timestamp, received: Timestamp) {
        self.seen = self.seen.max(received);
        match &mut self.arrival {
            Some(arrival) if received <= arrival.received => arrival.measured = arrival.measured.max(measured),
            arrival => *arrival = Some(Arrival { received, measured }),
        }
    }

    /// Takes a hole before `until`, in which messages may be missing.
    pub(super) fn skip(&mut self, hole: Duration, until: Timestamp) {
        self.seen = self.seen.plus(hole);
        if let Some(arrival) = &mut self.arrival {
            arrival.received = arrival.received.plus(hole);
        }
        self.peers.skip(hole);
        self.own_past.skip();
        self.drive.skip(hole);
        self.alarms.skip(hole);
        self.due = self.due.max(until);
        verdicts::skip(self);
    }

    /// Takes the labels of a metric or event; returns `true` if they say something new.
    pub(super) fn learn_labels(&mut self, labels: &Labels) -> bool {
        let mut is_new = false;
        for (key, value) in labels {
            if !KEPT_LABELS.contains(&key.as_str()) || value.is_empty() || value.len() > MAX_LABEL_BYTES {
                continue;
            }
            match self.labels.get_mut(key) {
                Some(known) if known == value => {}
                Some(known) => {
                    is_new = true;
                    value.clone_into(known);
                }
                None => {
                    is_new = true;
                    self.labels.insert(key.clone(), value.clone());
                }
            }
        }
        is_new
    }

    /// Returns the labels that describe the device in an event about it.
    pub(super) fn labels_of_event(&self) -> Labels {
        self.labels.iter().filter(|(key, _)| *key != "class").map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    pub(super) fn enclosure(&self) -> Option<&str> {
        self.labels.get("enclosure").map(String::as_str)
    }

    /// Reads what the device states about its temperature, and grades its temperatures by that.
    pub(super) fn learn_limits(&mut self) {
        let stated = self.series.iter().filter(|series| series.uses.is_stated);
        let stated: Vec<LatestSample> = stated.filter_map(Series::latest).collect();
        self.limits = TemperatureLimits::of(&stated);
        for series in &mut self.series {
            if let Some(value) = series.newest.as_ref().map(|newest| newest.value) {
                series.regrade(value, Some(value), self.limits);
            }
        }
    }

    /// Takes the replacement of the drive at `at`; by the clock of the sender at `measured`. What was measured before, and
    /// what was said about it, is of another drive.
    pub(super) fn replace(&mut self, measured: Timestamp, at: Timestamp) {
        self.drive.replace(at);
        self.peers.replace(at);
        self.own_past.replace(at);
        self.alarms.replace();
        self.pages.replace(at);
        self.standing.critical.clear();
        self.series.iter_mut().for_each(|series| series.replace(measured));
        self.other = self.other.take().filter(|other| other.time > measured);
        self.learn_limits();
    }

    /// Takes an event that the detector makes about the device: it is evidence at once, and not only once it comes back.
    pub(super) fn say(&mut self, event: Event, now: Timestamp, made: &mut Vec<Event>) {
        self.pages.take(&event, event.timestamp.min(now));
        if self.kept.take(&event, now) {
            self.standing.is_dirty = true;
            self.due = self.due.min(now);
        }
        made.push(event);
    }

    /// Finds a series in `series`; enters it if it is new, of use and there is room.
    pub(super) fn place_of(&mut self, metric: &DeviceMetric) -> SeriesPlace {
        let wanted = &*metric.metric_type;
        let expected = self.series.get(self.cursor).is_some_and(|series| *series.metric_type == *wanted);
        let place = match expected {
            true => Ok(self.cursor),
            false => self.series.binary_search_by(|series| (*series.metric_type).cmp(wanted)),
        };
        let place = match place {
            Ok(place) => place,
            Err(place) => {
                let uses = Uses::of(wanted);
                if !uses.is_any() {
                    return SeriesPlace::Unused;
                }
                if self.series.len() >= MAX_SERIES_OF_DEVICE {
                    return SeriesPlace::Full;
                }
                self.series.insert(place, Series::new(metric.metric_type.clone(), uses));
                place
            }
        };
        self.cursor = place + 1;
        SeriesPlace::At(place)
    }

    /// Returns the window, by the sender's clock, in which the newest values are current: it ends later than the one of
    /// the verdict, since the newest value may follow the step that is judged, and there is none beside it.
    pub(super) fn current_window(&self, window: Window) -> Window {
        let Window { from, until } = health::current_window(window, self.arrival);
        Window { from, until: until.plus(CLOCK_TOLERANCE) }
    }

    /// Returns the newest values within [`Self::current_window`].
    pub(super) fn latest(&self, window: Window) -> Vec<LatestSample> {
        let current = self.current_window(window);
        let samples = self.series.iter().filter_map(Series::latest);
        let other = self.other.iter().filter_map(NewestSample::named);
        samples.chain(other).filter(|sample| current.contains(sample.time)).collect()
    }

    /// Returns the usual time between two values of the metric with the newest value.
    pub(super) fn rhythm(&self) -> Option<Duration> {
        let of_series = self.series.iter().filter_map(|series| series.newest.as_ref());
        let newest = of_series.chain(&self.other).max_by_key(|newest| newest.time)?;
        newest.interval()
    }
}

/// All devices, in the order in which they appeared.
#[derive(Debug, Default)]
pub(super) struct Devices {
    list: Vec<Device>,
    places: HashMap<DeviceName, usize>,
    last: usize,
}

impl Devices {
    /// Returns the place of a device; enters it if it is new and there is room.
    pub(super) fn place_of(&mut self, name: &DeviceName, now: Timestamp) -> Option<usize> {
        if self.list.get(self.last).is_some_and(|device| device.name == *name) {
            return Some(self.last);
        }
        let known = self.places.get(name).copied();
        let place = match known {
            Some(place) => place,
            None if self.list.len() >= MAX_DEVICES => return None,
            None => {
                self.push(Device::new(name.clone(), now));
                self.list.len() - 1
            }
        };
        self.last = place;
        Some(place)
    }

    pub(super) fn push(&mut self, device: Device) {
        self.places.insert(device.name.clone(), self.list.len());
        self.list.push(device);
    }

    pub(super) fn at(&mut self, place: usize) -> &mut Device {
        &mut self.list[place]
    }

    pub(super) fn find(&mut self, name: &DeviceName) -> Option<&mut Device> {
        let place = *self.places.get(name)?;
        self.list.get_mut(place)
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Device> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Device> {
        self.list.iter_mut()
    }

    /// Drops the devices that are not kept. The order of the others stays.
    pub(super) fn retain(&mut self, is_kept: impl FnMut(&mut Device) -> bool) {
        let n_before = self.list.len();
        self.list.retain_mut(is_kept);
        if self.list.len() < n_before {
            self.places = self.list.iter().enumerate().map(|(place, device)| (device.name.clone(), place)).collect();
            self.last = 0;
        }
    }
}
