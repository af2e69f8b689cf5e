//! Verdict on one device from its latest values, its events and the arrival of its data. Nothing that is missing, cut
//! off or not understood counts as good.
//!
//! Verdicts are ordered by badness: `ok` < `unknown` < `warning` < `critical`. Each piece of evidence contributes one
//! of them, and the worst decides, with two exceptions:
//!
//! - Silence hides a warning: what was worth a look before a device fell silent may be over, or worse. Only `critical`
//!   survives silence.
//! - Without a single judged value there is no `ok`, only `unknown`.
//!
//! So more evidence never improves a verdict, except by an event that closes a fault, by a newer value of the same
//! metric, by the first judged value of a device of which nothing was known, by a device that states how hot it may be
//! (`DiskTempWarning`, `DiskTempCritical`, `IsFlash`; only the limits of its temperature change), and by an operator who
//! accepts a finding ([`decision`](crate::decision)). Order does not matter.

mod accepted;
mod asleep;
mod changes;
mod faults;
mod fleet_steps;
mod history;
mod onset;
mod order;
mod silence;
mod temperature;
#[cfg(test)]
mod tests;
mod trend;
mod values;

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use crate::advice;
use crate::decision::DecisionInForce;
use crate::metric;
use crate::records::{Arrival, EventRecord, LatestSample, Window};
use crate::smart::SMART_STANDBY;
use crate::timestamp::Timestamp;

pub(crate) use accepted::Acceptances;
pub use asleep::is_asleep;
pub use changes::{CHANGE_SHOWN, change_types, was_replaced};
pub use faults::{FAULT_LOOKBACK, PAGING_CRITICALITY, event_types, is_deciding, may_hide_newer};
pub(crate) use faults::{fault_of, moment, reason_of};
pub use fleet_steps::{FleetStep, fleet_steps};
pub use history::{HealthSegment, MAX_STATEMENT_AGE, Statement, detector_seen, segments, since, standing};
pub use onset::{FINDING_ENDS_AFTER, history_begins, lacks_onset, onset};
pub use silence::{
    CLOCK_TOLERANCE, MAX_CLOCK_LAG, MIN_SILENCE, allowed_silence, clock_disagrees, current_window, may_be_silent,
};
pub(crate) use temperature::TemperatureLimits;
pub use trend::{earlier_windows, needs_earlier};

/// Health of a device, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Recent data that is understood, and no finding.
    Ok,
    /// No recent data, none of a known type, or evidence that is cut off or not understood.
    Unknown,
    /// Needs attention.
    Warning,
    /// Needs immediate action.
    Critical,
}

impl Health {
    const ALL: [Self; 4] = [Self::Ok, Self::Unknown, Self::Warning, Self::Critical];

    /// Returns its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// Returns the verdict of a name on the wire.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|health| health.name() == name)
    }
}

/// Finding against a device, or its lack of data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HealthReason {
    /// Metric type or event type.
    pub metric: String,
    /// Weight in the verdict: `ok` if it has none, as a note or an accepted finding.
    pub health: Health,
    /// Value: of a metric, decoded and in its unit; of an event its criticality.
    pub value: Option<f64>,
    /// Value as stored, if decoding changed it or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<f64>,
    /// Limit it reached.
    pub limit: Option<f64>,
    /// Time of the value or event.
    pub time: Option<Timestamp>,
    /// Explanation for people.
    pub why: String,
    /// Values that are no finding, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Change since an earlier value, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trend: Option<String>,
    /// Start of the finding, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Action, as an imperative sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Cow<'static, str>>,
    /// Decision that takes it out of the verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<DecisionInForce>,
}

impl HealthReason {
    /// Returns a reason that rests on no value.
    fn without_value(metric: &str, time: Option<Timestamp>, why: String) -> Self {
        Self {
            metric: metric.to_owned(),
            health: Health::Unknown,
            value: None,
            raw: None,
            limit: None,
            time,
            why,
            expected: None,
            trend: None,
            since: None,
            advice: None,
            accepted: None,
        }
    }
}

/// Verdict with its reasons.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Health.
    pub health: Health,
    /// From 100 for no finding down to 0; `None` if health is unknown.
    pub score: Option<u8>,
    /// Most important first.
    pub reasons: Vec<HealthReason>,
}

