#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use super::*;

/// A day of minutes with a daily wave, noise and a step at the end.
fn wave(n: usize) -> impl Iterator<Item = (Timestamp, f64)> {
    (0..n).map(move |i| {
        let noise = ((i * 7919) % 101) as f64 / 101.0;
        let step = if i > n - 200 { 40.0 } else { 0.0 };
        (Timestamp::from_seconds(60 * i as i64), 10.0 * (i as f64 / 229.2).sin() + noise + step)
    })
}

#[test]
fn a_step_is_an_alarm_once_and_the_score_stays_up() {
    let mut detector = Detector::default();
    let scores: Vec<_> = wave(6_000).map(|(at, value)| detector.push(at, value)).collect();
    let alarms: Vec<_> = (0..6_000).filter(|i| scores[*i].alarm).collect();
    assert!(alarms.iter().filter(|i| (5_800..5_850).contains(*i)).count() == 1, "{alarms:?}");
    assert!(alarms.iter().filter(|i| **i < 5_800).count() <= 1, "{alarms:?}");
    let before: f64 = scores[5_000..5_790].iter().map(|score| score.anomaly_score).sum::<f64>() / 790.0;
    assert!(scores[5_810..5_900].iter().all(|score| score.anomaly_score > before));
}

#[test]
fn the_state_is_small_and_a_restored_detector_continues_exactly() {
    let mut detector = Detector::default();
    for (i, (at, value)) in wave(3_000).enumerate() {
        if i % 250 == 0 {
            let bytes = detector.to_bytes();
            assert!(bytes.len() <= 8 << 10, "{} bytes", bytes.len());
            let restored = Detector::from_bytes(&bytes).unwrap();
            assert_eq!(restored, detector);
            detector = restored;
        }
        detector.push(at, value);
    }
    let mut straight = Detector::default();
    wave(3_000).for_each(|(at, value)| {
        straight.push(at, value);
    });
    assert_eq!(straight, detector);
}

#[test]
fn other_bytes_are_refused() {
    let bytes = Detector::default().to_bytes();
    assert_eq!(Detector::from_bytes(&[9]), Err(SavedDetectorError::Version(9)));
    for bad in [&[][..], &bytes[..bytes.len() - 1], &[bytes.as_slice(), &[0]].concat()] {
        assert_eq!(Detector::from_bytes(bad), Err(SavedDetectorError::Damaged(bad.len())));
    }
}

#[test]
fn the_expected_range_holds_usual_values() {
    let mut detector = Detector::default();
    let scored: Vec<_> = wave(6_000).map(|(at, value)| (value, detector.push(at, value))).collect();
    let usual = &scored[1_000..5_700];
    let inside = usual.iter().filter(|(value, score)| score.expected.is_some_and(|(a, b)| a <= *value && *value <= b));
    assert!(inside.count() > usual.len() * 95 / 100);
    assert!(scored[5_801].1.expected.is_some_and(|(_, high)| high < scored[5_801].0));
}
