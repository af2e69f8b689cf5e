//! Lists of the view: what needs attention, the streams, the newest critical events.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use spindle_bus::{DEAD_LETTER_STREAM, FillLevel};
use spindle_core::Timestamp;

use super::super::answers::EventRow;
use super::super::attention::Row;
use super::super::fleet::State;
use super::super::look::{Look, QUIET, STRONG};
use super::super::pipeline::{StreamView, Waiting};
use super::super::text::{cut, padded, width};
use super::super::words;
use super::apart;

/// Columns from which there is room for a bar and for the start of an incident.
const WIDE: usize = 66;
/// Cells of a bar.
const BAR: usize = 12;
/// Lines of a row that has room for its reason.
pub(super) const FULL_ROW: usize = 3;
/// Lines of any row.
pub(super) const SHORT_ROW: usize = 2;

/// Returns the lines of a row of the list of what needs attention.
pub(super) fn attention(row: &Row, look: Look, columns: usize, n_lines: usize, now: Timestamp) -> Vec<Line<'static>> {
    let since = row.since.map_or_else(String::new, |since| {
        let lasting = words::duration(now.seconds_since(since));
        if columns >= WIDE { format!("since {}, {lasting}", words::clock(since, now)) } else { lasting }
    });
    let room = columns.saturating_sub(width(&since) + 4);
    let title = cut(&row.title, room);
    let place = cut(&row.place, room.saturating_sub(width(&title) + 2));
    let shape = Span::styled(format!("{} ", Look::shape(row.state, row.is_acknowledged)), look.style(row.state));
    let head = vec![shape, Span::styled(title, STRONG), Span::styled(format!("  {place}"), QUIET)];
    let mut lines = vec![apart(head, since, QUIET, columns)];
    let indented = |text: &str, style: Style| Line::styled(format!("  {}", cut(text, columns - 2)), style);
    let advice = row.advice.as_ref().map(|advice| format!("→ {advice}"));
    match advice {
        Some(advice) if n_lines >= FULL_ROW => {
            lines.extend([indented(&row.reason, QUIET), indented(&advice, Style::new())]);
        }
        Some(advice) => lines.push(indented(&advice, Style::new())),
        None => lines.push(indented(&row.reason, QUIET)),
    }
    lines
}

/// Returns the line of a stream.
pub(super) fn stream(stream: &StreamView, look: Look, columns: usize) -> Line<'static> {
    let (state, fill) = match stream.level {
        FillLevel::Roomy => (State::Ok, ""),
        FillLevel::NearlyFull => (State::Warning, "nearly full: "),
        FillLevel::Full => (State::Critical, "full, refuses messages: "),
    };
    let held = words::whole(stream.n_messages);
    let text = match stream.waiting {
        None if stream.name == DEAD_LETTER_STREAM => letters(stream.n_messages),
        None => format!("{held} held"),
        Some(Waiting::Messages(n)) => format!("{} to store, {held} held", words::whole(n)),
        Some(Waiting::NoWriter) => format!("no writer yet, {held} held"),
        Some(Waiting::Denied) => format!("{held} held; this user may not see what waits"),
    };
    let mut spans = vec![
        Span::styled(format!("{} ", Look::shape(state, false)), look.style(state)),
        Span::raw(padded(stream.name, 12)),
    ];
    if columns >= WIDE {
        let filled = (usize::try_from(stream.percent).unwrap_or(BAR) * BAR).div_ceil(100).min(BAR);
        spans.push(Span::styled("█".repeat(filled), look.data()));
        spans.push(Span::styled("░".repeat(BAR - filled), QUIET));
    }
    spans.push(Span::raw(format!("{:>4} %  ", stream.percent)));
    let used: usize = spans.iter().map(Span::width).sum();
    spans.push(Span::raw(cut(&format!("{fill}{text}"), columns.saturating_sub(used))));
    Line::from(spans)
}

fn letters(n: u64) -> String {
    match n {
        0 => "no dead letters".to_owned(),
        1 => "1 dead letter to decide on".to_owned(),
        n => format!("{} dead letters to decide on", words::whole(n)),
    }
}

/// Returns the lines of events, in columns that their longest names decide.
pub(super) fn events(rows: &[EventRow], look: Look, columns: usize, now: Timestamp) -> Vec<Line<'static>> {
    let longest = |text: &dyn Fn(&EventRow) -> String, most: usize| {
        rows.iter().map(|row| width(&text(row))).max().unwrap_or(0).min(most)
    };
    let time = |row: &EventRow| words::event_clock(row.time, now);
    let (event_type, device) =
        (|row: &EventRow| words::name(&row.event_type), |row: &EventRow| words::name(&row.source_device));
    let (time_cells, type_cells, device_cells) =
        (longest(&time, 15), longest(&event_type, columns / 4), longest(&device, columns / 3));
    let line = |row: &EventRow| {
        let state = if row.criticality >= 8 { State::Critical } else { State::Warning };
        let mut spans = vec![
            Span::styled(format!("{} ", Look::shape(state, false)), look.style(state)),
            Span::styled(padded(&time(row), time_cells), QUIET),
            Span::raw(format!(" {:>2} ", row.criticality)),
            Span::styled(padded(&event_type(row), type_cells), STRONG),
            Span::raw(format!("  {}  ", padded(&device(row), device_cells))),
        ];
        let used: usize = spans.iter().map(Span::width).sum();
        let message = row.event_message.as_deref().map_or_else(String::new, words::name);
        spans.push(Span::styled(cut(&message, columns.saturating_sub(used)), QUIET));
        Line::from(spans)
    };
    rows.iter().map(line).collect()
}
