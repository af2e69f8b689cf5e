//! Properties of the detection: any series at all is judged without a panic and within the range of the score, a
//! restored detector continues exactly, and a row is judged by itself and the rows before it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use proptest::prelude::*;
use spindle_core::Timestamp;
use spindle_core::detect::{Detector, RowScore, SeriesReader};

/// Values as telemetry has them, and as it should not have them.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -100.0..100.0,
        3 => Just(7.0),
        2 => any::<f64>(),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::MAX), Just(f64::MIN), Just(0.0), Just(5e-324)],
    ]
}

/// Series whose times are regular, irregular, doubled, out of order or far apart.
fn series() -> impl Strategy<Value = Vec<(Timestamp, f64)>> {
    let step = prop_oneof![
        8 => Just(60_000_000_000_i64), 3 => 0..1_000_000_000_000_i64, 1 => Just(0), 1 => any::<i64>()
    ];
    // Each value is repeated, so that a few hundred rows see stretches of every kind.
    let stretch = (value(), step, 1..40_usize, prop_oneof![Just(0.0), Just(1.0), -5.0..5.0]);
    (any::<i64>(), proptest::collection::vec(stretch, 1..30)).prop_map(|(start, stretches)| {
        let (mut now, mut rows) = (start, Vec::new());
        for (value, step, length, slope) in stretches {
            for i in 0..length {
                now = now.wrapping_add(step);
                rows.push((Timestamp::from_ns(now), value + slope * i as f64));
            }
        }
        rows
    })
}

fn judged(detector: &mut Detector, rows: &[(Timestamp, f64)]) -> Vec<RowScore> {
    rows.iter().map(|(at, value)| detector.push(*at, *value)).collect()
}

proptest! {
    #[test]
    fn any_series_is_judged_within_range(rows in series()) {
        let mut detector = Detector::default();
        for score in judged(&mut detector, &rows) {
            prop_assert!((0.0..=1.0).contains(&score.anomaly_score), "{score:?}");
            if let Some((low, high)) = score.expected {
                prop_assert!(low.is_finite() && high.is_finite() && low <= high, "{score:?}");
            }
        }
        prop_assert!(detector.to_bytes().len() <= 8 << 10);
    }

    #[test]
    fn a_restored_detector_gives_the_same_scores(rows in series(), cut in any::<prop::sample::Index>()) {
        let (before, after) = rows.split_at(cut.index(rows.len()));
        let mut detector = Detector::default();
        judged(&mut detector, before);
        let mut restored = Detector::from_bytes(&detector.to_bytes()).unwrap();
        prop_assert_eq!(judged(&mut detector, after), judged(&mut restored, after));
        prop_assert_eq!(detector.to_bytes(), restored.to_bytes());
    }

    #[test]
    fn later_rows_change_nothing(rows in series(), cut in any::<prop::sample::Index>()) {
        let before = &rows[..cut.index(rows.len())];
        let whole = judged(&mut Detector::default(), &rows);
        prop_assert_eq!(&whole[..before.len()], &judged(&mut Detector::default(), before)[..]);
    }

    #[test]
    fn damaged_bytes_are_refused_or_harmless(
        rows in series(), places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)
    ) {
        let mut detector = Detector::default();
        judged(&mut detector, &rows);
        let mut bytes = detector.to_bytes();
        for (place, byte) in places {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(mut damaged) = Detector::from_bytes(&bytes) {
            for score in judged(&mut damaged, &rows) {
                prop_assert!((0.0..=1.0).contains(&score.anomaly_score), "{score:?}");
            }
        }
    }

    #[test]
    fn any_file_gives_a_row_for_each_row(bytes in proptest::collection::vec(any::<u8>(), 0..400), named in any::<bool>()) {
        let header: &[u8] = if named { b"timestamp,value\n" } else { b"" };
        let file = [header, &bytes].concat();
        if let Ok(mut series) = SeriesReader::new(&file[..]) {
            let mut detector = Detector::default();
            while let Ok(Some(row)) = series.next_row() {
                detector.push(row.at.unwrap_or_default(), row.value);
            }
        }
    }
}

#[test]
fn files_with_and_without_a_header_are_read() {
    let rows = |text: &str| {
        let mut series = SeriesReader::new(text.as_bytes())?;
        let mut rows = Vec::new();
        while let Some(row) = series.next_row()? {
            rows.push((row.time, row.at.is_some(), row.value.to_string()));
        }
        Ok::<_, spindle_core::detect::SeriesError>(rows)
    };
    let row = |time: &str, value: &str| (time.to_owned(), time != "noon", value.to_owned());
    let expected = vec![row("2014-04-01 00:00:00", "1.5"), row("noon", "NaN")];
    assert_eq!(rows("timestamp,value\n2014-04-01 00:00:00,1.5\nnoon,\n").unwrap(), expected);
    assert_eq!(rows("host,Value,Timestamp\na,1.5,2014-04-01 00:00:00\nb,none,noon\n").unwrap(), expected);
    assert_eq!(rows("2014-04-01 00:00:00,1.5\nnoon,x\n").unwrap(), expected);
    assert!(rows("").is_err());
    assert!(rows("date,reading\n2014-04-01,1\n").unwrap_err().to_string().contains("date,reading"));
}
