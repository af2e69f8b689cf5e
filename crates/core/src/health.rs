//! Verdict on one device from its latest values and its events: values against the limits of the metric table, and
//! unresolved faults. A device that is silent, or sends only unknown metric types, is never called healthy.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;

use crate::metric::{self, Limits};
use crate::records::{EventRecord, LatestSample, Window};
use crate::timestamp::Timestamp;

/// Period for which a fault counts that no event reports as resolved.
pub const FAULT_LOOKBACK: Duration = Duration::from_secs(30 * 24 * 3600);

/// Shortest silence after which a frequently reporting device counts as silent; restarts and short outages take less.
pub const MIN_SILENCE: Duration = Duration::from_secs(5 * 60);
/// The same for a device whose reporting interval is unknown.
const SILENCE_WITHOUT_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// Consecutive missing values before a device counts as silent.
const MISSED_VALUES: u32 = 10;

/// SMART raw values from here on are vendor-packed (several numbers in one); judging them as a count condemns healthy
/// drives. 65,535 is also the value of a saturated 16-bit counter.
const FIRST_PACKED_RAW_VALUE: f64 = 65_535.0;

/// Health of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No recent data, or none of a known type.
    Unknown,
    /// Recent data, and no finding.
    Ok,
    /// Needs attention.
    Warning,
    /// Needs immediate action.
    Critical,
}

/// Finding against a device, or its lack of data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HealthReason {
    /// Metric type or event type.
    pub metric: String,
    /// Value: of a metric in its unit, of an event its criticality.
    pub value: Option<f64>,
    /// Limit it reached.
    pub limit: Option<f64>,
    /// Time of the value or event.
    pub time: Option<Timestamp>,
    /// Explanation for people.
    pub why: String,
}

/// Verdict with its reasons.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Health.
    pub health: Health,
    /// From 100 for no finding down to 0; `None` if health is unknown.
    pub score: Option<u8>,
    /// Most severe first.
    pub reasons: Vec<HealthReason>,
}

/// Input of the verdict on a device.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// Window of recent values; its end is the time of the verdict.
    pub window: Window,
    /// Newest value of each metric within the window.
    pub latest: &'a [LatestSample],
    /// Events of the last [`FAULT_LOOKBACK`], in any order.
    pub events: &'a [EventRecord],
    /// Time of the newest data received at any time.
    pub last_seen: Option<Timestamp>,
    /// Usual time between two values. Needed only if [`may_be_silent`].
    pub rhythm: Option<Duration>,
}

/// Event type that counts against a device until another resolves it.
struct Fault {
    event_type: &'static str,
    resolved_by: Option<&'static str>,
    health: Health,
}

const FAULTS: &[Fault] = &[
    Fault { event_type: "DriveFailure", resolved_by: Some("DriveReplaced"), health: Health::Critical },
    Fault { event_type: "ShelfOffline", resolved_by: Some("ShelfOnline"), health: Health::Critical },
    Fault { event_type: "FanFailure", resolved_by: Some("FanRestored"), health: Health::Warning },
    Fault { event_type: "DataCorruption", resolved_by: None, health: Health::Warning },
];

/// Returns the newest value if it is so old that silence depends on the device's usual reporting interval.
pub fn may_be_silent(latest: &[LatestSample], window: Window) -> Option<&LatestSample> {
    newest(latest).filter(|sample| age(sample, window) > MIN_SILENCE)
}

/// Judges a device.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let mut findings: Vec<(Health, HealthReason)> = evidence.latest.iter().filter_map(judge_value).collect();
    findings.extend(FAULTS.iter().filter_map(|fault| judge_fault(fault, evidence)));
    findings.sort_by_key(|(health, _)| std::cmp::Reverse(*health));
    let worst = findings.first().map_or(Health::Ok, |(health, _)| *health);
    let score = score(&findings);
    let mut reasons: Vec<HealthReason> = findings.into_iter().map(|(_, reason)| reason).collect();
    let silence = silence(evidence);
    match (silence.or_else(|| nothing_judged(evidence).filter(|_| worst == Health::Ok)), worst) {
        (None, health) => Verdict { health, score: Some(score), reasons },
        // A device that was critical when it fell silent stays critical.
        (Some(reason), Health::Critical) => {
            reasons.push(reason);
            Verdict { health: Health::Critical, score: Some(score), reasons }
        }
        (Some(reason), Health::Unknown | Health::Ok | Health::Warning) => {
            reasons.insert(0, reason);
            Verdict { health: Health::Unknown, score: None, reasons }
        }
    }
}

