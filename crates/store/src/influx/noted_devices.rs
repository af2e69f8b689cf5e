//! Memory of the index of devices: notes what this session has written to it, so that a batch of known devices writes
//! nothing more.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::time::Duration;

use spindle_core::Timestamp;

use super::line::{MAX_TIME, MIN_TIME};
use crate::remembered::Remembered;

/// Longest period: each carries all devices and labels.
const MAX_PERIOD_NS: i64 = 30 * DAY_NS;
/// Period on InfluxDB 3, which writes a file for each ten minutes of time that a flush touches, and reads some hundred
/// files at once: a period's point must not gather more.
const FILE_PERIOD_NS: i64 = DAY_NS;
const DAY_NS: i64 = 24 * 3_600 * 1_000_000_000;
/// Periods in a retention, at least: the retention takes no period that is read.
const PERIODS_PER_RETENTION: u32 = 8;
/// Shortest period: that of the shortest retention, an hour.
const MIN_PERIOD_NS: i64 = 450 * 1_000_000_000;
/// Part of a period that passes before devices are carried into it: clocks of writers differ.
const CARRY_DELAY: i64 = 8;
/// Age up to which the newest time in the index may differ from that of the data.
pub(super) const REFRESH_NS: i64 = 3_600 * 1_000_000_000;
/// Range before a period's end in which each session has a point of its own.
const SESSIONS_NS: i64 = 1_000_000_000;
/// Enough for 200,000 devices.
const N_SLOTS: usize = 1 << 18;

/// Length of the periods of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period(i64);

impl Period {
    /// Returns the period for a retention. The server may write a file for each range of time (`has_files`).
    pub(super) fn of(retention: Option<Duration>, has_files: bool) -> Self {
        let longest = if has_files { FILE_PERIOD_NS } else { MAX_PERIOD_NS };
        let of_retention = |all: Duration| i64::try_from((all / PERIODS_PER_RETENTION).as_nanos()).unwrap_or(longest);
        Self(retention.map_or(longest, of_retention).clamp(MIN_PERIOD_NS, longest))
    }

    pub(super) fn ns(self) -> i64 {
        self.0
    }

    /// Returns the time from which on the index is read once devices are carried: with the points of the period before,
    /// so that a writer whose clock is behind is heard.
    pub(super) fn carried_from(self, now: Timestamp) -> i64 {
        let number = self.number(now.as_ns().saturating_sub(self.0 / CARRY_DELAY));
        (i128::from(number) * i128::from(self.0) - i128::from(SESSIONS_NS)).max(i128::from(MIN_TIME)) as i64
    }

    fn number(self, time: i64) -> i64 {
        time.div_euclid(self.0)
    }

    /// Returns the time of a session's point.
    fn point(self, number: i64, offset_ns: i64) -> i64 {
        let end = (i128::from(number) + 1) * i128::from(self.0);
        (end - 1 - i128::from(offset_ns)).clamp(i128::from(MIN_TIME), i128::from(MAX_TIME)) as i64
    }
}

/// Note of a device in the present period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeviceNote {
    pub(super) device: String,
    /// Oldest and newest time of data, in nanoseconds.
    pub(super) first: i64,
    pub(super) last: i64,
    /// Time of the point.
    pub(super) at: i64,
}

/// Oldest and newest time of data, and the time of the point, in nanoseconds.
type Noted = (i64, i64, i64);

/// Notes written, by device.
#[derive(Debug)]
pub(super) struct NotedDevices {
    noted: Remembered<Noted>,
    /// Time of the points in the present period.
    at: i64,
    /// Time of the oldest data that are kept.
    oldest: i64,
    /// Distance of this session's points from the end of their periods: no session overwrites the note of another.
    offset_ns: i64,
    /// Number of times that the session has forgotten what is written, and what it was when devices were carried last.
    n_forgotten: u64,
    carried: Option<u64>,
}

impl NotedDevices {
    /// Starts with an empty memory.
    pub(super) fn new() -> Self {
        let random = std::hash::RandomState::new().hash_one(SESSIONS_NS);
        Self {
            noted: Remembered::new(N_SLOTS),
            at: MIN_TIME,
            oldest: MIN_TIME,
            offset_ns: (random % SESSIONS_NS.unsigned_abs()).cast_signed(),
            n_forgotten: 0,
            carried: None,
        }
    }

    /// Sets the present period. Forgets everything if the session has since the last call.
    pub(super) fn refresh(&mut self, n_forgotten: u64, period: Period, now: Timestamp, retention: Option<Duration>) {
        if self.n_forgotten != n_forgotten {
            self.n_forgotten = n_forgotten;
            self.forget();
        }
        self.at = period.point(period.number(now.as_ns()), self.offset_ns);
        self.oldest = retention.map_or(MIN_TIME, |retention| now.minus(retention).as_ns());
    }

    /// Returns whether the server may have lost what this session carried.
    pub(super) fn has_lost(&self, n_forgotten: u64) -> bool {
        self.carried.is_some_and(|carried| carried != n_forgotten)
    }

    /// Records that devices are carried, as of a number of times that the session has forgotten what is written.
    pub(super) fn set_carried(&mut self, n_forgotten: u64) {
        self.carried = Some(n_forgotten);
    }

