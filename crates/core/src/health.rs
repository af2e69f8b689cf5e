//! The judgement of one device from its latest values and its events. This is the first, honest
//! version: values against the metric table's limits, unresolved faults, and nothing where a device is silent
//! or says only what nobody judges.

use std::time::Duration;

use serde::Serialize;

use crate::metric::{self, Limits};
use crate::records::{EventRecord, LatestSample, Window};
use crate::timestamp::Timestamp;

/// How long a fault that nobody reported mended still counts.
pub const FAULT_LOOKBACK: Duration = Duration::from_secs(30 * 24 * 3600);

/// From when on a device counts as silent that speaks often: a restart or a short outage is no silence.
pub const SHORTEST_PATIENCE: Duration = Duration::from_secs(5 * 60);
/// The same for a device whose rhythm nobody knows.
const PATIENCE_WITHOUT_RHYTHM: Duration = Duration::from_secs(15 * 60);
/// This many values in a row must be missing before a device counts as silent.
const MISSED_VALUES: u32 = 10;

/// SMART raw values from here on are packed by the vendor (several numbers in one); judging them as a
/// count condemns healthy drives. 65,535 is also what a saturated 16-bit counter says.
const FIRST_PACKED_RAW_VALUE: f64 = 65_535.0;

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No recent data, or none that is judged: nothing can be said, least of all that all is well.
    Unknown,
    /// Recent data, and nothing speaks against the device.
    Ok,
    /// Worth a look.
    Warning,
    /// Act now.
    Critical,
}

/// One thing that speaks against a device, or the lack of data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HealthReason {
    /// The metric or the event type.
    pub metric: String,
    /// Its value: of a metric in its unit, of an event its criticality.
    pub value: Option<f64>,
    /// The limit it reached.
    pub limit: Option<f64>,
    /// When.
    pub time: Option<Timestamp>,
    /// In words.
    pub why: String,
}

/// The verdict with its reasons.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The verdict.
    pub health: Health,
    /// 100 for nothing against it, down to 0; nothing where health is unknown.
    pub score: Option<u8>,
    /// The gravest first.
    pub reasons: Vec<HealthReason>,
}

/// What a device is judged from.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// How recent values must be; its end is the time of the judgement.
    pub window: Window,
    /// Newest value of each metric within the window.
    pub latest: &'a [LatestSample],
    /// Its events of the last [`FAULT_LOOKBACK`], in any order.
    pub events: &'a [EventRecord],
    /// When it was last heard of at all.
    pub last_seen: Option<Timestamp>,
    /// The usual time between two of its values. Needed only where [`may_be_silent`].
    pub rhythm: Option<Duration>,
}

/// Events that say a device is unwell until another says it is mended.
struct Fault {
    event_type: &'static str,
    mended_by: Option<&'static str>,
    health: Health,
}

const FAULTS: &[Fault] = &[
    Fault { event_type: "DriveFailure", mended_by: Some("DriveReplaced"), health: Health::Critical },
    Fault { event_type: "ShelfOffline", mended_by: Some("ShelfOnline"), health: Health::Critical },
    Fault { event_type: "FanFailure", mended_by: Some("FanRestored"), health: Health::Warning },
    Fault { event_type: "DataCorruption", mended_by: None, health: Health::Warning },
];

