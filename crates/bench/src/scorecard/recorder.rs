//! The judge with a store beside it, as a deployment has them: takes batches, feeds the judge's own events back, and
//! counts pages, notes and verdicts against the faults.

use std::collections::{BTreeMap, HashMap};

use spindle_core::health::Health;
use spindle_core::judge::FleetJudge;
use spindle_core::judge::events::{
    ANOMALIES_AGREE, ANOMALIES_ENDED, DEVICE_SLOW_ENDED, FAILURE_PREDICTION_ENDED, HEALTH_CHANGED, LATENCY_RAISED,
    LATENCY_RAISED_ENDED, METRIC_ANOMALY,
};
use spindle_core::{Batch, DeviceName, Event, Timestamp};

use super::evidence::{Knowledge, accusation};
use super::faults::{Fault, Faults};
use super::tally::{FaultScore, Rank, Tally, VerdictTimes};

/// Most rounds in which events of the judge lead to further ones.
const MAX_ROUNDS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Recorder {
    judge: FleetJudge,
    knowledge: Knowledge,
    faults: Faults,
    verdicts: HashMap<DeviceName, Health>,
    pub(super) tally: Tally,
    /// Pages that no fault explains, with the time at which they were made.
    pub(super) unexplained: Vec<(Timestamp, Event)>,
    /// Times of each device without a fault.
    pub(super) sound: HashMap<DeviceName, VerdictTimes>,
    /// Devices that health accused without a fault, with the time and reason of the first accusation.
    pub(super) accused: BTreeMap<DeviceName, (Timestamp, String)>,
}

impl Recorder {
    pub(super) fn add_fault(&mut self, fault: Fault) {
        self.tally.faults.push(FaultScore {
            kind: fault.kind,
            is_wear_out: fault.is_wear_out(),
            seconds: fault.until.seconds_since(fault.from),
            paged_after: None,
            accused_after: None,
            noted_after: None,
            n_pages: 0,
            n_notes: 0,
        });
        self.faults.push(fault);
    }

    /// Takes what NATS received at one time.
    pub(super) fn take(&mut self, batch: &Batch, now: Timestamp) {
        for event in &batch.events {
            if event.criticality.calls() {
                *self.tally.own_pages.entry(event.event_type.to_string()).or_default() += 1;
            }
            self.deliver(event, now);
        }
        for metric in &batch.metrics {
            self.judge.metric(metric, now);
            self.knowledge.metric(metric, now);
        }
        self.judge.advance(now);
        for _ in 0..MAX_ROUNDS {
            let made = self.judge.take();
            if made.is_empty() {
                break;
            }
            for event in made {
                self.count(&event, now);
                self.deliver(&event, now);
            }
        }
    }

    fn deliver(&mut self, event: &Event, now: Timestamp) {
        self.judge.event(event, now);
        self.knowledge.event(event, now);
    }

    fn count(&mut self, event: &Event, now: Timestamp) {
        let rank = rank(event);
        let cause = self.faults.explaining(&event.source_device, now, about(event));
        let counts = self.tally.made.entry((rank, event.event_type.to_string())).or_default();
        let Some(place) = cause else {
            counts.by_nothing += 1;
            if rank == Rank::Page {
                self.unexplained.push((now, event.clone()));
            }
            return;
        };
        counts.by_fault += 1;
        let fault = &self.faults.all()[place];
        let score = &mut self.tally.faults[place];
        let after = (now < fault.until).then(|| now.seconds_since(fault.from));
        let (n, first) = match rank {
            Rank::Page => (&mut score.n_pages, &mut score.paged_after),
            Rank::Note => (&mut score.n_notes, &mut score.noted_after),
            Rank::Statement => return,
        };
        *n += 1;
        *first = first.or(after);
    }

