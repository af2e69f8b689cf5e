//! Tables of drives (Backblaze Drive Stats) to `device,date,score,alarm`.

use std::path::Path;

use anyhow::{Result, bail};
use spindle_core::Batch;
use spindle_core::fleet::{DriveFleet, DriveRow};
use spindle_core::health::Health;
use spindle_core::recording::{Record, RefusedRecord};

use super::Scores;
use crate::sources::replay::OpenRecording;

/// Judge of drives over all files.
#[derive(Default)]
pub(super) struct Judge {
    fleet: DriveFleet,
}

impl Judge {
    /// Judges each row of a table.
    ///
    /// # Errors
    /// If the file cannot be read to its end.
    pub(super) fn judge(&mut self, mut recording: OpenRecording, file: &Path, scores: &mut Scores) -> Result<()> {
        scores.begin("device,date,score,alarm")?;
        loop {
            let mut row = Batch::default();
            let more = recording.read(&mut |line, record: Result<Record, RefusedRecord>| match record {
                Ok(record) => record.put_into(&mut row),
                Err(refused) => scores.refuse(&format!("{}:{line}", file.display()), &refused.reason),
            });
            match more {
                Ok(true) => self.judge_row(&row, scores)?,
                Ok(false) => return Ok(()),
                Err(error) => bail!("cannot judge {} beyond line {}: {error}", file.display(), recording.line()),
            }
        }
    }

    /// Judges a row, and learns of the failure in it only afterwards: it becomes known the day after.
    fn judge_row(&mut self, row: &Batch, scores: &mut Scores) -> Result<()> {
        let first = row.metrics.first().map(|metric| (&metric.source_device, metric.timestamp, &metric.labels));
        let failed = row.events.first().map(|event| (&event.source_device, event.timestamp, &event.labels));
        let Some((device, time, labels)) = first.or(failed) else { return Ok(()) };
        let model = labels.as_deref().and_then(|labels| labels.get("model"));
        let values: Vec<(&str, f64)> =
            row.metrics.iter().map(|metric| (metric.metric_type.as_str(), metric.value)).collect();
        let row = DriveRow { device, model: model.map_or("", String::as_str), serial: None, time, values: &values };
        let verdict = self.fleet.judge(&row);
        let is_critical = verdict.health == Health::Critical;
        scores.add(device, &time.to_string()[..10], verdict.risk, is_critical)?;
        if failed.is_some() {
            self.fleet.fail(device, time);
        }
        Ok(())
    }
}
