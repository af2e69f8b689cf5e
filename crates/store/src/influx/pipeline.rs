//! Reports of writers on the pipeline.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;
use spindle_core::Timestamp;
use spindle_core::buckets::bucket_start;
use spindle_core::pipeline::{LEVELS, PipelinePoint, RATES, READY, WriterReport};
use spindle_core::records::Window;
use spindle_core::schema::PIPELINE;

use super::chunk::Chunk;
use super::line;
use super::send::send_own;
use super::session::{Influx, bounds};
use crate::StoreError;

/// `Store::write_self_metrics`.
pub(crate) async fn write(influx: &Influx, instance: &str, points: &[PipelinePoint]) -> Result<(), StoreError> {
    let mut chunk = Chunk::default();
    for PipelinePoint { at, values } in points {
        // A line without fields is invalid, and openGemini drops one with an empty field in silence.
        let mut values = values.iter().filter(|(_, value)| value.is_finite()).peekable();
        if values.peek().is_none() {
            continue;
        }
        let lines = &mut chunk.lines;
        if !lines.is_empty() {
            lines.push('\n');
        }
        let _ = write!(lines, "{},role=writer,instance={} ", PIPELINE.name, line::tag(instance));
        for (number, (name, value)) in values.enumerate() {
            let _ = write!(lines, "{}{name}={value:?}", if number == 0 { "" } else { "," });
        }
        let _ = write!(lines, " {}", at.as_ns());
        chunk.assign((), (instance, at.as_ns()));
    }
    if chunk.items.is_empty() {
        return Ok(());
    }
    send_own(influx, vec![chunk], &influx.event_limit).await
}

/// `Store::pipeline`.
pub(crate) async fn reports(
    influx: &Influx,
    window: Window,
    bucket: Duration,
) -> Result<Vec<WriterReport>, StoreError> {
    let Some((from, until)) = bounds(window) else { return Ok(Vec::new()) };
    let length = bucket.as_nanos().clamp(1, i64::MAX as u128);
    let mean = |name: &&str| format!("mean({name})");
    let most = |name: &&str| format!("max({name})");
    let last = [mean(&READY), format!("count({READY})")];
    let columns: Vec<String> = RATES.iter().map(mean).chain(LEVELS.iter().map(most)).chain(last).collect();
    let columns = columns.join(", ");
    let query = |from, until| {
        format!(
            "SELECT {columns} FROM {} WHERE time >= {from} AND time <= {until} GROUP BY time({length}ns), instance fill(none)",
            PIPELINE.name
        )
    };
    let mut found: BTreeMap<(Timestamp, String), WriterReport> = BTreeMap::new();
    influx
        .select(from, until, query, |series| {
            let instance = line::decode(series.tag("instance")).into_owned();
            for row in &series.values {
                let Some(mut report) = report(row, &instance) else { continue };
                report.time = bucket_start(report.time, bucket);
                // A bucket that a divided range has cut: close enough, and only where a server refuses the whole one.
                found.entry((report.time, instance.clone())).or_insert(report);
            }
        })
        .await?;
    Ok(found.into_values().collect())
}

/// Reads a row; `None` if it has no time, or nothing else.
fn report(row: &[Value], instance: &str) -> Option<WriterReport> {
    let time = Timestamp::from_ns(row.first()?.as_i64()?);
    let number = |at: usize| row.get(1 + at).and_then(Value::as_f64);
    let rates = std::array::from_fn(number);
    let levels = std::array::from_fn(|at| number(RATES.len() + at));
    let at = RATES.len() + LEVELS.len();
    let (ready, n_points) = (number(at), row.get(2 + at).and_then(Value::as_u64).unwrap_or(0).max(1));
    let report = WriterReport { time, instance: instance.to_owned(), n_points, rates, levels, ready };
    (report.ready.is_some() || report.rates.iter().chain(&report.levels).any(Option::is_some)).then_some(report)
}
