//! Last value of each series, to notice values that meet: InfluxDB overwrites the earlier one without a word.
//!
//! Two values of one device, type and time are noticed within a batch always, and beyond it if no other value of their
//! series was written in between by this process.

use std::collections::HashMap;

use spindle_core::{DeviceMetric, Identity, Timestamp};

use crate::remembered::{Key, Remembered};

/// Enough for 20,000 devices with 22 metrics each.
const N_SLOTS: usize = 1 << 19;

/// Time and number of a value.
type LastValue = (Timestamp, u64);

/// Value of each series that was written last, by device and metric type.
#[derive(Debug)]
pub(super) struct LastValues(Remembered<LastValue>);

impl Default for LastValues {
    fn default() -> Self {
        Self(Remembered::new(N_SLOTS))
    }
}

/// Number that a value of the batch takes the place of.
#[derive(Debug, PartialEq)]
pub(super) struct ReplacedNumber<'a> {
    pub(super) by: &'a DeviceMetric,
    pub(super) seq: u64,
    /// It is one of the same batch, and was never sent.
    pub(super) is_in_batch: bool,
}

impl LastValues {
    /// Returns the numbers that the values of a batch, in order, take the place of.
    pub(super) fn find<'a>(&self, metrics: &'a [DeviceMetric]) -> Vec<ReplacedNumber<'a>> {
        let mut in_batch: HashMap<Identity<'_>, u64> = HashMap::new();
        let mut replaced = Vec::new();
        for metric in metrics {
            let Some(seq) = metric.seq else { continue };
            let earlier = in_batch.insert(metric.identity(), seq);
            let before = earlier.or_else(|| self.stored(metric)).filter(|before| *before != seq);
            replaced.extend(before.map(|seq| ReplacedNumber { by: metric, seq, is_in_batch: earlier.is_some() }));
        }
        replaced
    }

    /// Returns the number of the last value of a series if it has the same time.
    fn stored(&self, metric: &DeviceMetric) -> Option<u64> {
        let (time, seq) = self.0.get(self.key(metric))?;
        (*time == metric.timestamp).then_some(*seq)
    }

    /// Remembers the values of a batch that is stored.
    pub(super) fn record(&mut self, metrics: &[DeviceMetric]) {
        for metric in metrics {
            if let Some(seq) = metric.seq {
                let key = self.key(metric);
                self.0.insert(key, (metric.timestamp, seq));
            }
        }
    }

    fn key(&self, metric: &DeviceMetric) -> Key {
        self.0.key(&(metric.source_device.as_str(), metric.metric_type.as_str()))
    }
}

#[cfg(test)]
pub(super) fn max_bytes() -> usize {
    Remembered::<LastValue>::max_bytes(N_SLOTS)
}

#[cfg(test)]
mod tests {
    use spindle_core::{DeviceName, MetricType};

    use super::*;

    fn metric(metric_type: &str, time: i64, seq: u64) -> DeviceMetric {
        DeviceMetric {
            timestamp: Timestamp::from_ns(time),
            source_device: DeviceName::new("d").unwrap(),
            metric_type: MetricType::new(metric_type).unwrap(),
            value: 1.0,
            seq: Some(seq),
            labels: None,
        }
    }

    fn replaced(last: &mut LastValues, metrics: &[DeviceMetric]) -> Vec<u64> {
        let found = last.find(metrics).into_iter().map(|replaced| replaced.seq).collect();
        assert_eq!(last.find(metrics).len(), Vec::len(&found), "nothing changes until the batch is stored");
        last.record(metrics);
        found
    }

    #[test]
    fn values_that_meet_are_noticed_within_a_batch_and_in_the_next() {
        let mut last = LastValues::default();
        let batch = [metric("a", 1, 1), metric("a", 2, 2), metric("b", 1, 3), metric("a", 1, 4), metric("a", 1, 4)];
        assert_eq!(replaced(&mut last, &batch), [1]);
        assert_eq!(replaced(&mut last, &[metric("a", 1, 4)]), [0; 0], "the same again");
        assert_eq!(replaced(&mut last, &[metric("a", 1, 5), metric("a", 1, 6)]), [4, 5]);
        assert_eq!(replaced(&mut last, &[metric("b", 2, 7)]), [0; 0]);
    }

    #[test]
    fn the_memory_holds_a_large_fleet_and_is_bounded() {
        let mut last = LastValues::default();
        let series = |number: u64| metric(&number.to_string(), 1, number);
        (0..400_000).for_each(|number| last.record(&[series(number)]));
        assert_eq!((last.stored(&series(0)), last.stored(&series(399_999))), (Some(0), Some(399_999)));
        (400_000..600_000).for_each(|number| last.record(&[series(number)]));
        assert!(last.0.len() < N_SLOTS, "{}", last.0.len());
        assert_eq!(last.stored(&series(599_999)), Some(599_999));
    }
}
