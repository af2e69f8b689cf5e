//! Picture of a judged series: expected range, values, oddity, alarms. What is drawn is the same in all formats.

mod png;
mod svg;

use std::path::Path;

use anyhow::Result;
use spindle_core::Timestamp;
use spindle_core::detect::RowScore;

const WIDTH: f64 = 1_200.0;
const HEIGHT: f64 = 420.0;
/// Room around the drawing.
const MARGIN: f64 = 50.0;
/// Height of the strip of scores below the series.
const STRIP: f64 = 60.0;
/// Columns that a series is reduced to: one for each pixel.
const COLUMNS: usize = (WIDTH - 2.0 * MARGIN) as usize;

/// Format of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Svg,
    Png,
}

impl Format {
    /// Returns the format that the name of a file asks for; `None` if it is not one of ours.
    pub(super) fn of(file: &Path) -> Option<Self> {
        let extension = file.extension()?.to_ascii_lowercase();
        [("svg", Self::Svg), ("png", Self::Png)]
            .into_iter()
            .find(|(name, _)| extension == *name)
            .map(|(_, format)| format)
    }
}

/// Shapes in the order in which they cover each other, in units of a [`WIDTH`] by [`HEIGHT`] drawing with its origin at
/// the top left.
#[derive(Debug, Default)]
struct Picture {
    expected: Vec<Bar>,
    alarms: Vec<Bar>,
    /// Joined to a line.
    values: Vec<Bar>,
    scores: Vec<Bar>,
    texts: Vec<Text>,
}

/// Vertical line.
#[derive(Clone, Copy, Debug)]
struct Bar {
    x: f64,
    from: f64,
    to: f64,
}

/// Text on a base line.
#[derive(Clone, Debug)]
struct Text {
    x: f64,
    y: f64,
    content: String,
    is_title: bool,
    /// The text ends at `x` instead of beginning there.
    ends_here: bool,
}

/// Rows to draw.
#[derive(Debug, Default)]
pub(super) struct Plot {
    rows: Vec<(Timestamp, f64, RowScore)>,
}

/// Rows that share a column of pixels.
#[derive(Clone, Copy, Debug)]
struct Column {
    low: f64,
    high: f64,
    expected: Option<(f64, f64)>,
    score: f64,
    is_alarm: bool,
}

impl Plot {
    pub(super) fn push(&mut self, at: Timestamp, value: f64, score: RowScore) {
        self.rows.push((at, value, score));
    }

    /// Returns the picture as the contents of a file.
    pub(super) fn draw(&self, name: &str, format: Format) -> Result<Vec<u8>> {
        let picture = self.picture(name);
        match format {
            Format::Svg => Ok(svg::of(&picture).into_bytes()),
            Format::Png => png::of(&picture),
        }
    }

    fn picture(&self, name: &str) -> Picture {
        let (low, high) = self.limits();
        let bottom = HEIGHT - MARGIN - STRIP;
        let y = |value: f64| bottom - (value.clamp(low, high) - low) / (high - low) * (bottom - MARGIN);
        let floor = HEIGHT - MARGIN;
        let mut picture = Picture { texts: self.texts(name, (low, high), bottom), ..Picture::default() };
        for (place, column) in
            self.columns().into_iter().enumerate().filter_map(|(place, column)| Some((place, column?)))
        {
            let bar = |from: f64, to: f64| Bar { x: MARGIN + place as f64, from, to };
            if let Some((from, to)) = column.expected {
                picture.expected.push(bar(y(from), y(to)));
            }
            if column.low <= column.high {
                picture.values.push(bar(y(column.low), y(column.high)));
            }
            picture.scores.push(bar(floor, floor - column.score * (STRIP - 10.0)));
            if column.is_alarm {
                picture.alarms.push(bar(MARGIN, floor));
            }
        }
        picture
    }

    /// Returns the title, the range of the values and that of the time.
    fn texts(&self, name: &str, (low, high): (f64, f64), bottom: f64) -> Vec<Text> {
        let time = |row: Option<&(Timestamp, f64, RowScore)>| row.map_or_else(String::new, |row| row.0.to_string());
        let name = crate::output::safe(name);
        let text = |x: f64, y: f64, content: String| Text { x, y, content, is_title: false, ends_here: false };
        let (end, right) = (HEIGHT - 30.0, WIDTH - MARGIN);
        vec![
            Text { is_title: true, ..text(MARGIN, 30.0, format!("{name}: values, expected range, oddity, alarms")) },
            text(5.0, MARGIN, label(high)),
            text(5.0, bottom, label(low)),
            text(MARGIN, end, time(self.rows.first())),
            Text { ends_here: true, ..text(right, end, time(self.rows.last())) },
        ]
    }

    /// Returns the rows by column of pixels, in their time.
    fn columns(&self) -> Vec<Option<Column>> {
        let mut columns = vec![None; COLUMNS];
        let times = || self.rows.iter().map(|row| row.0);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return columns };
        let span = last.seconds_since(first);
        for (index, (at, value, score)) in self.rows.iter().enumerate() {
            let share = match span > 0.0 {
                true => at.seconds_since(first) / span,
                false => index as f64 / self.rows.len() as f64,
            };
            let place = (share * (COLUMNS - 1) as f64) as usize;
            let column = columns[place.min(COLUMNS - 1)].get_or_insert(Column {
                low: f64::INFINITY,
                high: f64::NEG_INFINITY,
                expected: score.expected,
                score: 0.0,
                is_alarm: false,
            });
            if value.is_finite() {
                (column.low, column.high) = (column.low.min(*value), column.high.max(*value));
            }
            if let (Some((low, high)), Some((from, to))) = (column.expected, score.expected) {
                column.expected = Some((low.min(from), high.max(to)));
            }
            column.score = column.score.max(score.anomaly_score);
            column.is_alarm |= score.alarm;
        }
        columns
    }

    /// Returns the least and the greatest value, apart from each other.
    fn limits(&self) -> (f64, f64) {
        let finite = || self.rows.iter().map(|row| row.1).filter(|value| value.is_finite());
        let (low, high) = (finite().fold(f64::MAX, f64::min), finite().fold(f64::MIN, f64::max));
        match high - low {
            span if span > 0.0 && span.is_finite() => (low - 0.05 * span, high + 0.05 * span),
            _ if low > high => (0.0, 1.0),
            _ => (low - 1.0, high + 1.0),
        }
    }
}

/// Returns a number that fits beside the drawing.
fn label(number: f64) -> String {
    if (1e-2..1e5).contains(&number.abs()) { format!("{number:.2}") } else { format!("{number:.1e}") }
}
