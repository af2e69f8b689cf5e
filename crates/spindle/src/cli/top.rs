//! Arguments of `spindle top`.

use std::time::Duration;

use clap::Args;

use crate::config;

/// Below that the screen is a flicker and the reader has work.
const MIN_INTERVAL: Duration = Duration::from_millis(200);
/// Above that nobody would call it live.
const MAX_INTERVAL: Duration = Duration::from_secs(3600);

#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// Time between two questions
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    pub(super) interval: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    let sane = MIN_INTERVAL..=MAX_INTERVAL;
    let interval = config::parse_duration(text).filter(|interval| sane.contains(interval));
    interval.ok_or_else(|| "expected a duration such as 2s or 500ms, from 200ms to 1h".to_owned())
}
