#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use super::*;

/// Noise from 0 to 1 that nothing predicts (SplitMix64).
fn noise(i: usize) -> f64 {
    let mut bits = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Minutes with a daily wave, noise and a step at the end.
fn wave(n: usize) -> impl Iterator<Item = (Timestamp, f64)> {
    (0..n).map(move |i| {
        let step = if i > n - 200 { 40.0 } else { 0.0 };
        (Timestamp::from_seconds(60 * i as i64), 10.0 * (i as f64 / 229.2).sin() + noise(i) + step)
    })
}

#[test]
fn a_step_is_an_alarm_at_once_and_the_score_stays_up() {
    let mut detector = Detector::default();
    let scores: Vec<_> = wave(6_000).map(|(at, value)| detector.push(at, value)).collect();
    let alarms: Vec<_> = (0..6_000).filter(|i| scores[*i].alarm).collect();
    let (before, at_step): (Vec<_>, Vec<_>) = alarms.iter().copied().partition(|i| *i <= 5_800);
    assert!(before.len() <= 1 && (1..=2).contains(&at_step.len()) && at_step[0] < 5_805, "{alarms:?}");
    let before: f64 = scores[5_000..5_790].iter().map(|score| score.anomaly_score).sum::<f64>() / 790.0;
    assert!(scores[5_810..5_900].iter().all(|score| score.anomaly_score > before));
}

#[test]
fn a_counter_is_judged_by_its_rate() {
    let mut detector = Detector::default();
    let (mut total, mut alarms) = (0.0, Vec::new());
    for i in 0..6_000_usize {
        let rate = if i >= 5_000 { 5.0 } else { 1.0 };
        total += rate * (10.0 + 10.0 * noise(i));
        // It starts again, as after a boot.
        total = if i == 4_000 { 3.0 } else { total };
        let score = detector.push(Timestamp::from_seconds(60 * i as i64), total);
        alarms.extend(score.alarm.then_some(i));
        if i == 4_900 {
            let (low, high) = score.expected.unwrap();
            assert!(low <= total && total <= high && high - low < 60.0, "{low} {total} {high}");
        }
    }
    assert!(alarms.first().is_some_and(|i| (5_000..5_010).contains(i)), "{alarms:?}");
}

#[test]
fn constant_and_missing_values_are_not_odd() {
    let mut detector = Detector::default();
    for i in 0..5_000_i64 {
        let value = if i % 7 == 0 { f64::NAN } else { 42.0 };
        let score = detector.push(Timestamp::from_seconds(60 * i), value);
        assert!(!score.alarm && score.anomaly_score < 0.25, "row {i}: {score:?}");
    }
    let score = detector.push(Timestamp::from_seconds(60 * 5_000), 43.0);
    assert!(score.anomaly_score > 0.3, "the first change of a flat line: {score:?}");
}

#[test]
fn the_state_is_small_and_a_restored_detector_continues_exactly() {
    assert!(size_of::<Detector>() <= 8 << 10, "{} bytes", size_of::<Detector>());
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

/// Found by fuzzing: counters at their end overflowed, an infinite surprise made the score NaN, and a negative error
/// turned the range around.
#[test]
fn a_damaged_state_is_refused_or_harmless_whatever_it_holds() {
    let mut detector = Detector::default();
    wave(400).for_each(|(at, value)| {
        detector.push(at, value);
    });
    let whole = detector.to_bytes();
    let fills =
        [u64::MAX, f64::INFINITY.to_bits(), f64::NEG_INFINITY.to_bits(), (-1e70_f64).to_bits(), i64::MAX as u64];
    for place in (1..whole.len() - 8).step_by(8) {
        for fill in fills {
            let mut bytes = whole.clone();
            bytes[place..place + 8].copy_from_slice(&fill.to_le_bytes());
            let Ok(mut damaged) = Detector::from_bytes(&bytes) else { continue };
            for (at, value) in wave(412).skip(400) {
                let score = damaged.push(at, value);
                assert!((0.0..=1.0).contains(&score.anomaly_score), "{place} {fill:x}: {score:?}");
                assert!(score.expected.is_none_or(|(low, high)| low <= high), "{place} {fill:x}: {score:?}");
            }
        }
    }
}

#[test]
fn the_range_of_an_idle_series_ends_at_zero() {
    let mut detector = Detector::default();
    let at = |row: i64| Timestamp::from_seconds(2 * row);
    for row in 0..100 {
        detector.push(at(row), (row % 3) as f64);
    }
    let last = (100..80_000).map(|row| detector.push(at(row), 0.0)).last();
    assert_eq!(last.and_then(|score| score.expected), Some((0.0, 0.0)));
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

#[test]
fn a_weekday_is_expected_but_not_on_a_sunday() {
    const STEP_S: i64 = 300;
    const DAY_ROWS: i64 = 86_400 / STEP_S;
    let mut detector = Detector::default();
    let mut alarms = Vec::new();
    for i in 0..8 * 7 * DAY_ROWS {
        let day = i / DAY_ROWS;
        let is_at_work = day % 7 < 5 || day == 7 * 7 + 6;
        let hour = (i % DAY_ROWS) as f64 * 24.0 / DAY_ROWS as f64;
        let load = if is_at_work { 100.0 - 60.0 * (hour / 12.0 * std::f64::consts::PI).cos() } else { 20.0 };
        let score = detector.push(Timestamp::from_seconds(STEP_S * i), load + 10.0 * noise(i as usize));
        alarms.extend(score.alarm.then_some(day));
    }
    // From the fifth week on the season is known.
    alarms.retain(|day| *day >= 28);
    assert_eq!(alarms, [7 * 7 + 6]);
}
