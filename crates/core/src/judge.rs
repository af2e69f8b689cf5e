//! Live judgement of a fleet: takes metrics and events in the order of their streams, and returns the events that the
//! detector publishes about them ([`events`]).
//!
//! - Each series has a detector of its own, whose alarms become notes.
//! - Latencies are compared with those of the peers minute by minute ([`cohort`](crate::cohort)).
//! - Drives are judged whenever something they report changes ([`fleet`](crate::fleet)).
//! - The verdict on each device ([`health`](crate::health)) is kept up to date, and its changes are stated.
//!
//! Deterministic: the same input in the same order gives the same events with the same ids, also after
//! [`FleetJudge::save`] and [`FleetJudge::restore`] in between. Time is that of the input: whatever depends on it happens
//! at whole multiples of [`TICK_NS`]. State is bounded.

mod device;
pub mod events;
mod lasting;
mod saved;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::decision::{self, FINDING_ACCEPTED};
use crate::fleet::DriveFleet;
use crate::health::MAX_CLOCK_LAG;
use crate::timestamp::Timestamp;
use crate::wire::{DeviceMetric, Event};

pub use device::MAX_DEVICES;
use device::agreement::Shelves;
use device::peers::Peers;
use device::series::NewestSample;
use device::{Device, Devices, SeriesPlace, agreement, drives, notes, peers, verdicts};
pub use saved::SavedJudgeError;

/// Largest number of series with a detector; values of others are not judged one by one.
pub const MAX_SERIES: usize = 100_000;
/// Time after which a device or series that sends nothing is forgotten.
pub const FORGET_AFTER: Duration = Duration::from_secs(30 * 86_400);
/// Step of time in nanoseconds.
const TICK_NS: i64 = 10_000_000_000;
/// Time for which a step waits for messages that the other stream delivers late.
const SLACK: Duration = Duration::from_secs(5);

/// Judge of all devices.
#[derive(Debug, Default)]
pub struct FleetJudge {
    now: Timestamp,
    /// Time of the last step.
    ticked: Timestamp,
    /// No device need be looked at before.
    due: Timestamp,
    /// Nothing is said before.
    quiet_until: Timestamp,
    devices: Devices,
    n_series: usize,
    n_left_out: u64,
    peers: Peers,
    shelves: Shelves,
    drives: DriveFleet,
    made: Vec<Event>,
}

impl FleetJudge {
    /// Makes no event about anything before `until`: what lies in the streams when a detector starts for the first time
    /// is learnt, and is no news. What is still the case then is stated.
    pub fn stay_quiet_until(&mut self, until: Timestamp) {
        self.quiet_until = until;
    }

    /// Goes back to `at`, if nothing is known of any device yet: a simulated past begins, and what happens in it is stated as
    /// it would have been. Changes nothing otherwise.
    pub fn begin_past(&mut self, at: Timestamp) {
        if self.devices.len() == 0 && (at < self.now || self.now == Timestamp::default()) {
            (self.now, self.ticked, self.due, self.quiet_until) = (at, at, at, at);
            self.peers.minute = None;
        }
    }

    /// Takes a metric. `received` is the time at which NATS took its message.
    pub fn metric(&mut self, metric: &DeviceMetric, received: Timestamp) {
        self.advance(received);
        let now = self.now;
        let Some(place) = self.devices.place_of(&metric.source_device, now) else {
            self.n_left_out += 1;
            return;
        };
        let device = self.devices.at(place);
        device.arrive(metric.timestamp, now);
        if let Some(labels) = &metric.labels
            && device.learn_labels(labels)
        {
            self.peers.enter(device);
        }
        if device.standing.is_unknown {
            device.due = device.due.min(now);
        }
        self.value(place, metric);
        self.due = self.due.min(self.devices.at(place).due);
    }

