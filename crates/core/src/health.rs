//! The judgement of one device from its latest values and its events. This is the first, honest
//! version: values against the metric table's limits, unresolved faults, and nothing without recent data.

use std::time::Duration;

use serde::Serialize;

use crate::metric::{self, Limits};
use crate::reading::{EventRecord, LatestSample, Window};
use crate::timestamp::Timestamp;

/// How long a fault that nobody reported mended still counts.
pub const FAULT_LOOKBACK: Duration = Duration::from_secs(30 * 24 * 3600);

/// SMART raw values from here on are packed by the vendor (several numbers in one); judging them as a
/// count condemns healthy drives. 65,535 is also what a saturated 16-bit counter says.
const FIRST_PACKED_RAW_VALUE: f64 = 65_535.0;

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No recent data: nothing can be said, least of all that all is well.
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
pub struct Reason {
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
    pub reasons: Vec<Reason>,
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

/// Judges a device.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let mut findings: Vec<(Health, Reason)> = evidence.latest.iter().filter_map(judge_value).collect();
    findings.extend(FAULTS.iter().filter_map(|fault| judge_fault(fault, evidence)));
    findings.sort_by_key(|(health, _)| std::cmp::Reverse(*health));
    let worst = findings.first().map_or(Health::Ok, |(health, _)| *health);
    if evidence.latest.is_empty() && worst != Health::Critical {
        let reasons =
            std::iter::once(silence(evidence)).chain(findings.into_iter().map(|(_, reason)| reason)).collect();
        return Verdict { health: Health::Unknown, score: None, reasons };
    }
    let score = Some(score(&findings));
    Verdict { health: worst, score, reasons: findings.into_iter().map(|(_, reason)| reason).collect() }
}

fn judge_value(sample: &LatestSample) -> Option<(Health, Reason)> {
    let kind = metric::lookup(&sample.metric_type)?;
    let limits = kind.limits?;
    if kind.name.starts_with("smart_") && sample.value >= FIRST_PACKED_RAW_VALUE {
        return None;
    }
    let (health, limit) = grade(limits, sample.value)?;
    let (value, unit) = (sample.value, kind.unit.symbol());
    let why = format!("{}: {} is {value} {unit}, limit {limit} {unit}", limits.meaning, kind.name);
    let reason = Reason {
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

fn judge_fault(fault: &Fault, evidence: &Evidence<'_>) -> Option<(Health, Reason)> {
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
    let reason = Reason {
        metric: event.event_type.to_string(),
        value: Some(f64::from(event.criticality.level())),
        limit: None,
        time: Some(event.timestamp),
        why: format!("{} at {}: {words}", event.event_type, event.timestamp),
    };
    Some((fault.health, reason))
}

fn silence(evidence: &Evidence<'_>) -> Reason {
    let minutes = evidence.window.seconds() / 60.0;
    let last = evidence
        .last_seen
        .map_or_else(|| "nothing was ever received from it".to_owned(), |time| format!("last heard of at {time}"));
    Reason {
        metric: "silence".to_owned(),
        value: None,
        limit: None,
        time: evidence.last_seen,
        why: format!("no data in the {minutes:.0} minutes before {}; {last}", evidence.window.until),
    }
}

/// 100, less 25 for each warning and 60 for each critical finding, but at most 39 once anything is
/// critical and at least 40 while nothing is: the score never contradicts the verdict.
fn score(findings: &[(Health, Reason)]) -> u8 {
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
        judge(&Evidence { window: Window::ending_at(NOW, Duration::from_secs(3600)), latest, events, last_seen: None })
    }

    #[test]
    fn silence_is_never_ok() {
        let silent = verdict(&[], &[]);
        assert_eq!((silent.health, silent.score), (Health::Unknown, None));
        assert!(silent.reasons[0].why.contains("no data in the 60 minutes"));
        assert_eq!(verdict(&[], &[event("DriveFailure", 90_000)]).health, Health::Critical);
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
