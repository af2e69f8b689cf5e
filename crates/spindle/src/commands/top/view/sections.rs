//! Sections below the verdict: which of them a screen has room for, and how much each gets.

use ratatui::text::{Line, Span};
use tokio::time::Instant;

use super::super::answers::Picture;
use super::super::attention;
use super::super::look::{QUIET, STRONG};
use super::super::text::wrapped;
use super::super::words;
use super::lists::{self, FULL_ROW, SHORT_ROW};
use super::{MAX_LINES, View};

/// Lines from which the streams have room.
const PIPELINE_FROM: usize = 11;
/// Lines of one incident: heading, row, and the number of the others.
const MIN_NEEDY: usize = 2 + SHORT_ROW;
/// Lines from which events have room beside incidents.
const EVENTS_FROM: usize = MIN_NEEDY + 2;
/// Sections, each with an empty line before it.
const N_SECTIONS: usize = 3;
/// Events that incidents leave room for.
const MIN_EVENTS: usize = 3;

impl View {
    /// Returns at most `room` lines. The sections stand apart if that costs no row.
    pub(super) fn sections(&self, columns: usize, room: usize, now: Instant) -> Vec<Line<'static>> {
        let streams = self.streams(columns, now);
        let gap = usize::from(N_SECTIONS + streams.len() + self.n_wanted() <= room);
        let streams = if room >= PIPELINE_FROM { streams } else { Vec::new() };
        let left = room - if streams.is_empty() { 0 } else { streams.len() + gap };
        let mut lines = Vec::new();
        let mut section = |found: Vec<Line<'static>>| {
            if !found.is_empty() {
                lines.extend(std::iter::repeat_n(Line::default(), gap).chain(found));
            }
        };
        if let Some(picture) = &self.picture {
            let n_events = picture.events.len().clamp(1, MIN_EVENTS);
            let of_events = if left >= EVENTS_FROM { (1 + n_events).min(left - MIN_NEEDY) } else { 0 };
            let needy = self.attention(picture, columns, left.saturating_sub(of_events + 2 * gap), now);
            let of_events = left.saturating_sub(needy.len() + 2 * gap);
            section(self.aged(needy, now));
            section(streams);
            if of_events > 1 {
                section(self.aged(self.events(picture, columns, of_events, now), now));
            }
        } else {
            section(streams);
        }
        lines.truncate(room);
        lines
    }

    /// Returns the lines that the picture would like to have.
    fn n_wanted(&self) -> usize {
        let wanted = |picture: &Picture| {
            let n_rows = attention::rows(&picture.fleet, &picture.incidents).len();
            2 + SHORT_ROW * n_rows + picture.events.len().min(MIN_EVENTS)
        };
        self.picture.as_deref().map_or(0, wanted)
    }

    fn attention(&self, picture: &Picture, columns: usize, room: usize, now: Instant) -> Vec<Line<'static>> {
        let rows = attention::rows(&picture.fleet, &picture.incidents);
        let mut lines = match rows.len() {
            0 => vec![Line::styled("Nothing needs attention", STRONG)],
            1 => vec![Line::styled("Needs attention", STRONG)],
            n => vec![head("Needs attention", &format!("{}, worst first", words::whole(n as u64)))],
        };
        let n_lines = if FULL_ROW * rows.len() < room { FULL_ROW } else { SHORT_ROW };
        let is_cut = n_lines * rows.len() >= room;
        // The heading counts them too: one row is worth more than the number of the others.
        let n_shown = if is_cut { (room.saturating_sub(2) / n_lines).max(1) } else { rows.len() };
        let present = self.present(picture, now);
        let shown = rows.iter().take(n_shown);
        lines.extend(shown.flat_map(|row| lists::attention(row, self.look, columns, n_lines, present)));
        if is_cut {
            let n_more = rows.len().saturating_sub(n_shown) as u64;
            lines.push(Line::styled(format!("  {} more", words::whole(n_more)), QUIET));
        }
        lines.truncate(room);
        lines
    }

    fn streams(&self, columns: usize, now: Instant) -> Vec<Line<'static>> {
        let age = |asked| words::duration(now.duration_since(asked).as_secs_f64().floor());
        let title = |note: &str| head("Pipeline", note);
        match (&self.pipeline, &self.pipeline_failure) {
            (None, None) => vec![title(""), Line::styled("  asking NATS", QUIET)],
            (None, Some(failure)) => {
                let why = wrapped(&[(format!("not shown: {failure}"), QUIET)], columns, MAX_LINES);
                std::iter::once(title("")).chain(why).collect()
            }
            (Some(pipeline), failure) => {
                let is_old = failure.is_some() || self.is_older(pipeline.asked, now);
                let note = if is_old { format!("as it was {} ago", age(pipeline.asked)) } else { String::new() };
                let streams = pipeline.streams.iter().map(|stream| lists::stream(stream, self.look, columns));
                let streams = streams.map(|line| if is_old { line.patch_style(QUIET) } else { line });
                std::iter::once(title(&note)).chain(streams).collect()
            }
        }
    }

    fn events(&self, picture: &Picture, columns: usize, room: usize, now: Instant) -> Vec<Line<'static>> {
        let n_shown = picture.events.len().min(room - 1);
        if n_shown == 0 {
            return vec![Line::styled("No critical events in 24 h", STRONG)];
        }
        let rows = lists::events(&picture.events[..n_shown], self.look, columns, self.present(picture, now));
        std::iter::once(head("Critical events", "newest first")).chain(rows).collect()
    }
}

fn head(title: &'static str, note: &str) -> Line<'static> {
    Line::from(vec![Span::styled(title, STRONG), Span::styled(format!("  {note}"), QUIET)])
}