    /// Asks health about each device for which `seconds` returns the time that the answer stands for.
    pub(super) fn ask(&mut self, now: Timestamp, seconds: impl Fn(&DeviceName) -> Option<f64>) {
        let Self { knowledge, faults, verdicts, tally, accused, sound, .. } = self;
        for device in knowledge.devices() {
            let Some(seconds) = seconds(device) else { continue };
            let Some(verdict) = knowledge.verdict(device, now) else { continue };
            tally.device_seconds += seconds;
            let before = verdicts.insert(device.clone(), verdict.health);
            let reason = accusation(&verdict, Timestamp::from_ns(i64::MIN));
            // A reason does not name the families that agree.
            let about = reason.map_or("", |reason| match reason.metric.as_str() {
                ANOMALIES_AGREE => "latency,temperature",
                metric => metric,
            });
            if faults.explaining(device, now, "").is_none() {
                let times = sound.entry(device.clone()).or_default();
                times.sound += seconds;
                if let Some(reason) = reason {
                    times.sound_accused += seconds;
                    accused.entry(device.clone()).or_insert_with(|| (now, reason.why.clone()));
                }
                times.n_changes += u64::from(before.is_some_and(|before| before != verdict.health));
                continue;
            }
            let Some(place) = faults.explaining(device, now, about) else { continue };
            let fault = &faults.all()[place];
            if fault.until <= now {
                continue;
            }
            let score = &mut tally.faults[place];
            let after = now.seconds_since(fault.from);
            let is_accused = accusation(&verdict, fault.from).is_some();
            if is_accused {
                score.accused_after.get_or_insert(after);
            }
            if score.is_wear_out && after >= score.seconds / 2.0 {
                tally.verdicts.failing += seconds;
                tally.verdicts.failing_unaccused += if is_accused { 0.0 } else { seconds };
            }
        }
    }

    /// Ends at a time: faults that have not ended by then are no part of the score. Returns the counts, and what to look
    /// at, one case a line.
    pub(super) fn finish(mut self, now: Timestamp) -> (Tally, Vec<String>) {
        let mut cases: Vec<String> = self
            .unexplained
            .iter()
            .map(|(at, event)| format!("{at} page without a fault: {}", described(event)))
            .collect();
        cases.extend(
            self.accused.iter().map(|(device, (at, why))| format!("{at} accused without a fault: {device} {why}")),
        );
        let faults = self.faults.all();
        for (fault, score) in faults.iter().zip(&self.tally.faults) {
            if score.is_wear_out && fault.until <= now && score.paged_after.is_none() {
                cases.push(unpaged(fault, score));
            }
        }
        self.sound.values().for_each(|times| self.tally.verdicts.merge(*times));
        let mut ended = faults.iter().map(|fault| fault.until <= now);
        self.tally.faults.retain(|_| ended.next() == Some(true));
        (self.tally, cases)
    }
}

/// Returns a drive that failed without a page as a line for people.
pub(super) fn unpaged(fault: &Fault, score: &FaultScore) -> String {
    let after = |seconds: Option<f64>| seconds.map_or("never".to_owned(), |s| format!("after {:.0} min", s / 60.0));
    let Fault { until, devices, kind, .. } = fault;
    let (minutes, accused, noted) = (score.seconds / 60.0, after(score.accused_after), after(score.noted_after));
    let device = devices.first().map_or("", |device| device.as_str());
    format!("{until} failed without a page: {device}, {kind} of {minutes:.0} min, noted {noted}, accused {accused}")
}

fn rank(event: &Event) -> Rank {
    match event.event_type.as_str() {
        _ if event.criticality.calls() => Rank::Page,
        HEALTH_CHANGED | ANOMALIES_ENDED | LATENCY_RAISED_ENDED | DEVICE_SLOW_ENDED | FAILURE_PREDICTION_ENDED => {
            Rank::Statement
        }
        _ => Rank::Note,
    }
}

/// Returns what an event is about: the metric or the families of metrics that decide, otherwise its type; nothing, if a
/// device is well again.
fn about(event: &Event) -> &str {
    let label = |key: &str| event.labels.as_ref()?.get(key).map(String::as_str);
    match event.event_type.as_str() {
        HEALTH_CHANGED => label("why").unwrap_or_default(),
        METRIC_ANOMALY => label("metric").unwrap_or(METRIC_ANOMALY),
        ANOMALIES_AGREE if label("families") == Some("temperature") => "DiskTemp",
        ANOMALIES_AGREE => label("families").unwrap_or(ANOMALIES_AGREE),
        // Requests take longer than in the device's own past.
        LATENCY_RAISED => "latency",
        other => other,
    }
}

/// Returns an event as a line for people.
fn described(event: &Event) -> String {
    let label = |key: &str| event.labels.as_ref().and_then(|labels| labels.get(key)).map_or("", String::as_str);
    let message = event.event_message.as_deref().unwrap_or_default();
    format!(
        "{} {} {}: {message} [{} {}]",
        event.source_device,
        event.event_type,
        event.criticality,
        label("metric"),
        label("why")
    )
}
