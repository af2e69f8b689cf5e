//! `spindle top`: the fleet in the terminal, live. It asks the reader and NATS, as any client does, and changes nothing.

mod answers;
mod attention;
mod fleet;
mod look;
mod pipeline;
mod poll;
mod screen;
mod sentence;
#[cfg(test)]
mod test_data;
mod text;
mod view;
mod words;

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures::StreamExt;
use spindle_bus::Bus;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::config::{self, Config};
use crate::data_dir::run_file;
use crate::outcome::Outcome;
use crate::output;
use crate::supervisor::Signals;
use look::Look;
use poll::News;
use screen::Screen;
use view::View;

/// Name of the connection. Users that may run `spindle query` receive their answers under this name.
const CONNECTION: &str = "spindle-query";
/// Ages count on between two answers.
const REDRAW: Duration = Duration::from_secs(1);
/// Answers that wait for the screen; whoever asks waits when it is full.
const NEWS: usize = 4;

/// Shows the fleet until a key or a signal ends it.
pub(crate) async fn run(config: &Config, interval: Duration) -> Result<Outcome> {
    ensure!(
        stdout().is_terminal(),
        "`spindle top` needs a terminal on standard output: use `spindle query fleet_health` or `spindle query incidents` in scripts"
    );
    let settings = run_file::nats_settings(config)?;
    let bus =
        Bus::connect_with_notice(&settings, CONNECTION, output::message).await.context("is the system running?")?;
    let mut signals = Signals::new()?;
    let look = Look { has_unicode: config::is_utf8(), has_colour: !config::is_colour_unwanted() };
    let view = View::new(interval, look, Instant::now());
    let (sender, news) = channel(NEWS);
    let mut asking = JoinSet::new();
    asking.spawn(poll::pictures(bus.clone(), config.reader.subject.clone(), interval, sender.clone()));
    asking.spawn(poll::pipelines(bus, interval, sender));
    let shown = show(view, news, &mut signals).await;
    asking.shutdown().await;
    shown.map(|()| Outcome::Good)
}

async fn show(mut view: View, mut news: Receiver<News>, signals: &mut Signals) -> Result<()> {
    let mut screen = Screen::take()?;
    let mut keys = EventStream::new();
    let mut ticker = interval(REDRAW);
    loop {
        screen.draw(|frame| view.render(frame, Instant::now()))?;
        #[cfg(debug_assertions)]
        if config::planted("SPINDLE_TEST_PANIC_IN_TOP").is_some() {
            panic!("planted");
        }
        tokio::select! {
            () = signals.next() => return Ok(()),
            event = keys.next() => match event {
                Some(Ok(Event::Key(key))) if ends(key) => return Ok(()),
                Some(Ok(Event::Key(key))) if key.code == KeyCode::Char('l') && key.modifiers == KeyModifiers::CONTROL => screen.redraw()?,
                Some(event) => drop(event.context("cannot read keys from the terminal")?),
                None => return Ok(()),
            },
            Some(news) = news.recv() => view.take(news),
            _ = ticker.tick() => {}
        }
    }
}

fn ends(key: KeyEvent) -> bool {
    let is_quit = matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc);
    let is_interrupt = matches!(key.code, KeyCode::Char('c' | 'd')) && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release && (is_quit || is_interrupt)
}
