//! The pipeline over time, as its writers report it ([`crate::schema::PIPELINE`]).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::records::Window;
use crate::timestamp::Timestamp;

/// Time between two points of a writer.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// What a writer reports at one instant: fields of [`crate::schema::PIPELINE`] with their values.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelinePoint {
    /// Time.
    pub at: Timestamp,
    /// Names and values. Those not finite are left out.
    pub values: Vec<(&'static str, f64)>,
}

/// Fields of which a bucket holds the mean; those of writers at the same time add up.
pub const RATES: [&str; 5] = [
    "values_per_second",
    "events_per_second",
    "dead_letters_per_second",
    "redelivered_per_second",
    "store_retries_per_second",
];

/// Fields of which a bucket holds the highest; so it does of several writers, which see the same streams.
pub const LEVELS: [&str; 5] =
    ["metrics_lag", "events_lag", "dead_letters", "store_latency_seconds", "store_latency_p99_seconds"];

/// Field of which a bucket holds the mean, and the lowest of several writers.
pub const READY: &str = "ready";

/// What one writer reported in one bucket of time.
#[derive(Clone, Debug, PartialEq)]
pub struct WriterReport {
    /// Start of the bucket.
    pub time: Timestamp,
    /// Writer.
    pub instance: String,
    /// Number of its points.
    pub n_points: u64,
    /// Means of [`RATES`], 1/s.
    pub rates: [Option<f64>; 5],
    /// Highest of [`LEVELS`].
    pub levels: [Option<f64>; 5],
    /// Share of the time in which it was ready, 0 to 1.
    pub ready: Option<f64>,
}

/// The pipeline in one bucket of time, over all writers. `None` for what no writer reported.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PipelineBucket {
    /// Start.
    pub time: Timestamp,
    /// Number of writers that reported.
    pub n_writers: u64,
    /// Metric values stored, 1/s.
    pub values_per_second: Option<f64>,
    /// Events stored, 1/s.
    pub events_per_second: Option<f64>,
    /// Dead letters kept, 1/s.
    pub dead_letters_per_second: Option<f64>,
    /// Messages delivered more than once, 1/s.
    pub redelivered_per_second: Option<f64>,
    /// Writes to the store that failed and are retried, 1/s.
    pub store_retries_per_second: Option<f64>,
    /// Most messages of the stream METRICS that waited.
    pub metrics_lag: Option<f64>,
    /// Most messages of the stream EVENTS that waited.
    pub events_lag: Option<f64>,
    /// Most messages in the stream DEADLETTER.
    pub dead_letters: Option<f64>,
    /// Highest mean time of a write to the store within 10 s, s.
    pub store_latency_seconds: Option<f64>,
    /// Highest 99th percentile of the time of a write within 10 s, s.
    pub store_latency_p99_seconds: Option<f64>,
    /// Share of the time in which every writer was ready, 0 to 1.
    pub ready: Option<f64>,
}

/// Returns the pipeline over time, oldest first; a bucket in which no writer reported is absent. `window` and `bucket`
/// are those of the reports.
pub fn pipeline_buckets(reports: Vec<WriterReport>, window: Window, bucket: Duration) -> Vec<PipelineBucket> {
    let mut by_time: BTreeMap<Timestamp, Vec<WriterReport>> = BTreeMap::new();
    for report in reports {
        by_time.entry(report.time).or_default().push(report);
    }
    let of_time = |(time, reports): (Timestamp, Vec<WriterReport>)| {
        let inside = time.plus(bucket).min(window.until).seconds_since(time.max(window.from));
        merged(time, &reports, inside / INTERVAL.as_secs_f64())
    };
    by_time.into_iter().map(of_time).collect()
}