/// Input of the verdict on a device.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// Window of recent values; its end is the time of the verdict.
    pub window: Window,
    /// Newest value of each metric within [`current_window`].
    pub latest: &'a [LatestSample],
    /// Newest value of each metric some time before, by [`earlier_windows`]. Needed only if [`needs_earlier`].
    pub earlier: &'a [LatestSample],
    /// Events of [`event_types`] and those of [`PAGING_CRITICALITY`] from [`FAULT_LOOKBACK`] on, in any order. Optional:
    /// those of [`change_types`], notes and verdicts of the detector, which change no verdict.
    pub events: &'a [EventRecord],
    /// `true` if a limit cut off some of these events.
    pub events_cut_off: bool,
    /// Newest time of any data, by the sender's clock.
    pub last_seen: Option<Timestamp>,
    /// Newest arrival of values; `None` if none is known.
    pub arrival: Option<Arrival>,
    /// Usual time between two values. Needed only if [`may_be_silent`].
    pub rhythm: Option<Duration>,
    /// Events of [`decision::event_types`](crate::decision::event_types), in any order.
    pub decisions: &'a [EventRecord],
}

/// Contribution of one piece of evidence.
type Finding = (Health, HealthReason);

/// Judges a device.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let mut findings = values::judge_all(evidence.latest);
    findings.iter_mut().for_each(|(_, reason)| trend::compare(reason, evidence));
    findings.extend(faults::judge(evidence));
    let acceptances = Acceptances::at(evidence.decisions, evidence.events, evidence.window.until);
    let mut findings: Vec<Finding> = findings.into_iter().map(|finding| acceptances.apply(finding)).collect();
    findings.extend(values::nothing_judged(evidence.latest).map(|finding| asleep::explain(finding, evidence.latest)));
    findings.extend(changes::notes(evidence));
    findings.sort_by(order::by_importance);
    let worst = findings.first().map_or(Health::Ok, |(health, _)| *health);
    let score = score(&findings);
    let mut reasons: Vec<HealthReason> = findings.into_iter().map(advised).collect();
    let silence = silence::judge(evidence).map(|silence| {
        let advice = Some(advice::for_finding(advice::Finding::Silent).sentence.into());
        HealthReason { advice, since: silence.time, ..silence }
    });
    let verdict = match (silence, worst) {
        (None, Health::Unknown) => Verdict { health: Health::Unknown, score: None, reasons },
        (None, health) => Verdict { health, score: Some(score), reasons },
        (Some(silence), Health::Critical) => {
            reasons.push(silence);
            Verdict { health: Health::Critical, score: Some(score), reasons }
        }
        (Some(silence), Health::Ok | Health::Unknown | Health::Warning) => {
            reasons.insert(0, silence);
            Verdict { health: Health::Unknown, score: None, reasons }
        }
    };
    history::date(verdict, evidence)
}

/// Adds its weight to a finding, and the advice to one against a device unless it brings its own; what is not known
/// needs none but that of its silence.
fn advised((health, reason): Finding) -> HealthReason {
    let advice = match health {
        Health::Warning | Health::Critical => advice::for_name(&reason.metric).map(|advice| advice.sentence.into()),
        Health::Ok | Health::Unknown => None,
    };
    HealthReason { health, advice: reason.advice.or(advice), ..reason }
}

/// Returns `true` for a metric that is no evidence, but that the judgement of others reads.
pub(crate) fn is_statement(metric_type: &str) -> bool {
    temperature::STATEMENTS.contains(&metric_type) || metric_type == SMART_STANDBY
}

/// Returns `true` if values of a metric can count against their device.
fn is_judged(metric_type: &str) -> bool {
    metric::lookup(metric_type).is_some_and(|kind| kind.limits.is_some())
}

/// Returns 100, less 25 per warning and 60 per critical finding, but at most 39 if anything is critical and at least 40
/// if nothing is: the score never contradicts the verdict.
fn score(findings: &[Finding]) -> u8 {
    let count = |health: Health| findings.iter().filter(|(found, _)| *found == health).count();
    let (n_critical, n_warning) = (count(Health::Critical), count(Health::Warning));
    let score = 100_usize.saturating_sub(60 * n_critical + 25 * n_warning);
    let bounded = if n_critical > 0 { score.min(39) } else { score.max(40) };
    bounded as u8
}