    /// Takes the value of a metric of a known device.
    fn value(&mut self, place_of_device: usize, metric: &DeviceMetric) {
        let DeviceMetric { timestamp: time, value, .. } = *metric;
        let now = self.now;
        let device = self.devices.at(place_of_device);
        let place = match device.place_of(metric) {
            SeriesPlace::At(place) if value.is_finite() => place,
            SeriesPlace::At(_) | SeriesPlace::Unused => return take_other(device, metric, now),
            SeriesPlace::Full => {
                self.n_left_out += 1;
                return take_other(device, metric, now);
            }
        };
        let series = &mut device.series[place];
        let before = series.newest.as_ref().map(|newest| newest.value);
        if !series.take(time, value, now) {
            return;
        }
        let is_new_limit = series.uses.is_stated && before != Some(value);
        if series.regrade(value, before, device.limits) || is_new_limit {
            device.standing.is_dirty = true;
            device.due = device.due.min(now);
        }
        // What is that old is a recording: it teaches its series, and is no news.
        let is_recording = time.plus(MAX_CLOCK_LAG) < now;
        if series.uses.is_of_drive && !is_recording && device.drive.take(series, before, value, now) {
            device.due = device.due.min(now);
        }
        if &*series.metric_type == peers::COMPARED && !is_recording {
            device.peers.add(value);
        }
        if is_new_limit {
            device.learn_limits();
        }
        self.detect(place_of_device, place, metric, is_recording);
    }

    /// Judges a value of a series by its past.
    fn detect(&mut self, device: usize, place: usize, metric: &DeviceMetric, is_recording: bool) {
        let now = self.now;
        let device = self.devices.at(device);
        let series = &mut device.series[place];
        if series.uses.is_detected && series.detector.is_none() {
            if self.n_series >= MAX_SERIES {
                self.n_left_out += 1;
                return;
            }
            self.n_series += 1;
            series.detector = Some(Box::default());
        }
        let Some(score) = series.detect(metric.timestamp, metric.value) else { return };
        let is_quiet = now < self.quiet_until || is_recording;
        if let Some(note) = notes::note(device, place, &score, metric.timestamp.min(now), is_quiet) {
            device.say(note, now, &mut self.made);
        }
        if score.alarm && !is_quiet {
            let n_devices = device.enclosure().map_or(0, |enclosure| self.peers.n_in(enclosure));
            // By its arrival: the clocks of two devices need not agree.
            let agreed = agreement::take(device, place, (&score, now), &mut self.shelves, n_devices);
            if let Some(agreed) = agreed {
                device.say(agreed, now, &mut self.made);
            }
        }
    }

    /// Takes an event, also one that the detector made. `received` is the time at which NATS took its message.
    pub fn event(&mut self, event: &Event, received: Timestamp) {
        self.advance(received);
        let now = self.now;
        let Some(place) = self.devices.place_of(&event.source_device, now) else {
            self.n_left_out += 1;
            return;
        };
        let device = self.devices.at(place);
        // What we say about a device is no sign of its life.
        if !events::is_own(&event.event_type) {
            device.seen = now;
        }
        if let Some(labels) = &event.labels
            && device.learn_labels(labels)
        {
            self.peers.enter(device);
        }
        let at = event.timestamp.min(now);
        match event.event_type.as_str() {
            FINDING_ACCEPTED if decision::is_understood(event) => {
                device.pages.accept(event.label("metric").unwrap_or_default());
            }
            events::HEALTH_CHANGED => device.standing.adopt(event, at),
            events::DEVICE_SLOW | events::DEVICE_SLOW_ENDED => device.peers.adopt(event, at),
            events::LATENCY_RAISED | events::LATENCY_RAISED_ENDED => device.own_past.adopt(event, at),
            events::FAILURE_PREDICTED | events::FAILURE_RISK_RAISED | events::FAILURE_PREDICTION_ENDED => {
                device.drive.adopt(event, at);
            }
            events::ANOMALIES_AGREE => device.alarms.adopt(at),
            // One that is told again after the replacement is of the drive before.
            "DriveFailure" if !device.kept.is_replaced_since(event.timestamp) => {
                device.drive.fail();
                self.drives.fail(&device.name, now);
            }
            "DriveReplaced" if !device.kept.is_replaced_since(event.timestamp) => {
                device.replace(event.timestamp, at);
                self.drives.replace(&device.name);
            }
            _ => {}
        }
        device.pages.take(event, at);
        self.shelves.page(device, event, at);
        if device.kept.take(event, now) {
            device.standing.is_dirty = true;
            device.due = device.due.min(now);
        }
        self.due = self.due.min(device.due);
    }

    /// Takes the time: nothing earlier is left in the streams. An earlier time than before changes nothing.
    pub fn advance(&mut self, now: Timestamp) {
        if now <= self.now {
            return;
        }
        self.now = now;
        self.peers.advance(now, &mut self.devices, self.quiet_until, &mut self.made);
        loop {
            let next = first_tick_from(self.due.max(Timestamp::from_ns(self.ticked.as_ns().saturating_add(1))));
            if self.devices.len() == 0 || next.plus(SLACK) > now {
                return;
            }
            self.tick(next);
        }
    }

