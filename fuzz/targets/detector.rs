//! Arbitrary bytes as a saved detector, and arbitrary rows: no panic, scores from 0 to 1, and a restored detector
//! continues as the saved one.
//!
//! A whole state is longer than an input, so most states are those of a real detector with some bytes overwritten.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spindle_core::Timestamp;
use spindle_core::detect::{Detector, RowScore};
use spindle_fuzz::is_one_line;

/// Bytes of a row: time since the row before in ns, value, eight times the repetitions.
const ROW_BYTES: usize = 17;
/// Bytes of a damage: place and new bytes.
const DAMAGE_BYTES: usize = 10;
/// Largest saved detector.
const MAX_BYTES: usize = 8 << 10;

fuzz_target!(|input: &[u8]| {
    if let Err(error) = Detector::from_bytes(input) {
        is_one_line(error);
    }
    let Some((&[n_rows, n_damages], rest)) = input.split_first_chunk() else { return };
    let (damages, rows) = rest.split_at(rest.len().min(usize::from(n_damages) * DAMAGE_BYTES));
    let (before, after) = rows.split_at(rows.len().min(usize::from(n_rows) * ROW_BYTES));

    let mut detector = Detector::default();
    let at = push(&mut detector, 0, before).0;
    let mut bytes = detector.to_bytes();
    assert!(bytes.len() <= MAX_BYTES, "{} bytes", bytes.len());
    let mut restored = Detector::from_bytes(&bytes).expect("a saved detector is restored");
    assert_eq!(restored.to_bytes(), bytes);
    assert_eq!(push(&mut restored, at, after), push(&mut detector, at, after), "a restored detector continues");
    assert_eq!(restored.to_bytes(), detector.to_bytes());

    for damage in damages.chunks_exact(DAMAGE_BYTES) {
        let place = usize::from(u16::from_le_bytes([damage[0], damage[1]])) % bytes.len();
        let kept = (bytes.len() - place).min(DAMAGE_BYTES - 2);
        bytes[place..place + kept].copy_from_slice(&damage[2..2 + kept]);
    }
    match Detector::from_bytes(&bytes) {
        Ok(mut damaged) => {
            assert_eq!(damaged.to_bytes(), bytes, "a state is kept as it is");
            push(&mut damaged, at, after);
            assert!(Detector::from_bytes(&damaged.to_bytes()).is_ok(), "what was restored can be saved");
        }
        Err(error) => drop(is_one_line(error)),
    }
});

/// Pushes rows; returns the time of the last one, and the scores as bits.
fn push(detector: &mut Detector, from: i64, rows: &[u8]) -> (i64, Vec<(u64, bool)>) {
    let (mut at, mut scores) = (from, Vec::new());
    for row in rows.chunks_exact(ROW_BYTES) {
        let eight = |from: usize| -> [u8; 8] { row[from..from + 8].try_into().expect("a row has 17 bytes") };
        for _ in 0..=row[16] / 8 {
            at = at.saturating_add(i64::from_le_bytes(eight(0)));
            let RowScore { anomaly_score, alarm, expected } =
                detector.push(Timestamp::from_ns(at), f64::from_le_bytes(eight(8)));
            assert!((0.0..=1.0).contains(&anomaly_score), "a score of {anomaly_score}");
            assert!(expected.is_none_or(|(low, high)| low <= high), "{expected:?}");
            scores.push((anomaly_score.to_bits(), alarm));
        }
    }
    (at, scores)
}
