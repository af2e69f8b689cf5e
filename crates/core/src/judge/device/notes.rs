//! Notes about single series: one per incident, with its evidence in words, and never many.

use serde::{Deserialize, Serialize};

use super::Device;
use super::note_control::NoteControl;
use super::series::Series;
use crate::detect::RowScore;
use crate::judge::events::{Finding, METRIC_ANOMALY};
use crate::metric;
use crate::timestamp::Timestamp;
use crate::wire::Event;

/// Most notes about one device in a day.
const MAX_NOTES_A_DAY: u8 = 6;
/// Score, and rows without an alarm, from which on a note is more important.
const STRONG: f64 = 0.7;
const RARE_ROWS: u32 = 10_000;

/// Notes about a device in the current day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::judge) struct DayOfNotes {
    day: i64,
    n_notes: u8,
    /// Notes held back because of their number.
    n_held: u32,
}

impl DayOfNotes {
    /// Returns the notes held back before this one; `None` if this one must be held back as well.
    fn admit(&mut self, at: Timestamp) -> Option<u32> {
        let day = at.day();
        if day > self.day {
            (self.day, self.n_notes) = (day, 0);
        }
        if self.n_notes >= MAX_NOTES_A_DAY {
            self.n_held = self.n_held.saturating_add(1);
            return None;
        }
        self.n_notes += 1;
        Some(std::mem::take(&mut self.n_held))
    }
}

/// Takes the score of the newest value of a series; returns the note, if it deserves one. `at` dates it; `is_quiet` if
/// nothing must be said yet.
pub(in crate::judge) fn note(
    device: &mut Device,
    place: usize,
    score: &RowScore,
    at: Timestamp,
    is_quiet: bool,
) -> Option<Event> {
    let control = &mut device.series[place].control;
    let is_admitted = control.admits(at, score);
    if !score.alarm || is_quiet {
        return None;
    }
    let n_held = if is_admitted { device.notes.admit(at) } else { None };
    let control = &mut device.series[place].control;
    let Some(n_held) = n_held else {
        control.n_suppressed = control.n_suppressed.saturating_add(1);
        return None;
    };
    let n_suppressed = control.note(at, score.anomaly_score);
    let series = &device.series[place];
    let mut labels = device.labels_of_event();
    let mut label = |key: &str, value: String| labels.insert(key.to_owned(), value);
    let value = series.newest.as_ref().map_or(f64::NAN, |newest| newest.value);
    label("metric", series.metric_type.to_string());
    label("value", exact(value));
    label("score", format!("{:.3}", score.anomaly_score));
    if let Some((low, high)) = score.expected {
        label("expected_low", exact(low));
        label("expected_high", exact(high));
    }
    for (key, count) in [("suppressed", n_suppressed), ("held_back", n_held)] {
        if count > 0 {
            label(key, count.to_string());
        }
    }
    let finding = Finding {
        event_type: METRIC_ANOMALY,
        criticality: criticality(score, &series.control),
        device: &device.name,
        at,
        subject: &series.metric_type,
        message: message(series, value, score, n_suppressed),
        labels,
    };
    Some(finding.into_event())
}

fn criticality(score: &RowScore, control: &NoteControl) -> u8 {
    4 + u8::from(score.anomaly_score >= STRONG) + u8::from(control.rows_per_alarm() >= RARE_ROWS)
}

fn message(series: &Series, value: f64, score: &RowScore, n_suppressed: u32) -> String {
    let kind = metric::lookup(&series.metric_type);
    let unit = kind.map_or("", |kind| kind.unit.symbol());
    let mut message = format!("{} {} {unit}", series.metric_type, rounded(value)).trim_end().to_owned();
    if let Some((low, high)) = score.expected {
        message.push_str(&format!(", expected {} to {}", rounded(low), rounded(high)));
    }
    message.push_str(&format!("; as odd once in {} rows", series.control.rows_per_alarm()));
    if n_suppressed > 0 {
        message.push_str(&format!("; {n_suppressed} alarms since the last note"));
    }
    message
}

/// Returns a number in full, and short: a label has a bounded length.
pub(in crate::judge) fn exact(value: f64) -> String {
    let is_usual = value == 0.0 || (1e-6..1e15).contains(&value.abs());
    if is_usual { value.to_string() } else { format!("{value:e}") }
}

/// Returns a number with four significant digits, as people read it.
pub(in crate::judge) fn rounded(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let n_digits = 3 - value.abs().log10().floor() as i32;
    match n_digits {
        0..=12 => {
            let text = format!("{value:.*}", n_digits as usize);
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
        }
        -12..0 => format!("{value:.0}"),
        _ => format!("{value:e}"),
    }
}
