//! Last value of each series, to notice values that meet: InfluxDB overwrites the earlier one without a word.
//!
//! Two values of one device, type and time are noticed within a batch always, and beyond it if no other value of their
//! series was written in between by this process.

use std::collections::HashMap;

use spindle_core::{DeviceMetric, DeviceName, Identity, MetricType, Timestamp};

/// Most series whose last value is remembered, about 100 bytes each.
const MAX_REMEMBERED: usize = 200_000;

/// Time and number of the value of each series that was written last.
#[derive(Debug, Default)]
pub(super) struct LastValues {
    devices: HashMap<DeviceName, HashMap<MetricType, (Timestamp, u64)>>,
    n_series: usize,
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
        let (time, seq) = self.devices.get(&metric.source_device)?.get(&metric.metric_type)?;
        (*time == metric.timestamp).then_some(*seq)
    }

    /// Remembers the values of a batch that is stored.
    pub(super) fn record(&mut self, metrics: &[DeviceMetric]) {
        for DeviceMetric { source_device, metric_type, timestamp, seq, .. } in metrics {
            let Some(seq) = *seq else { continue };
            if self.n_series > MAX_REMEMBERED {
                *self = Self::default();
            }
            if !self.devices.contains_key(source_device) {
                self.devices.insert(source_device.clone(), HashMap::new());
            }
            let Some(series) = self.devices.get_mut(source_device) else { continue };
            match series.get_mut(metric_type) {
                Some(last) => *last = (*timestamp, seq),
                None => {
                    series.insert(metric_type.clone(), (*timestamp, seq));
                    self.n_series += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn the_memory_is_bounded() {
        let mut last = LastValues::default();
        for number in 0..=MAX_REMEMBERED as u64 + 1 {
            last.record(&[metric(&number.to_string(), 1, number)]);
        }
        assert!(last.n_series <= 2, "{}", last.n_series);
    }
}