/// The newest of a device's values, if it is so old that only its rhythm tells whether it is silent.
pub fn may_be_silent(latest: &[LatestSample], window: Window) -> Option<&LatestSample> {
    newest(latest).filter(|sample| age(sample, window) > SHORTEST_PATIENCE)
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
        // What was critical when it fell silent is no better for its silence.
        (Some(ground), Health::Critical) => {
            reasons.push(ground);
            Verdict { health: Health::Critical, score: Some(score), reasons }
        }
        (Some(ground), Health::Unknown | Health::Ok | Health::Warning) => {
            reasons.insert(0, ground);
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
    let mended = match fault.mended_by {
        Some(mended_by) => newest(mended_by).is_some_and(|mend| mend.event.timestamp >= event.timestamp),
        // Nothing ever reports these mended; they count while they are recent.
        None => event.timestamp < evidence.window.from,
    };
    if mended {
        return None;
    }
    let words = event.event_message.as_deref().unwrap_or("no details given");
    let reason = HealthReason {
        metric: event.event_type.to_string(),
        value: Some(f64::from(event.criticality.level())),
        limit: None,
        time: Some(event.timestamp),
        why: format!("{} at {}: {words}", event.event_type, event.timestamp),
    };
    Some((fault.health, reason))
}

fn newest(latest: &[LatestSample]) -> Option<&LatestSample> {
    latest.iter().max_by_key(|sample| sample.time)
}

/// At the time of the judgement.
fn age(sample: &LatestSample, window: Window) -> Duration {
    Duration::try_from_secs_f64(window.until.seconds_since(sample.time)).unwrap_or_default()
}

/// That nothing came lately, if so.
fn silence(evidence: &Evidence<'_>) -> Option<HealthReason> {
    let Evidence { window, latest, last_seen, rhythm, .. } = *evidence;
    let reason = |time, why| Some(HealthReason { metric: "silence".to_owned(), value: None, limit: None, time, why });
    let Some(newest) = newest(latest) else {
        let minutes = window.seconds() / 60.0;
        let last = last_seen
            .map_or_else(|| "nothing was ever received from it".to_owned(), |time| format!("last heard of at {time}"));
        return reason(last_seen, format!("no data in the {minutes:.0} minutes before {}; {last}", window.until));
    };
    let patience =
        rhythm.map_or(PATIENCE_WITHOUT_RHYTHM, |rhythm| rhythm.saturating_mul(MISSED_VALUES).max(SHORTEST_PATIENCE));
    let silent_for = age(newest, window);
    if silent_for <= patience {
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

/// That a device says only what no row of the metric table knows, if so: it may be well or not.
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
        why: format!("nothing it sends is judged: {}{others} is no known metric type", newest.metric_type),
    })
}

