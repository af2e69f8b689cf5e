//! Metrics in the wire format (NDJSON, JSON) to `device,ts,score,alarm`: each device beside its peers, minute by minute.

use std::path::Path;

use anyhow::{Result, bail};
use spindle_core::cohort::{Cohorts, MIN_PEERS, Minutes, PeerSamples};
use spindle_core::recording::{Record, RefusedRecord};
use spindle_core::{Batch, Timestamp};

use super::Scores;
use crate::output;
use crate::sources::replay::OpenRecording;

/// Judge of devices beside their peers over all files.
#[derive(Default)]
pub(super) struct Judge {
    minutes: Minutes,
    cohorts: Cohorts,
    n_judged: u64,
    has_input: bool,
}

impl Judge {
    /// Judges each minute of a recording in order of time.
    ///
    /// # Errors
    /// If the file cannot be read to its end.
    pub(super) fn judge(&mut self, mut recording: OpenRecording, file: &Path, scores: &mut Scores) -> Result<()> {
        scores.begin("device,ts,score,alarm")?;
        self.has_input = true;
        loop {
            let mut batch = Batch::default();
            let more = recording.read(&mut |line, record: Result<Record, RefusedRecord>| match record {
                Ok(record) => record.put_into(&mut batch),
                Err(refused) => scores.refuse(&format!("{}:{line}", file.display()), &refused.reason),
            });
            for metric in &batch.metrics {
                let n_late = self.minutes.n_late();
                if let Some((minute, samples)) = self.minutes.push(metric) {
                    self.judge_minute(minute, &samples, scores)?;
                }
                if self.minutes.n_late() > n_late {
                    let place = format!("{}: {} {}", file.display(), metric.source_device, metric.timestamp);
                    scores.refuse(&place, "earlier than a minute already judged: sort the file by time");
                }
            }
            match more {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => bail!("cannot judge {} beyond line {}: {error}", file.display(), recording.line()),
            }
        }
    }

    /// Judges the last minute; says so if no device had enough peers.
    pub(super) fn finish(&mut self, scores: &mut Scores) -> Result<()> {
        if let Some((minute, samples)) = self.minutes.close() {
            self.judge_minute(minute, &samples, scores)?;
        }
        if self.has_input && self.n_judged == 0 {
            output::message(&format!(
                "spindle: nothing judged: no device has {MIN_PEERS} peers (same label enclosure, or model) with a metric \
                 Latency in the same minute"
            ));
        }
        Ok(())
    }

    fn judge_minute(&mut self, minute: Timestamp, samples: &PeerSamples, scores: &mut Scores) -> Result<()> {
        let seconds = minute.as_ns().div_euclid(1_000_000_000).to_string();
        for verdict in self.cohorts.push(minute, samples) {
            self.n_judged += 1;
            scores.add(&verdict.device, &seconds, verdict.score, verdict.alarm)?;
        }
        Ok(())
    }
}
