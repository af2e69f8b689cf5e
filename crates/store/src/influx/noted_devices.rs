//! Memory of the index of devices: notes what this session has written to it, so that a batch of known devices writes
//! nothing more.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::time::Duration;

use super::line::{MAX_TIME, MIN_TIME};
use crate::remembered::Remembered;

/// Longest period: the index holds a dozen points a year for a device.
const MAX_PERIOD_NS: i64 = 30 * DAY_NS;
/// Shortest period.
const MIN_PERIOD_NS: i64 = 3_600 * 1_000_000_000;
/// Period on InfluxDB 3, which writes a file for each ten minutes of time that a flush touches, and reads some hundred
/// files at once: a period's point must not gather more.
const FILE_PERIOD_NS: i64 = DAY_NS;
const DAY_NS: i64 = 24 * 3_600 * 1_000_000_000;
/// Periods in a retention, at least: the index outlives the data by a fraction of it.
const PERIODS_PER_RETENTION: u32 = 8;
/// Age up to which the newest time in the index may differ from that of the data.
pub(super) const REFRESH_NS: i64 = 3_600 * 1_000_000_000;
/// Range before a period's end in which each session has a point of its own.
const SESSIONS_NS: u64 = 1_000_000_000;
/// Enough for 20,000 devices with data of eleven periods.
const N_SLOTS: usize = 1 << 18;

/// Period of a device, as the index holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeviceNote {
    pub(super) device: String,
    /// Oldest and newest time of data, in nanoseconds.
    pub(super) first: i64,
    pub(super) last: i64,
    /// Time of the point.
    pub(super) at: i64,
}

/// Oldest and newest time of data in a period, in nanoseconds.
type NotedRange = (i64, i64);

/// Notes written, by device and start of the period.
#[derive(Debug)]
pub(super) struct NotedDevices {
    noted: Remembered<NotedRange>,
    period_ns: i64,
    /// Distance of this session's points from the end of their periods: no session overwrites the note of another.
    offset_ns: i64,
    /// Number of times that the session has forgotten what is written.
    n_forgotten: u64,
}

impl NotedDevices {
    /// Starts with an empty memory. Without a retention the periods are the longest.
    pub(super) fn new(retention: Option<Duration>) -> Self {
        let of_retention = retention.map_or(MAX_PERIOD_NS, |all| {
            i64::try_from((all / PERIODS_PER_RETENTION).as_nanos()).unwrap_or(MAX_PERIOD_NS)
        });
        let random = std::hash::RandomState::new().hash_one(retention);
        Self {
            noted: Remembered::new(N_SLOTS),
            period_ns: of_retention.clamp(MIN_PERIOD_NS, MAX_PERIOD_NS),
            offset_ns: (random % SESSIONS_NS).cast_signed(),
            n_forgotten: 0,
        }
    }

    /// Forgets everything if the session has since the last call, and shortens the periods if the server writes a file
    /// for each range of time.
    pub(super) fn refresh(&mut self, n_forgotten: u64, has_files: bool) {
        if has_files {
            self.period_ns = self.period_ns.min(FILE_PERIOD_NS);
        }
        if self.n_forgotten != n_forgotten {
            self.n_forgotten = n_forgotten;
            self.forget();
        }
    }

