//! Drives judged live by [`DriveFleet`], and its verdicts as events that hold.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Device;
use super::notes::{exact, rounded};
use super::series::Series;
use crate::fleet::{self, DriveFleet, DriveReason, DriveRow, DriveVerdict};
use crate::health::{Health, MAX_CLOCK_LAG};
use crate::judge::events::{FAILURE_PREDICTED, FAILURE_PREDICTION_ENDED, FAILURE_RISK_RAISED, Finding};
use crate::timestamp::Timestamp;
use crate::wire::Event;

/// Change of a temperature, in °C, that is worth a verdict before the next day.
const CELSIUS: f64 = 5.0;
/// Time for which a verdict that got worse must hold: a poll arrives value by value.
const RAISED_AFTER: Duration = Duration::from_secs(120);
/// Time for which a verdict that got better must hold. Counters do not fall; what got better did so beside others.
const ENDED_AFTER: Duration = Duration::from_secs(72 * 3600);
/// Time after a page in which the same prediction calls nobody.
const PAGE_AGAIN_AFTER: Duration = Duration::from_secs(30 * 86_400);
/// Reasons in a message.
const MAX_REASONS: usize = 3;

/// Prediction about a drive, as events have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Prediction {
    #[default]
    Nothing,
    Risk,
    Failure,
}

/// State of one drive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::judge) struct DriveWatch {
    /// `true` if something that the judge of drives reads has changed.
    is_changed: bool,
    /// Day of the last verdict, counted from the epoch.
    day: Option<i64>,
    celsius: f64,
    said: Prediction,
    changed: Option<Timestamp>,
    /// Verdict that differs from the one said, and since when.
    candidate: Option<(Prediction, Timestamp)>,
    /// `true` from its failure to its replacement: nothing is left to predict.
    has_failed: bool,
}

impl DriveWatch {
    /// Takes a value that the judge of drives reads; returns `true` if it is worth a verdict.
    pub(in crate::judge) fn take(&mut self, series: &Series, before: Option<f64>, value: f64, now: Timestamp) -> bool {
        let is_worth = match fleet::is_temperature(&series.metric_type) {
            true => (value - self.celsius).abs() >= CELSIUS && self.day.is_some(),
            false => before != Some(value) && !fleet::is_clock(&series.metric_type),
        };
        let is_first_of_day = self.day != Some(now.day());
        let is_new = (is_worth || is_first_of_day) && !self.is_changed;
        self.is_changed |= is_new;
        is_new
    }

    /// Takes an event of another run of the detector about the drive.
    pub(in crate::judge) fn adopt(&mut self, event: &Event, at: Timestamp) {
        if self.changed.is_none_or(|changed| changed < at) {
            let is_again = event.label("stated_before").is_some();
            self.said = match event.event_type.as_str() {
                FAILURE_PREDICTED => Prediction::Failure,
                // Said once more it is no news: what was said since stands.
                FAILURE_RISK_RAISED if is_again => self.said.max(Prediction::Risk),
                FAILURE_RISK_RAISED => Prediction::Risk,
                _ => Prediction::Nothing,
            };
            self.changed = Some(at);
        }
    }

    /// Takes a hole: a verdict that must hold has not held in it.
    pub(in crate::judge) fn skip(&mut self, hole: Duration) {
        self.candidate = self.candidate.map(|(candidate, since)| (candidate, since.plus(hole)));
    }

    pub(in crate::judge) fn fail(&mut self) {
        (self.has_failed, self.candidate) = (true, None);
    }

    pub(in crate::judge) fn replace(&mut self, at: Timestamp) {
        *self = Self { changed: Some(at), ..Self::default() };
    }

    /// Returns the time at which a verdict must be looked at again.
    fn due(&self) -> Option<Timestamp> {
        let (prediction, since) = self.candidate?;
        Some(since.plus(if prediction > self.said { RAISED_AFTER } else { ENDED_AFTER }))
    }
}

/// Judges a drive if it must be. Returns the time at which to look again; a verdict that says nothing waits for the next
/// value.
pub(in crate::judge) fn look(
    device: &mut Device,
    fleet: &mut DriveFleet,
    now: Timestamp,
    quiet_until: Timestamp,
    made: &mut Vec<Event>,
) -> Option<Timestamp> {
    let is_quiet = now < quiet_until;
    let is_due = device.drive.is_changed || device.drive.due().is_some_and(|due| due <= now && !is_quiet);
    let mut is_ended = false;
    if is_due && !device.drive.has_failed {
        device.drive.is_changed = false;
        let verdict = judge(device, fleet, now);
        is_ended = predict(device, &verdict, now, is_quiet, made);
    }
    match device.drive.due()?.max(quiet_until) {
        due if due > now => Some(due),
        _ => is_ended.then(|| now.plus(Duration::from_nanos(1))),
    }
}

