//! The view: the newest answers, and how they stand on a screen of any size. It never shows old as new.

mod lists;
mod sections;
#[cfg(test)]
mod tests;

use std::time::Duration;

use ratatui::Frame;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use spindle_core::Timestamp;
use tokio::time::Instant;

use super::answers::Picture;
use super::fleet::{Fleet, STATES, State};
use super::look::{Look, QUIET, STRONG};
use super::pipeline::Pipeline;
use super::poll::News;
use super::text::{cut, width, wrapped};
use super::{sentence, words};
use crate::logging::chain;

/// Least size that holds a verdict and an incident.
const MIN_COLUMNS: u16 = 40;
const MIN_ROWS: u16 = 10;
/// Age from which an answer is old, unless the interval is long.
const OLD: Duration = Duration::from_secs(10);
/// Intervals without an answer after which the last one is old.
const OLD_INTERVALS: u32 = 3;
/// Rows from which the verdict stands apart.
const ROOMY: usize = 20;
/// Rows below which a statement has one line.
const SPARSE: usize = 14;
/// Most lines of one statement.
const MAX_LINES: usize = 2;

/// State of the view.
pub(super) struct View {
    picture: Option<Box<Picture>>,
    /// Reason for which the newest question has no answer.
    failure: Option<String>,
    pipeline: Option<Pipeline>,
    pipeline_failure: Option<String>,
    started: Instant,
    interval: Duration,
    look: Look,
}