/// Merges the reports of a bucket that has room for `n_intervals` points of one writer.
fn merged(time: Timestamp, reports: &[WriterReport], n_intervals: f64) -> PipelineBucket {
    let n_points = |report: &WriterReport| report.n_points as f64;
    // A writer that was restarted is two, one after the other: their points share the bucket instead of adding up.
    let most = reports.iter().map(n_points).fold(1.0, f64::max);
    let n_covered = most.max(reports.iter().map(n_points).sum::<f64>().min(n_intervals));
    let rate = |at: usize| {
        let shares = reports.iter().filter_map(|report| Some(report.rates[at]? * n_points(report) / n_covered));
        shares.reduce(|one, other| one + other)
    };
    let level = |at: usize| reports.iter().filter_map(|report| report.levels[at]).reduce(f64::max);
    PipelineBucket {
        time,
        n_writers: reports.len() as u64,
        values_per_second: rate(0),
        events_per_second: rate(1),
        dead_letters_per_second: rate(2),
        redelivered_per_second: rate(3),
        store_retries_per_second: rate(4),
        metrics_lag: level(0),
        events_lag: level(1),
        dead_letters: level(2),
        store_latency_seconds: level(3),
        store_latency_p99_seconds: level(4),
        ready: reports.iter().filter_map(|report| report.ready).reduce(f64::min),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::PIPELINE;

    #[test]
    fn every_field_but_the_uptime_is_reported() {
        let mut known: Vec<&str> = RATES.into_iter().chain(LEVELS).chain([READY, "uptime_seconds"]).collect();
        let mut fields: Vec<&str> = PIPELINE.fields.iter().map(|field| field.name).collect();
        known.sort_unstable();
        fields.sort_unstable();
        assert_eq!(known, fields);
    }

    #[test]
    fn rates_of_writers_add_up_and_levels_are_the_highest() {
        let report = |time, instance: &str, rate, level, ready| WriterReport {
            time: Timestamp::from_seconds(time),
            instance: instance.to_owned(),
            n_points: 6,
            rates: [Some(rate), None, None, None, None],
            levels: [Some(level), None, None, None, None],
            ready: Some(ready),
        };
        let reports =
            vec![report(60, "a", 2.0, 7.0, 1.0), report(0, "a", 2.0, 7.0, 1.0), report(0, "b", 3.0, 5.0, 0.5)];
        let window = Window { from: Timestamp::from_seconds(0), until: Timestamp::from_seconds(120) };
        let buckets = pipeline_buckets(reports, window, Duration::from_secs(60));
        let shown: Vec<_> = buckets
            .iter()
            .map(|each| (each.n_writers, each.values_per_second, each.metrics_lag, each.ready, each.events_lag))
            .collect();
        assert_eq!(shown, [(2, Some(5.0), Some(7.0), Some(0.5), None), (1, Some(2.0), Some(7.0), Some(1.0), None)]);
    }

    #[test]
    fn a_restarted_writer_counts_once_and_writers_at_the_same_time_add_up() {
        let rate = |points: &[u64], bucket: u64, until: i64| {
            let report = |(instance, n_points): (usize, &u64)| WriterReport {
                time: Timestamp::from_seconds(0),
                instance: instance.to_string(),
                n_points: *n_points,
                rates: [Some(800.0), None, None, None, None],
                levels: [None; 5],
                ready: Some(1.0),
            };
            let window = Window { from: Timestamp::from_seconds(0), until: Timestamp::from_seconds(until) };
            let reports = points.iter().enumerate().map(report).collect();
            pipeline_buckets(reports, window, Duration::from_secs(bucket))[0].values_per_second.unwrap()
        };
        for (points, bucket, until, expected) in [
            (&[30][..], 300, 300, 800.0),
            (&[14, 16], 300, 300, 800.0),
            (&[10, 10, 10], 300, 300, 800.0),
            (&[30, 30], 300, 300, 1_600.0),
            // The bucket has just begun.
            (&[3, 3], 300, 30, 1_600.0),
            // Ticks drift: two points in one bucket, or one in a bucket shorter than the interval.
            (&[2], 10, 10, 800.0),
            (&[1], 1, 300, 800.0),
        ] {
            assert_eq!(rate(points, bucket, until), expected, "{points:?} in {bucket} s");
        }
    }
}