fn judge(device: &mut Device, fleet: &mut DriveFleet, now: Timestamp) -> DriveVerdict {
    let read = device.series.iter().filter(|series| series.uses.is_of_drive);
    let newest = read.filter_map(|series| Some((series.metric_type.as_str(), series.newest.as_ref()?)));
    // Older ones are in the history of the drive, or those of a recording.
    let current = newest.filter(|(_, newest)| newest.time.plus(MAX_CLOCK_LAG) >= now);
    let values: Vec<(&str, f64)> = current.map(|(metric, newest)| (metric, newest.value)).collect();
    if let Some((_, celsius)) = values.iter().find(|(metric, _)| fleet::is_temperature(metric)) {
        device.drive.celsius = *celsius;
    }
    device.drive.day = Some(now.day());
    fleet.judge(&DriveRow {
        device: &device.name,
        model: device.labels.get("model").map_or("", String::as_str),
        serial: device.labels.get("serial").map(String::as_str),
        time: now,
        values: &values,
    })
}

/// Turns a verdict into an event once it has held. Returns `true` if it has ended a prediction and a lower one follows.
fn predict(device: &mut Device, verdict: &DriveVerdict, now: Timestamp, is_quiet: bool, made: &mut Vec<Event>) -> bool {
    let watch = &mut device.drive;
    let prediction = match verdict.health {
        Health::Critical => Prediction::Failure,
        Health::Warning => Prediction::Risk,
        Health::Ok => Prediction::Nothing,
        // Nothing was understood: what was said before stands.
        Health::Unknown => return false,
    };
    if prediction == watch.said {
        watch.candidate = None;
        return false;
    }
    if watch.candidate.is_none_or(|(candidate, _)| candidate != prediction) {
        watch.candidate = Some((prediction, now));
    }
    if is_quiet || watch.due().is_some_and(|due| due > now) {
        return false;
    }
    watch.changed = Some(now);
    // From the failure of a drive to a mere risk there are two steps: the end, and the risk at the next look.
    let is_end = prediction < watch.said;
    let follows = is_end && prediction != Prediction::Nothing;
    watch.said = if is_end { Prediction::Nothing } else { prediction };
    watch.candidate = watch.candidate.filter(|_| follows);
    let is_again = device.pages.has(FAILURE_PREDICTED, PAGE_AGAIN_AFTER, now);
    let (event_type, criticality) = match prediction {
        _ if is_end => (FAILURE_PREDICTION_ENDED, 3),
        Prediction::Failure if is_again => (FAILURE_PREDICTED, 6),
        Prediction::Failure => (FAILURE_PREDICTED, 8),
        Prediction::Risk | Prediction::Nothing => (FAILURE_RISK_RAISED, 5),
    };
    let event = event(device, verdict, event_type, criticality, now);
    device.say(event, now, made);
    follows
}

fn event(device: &Device, verdict: &DriveVerdict, event_type: &'static str, criticality: u8, at: Timestamp) -> Event {
    let mut labels = device.labels_of_event();
    let mut label = |key: &str, value: String| labels.insert(key.to_owned(), value);
    label("risk", format!("{:.1}", verdict.risk));
    if let Some(score) = verdict.score {
        label("score", score.to_string());
    }
    if let Some(advice) = verdict.advice {
        label("advice", advice.to_owned());
    }
    if let Some(reason) = verdict.reasons.first() {
        label("metric", reason.metric.to_owned());
        label("expected", reason.expected.clone());
        label("trend", reason.trend.clone());
        if let Some(value) = reason.value {
            label("value", exact(value));
        }
        if let Some(since) = reason.since {
            label("since", since.to_string());
        }
    }
    labels.retain(|_, value| !value.is_empty());
    let reasons: Vec<String> = verdict.reasons.iter().take(MAX_REASONS).map(in_words).collect();
    let message = match (reasons.is_empty(), verdict.advice) {
        (true, _) => "nothing against this drive any more".to_owned(),
        (false, Some(advice)) if event_type != FAILURE_PREDICTION_ENDED => {
            format!("{}. {advice}", reasons.join("; "))
        }
        (false, _) => reasons.join("; "),
    };
    Finding { event_type, criticality, device: &device.name, at, subject: "", message, labels }.into_event()
}

fn in_words(reason: &DriveReason) -> String {
    let metric = if reason.metric.is_empty() { format!("{:?}", reason.finding) } else { reason.metric.to_owned() };
    let value = reason.value.map_or_else(String::new, |value| format!(" {}", rounded(value)));
    let rest = [reason.expected.as_str(), reason.trend.as_str()].map(|part| match part {
        "" => String::new(),
        part => format!(", {part}"),
    });
    format!("{metric}{value}{}{}", rest[0], rest[1])
}
