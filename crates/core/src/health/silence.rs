//! Silence of a device, and the disagreement of its clock with ours.
//!
//! Silence is judged by arrival, which only Spindle's clock dates. Values are current if they were measured in the
//! window by the sender's clock, corrected by the offset that its newest arrival shows: without limit for a clock that
//! is ahead, since nothing can arrive before it is measured, and up to [`MAX_CLOCK_LAG`] for one that is behind. Older
//! values that arrive now are a recording, late data or a clock that was never set; they cannot be told apart, so they
//! are evidence of the past and the device is `unknown`.

use std::time::Duration;

use super::{Evidence, HealthReason};
use crate::records::{Arrival, LatestSample, Window};
use crate::timestamp::Timestamp;

/// Shortest silence after which a frequently reporting device counts as silent; restarts and short outages take less.
pub const MIN_SILENCE: Duration = Duration::from_secs(5 * 60);
/// Difference between arrival and time of measurement up to which the two clocks agree.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// Longest lag of values that still count as current: local time sent as UTC is up to 14 hours off.
pub const MAX_CLOCK_LAG: Duration = Duration::from_secs(24 * 3600);

/// The same as [`MIN_SILENCE`] for a device whose reporting interval is unknown.
const SILENCE_WITHOUT_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// Consecutive missing values before a device counts as silent.
const MISSED_VALUES: u32 = 10;

/// Returns `true` if a sender's clock differs from ours by more than [`CLOCK_TOLERANCE`].
pub fn clock_disagrees(arrival: Arrival) -> bool {
    arrival.clock_offset_seconds().abs() > CLOCK_TOLERANCE.as_secs_f64()
}

/// Returns the window, by the sender's clock, in which its values count as current.
pub fn current_window(window: Window, arrival: Option<Arrival>) -> Window {
    let Some(arrival) = arrival.filter(|arrival| clock_disagrees(*arrival)) else { return window };
    let ahead = duration(arrival.measured, arrival.received);
    let lag = duration(arrival.received, arrival.measured);
    if !ahead.is_zero() {
        return Window { from: window.from.plus(ahead), until: window.until.plus(ahead) };
    }
    if lag > MAX_CLOCK_LAG {
        return window;
    }
    // The end stays: late data may arrive between current data.
    Window { from: window.from.minus(lag), until: window.until }
}

/// Returns the metric of the newest value if the device's last arrival is so old that silence depends on its usual
/// reporting interval.
pub fn may_be_silent(latest: &[LatestSample], arrival: Option<Arrival>, window: Window) -> Option<&LatestSample> {
    let silent_for = duration(window.until, arrival?.received);
    newest(latest).filter(|_| silent_for > MIN_SILENCE)
}

/// Returns the longest time without a value that is no silence yet.
pub fn allowed_silence(rhythm: Option<Duration>) -> Duration {
    rhythm.map_or(SILENCE_WITHOUT_INTERVAL, |rhythm| rhythm.saturating_mul(MISSED_VALUES).max(MIN_SILENCE))
}

/// Returns a reason if the device is silent, or has sent no current values.
pub(super) fn judge(evidence: &Evidence<'_>) -> Option<HealthReason> {
    let Evidence { window, last_seen, .. } = *evidence;
    let minutes = window.seconds() / 60.0;
    let Some(arrival) = evidence.arrival else {
        let last = last_seen
            .map_or_else(|| "nothing was ever received from it".to_owned(), |time| format!("last data at {time}"));
        return silent(last_seen, format!("no data in the {minutes:.0} minutes before {}; {last}", window.until));
    };
    let silent_for = duration(window.until, arrival.received);
    let clock = by_its_clock(arrival);
    if evidence.latest.is_empty() && silent_for.as_secs_f64() <= window.seconds() {
        let why = format!(
            "the values received until {}{clock} are not current: a recording, late data, or a clock to be set",
            arrival.received
        );
        return Some(HealthReason::without_value("clock", Some(arrival.measured), why));
    }
    if evidence.latest.is_empty() {
        let last = format!("last data received at {}{clock}", arrival.received);
        let why = format!("no data in the {minutes:.0} minutes before {}; {last}", window.until);
        return silent(Some(arrival.received), why);
    }
    let rhythm = evidence.rhythm;
    if silent_for <= allowed_silence(rhythm) {
        return None;
    }
    let usual = rhythm.map_or_else(String::new, |rhythm| format!("; usual is a value every {} s", usual_s(rhythm)));
    let why = format!("silent since {}{clock}, {} minutes{usual}", arrival.received, silent_for.as_secs() / 60);
    silent(Some(arrival.received), why)
}

fn silent(time: Option<Timestamp>, why: String) -> Option<HealthReason> {
    Some(HealthReason::without_value("silence", time, why))
}

/// Returns the sender's time of an arrival, if it disagrees with ours.
fn by_its_clock(arrival: Arrival) -> String {
    match clock_disagrees(arrival) {
        true => format!(" (by its own clock {})", arrival.measured),
        false => String::new(),
    }
}

fn newest(latest: &[LatestSample]) -> Option<&LatestSample> {
    latest.iter().max_by(|a, b| (a.time, &b.metric_type).cmp(&(b.time, &a.metric_type)))
}

/// Returns the time from `earlier` to `later`; zero if they are in reverse order.
fn duration(later: Timestamp, earlier: Timestamp) -> Duration {
    Duration::from_nanos(u64::try_from(later.as_ns().saturating_sub(earlier.as_ns())).unwrap_or_default())
}

fn usual_s(rhythm: Duration) -> String {
    let seconds = rhythm.as_secs_f64();
    if seconds < 10.0 { format!("{seconds:.1}") } else { format!("{seconds:.0}") }
}
