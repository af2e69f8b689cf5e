//! Picture of a judged series as SVG: expected range, values, oddity, alarms.

use std::fmt::Write;

use spindle_core::Timestamp;
use spindle_core::detect::RowScore;

const WIDTH: usize = 1_200;
const HEIGHT: f64 = 420.0;
/// Room around the drawing.
const MARGIN: f64 = 50.0;
/// Height of the strip of scores below the series.
const STRIP: f64 = 60.0;
/// Columns that a series is reduced to: one for each pixel.
const COLUMNS: usize = WIDTH - 2 * MARGIN as usize;

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

    /// Returns the picture.
    pub(super) fn svg(&self, name: &str) -> String {
        let columns = self.columns();
        let (low, high) = self.limits();
        let bottom = HEIGHT - MARGIN - STRIP;
        let y = |value: f64| bottom - (value.clamp(low, high) - low) / (high - low) * (bottom - MARGIN);
        let x = |column: usize| MARGIN + column as f64;
        let (mut band, mut line, mut scores, mut alarms) = (String::new(), String::new(), String::new(), String::new());
        for (place, column) in columns.iter().enumerate().filter_map(|(place, column)| Some((x(place), (*column)?))) {
            if let Some((from, to)) = column.expected {
                let _ = write!(band, "M{place:.0} {:.1}V{:.1}", y(from), y(to));
            }
            if column.low <= column.high {
                let pen = if line.is_empty() { 'M' } else { 'L' };
                let _ = write!(line, "{pen}{place:.0} {:.1}V{:.1}", y(column.low), y(column.high));
            }
            let top = HEIGHT - MARGIN - column.score * (STRIP - 10.0);
            let _ = write!(scores, "M{place:.0} {:.1}V{top:.1}", HEIGHT - MARGIN);
            if column.is_alarm {
                let _ = write!(alarms, "M{place:.0} {MARGIN}V{:.1}", HEIGHT - MARGIN);
            }
        }
        let time = |row: Option<&(Timestamp, f64, RowScore)>| row.map_or_else(String::new, |row| row.0.to_string());
        let (first, last) = (time(self.rows.first()), time(self.rows.last()));
        let (right, name) = (WIDTH as f64 - MARGIN, escaped(name));
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<title>{name}</title>
<rect width="100%" height="100%" fill="#fff"/>
<path id="expected" d="{band}" stroke="#cfe3f7" fill="none"/>
<path id="alarms" d="{alarms}" stroke="#d62728" fill="none"/>
<path id="values" d="{line}" stroke="#1f4e79" fill="none"/>
<path id="scores" d="{scores}" stroke="#ff7f0e" fill="none"/>
<text x="{MARGIN}" y="30" font-size="15">{name}: values, expected range, oddity, alarms</text>
<text x="5" y="{MARGIN}">{high:.6}</text><text x="5" y="{bottom}">{low:.6}</text>
<text x="{MARGIN}" y="{end}">{first}</text><text x="{right}" y="{end}" text-anchor="end">{last}</text>
</svg>
"##,
            end = HEIGHT - 30.0,
        )
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

fn escaped(text: &str) -> String {
    let text = crate::output::safe(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