/// 100, less 25 for each warning and 60 for each critical finding, but at most 39 once anything is
/// critical and at least 40 while nothing is: the score never contradicts the verdict.
fn score(findings: &[(Health, HealthReason)]) -> u8 {
    let count = |health: Health| findings.iter().filter(|(found, _)| *found == health).count();
    let (n_critical, n_warning) = (count(Health::Critical), count(Health::Warning));
    let score = 100_usize.saturating_sub(60 * n_critical + 25 * n_warning);
    let bounded = if n_critical > 0 { score.min(39) } else { score.max(40) };
    bounded as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Criticality, Event};
    use crate::{DeviceName, EventType, MetricType};

    const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

    fn latest(metric: &str, value: f64) -> LatestSample {
        LatestSample { metric_type: MetricType::new(metric).unwrap(), time: NOW, value }
    }

    fn event(event_type: &str, seconds_ago: u64) -> EventRecord {
        let timestamp = NOW.minus(Duration::from_secs(seconds_ago));
        let event = Event {
            id: uuid::Uuid::nil(),
            criticality: Criticality::MAX,
            timestamp,
            source_device: DeviceName::new("d").unwrap(),
            event_type: EventType::new(event_type).unwrap(),
            event_message: None,
            seq: None,
            labels: None,
        };
        EventRecord { event, received: timestamp }
    }

    fn verdict(latest: &[LatestSample], events: &[EventRecord]) -> Verdict {
        verdict_with(latest, events, None)
    }

    fn verdict_with(latest: &[LatestSample], events: &[EventRecord], rhythm: Option<Duration>) -> Verdict {
        let window = Window::ending_at(NOW, Duration::from_secs(3600));
        judge(&Evidence { window, latest, events, last_seen: None, rhythm })
    }

    fn old(metric: &str, value: f64, minutes: u64) -> LatestSample {
        LatestSample { time: NOW.minus(Duration::from_secs(60 * minutes)), ..latest(metric, value) }
    }

    #[test]
    fn silence_is_never_ok() {
        let silent = verdict(&[], &[]);
        assert_eq!((silent.health, silent.score), (Health::Unknown, None));
        assert!(silent.reasons[0].why.contains("no data in the 60 minutes"));
        assert_eq!(verdict(&[], &[event("DriveFailure", 90_000)]).health, Health::Critical);
        let stale = verdict(&[old("DiskTemp", 40.0, 25), old("IOPs", 1.0, 30)], &[]);
        assert_eq!((stale.health, stale.score, stale.reasons.len()), (Health::Unknown, None, 1));
        let since = NOW.minus(Duration::from_secs(1500));
        assert_eq!((stale.reasons[0].metric.as_str(), stale.reasons[0].time), ("silence", Some(since)));
        assert_eq!(stale.reasons[0].why, format!("silent since {since}, 25 minutes"));
        // What was said before is still told, but decides only where it is critical.
        let warm = verdict(&[old("DiskTemp", 58.0, 25)], &[]);
        assert_eq!((warm.health, warm.reasons.len()), (Health::Unknown, 2));
        let burnt = verdict(&[old("DiskTemp", 80.0, 25)], &[]);
        assert_eq!((burnt.health, burnt.reasons[1].metric.as_str()), (Health::Critical, "silence"));
    }

    #[test]
    fn how_long_a_silence_is_borne_depends_on_the_rhythm() {
        let after = |minutes: u64, rhythm_s: Option<u64>| {
            verdict_with(&[old("DiskTemp", 40.0, minutes)], &[], rhythm_s.map(Duration::from_secs)).health
        };
        assert_eq!((after(5, Some(2)), after(6, Some(2))), (Health::Ok, Health::Unknown));
        assert_eq!((after(20, Some(120)), after(21, Some(120))), (Health::Ok, Health::Unknown));
        assert_eq!((after(15, None), after(16, None)), (Health::Ok, Health::Unknown));
        let window = Window::ending_at(NOW, Duration::from_secs(3600));
        assert_eq!(may_be_silent(&[old("a", 1.0, 5), old("b", 1.0, 50)], window), None);
        assert_eq!(may_be_silent(&[old("a", 1.0, 6), old("b", 1.0, 50)], window), Some(&old("a", 1.0, 6)));
    }

    #[test]
    fn what_nobody_judges_is_no_ground_for_ok() {
        let strange = verdict(&[latest("Zing", 1.0), latest("Zong", 2.0)], &[]);
        assert_eq!((strange.health, strange.score), (Health::Unknown, None));
        assert!(strange.reasons[0].why.contains("nothing it sends is judged"), "{:?}", strange.reasons);
        assert_eq!(verdict(&[latest("Zing", 1.0)], &[event("FanFailure", 60)]).health, Health::Warning);
    }

    #[test]
    fn limits_give_warning_and_critical_with_the_reason() {
        assert_eq!(verdict(&[latest("DiskTemp", 41.0), latest("Unheard", 1e9)], &[]).health, Health::Ok);
        let warm = verdict(&[latest("DiskTemp", 58.2)], &[]);
        assert_eq!((warm.health, warm.score), (Health::Warning, Some(75)));
        assert_eq!((warm.reasons[0].value, warm.reasons[0].limit), (Some(58.2), Some(55.0)));
        let worn = verdict(&[latest("DiskTemp", 58.2), latest("smart_5_raw", 4094.0)], &[]);
        assert_eq!((worn.health, worn.reasons[0].metric.as_str()), (Health::Critical, "smart_5_raw"));
    }

    #[test]
    fn vendor_packed_values_accuse_nobody() {
        assert_eq!(
            verdict(&[latest("smart_5_raw", 65_535.0), latest("smart_194_raw", 141_734_510_625.0)], &[]).health,
            Health::Ok
        );
    }

    #[test]
    fn a_fault_counts_until_it_is_mended() {
        let fine = [latest("DiskTemp", 40.0)];
        assert_eq!(verdict(&fine, &[event("DriveFailure", 600)]).health, Health::Critical);
        assert_eq!(verdict(&fine, &[event("DriveFailure", 600), event("DriveReplaced", 60)]).health, Health::Ok);
        assert_eq!(verdict(&fine, &[event("DataCorruption", 600)]).health, Health::Warning);
        assert_eq!(verdict(&fine, &[event("DataCorruption", 6000)]).health, Health::Ok);
    }
}
