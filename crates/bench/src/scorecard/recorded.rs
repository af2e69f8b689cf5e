//! A recording: metrics and events of a real fleet. The only truth in it are failures of drives, which come at their
//! end, so pages are explained afterwards.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use spindle_core::backblaze::DRIVE_FAILURE;
use spindle_core::recording::{Record, Recording};
use spindle_core::{Batch, DeviceName, Timestamp};

use super::faults::Fault;
use super::recorder::{Recorder, unpaged};
use super::tally::{FaultScore, Rank, Tally};

/// Devices by the time for which they were watched.
#[derive(Debug, Default)]
struct Watched(HashMap<DeviceName, Times>);

#[derive(Debug)]
struct Times {
    first: Timestamp,
    newest: Timestamp,
    n: u64,
    /// How often the device went on after so many nanoseconds.
    steps_ns: BTreeMap<i64, u64>,
    /// Its most frequent step.
    usual_ns: i64,
}

impl Watched {
    fn see(&mut self, device: &DeviceName, at: Timestamp) {
        match self.0.get_mut(device) {
            Some(times) if times.newest < at => {
                let step_ns = at.as_ns() - times.newest.as_ns();
                let n_usual = times.steps_ns.get(&times.usual_ns).copied().unwrap_or(0);
                let n = times.steps_ns.entry(step_ns).or_default();
                *n += 1;
                if *n > n_usual {
                    times.usual_ns = step_ns;
                }
                times.newest = at;
                times.n += 1;
            }
            Some(_) => {}
            None => {
                let times = Times { first: at, newest: at, n: 1, steps_ns: BTreeMap::new(), usual_ns: 0 };
                self.0.insert(device.clone(), times);
            }
        }
    }

    /// Returns the sum over the devices of their times, each as long as their most frequent step: gaps in a recording are
    /// not watched.
    fn device_seconds(&self) -> f64 {
        self.0.values().map(|times| times.n as f64 * times.usual_ns as f64 / 1e9).sum()
    }

    /// Returns the time that the verdict on a device stands for, if it has a value of `now`.
    fn seconds_at(&self, device: &DeviceName, now: Timestamp) -> Option<f64> {
        self.0.get(device).filter(|times| times.newest == now).map(|times| times.usual_ns as f64 / 1e9)
    }
}

/// Judges a recording in order of time and returns the counts and the cases to look at.
pub(super) fn judge(path: &Path) -> Result<(Tally, Vec<String>)> {
    let reader: Box<dyn BufRead> = match path.as_os_str() == "-" {
        true => Box::new(BufReader::new(io::stdin())),
        false => Box::new(BufReader::new(File::open(path).with_context(|| format!("open {}", path.display()))?)),
    };
    let mut recording = Recording::open(reader)?;
    let (mut recorder, mut watched) = (Recorder::default(), Watched::default());
    let mut failures: BTreeMap<DeviceName, Timestamp> = BTreeMap::new();
    let (mut batch, mut batch_at) = (Batch::default(), Timestamp::from_ns(i64::MIN));
    let mut n_refused = 0_u64;
    loop {
        let mut records = Vec::new();
        let is_more = recording.read(&mut |_, record| records.push(record))?;
        for record in records {
            let Ok(record) = record else {
                n_refused += 1;
                continue;
            };
            if record.timestamp() > batch_at {
                take(&mut recorder, &std::mem::take(&mut batch), batch_at, &watched);
                batch_at = record.timestamp();
            }
            match &record {
                Record::Metric(metric) => watched.see(&metric.source_device, metric.timestamp),
                Record::Event(event) if event.event_type.as_str() == DRIVE_FAILURE => {
                    failures.entry(event.source_device.clone()).or_insert(event.timestamp);
                }
                Record::Event(_) => {}
            }
            record.put_into(&mut batch);
        }
        if !is_more {
            break;
        }
    }
    take(&mut recorder, &batch, batch_at, &watched);
    let scores = explain(&mut recorder, &failures, &watched);
    let (mut tally, mut cases) = recorder.finish(batch_at);
    cases.extend(
        scores.iter().filter(|(_, score)| score.paged_after.is_none()).map(|(fault, score)| unpaged(fault, score)),
    );
    tally.faults = scores.into_iter().map(|(_, score)| score).collect();
    tally.device_seconds = watched.device_seconds();
    if n_refused > 0 {
        cases.push(format!("{n_refused} records refused"));
    }
    Ok((tally, cases))
}

fn take(recorder: &mut Recorder, batch: &Batch, now: Timestamp, watched: &Watched) {
    if !batch.is_empty() {
        recorder.take(batch, now);
        recorder.ask(now, |device| watched.seconds_at(device, now));
    }
}

/// Explains the pages and accusations that came before the failure of their device; returns the failures.
fn explain(
    recorder: &mut Recorder,
    failures: &BTreeMap<DeviceName, Timestamp>,
    watched: &Watched,
) -> Vec<(Fault, FaultScore)> {
    let mut scores = Vec::new();
    for (device, failed_at) in failures {
        let since = watched.0.get(device).map_or(*failed_at, |times| times.first);
        // The values of the day of a failure come too late.
        let after = |at: Timestamp| (at < *failed_at).then(|| at.seconds_since(since));
        let about = |event: &spindle_core::Event| event.source_device == *device;
        let pages: Vec<_> = recorder.unexplained.iter().filter(|(_, event)| about(event)).cloned().collect();
        recorder.unexplained.retain(|(_, event)| !about(event));
        for (_, event) in &pages {
            let counts = recorder.tally.made.entry((Rank::Page, event.event_type.to_string())).or_default();
            counts.by_nothing -= 1;
            counts.by_fault += 1;
        }
        recorder.sound.remove(device);
        let accused_after = recorder.accused.remove(device).and_then(|(at, _)| after(at));
        let fault = Fault {
            kind: "drive failure",
            devices: vec![device.clone()],
            from: since,
            until: *failed_at,
            settled: *failed_at,
        };
        let score = FaultScore {
            kind: fault.kind,
            is_wear_out: true,
            seconds: failed_at.seconds_since(since),
            paged_after: pages.first().and_then(|(at, _)| after(*at)),
            accused_after,
            noted_after: None,
            n_pages: pages.len() as u64,
            n_notes: 0,
        };
        scores.push((fault, score));
    }
    scores
}
