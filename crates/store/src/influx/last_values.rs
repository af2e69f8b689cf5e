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
    /// Takes note of the values of a batch, in order; returns the numbers that they replace.
    pub(super) fn note<'a>(&mut self, metrics: &'a [DeviceMetric]) -> Vec<ReplacedNumber<'a>> {
        let mut in_batch: HashMap<Identity<'_>, u64> = HashMap::new();
        let mut replaced = Vec::new();
        for metric in metrics {
            let Some(seq) = metric.seq else { continue };
            let stored = self.replace(metric, seq);
            let earlier = in_batch.insert(metric.identity(), seq);
            let before = earlier.or(stored).filter(|before| *before != seq);
            replaced.extend(before.map(|seq| ReplacedNumber { by: metric, seq, is_in_batch: earlier.is_some() }));
        }
        replaced
    }

    /// Remembers a value; returns the number of the one before if that had the same time.
    fn replace(&mut self, metric: &DeviceMetric, seq: u64) -> Option<u64> {
        if self.n_series > MAX_REMEMBERED {
            *self = Self::default();
        }
        let DeviceMetric { source_device, metric_type, timestamp, .. } = metric;
        if !self.devices.contains_key(source_device) {
            self.devices.insert(source_device.clone(), HashMap::new());
        }
        let series = self.devices.get_mut(source_device)?;
        match series.get_mut(metric_type) {
            Some(last) => {
                let before = std::mem::replace(last, (*timestamp, seq));
                (before.0 == *timestamp).then_some(before.1)
            }
            None => {
                series.insert(metric_type.clone(), (*timestamp, seq));
                self.n_series += 1;
                None
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
        last.note(metrics).into_iter().map(|replaced| replaced.seq).collect()
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
            last.note(&[metric(&number.to_string(), 1, number)]);
        }
        assert!(last.n_series <= 2, "{}", last.n_series);
    }
}