    /// Takes a hole: metrics taken by NATS between the newest time known and `until` may be missing. That time counts for
    /// nothing: neither as silence, nor towards anything that has to last. Call it before any message of a later time.
    pub fn gap(&mut self, until: Timestamp) {
        let hole_ns = until.as_ns().saturating_sub(self.now.as_ns());
        let hole = Duration::from_nanos(u64::try_from(hole_ns).unwrap_or_default());
        if hole.is_zero() || self.devices.len() == 0 {
            return;
        }
        self.now = until;
        self.peers.minute = None;
        for device in self.devices.iter_mut() {
            device.skip(hole, until);
        }
        self.due = self.due.max(until);
    }

    fn tick(&mut self, now: Timestamp) {
        let is_new_day = now.day() > self.ticked.day();
        self.ticked = now;
        if is_new_day {
            self.forget(now);
        }
        let quiet_until = self.quiet_until;
        self.due = Timestamp::from_ns(i64::MAX);
        for device in self.devices.iter_mut() {
            if device.due <= now {
                let drive_at = drives::look(device, &mut self.drives, now, quiet_until, &mut self.made);
                let alarms_at = agreement::look(device, now, quiet_until, &mut self.made);
                let verdict_at = verdicts::look(device, &mut self.shelves, now, quiet_until, &mut self.made);
                device.due = drive_at.into_iter().chain(alarms_at).fold(verdict_at, Timestamp::min);
            }
            self.due = self.due.min(device.due);
        }
    }

    /// Drops devices and series that have sent nothing for [`FORGET_AFTER`], and states again what lasts.
    fn forget(&mut self, now: Timestamp) {
        let oldest = now.minus(FORGET_AFTER);
        self.shelves.forget(now.minus(Duration::from_secs(2 * 86_400)));
        let Self { devices, peers, n_series, .. } = self;
        devices.retain(|device| {
            let is_kept = device.seen >= oldest;
            // By the clock of the sender: what it sends may be a recording.
            let measured = device.arrival.map_or(oldest, |arrival| arrival.measured.min(now).minus(FORGET_AFTER));
            device.series.retain(|series| {
                let is_kept = is_kept && series.newest.as_ref().is_some_and(|newest| newest.time >= measured);
                *n_series -= usize::from(!is_kept && series.detector.is_some());
                is_kept
            });
            if is_kept {
                // The statements may be among the series that are gone.
                device.learn_limits();
            } else {
                peers.forget(device);
            }
            is_kept
        });
        peers.slow.retain(|_, (_, since)| *since >= oldest);
        if now < self.quiet_until {
            return;
        }
        for device in self.devices.iter_mut() {
            lasting::state_again(device, now, &mut self.made);
        }
    }

    /// Returns the events made since the last call.
    pub fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.made)
    }

    /// Returns the number of series with a detector.
    pub fn n_series(&self) -> usize {
        self.n_series
    }

    /// Returns the number of values and events left out for lack of room: of devices beyond [`MAX_DEVICES`], and values
    /// of series beyond [`MAX_SERIES`], or beyond the 256 of their device.
    pub fn n_left_out(&self) -> u64 {
        self.n_left_out
    }
}

/// Notes the newest value of a metric that nothing reads: it shows that the device sends.
fn take_other(device: &mut Device, metric: &DeviceMetric, now: Timestamp) {
    match &mut device.other {
        Some(other) if other.metric_type.as_ref() == Some(&metric.metric_type) => {
            other.take(metric.timestamp, metric.value, now);
        }
        Some(other) if metric.timestamp <= other.time => {}
        other if other.as_ref().is_none_or(|other| metric.timestamp > other.time.plus(MAX_CLOCK_LAG)) => {
            *other = Some(NewestSample::new(Some(metric.metric_type.clone()), metric.timestamp, metric.value));
        }
        _ => {}
    }
}

/// Returns the first step that is not before `time`.
fn first_tick_from(time: Timestamp) -> Timestamp {
    let floor = time.as_ns().div_euclid(TICK_NS);
    let is_whole = time.as_ns().rem_euclid(TICK_NS) == 0;
    Timestamp::from_ns((floor + i64::from(!is_whole)).saturating_mul(TICK_NS))
}
