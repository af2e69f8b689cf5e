//! Expected ranges for a chart: the detector over the buckets of a series.

use std::time::Duration;

use serde::Serialize;

use super::Detector;
use crate::records::Bucket;
use crate::timestamp::Timestamp;

/// Least oddity of a bucket outside its expected range that counts as out of range: noise alone leaves it now and then.
const ODD: f64 = 0.3;

/// What a detector that sees buckets says of a series.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct JudgedBuckets {
    /// Expected range of each bucket's mean, from the buckets before it; `None` until enough is known.
    pub expected: Vec<Option<(f64, f64)>>,
    /// Stretches of time out of range, from start to end.
    pub flagged: Vec<(Timestamp, Timestamp)>,
}

/// Judges buckets of `length`, oldest first. Those before `from` only teach.
pub fn judge_buckets(buckets: &[Bucket], length: Duration, from: Timestamp) -> JudgedBuckets {
    let mut detector = Detector::default();
    let mut judged = JudgedBuckets::default();
    let mut was_out = false;
    for bucket in buckets {
        let row = detector.push(bucket.time, bucket.mean);
        if bucket.time.plus(length) <= from {
            continue;
        }
        judged.expected.push(row.expected);
        let is_outside = row.expected.is_some_and(|(low, high)| bucket.mean < low || bucket.mean > high);
        let is_out = is_outside && row.anomaly_score >= ODD;
        let end = bucket.time.plus(length);
        match judged.flagged.last_mut() {
            Some(last) if is_out && was_out => last.1 = end,
            _ if is_out => judged.flagged.push((bucket.time, end)),
            _ => {}
        }
        was_out = is_out;
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(60);

    fn buckets(values: impl Iterator<Item = f64>) -> Vec<Bucket> {
        let bucket = |(index, mean): (usize, f64)| Bucket {
            time: Timestamp::from_seconds(60 * index as i64),
            min: mean,
            mean,
            max: mean,
            count: 1,
        };
        values.enumerate().map(bucket).collect()
    }

    #[test]
    fn a_level_that_rises_is_flagged_where_it_rises() {
        let noise = |index: usize| ((index * 7919) % 13) as f64 / 13.0;
        let buckets = buckets((0..600).map(|index| noise(index) + if index < 500 { 10.0 } else { 30.0 }));
        let from = Timestamp::from_seconds(60 * 300);
        let judged = judge_buckets(&buckets, LENGTH, from);
        assert_eq!(judged.expected.len(), 300);
        let (low, high) = judged.expected[100].unwrap();
        assert!(low < 10.5 && high > 10.5 && high < 20.0, "{low} to {high}");
        let (start, _) = judged.flagged[0];
        assert_eq!(start, Timestamp::from_seconds(60 * 500));
    }

    #[test]
    fn nothing_is_expected_of_a_series_that_begins() {
        let judged = judge_buckets(&buckets([1.0, 2.0].into_iter()), LENGTH, Timestamp::from_seconds(0));
        assert_eq!((judged.expected, judged.flagged), (vec![None, None], vec![]));
    }
}
