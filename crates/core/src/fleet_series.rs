//! One metric of a whole fleet over time.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::name::DeviceName;
use crate::records::Sample;
use crate::timestamp::Timestamp;

/// Values of all devices in one bucket of time, the last of each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FleetBucket {
    /// Start.
    pub time: Timestamp,
    /// Number of devices with a value.
    pub n_devices: u64,
    /// Sum, in the metric's unit.
    pub sum: f64,
    /// Median.
    pub median: f64,
    /// Highest value.
    pub max: f64,
    /// Device with the highest value.
    pub max_device: DeviceName,
}

/// Returns the buckets of a fleet, oldest first. `devices` are the values of each device, whose times are the starts of
/// buckets; values that are not finite do not count.
pub fn fleet_buckets(devices: &[(DeviceName, Vec<Sample>)]) -> Vec<FleetBucket> {
    let mut by_time: BTreeMap<Timestamp, Vec<(f64, &DeviceName)>> = BTreeMap::new();
    for (device, samples) in devices {
        for sample in samples.iter().filter(|sample| sample.value.is_finite()) {
            by_time.entry(sample.time).or_default().push((sample.value, device));
        }
    }
    by_time.into_iter().filter_map(|(time, values)| bucket(time, values)).collect()
}

fn bucket(time: Timestamp, mut values: Vec<(f64, &DeviceName)>) -> Option<FleetBucket> {
    values.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let (max, max_device) = values.last().map(|(value, device)| (*value, (*device).clone()))?;
    let n = values.len();
    let median = values[(n - 1) / 2].0 / 2.0 + values[n / 2].0 / 2.0;
    let sum = values.iter().map(|(value, _)| value).sum::<f64>().clamp(f64::MIN, f64::MAX);
    Some(FleetBucket { time, n_devices: n as u64, sum, median, max, max_device })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, values: &[(i64, f64)]) -> (DeviceName, Vec<Sample>) {
        let sample = |(seconds, value): &(i64, f64)| Sample { time: Timestamp::from_seconds(*seconds), value: *value };
        (DeviceName::new(name).unwrap(), values.iter().map(sample).collect())
    }

    #[test]
    fn sum_median_and_highest_of_each_time() {
        let fleet =
            [device("a", &[(0, 1.0), (60, 10.0)]), device("b", &[(0, 5.0)]), device("c", &[(0, 3.0), (60, f64::NAN)])];
        let shown: Vec<_> = fleet_buckets(&fleet)
            .into_iter()
            .map(|bucket| (bucket.n_devices, bucket.sum, bucket.median, bucket.max_device.to_string()))
            .collect();
        assert_eq!(shown, vec![(3, 9.0, 3.0, "b".to_owned()), (1, 10.0, 10.0, "a".to_owned())]);
    }

    #[test]
    fn a_sum_beyond_all_floats_stays_finite() {
        let fleet = [device("a", &[(0, f64::MAX)]), device("b", &[(0, f64::MAX)])];
        let buckets = fleet_buckets(&fleet);
        assert!(buckets[0].sum.is_finite() && buckets[0].median.is_finite());
    }
}
