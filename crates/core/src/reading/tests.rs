//! Raw values as drives report them, and values that no drive can mean.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn means(metric: &str, stored: f64, expected: f64) {
    assert_eq!(read(metric, stored), Reading::Value(expected), "{metric} {stored}");
}

#[track_caller]
fn is_absent(metric: &str, stored: f64) {
    assert_eq!(read(metric, stored), Reading::Absent, "{metric} {stored}");
}

/// Returns the smallest meaning.
#[track_caller]
fn is_unclear(metric: &str, stored: f64) -> Option<f64> {
    match read(metric, stored) {
        Reading::Unclear(unclear) => unclear.at_least,
        other => panic!("{metric} {stored}: {other:?}"),
    }
}

/// Each pair is a raw value of a real drive and the temperature that the drive meant.
#[test]
fn temperatures_are_unpacked() {
    for (raw, celsius) in [
        (33.0, 33.0),
        (8481.0, 33.0),
        (176_094_511_130.0, 26.0),
        (193_274_707_996.0, 28.0),
        (85_899_345_953.0, 33.0),
        (176_095_232_031.0, 31.0),
        (141_734_510_625.0, 33.0),
        (251.0, -5.0),
        (65_531.0, -5.0),
        (-5.0, -5.0),
        (33.5, 33.5),
    ] {
        means("smart_194_raw", raw, celsius);
    }
    for (raw, celsius) in [(622_460_961.0, 33.0), (554_827_800.0, 24.0), (436_469_770.0, 10.0), (504_561_690.0, 26.0)] {
        means("smart_190_raw", raw, celsius);
    }
    for raw in [0.0, 255.0, -1.0, 32_768.0, 65_535.0, 4_294_967_295.0, 281_474_976_710_655.0] {
        is_absent("smart_194_raw", raw);
        is_absent("smart_190_raw", raw);
    }
    // Kelvin, tenths of a degree, and more than any sensor reports.
    for raw in [300.0, 306.0, 257.0, 330.0, 355.0, 415.0, 1000.0, 126.0, -41.0, 1e300, -1e300] {
        is_unclear("smart_194_raw", raw);
    }
}

#[test]
fn counts_beyond_sixteen_bits_are_not_understood() {
    for id in [5, 187, 196, 197, 198, 199] {
        let metric = format!("smart_{id}_raw");
        means(&metric, 0.0, 0.0);
        means(&metric, 65_534.0, 65_534.0);
        for raw in [65_535.0, 16_777_215.0, 4_294_967_295.0, 281_474_976_710_655.0, -1.0, -65_536.0, 1e18] {
            assert_eq!(is_unclear(&metric, raw), None, "{metric} {raw}");
        }
        let packed = is_unclear(&metric, 65_536.0 * 7.0 + 3.0);
        assert_eq!(packed, [5, 196].contains(&id).then_some(3.0), "{metric}");
    }
    assert_eq!(is_unclear("ReallocatedSectors", 65_535.0), None);
    means("PendingSectors", 70_000.0, 70_000.0);
}

#[test]
fn triples_hours_and_rates_are_unpacked() {
    means("smart_188_raw", 8_590_065_666.0, 2.0);
    means("smart_188_raw", 51_540_393_996.0, 12.0);
    means("smart_188_raw", 4_295_032_833.0, 1.0);
    is_unclear("smart_188_raw", 281_474_976_710_655.0);
    means("smart_9_raw", 37_519.0, 37_519.0);
    is_unclear("smart_9_raw", 254_189.0);
    means("smart_9_raw", 30_517.5, 30_517.5);
    means("smart_9_raw", 16_777_216.0 * 40.0 + 1234.0, 1234.0);
    means("smart_240_raw", 5_692_008_488_255_775.0, 16_671.0);
    means("smart_240_raw", 119_898_307_157_947.0, 122_811.0);
    means("smart_3_raw", 38_682_755_495.0, 423.0);
    means("smart_7_raw", 12_834_215_976_973.0, 2988.0);
    means("smart_1_raw", 12.0, 12.0);
    is_unclear("smart_1_raw", 143_944_925.0);
    is_unclear("smart_195_raw", 4_294_967_295.0);
    means("smart_241_raw", 218_759_569_150.0, 218_759_569_150.0);
    is_unclear("smart_241_raw", 281_474_976_710_655.0);
    means("smart_5_normalized", 255.0, 255.0);
}

#[test]
fn decoded_values_outside_any_possible_range_are_not_understood() {
    means("DiskTemp", 58.2, 58.2);
    means("DiskTemp", 0.0, 0.0);
    for (metric, value) in [
        ("DiskTemp", 150.0),
        ("DiskTemp", -50.0),
        ("DiskTemp", 8481.0),
        ("DiskTemp", f64::NAN),
        ("DiskTemp", f64::INFINITY),
        ("CapacityUsed", 250.0),
        ("Latency", -1.0),
        ("smart_5_raw", f64::NEG_INFINITY),
    ] {
        is_unclear(metric, value);
    }
    means("Unheard", -1e300, -1e300);
}

proptest! {
    #[test]
    fn every_value_has_a_meaning_in_range(id in 0_u16..300, stored in prop_oneof![any::<f64>(), (0_u64..1 << 56).prop_map(|raw| raw as f64)]) {
        if let Reading::Value(value) = read(&format!("smart_{id}_raw"), stored) {
            prop_assert!(value.is_finite());
            prop_assert!(![190, 194].contains(&id) || PLAUSIBLE_CELSIUS.contains(&value));
            prop_assert!(![5, 187, 188, 196, 197, 198, 199].contains(&id) || (0.0..65_535.0).contains(&value));
        }
    }
}
