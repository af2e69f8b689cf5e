//! Time steps of the physics: values common to all devices at one instant, computed once.

use std::f64::consts::TAU;

use spindle_core::timestamp::Timestamp;

/// Thermal time constant: after this time a device has gone 63 % of the way to its new temperature. About 10 minutes for
/// a drive in moving air.
pub(super) const THERMAL_SECONDS: f64 = 600.0;
/// Time constant of the random part of a load.
const NOISE_SECONDS: f64 = 120.0;
/// Longest step of the physics: a fifth of [`THERMAL_SECONDS`], so that bursts and faults inside a gap
/// between ticks still leave their heat behind.
const MAX_STEP_SECONDS: f64 = 120.0;
/// Period before now that is simulated in steps after a gap. After four times [`THERMAL_SECONDS`] 2 % of the old
/// temperature difference is left; before that only its decay counts.
const MAX_MEMORY_SECONDS: f64 = 4.0 * THERMAL_SECONDS;

const DAY_SECONDS: i64 = 86_400;

/// Instant with hour of the day and weekend (UTC).
#[derive(Clone, Copy, Debug)]
pub(super) struct Instant {
    pub(super) at: Timestamp,
    /// Hour of the day, [0, 24).
    pub(super) hour: f64,
    pub(super) is_weekend: bool,
}

impl Instant {
    pub(super) fn new(at: Timestamp) -> Self {
        let day_ns = DAY_SECONDS * 1_000_000_000;
        let day = at.as_ns().div_euclid(day_ns);
        let hour = at.as_ns().rem_euclid(day_ns) as f64 / 3.6e12;
        // 1970-01-01 was a Thursday; counted from Monday that is 3.
        Self { at, hour, is_weekend: (day + 3).rem_euclid(7) >= 5 }
    }

    /// Returns the hours since `start`, counted faster in working hours and slower at night, never backwards. Data
    /// written by people grows with this time.
    pub(super) fn busy_hours_since(&self, start: Timestamp) -> f64 {
        const DAILY_SWING: f64 = 0.8;
        const SLOWEST_HOUR: f64 = 1.5;
        let daily = (TAU * (self.hour - SLOWEST_HOUR) / 24.0).sin() * DAILY_SWING * 24.0 / TAU;
        self.at.seconds_since(start) / 3600.0 - daily
    }

    /// Returns the room temperature: 22 °C, a degree more in the afternoon, a degree less before dawn.
    fn room_celsius(&self) -> f64 {
        22.0 + (TAU * (self.hour - 9.0) / 24.0).sin()
    }
}

/// Step of the physics, up to and including its instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) instant: Instant,
    /// Temperature of the room.
    pub(super) room_celsius: f64,
    /// Share of the old load noise that is left, [0, 1].
    pub(super) noise_kept: f64,
    /// Share of the old temperature difference that is left, [0, 1].
    pub(super) heat_kept: f64,
}

impl Step {
    fn new(at: Timestamp, seconds: f64) -> Self {
        let instant = Instant::new(at);
        Self {
            instant,
            room_celsius: instant.room_celsius(),
            noise_kept: (-seconds / NOISE_SECONDS).exp(),
            heat_kept: (-seconds / THERMAL_SECONDS).exp(),
        }
    }
}

/// Returns the steps from the last tick to `now`, at least one; the last is at `now`. Without a last tick, one step into
/// equilibrium.
pub(super) fn steps(last: Option<Timestamp>, now: Timestamp) -> Vec<Step> {
    let Some(last) = last else { return vec![Step::new(now, f64::INFINITY)] };
    let gap_seconds = now.seconds_since(last).max(0.0);
    let near_seconds = gap_seconds.min(MAX_MEMORY_SECONDS);
    let n_steps = (near_seconds / MAX_STEP_SECONDS).ceil().max(1.0) as u32;
    let step_seconds = near_seconds / f64::from(n_steps);
    let mut steps = Vec::with_capacity(n_steps as usize + 1);
    if gap_seconds > near_seconds {
        steps.push(Step::new(before(now, near_seconds), gap_seconds - near_seconds));
    }
    for left in (0..n_steps).rev() {
        steps.push(Step::new(before(now, f64::from(left) * step_seconds), step_seconds));
    }
    steps
}

fn before(now: Timestamp, seconds: f64) -> Timestamp {
    now.minus(std::time::Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn the_calendar_is_right() {
        let friday = Instant::new(time("2025-06-06T18:30:00Z"));
        assert!(!friday.is_weekend);
        assert!((friday.hour - 18.5).abs() < 1e-9);
        assert!(Instant::new(time("2025-06-07T00:00:00Z")).is_weekend);
        assert!(Instant::new(time("1967-12-31T12:00:00Z")).is_weekend);
        assert!(!Instant::new(time("2025-06-09T00:00:00Z")).is_weekend);
    }

    #[test]
    fn steps_end_now_and_cover_the_gap() {
        let now = time("2025-06-06T12:00:00Z");
        for (gap_seconds, n_steps) in [(1.0, 1), (120.0, 1), (121.0, 2), (2400.0, 20), (9e9, 21)] {
            let steps = steps(Some(before(now, gap_seconds)), now);
            assert_eq!(steps.len(), n_steps, "{gap_seconds}");
            assert_eq!(steps.last().unwrap().instant.at, now);
            let kept: f64 = steps.iter().map(|step| step.heat_kept).product();
            assert!((kept - (-gap_seconds / THERMAL_SECONDS).exp()).abs() < 1e-6);
        }
    }

    #[test]
    fn busy_hours_never_run_backwards() {
        let start = time("2025-06-06T00:00:00Z");
        let hours: Vec<f64> = (0..400)
            .map(|index| Instant::new(Timestamp::from_ns(start.as_ns() + index * 600_000_000_000)))
            .map(|instant| instant.busy_hours_since(start))
            .collect();
        assert!(hours.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
