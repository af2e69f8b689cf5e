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
    print(&format!("encode {}  ({:.0} bytes each)", rate(n, encoding), payload.len() as f64 / N_VALUES as f64));
    Ok(())
}

fn timed(work: impl FnOnce() -> usize) -> Duration {
    let started = Instant::now();
    black_box(work());
    started.elapsed()
}
