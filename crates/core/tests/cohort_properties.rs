//! Properties of cohorts: no input panics, order of input does not matter, a common factor changes no verdict.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use proptest::prelude::*;
use spindle_core::cohort::{Cohorts, Minutes, PeerSample, PeerSamples};
use spindle_core::{DeviceMetric, DeviceName, MetricType, Timestamp};

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![4 => 0.1..100.0, 1 => any::<f64>(), 1 => Just(f64::MIN_POSITIVE), 1 => Just(f64::MAX)]
}

fn device(index: usize) -> DeviceName {
    DeviceName::new(&format!("disk{index}")).unwrap()
}

fn samples_of(values: &[(usize, usize, f64)]) -> PeerSamples {
    let sample = |(index, cohort, value): &(usize, usize, f64)| {
        (device(*index), PeerSample { cohort: format!("shelf {cohort}"), value: *value })
    };
    values.iter().map(sample).collect()
}

proptest! {
    #[test]
    fn no_minute_panics_and_scores_are_numbers(
        minutes in prop::collection::vec((any::<i64>(), prop::collection::vec((0..9_usize, 0..3_usize, any_value()), 0..12)), 0..40)
    ) {
        let mut cohorts = Cohorts::default();
        for (at, values) in minutes {
            for verdict in cohorts.push(Timestamp::from_ns(at), &samples_of(&values)) {
                prop_assert!(verdict.score.is_finite() && verdict.score >= 0.0, "{verdict:?}");
                prop_assert!(verdict.n_peers >= 3);
            }
        }
    }

    #[test]
    fn slowness_common_to_a_cohort_changes_no_verdict(
        minutes in prop::collection::vec(prop::collection::vec(1.0..10.0_f64, 6), 5..60),
        factors in prop::collection::vec(0.1..10.0_f64, 60)
    ) {
        let (mut plain, mut lifted) = (Cohorts::default(), Cohorts::default());
        for (minute, values) in minutes.iter().enumerate() {
            let at = Timestamp::from_seconds(60 * minute as i64);
            let of = |factor: f64| {
                let values: Vec<_> = values.iter().enumerate().map(|(index, value)| (index, 0, value * factor)).collect();
                samples_of(&values)
            };
            let verdicts = plain.push(at, &of(1.0)).into_iter().zip(lifted.push(at, &of(factors[minute])));
            for (plain, lifted) in verdicts {
                prop_assert!((plain.score - lifted.score).abs() < 1e-3, "{plain:?} {lifted:?}");
            }
        }
    }

    #[test]
    fn the_order_of_metrics_in_a_minute_does_not_matter(
        values in prop::collection::vec((0..9_usize, 1..100_u32), 1..30).prop_flat_map(|values| {
            (Just(values.clone()), Just(values).prop_shuffle())
        })
    ) {
        let collect = |values: &[(usize, u32)]| {
            let mut minutes = Minutes::default();
            for (index, value) in values {
                let metric = DeviceMetric {
                    timestamp: Timestamp::from_seconds(90),
                    source_device: device(*index),
                    metric_type: MetricType::new("Latency").unwrap(),
                    value: f64::from(*value),
                    seq: None,
                    labels: Some(Box::new([("enclosure".to_owned(), "e".to_owned())].into())),
                };
                assert_eq!(minutes.push(&metric), None);
            }
            minutes.close()
        };
        prop_assert_eq!(collect(&values.0), collect(&values.1));
    }
}
