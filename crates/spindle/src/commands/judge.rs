//! `spindle judge`: judges recorded data strictly online, without NATS or a store, and prints a score per row.

mod drives;
mod peers;

use std::path::PathBuf;

use anyhow::{Context, Result};
use spindle_core::recording::Format;

use crate::outcome::Outcome;
use crate::output;
use crate::sources::replay;

/// Bytes of output that are written at once.
const CHUNK_BYTES: usize = 1 << 16;

/// Judges files in the given order, as one recording: what one teaches holds for those after it.
pub(crate) fn run(files: &[PathBuf]) -> Result<Outcome> {
    let mut scores = Scores::default();
    let mut drives = drives::Judge::default();
    let mut peers = peers::Judge::default();
    for file in files {
        let recording = replay::open_recording(file, "judge")?;
        match recording.format() {
            Format::Backblaze(_) => drives.judge(recording, file, &mut scores)?,
            Format::Ndjson | Format::Json => peers.judge(recording, file, &mut scores)?,
        }
    }
    peers.finish(&mut scores)?;
    scores.finish()
}

/// Scores on their way to stdout.
#[derive(Default)]
struct Scores {
    text: String,
    header: Option<&'static str>,
    n_refused: u64,
}

impl Scores {
    /// Begins a table, once.
    ///
    /// # Errors
    /// If another table has begun.
    fn begin(&mut self, header: &'static str) -> Result<()> {
        match self.header {
            None => {
                self.header = Some(header);
                self.text.push_str(header);
                self.text.push('\n');
                Ok(())
            }
            Some(begun) => {
                anyhow::ensure!(begun == header, "the files differ in format: judge them one at a time");
                Ok(())
            }
        }
    }

    /// Adds a row.
    fn add(&mut self, device: &str, time: &str, score: f64, alarm: bool) -> Result<()> {
        if device.contains([',', '"', '\n', '\r']) {
            self.text += &format!("\"{}\"", device.replace('"', "\"\""));
        } else {
            self.text += device;
        }
        self.text += &format!(",{time},{score:.4},{}\n", u8::from(alarm));
        if self.text.len() >= CHUNK_BYTES { self.write() } else { Ok(()) }
    }

    /// Reports a record that is not judged; the first ones with their reason.
    fn refuse(&mut self, place: &str, reason: &str) {
        const N_SHOWN: u64 = 5;
        self.n_refused += 1;
        if self.n_refused <= N_SHOWN {
            output::message(&output::safe(&format!("spindle: {place}: not judged: {reason}")));
        }
    }

    fn write(&mut self) -> Result<()> {
        output::data(self.text.as_bytes()).context("cannot print the scores")?;
        self.text.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Outcome> {
        self.write()?;
        if self.n_refused > 0 {
            output::message(&format!("spindle: {} not judged", output::count(self.n_refused, "record")));
        }
        Ok(Outcome::Good)
    }
}