    /// Returns the notes that data of devices at some times add: a new device or period, older data, or data newer by
    /// more than `max_lag_ns`.
    pub(super) fn new_notes<'a>(
        &self,
        times: impl Iterator<Item = (&'a str, i64)>,
        max_lag_ns: i64,
    ) -> Vec<DeviceNote> {
        let mut seen: HashMap<&str, (i64, i64)> = HashMap::new();
        for (device, time) in times.filter(|(_, time)| (MIN_TIME..=MAX_TIME).contains(time)) {
            let (first, last) = seen.entry(device).or_insert((time, time));
            (*first, *last) = (time.min(*first), time.max(*last));
        }
        let new_note = |(device, (first, last)): (&str, (i64, i64))| {
            let noted = self.noted.get(self.noted.key(&device)).copied();
            let is_known = noted.is_some_and(|(from, until, at)| {
                at == self.at && from <= first && last.saturating_sub(until) <= max_lag_ns
            });
            let (from, until, _) = noted.unwrap_or((first, last, self.at));
            let (first, last) = (first.min(from), last.max(until));
            let first = first.max(self.oldest).min(last);
            (!is_known).then(|| DeviceNote { device: device.to_owned(), first, last, at: self.at })
        };
        seen.into_iter().filter_map(new_note).collect()
    }

    /// Records notes as written.
    pub(super) fn record(&mut self, notes: Vec<DeviceNote>) {
        for DeviceNote { device, first, last, at } in notes {
            let key = self.noted.key(&device.as_str());
            if self.noted.insert(key, (first, last, at)) {
                self.move_points();
            }
        }
    }

    /// Starts as a new session.
    fn forget(&mut self) {
        self.noted.clear();
        self.move_points();
    }

    /// Sends the notes that follow to new points: those of forgotten devices may say less than the ones before.
    fn move_points(&mut self) {
        self.offset_ns = (self.offset_ns + 1) % SESSIONS_NS;
    }
}

#[cfg(test)]
pub(super) fn max_bytes() -> usize {
    Remembered::<Noted>::max_bytes(N_SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_749_211_200_000_000_000;

    fn at(noted: &mut NotedDevices, now: i64) {
        noted.refresh(0, Period::of(None, false), Timestamp::from_ns(now), None);
    }

    /// Notes data of device "a"; returns the new ones as (first, last).
    fn note(noted: &mut NotedDevices, times: &[i64]) -> Vec<(i64, i64)> {
        let notes = noted.new_notes(times.iter().map(|time| ("a", *time)), REFRESH_NS);
        noted.record(notes.clone());
        notes.into_iter().map(|note| (note.first, note.last)).collect()
    }

    #[test]
    fn only_what_is_new_is_noted() {
        let mut noted = NotedDevices::new();
        at(&mut noted, NOON);
        assert_eq!(note(&mut noted, &[50, 40]), [(40, 50)]);
        assert_eq!(note(&mut noted, &[40, 45, REFRESH_NS]), []);
        assert_eq!(note(&mut noted, &[30]), [(30, 50)]);
        assert_eq!(note(&mut noted, &[51 + REFRESH_NS]), [(30, 51 + REFRESH_NS)]);
        assert_eq!(note(&mut noted, &[i64::MIN, i64::MAX]), [], "times that no version stores");
        at(&mut noted, NOON + MAX_PERIOD_NS);
        assert_eq!(note(&mut noted, &[60]), [(30, 51 + REFRESH_NS)], "another period");
        assert_eq!(note(&mut noted, &[60]), []);
    }

    #[test]
    fn a_point_lies_in_its_period_and_is_read_in_the_next() {
        for (retention_h, has_files, period_ns) in [
            (None, false, MAX_PERIOD_NS),
            (None, true, DAY_NS),
            (Some(24), false, 3 * 3_600 * 1_000_000_000),
            (Some(1), true, MIN_PERIOD_NS),
        ] {
            let period = Period::of(retention_h.map(|hours: u64| Duration::from_secs(hours * 3_600)), has_files);
            assert_eq!(period.ns(), period_ns);
            for now in [0, 1, -1, NOON, MIN_TIME + period_ns, MAX_TIME - 3 * period_ns] {
                let [earliest, latest] = [SESSIONS_NS - 1, 0].map(|offset| period.point(period.number(now), offset));
                assert!(latest >= now && latest - now < period_ns, "{now}");
                for later in [now, now + period_ns - period_ns / CARRY_DELAY] {
                    assert!(period.carried_from(Timestamp::from_ns(later)) <= earliest, "{now} at {later}");
                }
                assert!(period.carried_from(Timestamp::from_ns(now + 2 * period_ns + period_ns / 4)) > latest, "{now}");
            }
        }
    }

    /// After a loss the notes begin again, at points that overwrite none of those that may be left.
    #[test]
    fn what_is_forgotten_goes_to_other_points() {
        let mut noted = NotedDevices::new();
        at(&mut noted, NOON);
        let before = noted.new_notes([("a", 5)].into_iter(), 0);
        noted.record(before.clone());
        noted.set_carried(0);
        noted.refresh(1, Period::of(None, false), Timestamp::from_ns(NOON), None);
        let after = noted.new_notes([("a", 7)].into_iter(), 0);
        assert!(after.len() == 1 && after[0].at != before[0].at && noted.has_lost(1) && !noted.has_lost(0));
    }

    /// Beyond the bound a part is forgotten, and noted at new points like after a loss.
    #[test]
    fn the_memory_is_bounded() {
        let mut noted = NotedDevices::new();
        at(&mut noted, NOON);
        let before = noted.offset_ns;
        for number in 0..(N_SLOTS as i64 + 1_000) {
            let device = number.to_string();
            let notes = noted.new_notes([(device.as_str(), 5)].into_iter(), 0);
            assert_eq!(notes.len(), 1);
            noted.record(notes);
        }
        assert!(noted.noted.len() < N_SLOTS && noted.offset_ns != before);
    }
}