impl View {
    pub(super) fn new(interval: Duration, look: Look, started: Instant) -> Self {
        let (picture, failure, pipeline, pipeline_failure) = (None, None, None, None);
        Self { picture, failure, pipeline, pipeline_failure, started, interval, look }
    }

    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Picture(Ok(picture)) => (self.picture, self.failure) = (Some(picture), None),
            News::Picture(Err(error)) => self.failure = Some(words::name(&chain(error))),
            News::Pipeline(Ok(pipeline)) => (self.pipeline, self.pipeline_failure) = (Some(pipeline), None),
            News::Pipeline(Err(error)) => self.pipeline_failure = Some(words::name(&error.message)),
        }
    }

    /// Renders everything as of `now`.
    pub(super) fn render(&self, frame: &mut Frame<'_>, now: Instant) {
        let area = frame.area();
        let (columns, rows) = (usize::from(area.width), usize::from(area.height));
        let lines = if area.width < MIN_COLUMNS || area.height < MIN_ROWS {
            let text = format!("too small: {MIN_COLUMNS}x{MIN_ROWS} at least (q quits)");
            wrapped(&[(text, Style::new())], columns, rows)
        } else {
            self.lines(columns - 2, rows, now)
        };
        let left = u16::from(area.width >= MIN_COLUMNS);
        let buffer = frame.buffer_mut();
        for (y, line) in (area.y..area.bottom()).zip(&lines) {
            buffer.set_line(area.x + left, y, line, area.width - left);
        }
        self.look.apply(buffer);
    }

    fn lines(&self, columns: usize, rows: usize, now: Instant) -> Vec<Line<'static>> {
        let mut lines = vec![self.header(columns, now)];
        let n_lines = if rows < SPARSE { 1 } else { MAX_LINES };
        lines.extend(self.notice(columns, n_lines, now));
        if rows >= ROOMY {
            lines.push(Line::default());
        }
        match &self.picture {
            Some(found) => {
                lines.extend(self.verdict(found, columns, n_lines, now));
                if found.fleet.len() > 0 {
                    lines.extend(self.aged(vec![self.counts(&found.fleet, columns)], now));
                }
            }
            None => lines.push(Line::styled("Waiting for the first answer of the reader", STRONG)),
        }
        let room = rows.saturating_sub(lines.len() + 1);
        lines.extend(self.sections(columns, room, now));
        lines.resize(rows.saturating_sub(1), Line::default());
        lines.push(self.footer(columns));
        lines
    }

    fn age(&self, now: Instant) -> Duration {
        now.duration_since(self.picture.as_ref().map_or(self.started, |picture| picture.asked))
    }

    fn is_old(&self, now: Instant) -> bool {
        self.is_older(self.picture.as_ref().map_or(self.started, |picture| picture.asked), now)
    }

    fn is_older(&self, asked: Instant, now: Instant) -> bool {
        now.duration_since(asked) > OLD.max(self.interval * OLD_INTERVALS)
    }

    /// Dims lines of an old picture.
    fn aged(&self, lines: Vec<Line<'static>>, now: Instant) -> Vec<Line<'static>> {
        let style = if self.is_old(now) { QUIET } else { Style::new() };
        lines.into_iter().map(|line| line.patch_style(style)).collect()
    }

    /// Returns the present by the reader's clock.
    fn present(&self, picture: &Picture, now: Instant) -> Timestamp {
        picture.fleet.until.plus(now.duration_since(picture.asked))
    }

    fn header(&self, columns: usize, now: Instant) -> Line<'static> {
        let age = words::duration(self.age(now).as_secs_f64().floor());
        let right = match &self.picture {
            Some(picture) if self.failure.is_none() && !self.is_old(now) => {
                let clock = words::clock_seconds(self.present(picture, now));
                format!("live, {age} old · {clock} UTC")
            }
            Some(picture) => format!("as of {} UTC", words::clock_seconds(picture.fleet.until)),
            None => String::new(),
        };
        apart(vec![Span::styled("Spindle", STRONG)], right, QUIET, columns)
    }

    /// Says that there is no answer, and why.
    fn notice(&self, columns: usize, n_lines: usize, now: Instant) -> Vec<Line<'static>> {
        let age = words::duration(self.age(now).as_secs_f64().floor());
        let reason = match (&self.failure, self.is_old(now)) {
            (Some(failure), _) => format!("no answer for {age}: {failure}"),
            (None, true) => format!("no answer for {age}: the reader has not answered yet"),
            (None, false) => return Vec::new(),
        };
        wrapped(&[(reason, self.look.style(State::Warning).add_modifier(Modifier::REVERSED))], columns, n_lines)
    }

    /// Returns the sentence, and below it since when, the advice and the rest.
    fn verdict(&self, picture: &Picture, columns: usize, n_lines: usize, now: Instant) -> Vec<Line<'static>> {
        if self.is_old(now) {
            let since = words::clock(picture.fleet.until, self.present(picture, now));
            let title = format!("Nothing is known since {since}");
            let below = [("below is how it was".to_owned(), QUIET)];
            return self.said(State::Unknown, &title, wrapped(&below, columns - 2, n_lines), columns);
        }
        let said = sentence::of_fleet(&picture.fleet, &picture.incidents);
        let present = self.present(picture, now);
        let since = said.since.map_or_else(String::new, |since| {
            let lasting = words::duration(present.seconds_since(since));
            format!("Since {}, for {lasting}.", words::clock(since, present))
        });
        let advice = said.advice.map_or_else(String::new, |advice| {
            format!("{}.", words::name(advice.strip_suffix('.').unwrap_or(&advice)))
        });
        let below = [(since, QUIET), (advice, STRONG), (said.rest, QUIET)];
        self.said(said.state, &said.title, wrapped(&below, columns - 2, n_lines), columns)
    }

    fn said(&self, state: State, title: &str, below: Vec<Line<'static>>, columns: usize) -> Vec<Line<'static>> {
        let indent = Span::raw("  ");
        let titles = wrapped(&[(title.to_owned(), STRONG)], columns - 2, MAX_LINES);
        let indented = |(index, line): (usize, Line<'static>)| {
            let first = if index == 0 {
                Span::styled(format!("{} ", Look::shape(state, false)), self.look.style(state))
            } else {
                indent.clone()
            };
            Line::from_iter(std::iter::once(first).chain(line.spans))
        };
        titles.into_iter().chain(below).enumerate().map(indented).collect()
    }

    /// Returns the number of devices in each state, in the longest words that fit.
    fn counts(&self, fleet: &Fleet, columns: usize) -> Line<'static> {
        let present: Vec<(State, String)> = STATES
            .into_iter()
            .map(|state| (state, fleet.count(state)))
            .filter(|(state, n)| *n > 0 || *state == State::Ok)
            .map(|(state, n)| (state, words::whole(n as u64)))
            .collect();
        let worded = |word: fn(State) -> &'static str| -> Vec<(State, String)> {
            present.iter().map(|(state, n)| (*state, format!("{n} {}", word(*state)).trim_end().to_owned())).collect()
        };
        let length = |parts: &Vec<(State, String)>| parts.iter().map(|(_, text)| width(text) + 4).sum::<usize>();
        let forms = [worded(meaning), worded(word), worded(|_| "")];
        let fitting = forms.iter().find(|parts| length(parts) <= columns + 2).unwrap_or(&forms[2]);
        let spans = fitting.iter().flat_map(|(state, text)| {
            let shape = Span::styled(format!("{} ", Look::shape(*state, false)), self.look.style(*state));
            [shape, Span::raw(format!("{text}  "))]
        });
        Line::from_iter(spans)
    }

    fn footer(&self, columns: usize) -> Line<'static> {
        let every = format!("every {}", humantime::format_duration(self.interval));
        apart(vec![Span::styled("q quits", QUIET)], every, QUIET, columns)
    }
}

/// Words of the shapes.
fn meaning(state: State) -> &'static str {
    match state {
        State::Critical => "act now",
        State::Warning => "worth a look",
        State::Silent => "overdue: unknown",
        State::Unknown => "not understood",
        State::Asleep => "spun down",
        State::Ok => "as expected",
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Critical => "critical",
        State::Warning => "warning",
        State::Silent => "silent",
        State::Unknown => "unknown",
        State::Asleep => "asleep",
        State::Ok => "ok",
    }
}

/// Puts a text at the right end of a line, as far as the rest leaves room.
fn apart(mut left: Vec<Span<'static>>, right: String, style: Style, columns: usize) -> Line<'static> {
    let used: usize = left.iter().map(Span::width).sum();
    let right = cut(&right, columns.saturating_sub(used + 2));
    left.push(Span::raw(" ".repeat(columns.saturating_sub(used + width(&right)))));
    left.push(Span::styled(right, style));
    Line::from(left)
}
