//! Shapes and colours. A state is told by its shape before its colour, and a terminal without Unicode gets letters.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

use super::fleet::State;

/// Abilities of the terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) has_unicode: bool,
    pub(super) has_colour: bool,
}

/// Signs with their stand-ins in ASCII.
const STAND_INS: [(char, char); 18] = [
    ('◆', '#'),
    ('◇', '%'),
    ('▲', '^'),
    ('△', '~'),
    ('◌', 'o'),
    ('◍', '?'),
    ('▬', '='),
    ('•', '.'),
    ('→', '>'),
    ('…', '~'),
    ('·', '-'),
    ('─', '-'),
    ('█', '#'),
    ('░', '.'),
    ('°', 'o'),
    ('–', '-'),
    ('\u{2009}', ' '),
    ('\u{a0}', ' '),
];

impl Look {
    /// Returns the shape of a state, hollow if somebody is on it.
    pub(super) fn shape(state: State, is_acknowledged: bool) -> &'static str {
        match (state, is_acknowledged) {
            (State::Critical, false) => "◆",
            (State::Critical, true) => "◇",
            (State::Warning, false) => "▲",
            (State::Warning, true) => "△",
            (State::Silent, _) => "◌",
            (State::Unknown, _) => "◍",
            (State::Asleep, _) => "▬",
            (State::Ok, _) => "•",
        }
    }

    /// Returns the style of a state's shape.
    pub(super) fn style(self, state: State) -> Style {
        let style = match state {
            State::Critical | State::Warning => Style::new().add_modifier(Modifier::BOLD),
            State::Silent | State::Unknown | State::Asleep | State::Ok => Style::new(),
        };
        match state {
            _ if !self.has_colour => style,
            State::Critical => style.fg(Color::Red),
            State::Warning => style.fg(Color::Yellow),
            State::Ok => style.fg(Color::Cyan),
            State::Silent | State::Unknown | State::Asleep => style,
        }
    }

    /// Returns the style of what is measured: bars.
    pub(super) fn data(self) -> Style {
        if self.has_colour { Style::new().fg(Color::Blue) } else { Style::new() }
    }

    /// Replaces what the terminal cannot show.
    pub(super) fn apply(self, buffer: &mut Buffer) {
        if self.has_unicode {
            return;
        }
        for cell in &mut buffer.content {
            if !cell.symbol().is_ascii() {
                let sign = cell.symbol().chars().next().unwrap_or(' ');
                let found = STAND_INS.iter().find(|(known, _)| *known == sign);
                cell.set_char(found.map_or('?', |(_, plain)| *plain));
            }
        }
    }
}

/// Style of what is beside the point, or old.
pub(super) const QUIET: Style = Style::new().add_modifier(Modifier::DIM);
/// Style of titles.
pub(super) const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
