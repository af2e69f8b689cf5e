//! Summaries of a series in buckets of time, built value by value in order of time.

use std::time::Duration;

use crate::records::Bucket;
use crate::timestamp::Timestamp;

/// Builder of buckets. A bucket starts at a whole multiple of its length since the Unix epoch, before 1970 too.
#[derive(Clone, Debug)]
pub struct Buckets {
    length: Duration,
    full: Vec<Bucket>,
    filling: Option<Filling>,
}

/// Bucket being filled.
#[derive(Clone, Debug)]
struct Filling {
    time: Timestamp,
    min: f64,
    max: f64,
    sum: f64,
    count: u64,
}

impl Buckets {
    /// Returns a builder of buckets of `length`, at least 1 ns.
    pub fn new(length: Duration) -> Self {
        Self { length, full: Vec::new(), filling: None }
    }

    /// Adds a value, which must not be older than those before it.
    pub fn add(&mut self, time: Timestamp, value: f64) {
        let start = bucket_start(time, self.length);
        match &mut self.filling {
            Some(filling) if filling.time == start => filling.add(value),
            other => self.full.extend(other.replace(Filling::new(start, value)).map(Filling::bucket)),
        }
    }

    /// Returns the buckets, oldest first. Empty buckets do not exist.
    pub fn finish(mut self) -> Vec<Bucket> {
        self.full.extend(self.filling.map(Filling::bucket));
        self.full
    }
}

impl Filling {
    fn new(time: Timestamp, value: f64) -> Self {
        Self { time, min: value, max: value, sum: value, count: 1 }
    }

    fn add(&mut self, value: f64) {
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += value;
        self.count += 1;
    }

    fn bucket(self) -> Bucket {
        // Clamped: rounding can carry the quotient past the largest value, and huge values the sum to infinity.
        let mean = (self.sum / self.count as f64).clamp(self.min, self.max);
        Bucket { time: self.time, min: self.min, mean, max: self.max, count: self.count }
    }
}

/// Returns the whole multiple of `bucket` since the epoch at or before `time`, or the start of the range if that is
/// later.
/// Returns the start of the bucket that contains a time: a whole multiple of `length` since the Unix epoch.
pub fn bucket_start(time: Timestamp, bucket: Duration) -> Timestamp {
    let Ok(bucket_ns) = i64::try_from(bucket.as_nanos()) else {
        return if time.as_ns() < 0 { Timestamp::from_ns(i64::MIN) } else { Timestamp::from_ns(0) };
    };
    let past_start = time.as_ns().rem_euclid(bucket_ns.max(1));
    Timestamp::from_ns(time.as_ns().saturating_sub(past_start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_start_at_multiples_before_1970_too() {
        let check = |time, bucket_ns, expect| {
            let start = bucket_start(Timestamp::from_ns(time), Duration::from_nanos(bucket_ns));
            assert_eq!(start.as_ns(), expect, "{time} by {bucket_ns}");
        };
        check(0, 10, 0);
        check(19, 10, 10);
        check(20, 10, 20);
        check(-1, 10, -10);
        check(-10, 10, -10);
        check(7, 0, 7);
        check(i64::MIN, 10, i64::MIN);
        check(i64::MAX, u64::MAX, 0);
    }

    #[test]
    fn a_mean_lies_between_its_values() {
        let mut buckets = Buckets::new(Duration::from_nanos(10));
        buckets.add(Timestamp::from_ns(1), f64::MAX);
        buckets.add(Timestamp::from_ns(2), f64::MAX);
        buckets.add(Timestamp::from_ns(10), 1.0);
        let found = buckets.finish();
        assert_eq!((found[0].mean, found[0].count, found[1].time.as_ns()), (f64::MAX, 2, 10));
    }
}
