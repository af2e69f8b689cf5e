//! Benchmark of decoding and encoding payloads.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use spindle_core::{Timestamp, wire};

use crate::{metrics, print, rate};

const N_VALUES: usize = 500;
const N_ROUNDS: usize = 400;

pub(crate) fn run() -> Result<()> {
    let metrics = metrics("DiskUnit-0001", N_VALUES, Timestamp::from_seconds(1_750_000_000))?;
    let payload = wire::encode_metrics(&metrics);
    let (mut decoding, mut encoding, mut plain) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    // In turn, so that a machine that slows down affects all of them.
    for _ in 0..N_ROUNDS {
        decoding += timed(|| black_box(wire::decode_metrics(black_box(&payload))).items.len());
        encoding += timed(|| black_box(wire::encode_metrics(black_box(&metrics))).len());
        plain +=
            timed(|| usize::from(black_box(serde_json::from_slice::<serde_json::Value>(black_box(&payload))).is_ok()));
    }
    let n = N_VALUES * N_ROUNDS;
    print(&format!(
        "decode {}  {:.2} times serde_json decoding a tree",
        rate(n, decoding),
        plain.as_secs_f64() / decoding.as_secs_f64()
    ));
    for n_bytes in [40_000, 4_000_000] {
        print(&split_rate(&String::from_utf8(wire::encode_metrics(&metrics[..1]))?, n_bytes));
    }
    print(&format!("encode {}  ({:.0} bytes each)", rate(n, encoding), payload.len() as f64 / N_VALUES as f64));
    Ok(())
}

/// Decodes arrays of bad elements before one good one, of some bytes in all: the rate must not fall with the size.
fn split_rate(good: &str, n_bytes: usize) -> String {
    let filler = "1".repeat(n_bytes / wire::MAX_ELEMENTS);
    let n_bad = n_bytes / (filler.len() + 1) - 1;
    let payload = format!("[{}{good}]", format!("{filler},").repeat(n_bad));
    let n_rounds = 8_000_000 / payload.len();
    let took: Duration = (0..n_rounds)
        .map(|_| timed(|| black_box(wire::decode_metrics(black_box(payload.as_bytes()))).items.len()))
        .sum();
    let rate = (payload.len() * n_rounds) as f64 / took.as_secs_f64() / 1e6;
    format!("split  {rate:.0} MB/s of bad elements in arrays of {} kB", payload.len() / 1_000)
}

fn timed(work: impl FnOnce() -> usize) -> Duration {
    let started = Instant::now();
    black_box(work());
    started.elapsed()
}