    /// Returns the notes that data of devices at some times add: a new device or period, older data, or data newer by
    /// more than [`REFRESH_NS`].
    pub(super) fn new_notes<'a>(&self, times: impl Iterator<Item = (&'a str, i64)>) -> Vec<DeviceNote> {
        let mut seen: HashMap<(&str, i64), (i64, i64)> = HashMap::new();
        for (device, time) in times {
            if !(MIN_TIME..=MAX_TIME).contains(&time) {
                continue;
            }
            let (first, last) = seen.entry((device, self.period_of(time))).or_insert((time, time));
            (*first, *last) = (time.min(*first), time.max(*last));
        }
        let new_note = |((device, period), (first, last)): ((&str, i64), (i64, i64))| {
            let noted = self.noted.get(self.noted.key(&(device, period)));
            let is_known =
                noted.is_some_and(|(from, until)| *from <= first && last.saturating_sub(*until) <= REFRESH_NS);
            let (from, until) = noted.copied().unwrap_or((first, last));
            let (first, last) = (first.min(from), last.max(until));
            (!is_known).then(|| DeviceNote { device: device.to_owned(), first, last, at: self.point_of(period) })
        };
        seen.into_iter().filter_map(new_note).collect()
    }

    /// Records notes as written.
    pub(super) fn record(&mut self, notes: Vec<DeviceNote>) {
        for DeviceNote { device, first, last, .. } in notes {
            let key = self.noted.key(&(device.as_str(), self.period_of(first)));
            if let Some((from, until)) = self.noted.get_mut(key) {
                (*from, *until) = (first.min(*from), last.max(*until));
            } else if self.noted.insert(key, (first, last)) {
                self.move_points();
            }
        }
    }

    /// Starts as a new session.
    fn forget(&mut self) {
        self.noted.clear();
        self.move_points();
    }

    /// Sends the notes that follow to new points: those of forgotten periods may say less than the ones before.
    fn move_points(&mut self) {
        self.offset_ns = (self.offset_ns + 1) % SESSIONS_NS.cast_signed();
    }

    fn period_of(&self, time: i64) -> i64 {
        time.div_euclid(self.period_ns)
    }

    fn point_of(&self, period: i64) -> i64 {
        let end = (i128::from(period) + 1) * i128::from(self.period_ns);
        let at = end - 1 - i128::from(self.offset_ns);
        at.clamp(i128::from(MIN_TIME), i128::from(MAX_TIME)) as i64
    }
}

#[cfg(test)]
pub(super) fn max_bytes() -> usize {
    Remembered::<NotedRange>::max_bytes(N_SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(retention_hours: Option<u64>) -> NotedDevices {
        NotedDevices::new(retention_hours.map(|hours| Duration::from_secs(hours * 3_600)))
    }

    /// Notes data of device "a"; returns the new ones as (first, last).
    fn note(noted: &mut NotedDevices, times: &[i64]) -> Vec<(i64, i64)> {
        let notes = noted.new_notes(times.iter().map(|time| ("a", *time)));
        noted.record(notes.clone());
        notes.into_iter().map(|note| (note.first, note.last)).collect()
    }

    #[test]
    fn only_what_is_new_is_noted() {
        let mut noted = noted(None);
        assert_eq!(note(&mut noted, &[50, 40]), [(40, 50)]);
        assert_eq!(note(&mut noted, &[40, 45, REFRESH_NS]), []);
        assert_eq!(note(&mut noted, &[30]), [(30, 50)]);
        assert_eq!(note(&mut noted, &[51 + REFRESH_NS]), [(30, 51 + REFRESH_NS)]);
        assert_eq!(note(&mut noted, &[60 * DAY_NS]), [(60 * DAY_NS, 60 * DAY_NS)]);
        assert_eq!(note(&mut noted, &[i64::MIN, i64::MAX]), [], "times that no version stores");
    }

    #[test]
    fn a_point_lies_in_its_period_and_outlives_its_data() {
        for (retention, period_ns) in [(None, MAX_PERIOD_NS), (Some(24), 3 * MIN_PERIOD_NS), (Some(1), MIN_PERIOD_NS)] {
            let noted = noted(retention);
            for time in [0, 1, -1, 1_749_211_200_000_000_000, MIN_TIME, MAX_TIME] {
                let [DeviceNote { at, .. }] = noted.new_notes([("a", time)].into_iter())[..] else { panic!("{time}") };
                assert!(at >= time || at == MAX_TIME || time.saturating_sub(at) < SESSIONS_NS.cast_signed(), "{time}");
                assert!(at.saturating_sub(time) < period_ns, "{time}");
            }
        }
    }

    /// After a loss the notes begin anew, at points that overwrite none of those that may be left.
    #[test]
    fn what_is_forgotten_goes_to_other_points() {
        let mut noted = noted(None);
        let before = noted.new_notes([("a", 5)].into_iter());
        noted.record(before.clone());
        noted.refresh(1, false);
        let after = noted.new_notes([("a", 7)].into_iter());
        assert!(after.len() == 1 && after[0].at != before[0].at);
    }

    /// Beyond the bound a part is forgotten, and noted at new points like after a loss.
    #[test]
    fn the_memory_is_bounded() {
        let mut noted = noted(None);
        let before = noted.offset_ns;
        for number in 0..(N_SLOTS as i64 + 1_000) {
            let device = number.to_string();
            let notes = noted.new_notes([(device.as_str(), 5)].into_iter());
            assert_eq!(notes.len(), 1);
            noted.record(notes);
        }
        assert!(noted.noted.len() < N_SLOTS && noted.offset_ns != before);
    }
}
