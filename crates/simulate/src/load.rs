//! Load requested from a device: working days, weekends, the nightly backup and short bursts. A pure function of time;
//! the random part that persists from tick to tick belongs to the device.

use std::f64::consts::{PI, TAU};

use super::random::{RandomStream, mix};
use super::step::Instant;

/// Length of a slot of time with at most one burst.
const BURST_SLOT_NS: i64 = 600_000_000_000;
/// About one slot in six contains a burst: about one an hour.
const BURST_CHANCE_OF_256: u64 = 43;
/// Share of the daily swing left on Saturdays and Sundays.
const WEEKEND_SHARE: f64 = 0.4;
/// Hours over which backups ramp up and down.
const BACKUP_RAMP_HOURS: f64 = 0.1;
/// Upper bound of the utilization; beyond it latency would be unbounded.
const MAX_UTILIZATION: f64 = 0.95;

/// Load profile of a device. Loads are shares of its capability; their sum may exceed 1.
#[derive(Clone, Debug)]
pub(super) struct LoadShape {
    base: f64,
    daily_swing: f64,
    /// Hour of the day, UTC, at the middle of the working day.
    peak_hour: f64,
    backup: f64,
    backup_start_hour: f64,
    backup_hours: f64,
    burst_key: u64,
}

impl LoadShape {
    /// Draws the load profile of one device; `scale` adapts the load to its class.
    pub(super) fn draw(random: &mut RandomStream, scale: f64, burst_key: u64) -> Self {
        Self {
            base: random.between(0.12, 0.32) * scale,
            daily_swing: random.between(0.15, 0.32) * scale,
            peak_hour: random.between(12.5, 14.5),
            backup: random.between(0.15, 0.28) * scale,
            backup_start_hour: random.between(22.0, 26.0),
            backup_hours: random.between(1.0, 2.5),
            burst_key,
        }
    }

    /// Returns the requested load at an instant, without noise; above 0.
    pub(super) fn at(&self, instant: &Instant) -> f64 {
        let day = (0.5 + 0.5 * (TAU * (instant.hour - self.peak_hour) / 24.0).cos()).powi(2);
        let swing = if instant.is_weekend { WEEKEND_SHARE } else { 1.0 } * self.daily_swing;
        self.base + swing * day + self.backup_at(instant.hour) + self.burst_at(instant)
    }

    fn backup_at(&self, hour: f64) -> f64 {
        let since_start = (hour - self.backup_start_hour).rem_euclid(24.0);
        let until_end = self.backup_hours - since_start;
        self.backup * (since_start.min(until_end) / BACKUP_RAMP_HOURS).clamp(0.0, 1.0)
    }

    /// Returns the load of a burst, which rises and falls as half a sine wave, 1 to 4 minutes long, and ends within its slot.
    fn burst_at(&self, instant: &Instant) -> f64 {
        let slot = instant.at.as_ns().div_euclid(BURST_SLOT_NS);
        let bits = mix(self.burst_key, slot as u64);
        if bits & 0xff >= BURST_CHANCE_OF_256 {
            return 0.0;
        }
        let share = |shift: u32| (bits >> shift & 0xffff) as f64 / 65_536.0;
        let seconds = 60.0 + 180.0 * share(8);
        let start = (600.0 - seconds) * share(24);
        let inside = instant.at.as_ns().rem_euclid(BURST_SLOT_NS) as f64 / 1e9 - start;
        if !(0.0..seconds).contains(&inside) {
            return 0.0;
        }
        (0.1 + 0.2 * share(40)) * (PI * inside / seconds).sin()
    }
}

/// Returns the share of time a device is busy, [0, 0.95]: about equal to a small load, levelling off before saturation.
pub(super) fn utilization(load: f64) -> f64 {
    MAX_UTILIZATION * (load.max(0.0) / MAX_UTILIZATION).tanh()
}

#[cfg(test)]
mod tests {
    use super::super::random::Purpose;
    use super::*;
    use spindle_core::timestamp::Timestamp;

    fn shape(index: u64) -> LoadShape {
        LoadShape::draw(&mut RandomStream::new(3, Purpose::DeviceProfile, index), 1.0, index)
    }

    fn mean_load(day: &str, from_minute: u64, until_minute: u64) -> f64 {
        let midnight = Timestamp::parse(&format!("{day}T00:00:00Z")).unwrap();
        let mut sum = 0.0;
        for index in 0..50 {
            for minute in from_minute..until_minute {
                let at = midnight.plus(std::time::Duration::from_secs(60 * minute));
                sum += shape(index).at(&Instant::new(at));
            }
        }
        sum / (50 * (until_minute - from_minute)) as f64
    }

    #[test]
    fn days_are_busy_weekends_calm_and_backups_run_at_night() {
        let noon = mean_load("2025-06-04", 12 * 60, 15 * 60);
        let dawn = mean_load("2025-06-04", 5 * 60, 6 * 60);
        let saturday = mean_load("2025-06-07", 12 * 60, 15 * 60);
        let backup = mean_load("2025-06-04", 60, 2 * 60);
        assert!(noon > 1.5 * dawn, "{noon} {dawn}");
        assert!(noon > 1.25 * saturday && saturday > dawn, "{noon} {saturday} {dawn}");
        assert!(backup > 1.2 * dawn, "{backup} {dawn}");
    }

    #[test]
    fn bursts_are_short_and_about_hourly() {
        let (mut n_inside, mut n_starts, mut before) = (0, 0, 0.0);
        for second in 0..200_000 {
            let burst = shape(1).burst_at(&Instant::new(Timestamp::from_seconds(second)));
            n_starts += i32::from(before == 0.0 && burst > 0.0);
            n_inside += i32::from(burst > 0.0);
            before = burst;
        }
        assert!((30..80).contains(&n_starts), "{n_starts}");
        assert!((60..240).contains(&(n_inside / n_starts)), "{}", n_inside / n_starts);
    }

    #[test]
    fn utilization_has_bounds() {
        assert_eq!(utilization(-1.0), 0.0);
        assert!((utilization(0.1) - 0.1).abs() < 0.001);
        assert!(utilization(1e9) <= 0.95);
    }
}
