//! `spindle detect`: judges the rows of a recorded series, one after the other. Needs no configuration and no server.

mod plot;

use std::fs::File;
use std::io::{BufReader, Read, stdin};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use spindle_core::Timestamp;
use spindle_core::detect::{Detector, RowScore, SeriesReader, SeriesRow};
use spindle_core::recording::Utf8Reader;

use crate::cli::DetectTask;
use crate::outcome::Outcome;
use crate::output;
use crate::sources::replay::unpack::unpack;
use plot::{Format, Plot};

/// Bytes of output that are written at once.
const CHUNK_BYTES: usize = 1 << 16;

/// Judges the series and prints a row for each of its rows.
pub(crate) fn run(task: &DetectTask) -> Result<Outcome> {
    let format = task.plot.as_deref().map(format).transpose()?;
    let name = task.file.display().to_string();
    let mut series = SeriesReader::new(open(&task.file)?).with_context(|| format!("cannot judge {name}"))?;
    let (mut detector, mut plot) = (Detector::default(), task.plot.as_ref().map(|_| Plot::default()));
    let mut text = if task.as_json { String::new() } else { "timestamp,anomaly_score,alarm\n".to_owned() };
    let (mut last, mut n_missing, mut n_timeless) = (Timestamp::default(), 0, 0);
    while let Some(row) = series.next_row().with_context(|| format!("cannot judge {name}"))? {
        n_missing += u64::from(!row.value.is_finite());
        n_timeless += u64::from(row.at.is_none());
        last = row.at.unwrap_or(last);
        let score = detector.push(last, row.value);
        text.push_str(&if task.as_json { json_line(&row, score) } else { csv_line(&row, score) });
        if let Some(plot) = &mut plot {
            plot.push(last, row.value, score);
        }
        if text.len() >= CHUNK_BYTES {
            output::data(text.as_bytes())?;
            text.clear();
        }
    }
    output::data(text.as_bytes())?;
    if n_missing > 0 {
        output::message(&format!("{} without a number: scored as missing", output::count(n_missing, "row")));
    }
    if n_timeless > 0 {
        output::message(&format!("{} without a time: given that of the row before", output::count(n_timeless, "row")));
    }
    if let (Some(plot), Some(file), Some(format)) = (plot, &task.plot, format) {
        std::fs::write(file, plot.draw(&name, format)?).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(Outcome::Good)
}

/// Returns the format of a picture by the name of its file.
fn format(file: &Path) -> Result<Format> {
    Format::of(file).with_context(|| format!("cannot draw {}: name the file FILE.svg or FILE.png", file.display()))
}

fn open(path: &Path) -> Result<impl Read> {
    let name = path.display();
    let packed: Box<dyn Read + Send> = if path == Path::new("-") {
        Box::new(stdin())
    } else {
        let file =
            File::open(path).with_context(|| format!("cannot open {name}: check the path and its permissions"))?;
        ensure!(!file.metadata()?.is_dir(), "cannot judge {name}: it is a directory, name a file in it");
        Box::new(file)
    };
    let (unpacked, _) =
        unpack(BufReader::with_capacity(1 << 16, packed)).with_context(|| format!("cannot read {name}"))?;
    Utf8Reader::new(unpacked).with_context(|| format!("cannot read {name}"))
}

fn csv_line(row: &SeriesRow, score: RowScore) -> String {
    let is_plain = !row.time.contains([',', '"', '\n', '\r']);
    let time = if is_plain { row.time.clone() } else { format!("\"{}\"", row.time.replace('"', "\"\"")) };
    format!("{time},{:.6},{}\n", score.anomaly_score, u8::from(score.alarm))
}

fn json_line(row: &SeriesRow, score: RowScore) -> String {
    let value = row.value.is_finite().then_some(row.value);
    let line = serde_json::json!({
        "timestamp": row.time, "value": value, "anomaly_score": score.anomaly_score, "alarm": u8::from(score.alarm),
        "expected": score.expected,
    });
    format!("{line}\n")
}

#[cfg(test)]
mod tests;
