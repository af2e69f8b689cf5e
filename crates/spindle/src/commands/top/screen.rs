//! The terminal: taken over for the view, and given back as it was, whatever ends the view.

use std::io::{Stdout, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::backend::CrosstermBackend;
use ratatui::{Frame, Terminal};

/// The terminal is ours. Giving it back twice would move the cursor over what was printed in between.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes over the terminal: another screen, no cursor, no echo. A panic gives it back before it prints its message.
    pub(super) fn take() -> Result<Self> {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        let terminal = Terminal::new(CrosstermBackend::new(stdout())).context("cannot draw on the terminal")?;
        let screen = Self { terminal };
        IS_TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode().context("cannot read keys from the terminal")?;
        execute!(stdout(), EnterAlternateScreen, Hide).context("cannot draw on the terminal")?;
        Ok(screen)
    }

    /// Draws a frame.
    ///
    /// # Errors
    /// If the terminal is gone, or a panic elsewhere has given it back.
    pub(super) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> Result<()> {
        ensure!(IS_TAKEN.load(Ordering::SeqCst), "a part of the program crashed");
        self.terminal.draw(render).map(drop).context("cannot draw on the terminal")
    }

    /// Draws every cell the next time: something else may have written to the terminal.
    pub(super) fn redraw(&mut self) -> Result<()> {
        self.terminal.clear().context("cannot draw on the terminal")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back. Errors are of no use: it may be gone.
fn give_back() {
    if IS_TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}