fn judge_value(sample: &LatestSample) -> Option<(Health, HealthReason)> {
    let kind = metric::lookup(&sample.metric_type)?;
    let limits = kind.limits?;
    if kind.name.starts_with("smart_") && sample.value >= FIRST_PACKED_RAW_VALUE {
        return None;
    }
    let (health, limit) = grade(limits, sample.value)?;
    let (value, unit) = (sample.value, kind.unit.symbol());
    let why = format!("{}: {} is {value} {unit}, limit {limit} {unit}", limits.meaning, kind.name);
    let reason = HealthReason {
        metric: kind.name.to_owned(),
        value: Some(value),
        limit: Some(limit),
        time: Some(sample.time),
        why: why.replace(" ,", ",").trim_end().to_owned(),
    };
    Some((health, reason))
}

fn grade(limits: Limits, value: f64) -> Option<(Health, f64)> {
    if value >= limits.critical {
        Some((Health::Critical, limits.critical))
    } else if value >= limits.warning {
        Some((Health::Warning, limits.warning))
    } else {
        None
    }
}

fn judge_fault(fault: &Fault, evidence: &Evidence<'_>) -> Option<(Health, HealthReason)> {
    let newest = |event_type: &str| {
        evidence
            .events
            .iter()
            .filter(|record| record.event.event_type.as_str() == event_type)
            .max_by_key(|record| record.event.timestamp)
    };
    let record = newest(fault.event_type)?;
    let event = &record.event;
    let is_resolved = match fault.resolved_by {
        Some(resolved_by) => newest(resolved_by).is_some_and(|record| record.event.timestamp >= event.timestamp),
        // No event resolves these; they count while they are recent.
        None => event.timestamp < evidence.window.from,
    };
    if is_resolved {
        return None;
    }
    let detail = event.event_message.as_deref().unwrap_or("no details given");
    let reason = HealthReason {
        metric: event.event_type.to_string(),
        value: Some(f64::from(event.criticality.level())),
        limit: None,
        time: Some(event.timestamp),
        why: format!("{} at {}: {detail}", event.event_type, event.timestamp),
    };
    Some((fault.health, reason))
}

fn newest(latest: &[LatestSample]) -> Option<&LatestSample> {
    latest.iter().max_by_key(|sample| sample.time)
}

/// Returns the age of a value at the time of the verdict.
fn age(sample: &LatestSample, window: Window) -> Duration {
    Duration::try_from_secs_f64(window.until.seconds_since(sample.time)).unwrap_or_default()
}

/// Returns a reason if the device is silent.
fn silence(evidence: &Evidence<'_>) -> Option<HealthReason> {
    let Evidence { window, latest, last_seen, rhythm, .. } = *evidence;
    let reason = |time, why| Some(HealthReason { metric: "silence".to_owned(), value: None, limit: None, time, why });
    let Some(newest) = newest(latest) else {
        let minutes = window.seconds() / 60.0;
        let last = last_seen
            .map_or_else(|| "nothing was ever received from it".to_owned(), |time| format!("last data at {time}"));
        return reason(last_seen, format!("no data in the {minutes:.0} minutes before {}; {last}", window.until));
    };
    let allowed =
        rhythm.map_or(SILENCE_WITHOUT_INTERVAL, |rhythm| rhythm.saturating_mul(MISSED_VALUES).max(MIN_SILENCE));
    let silent_for = age(newest, window);
    if silent_for <= allowed {
        return None;
    }
    let minutes = |duration: Duration| duration.as_secs() / 60;
    let usual = rhythm.map_or_else(String::new, |rhythm| format!("; usual is a value every {} s", usual_s(rhythm)));
    let why = format!("silent since {}, {} minutes{usual}", newest.time, minutes(silent_for));
    reason(Some(newest.time), why)
}

fn usual_s(rhythm: Duration) -> String {
    let seconds = rhythm.as_secs_f64();
    if seconds < 10.0 { format!("{seconds:.1}") } else { format!("{seconds:.0}") }
}

/// Returns a reason if the device sends only metric types outside the metric table.
fn nothing_judged(evidence: &Evidence<'_>) -> Option<HealthReason> {
    if evidence.latest.iter().any(|sample| metric::lookup(&sample.metric_type).is_some()) {
        return None;
    }
    let newest = newest(evidence.latest)?;
    let others = match evidence.latest.len() {
        0 | 1 => String::new(),
        n_types => format!(" and {} more", n_types - 1),
    };
    Some(HealthReason {
        metric: newest.metric_type.to_string(),
        value: Some(newest.value),
        limit: None,
        time: Some(newest.time),
        why: format!("nothing it sends is judged: {}{others} not in the metric table", newest.metric_type),
    })
}

/// Returns 100, less 25 per warning and 60 per critical finding, but at most 39 if anything is critical and at least 40
/// if nothing is: the score never contradicts the verdict.
fn score(findings: &[(Health, HealthReason)]) -> u8 {
    let count = |health: Health| findings.iter().filter(|(found, _)| *found == health).count();
    let (n_critical, n_warning) = (count(Health::Critical), count(Health::Warning));
    let score = 100_usize.saturating_sub(60 * n_critical + 25 * n_warning);
    let bounded = if n_critical > 0 { score.min(39) } else { score.max(40) };
    bounded as u8
}
