//! The client: polls the reader and appends critical events to a log that people and scripts can follow. An event is
//! logged once, over restarts too: the log is the persistent state. While the reader is unavailable the client keeps
//! polling, and then queries everything received in between.

mod log;
mod reply;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use spindle_bus::Bus;
use spindle_core::{Criticality, Timestamp};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock;
use crate::config;
use crate::output;
use log::{Line, Log};
use reply::{Alert, AlertsReply};

/// Everything the client works with.
pub(crate) struct Parts {
    pub(crate) bus: Bus,
    pub(crate) subject: String,
    pub(crate) config: config::ClientConfig,
    pub(crate) log: PathBuf,
    /// Output for people.
    pub(crate) terminal: Box<dyn Write + Send>,
}

/// Window of the first query.
const FIRST_WINDOW: Duration = Duration::from_secs(15 * 60);
/// Maximum window of the first query after a long absence.
const MAX_WINDOW: Duration = Duration::from_secs(30 * 24 * 3600);
/// Overlap of consecutive queries: clocks differ, and an event is logged only once anyway.
const OVERLAP: Duration = Duration::from_secs(120);
/// Timeout for one reply of the reader.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before the first poll is repeated.
const START_PAUSE: Duration = Duration::from_secs(1);

/// Returns the length of the next query: all that may have been received since `logged_until`, within bounds.
fn window(logged_until: Timestamp, now: Timestamp) -> Duration {
    if is_from_the_future(logged_until, now) {
        return MAX_WINDOW;
    }
    let length = Duration::try_from_secs_f64(now.seconds_since(logged_until)).unwrap_or_default();
    (length + OVERLAP).clamp(FIRST_WINDOW, MAX_WINDOW)
}

/// Then it does not tell since when events are missing from the log. Small steps back of the clock do not count.
fn is_from_the_future(logged_until: Timestamp, now: Timestamp) -> bool {
    logged_until > now.plus(OVERLAP)
}

struct Client {
    parts: Parts,
    log: Log,
    /// Everything received before this time has been logged.
    logged_until: Timestamp,
    /// Nothing has been polled yet.
    is_starting: bool,
    /// The last poll failed.
    is_failing: bool,
}

/// Polls and logs until `stop`; with `once`, a single time.
pub(crate) async fn run(parts: Parts, once: bool, stop: CancellationToken) -> Result<()> {
    let log = Log::open(&parts.log, parts.config.log_max_bytes, parts.config.log_max_files)
        .with_context(|| format!("cannot keep the log file {}: choose another with --log", parts.log.display()))?;
    let now = clock::now();
    let logged_until = log.logged_until().unwrap_or_else(|| now.minus(FIRST_WINDOW));
    if is_from_the_future(logged_until, now) {
        warn!(%logged_until, %now, "the log ends in the future: a clock is or was wrong, querying all of the last 30 days");
    }
    info!(log = %parts.log.display(), "client started");
    let mut ticker = interval(parts.config.interval);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = Client { parts, log, logged_until, is_starting: true, is_failing: false };
    if once {
        return client.poll().await;
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = async { ticker.tick().await; client.poll_and_report().await } => {}
        }
    }
}

impl Client {
    /// Polls, and logs when polling starts or stops to fail.
    async fn poll_and_report(&mut self) {
        let mut polled = self.poll().await;
        if std::mem::take(&mut self.is_starting) && polled.is_err() {
            // The reader starts at the same time.
            sleep(START_PAUSE).await;
            polled = self.poll().await;
        }
        match &polled {
            Ok(()) if self.is_failing => info!("critical events are logged again"),
            Err(error) if !self.is_failing => {
                warn!(error = format!("{error:#}"), "critical events not logged, retrying")
            }
            Ok(()) | Err(_) => {}
        }
        self.is_failing = polled.is_err();
    }

    /// Queries the reader and logs new events.
    async fn poll(&mut self) -> Result<()> {
        let queried_at = clock::now();
        let mut alerts = self.query(queried_at).await?;
        alerts.retain(|alert| !self.log.has(alert));
        alerts.sort_by(|left, right| (left.time, &left.event_id).cmp(&(right.time, &right.event_id)));
        self.write(&alerts, queried_at).with_context(|| format!("cannot write {}", self.parts.log.display()))?;
        self.logged_until = queried_at;
        self.log.save_logged_until(queried_at).context("cannot save the end of the logged period")
    }

    /// Returns all critical events since the last poll, page by page.
    async fn query(&mut self, now: Timestamp) -> Result<Vec<Alert>> {
        let minutes = window(self.logged_until, now).as_secs().div_ceil(60);
        let criticality: Criticality = self.parts.config.min_criticality;
        let mut alerts = Vec::new();
        let mut offset = 0;
        loop {
            let params = serde_json::json!({ "since_minutes": minutes, "min_criticality": criticality, "offset": offset, "until": now });
            let query = serde_json::json!({ "query_type": "alerts_critical", "params": params });
            let reply = self.parts.bus.request(&self.parts.subject, query.to_string().into(), REPLY_TIMEOUT).await?;
            match serde_json::from_slice(&reply).context("unexpected reply of the reader")? {
                AlertsReply::Error { message } => bail!("the reader refused the query: {message}"),
                AlertsReply::Success { data, next } => {
                    alerts.extend(data);
                    let Some(next) = next else { return Ok(alerts) };
                    offset = next.offset;
                }
            }
        }
    }

    /// Writes one line per new event, then one per device with new events.
    fn write(&mut self, alerts: &[Alert], now: Timestamp) -> Result<()> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for alert in alerts {
            // Pages overlap if events arrive between their queries.
            if self.log.has(alert) {
                continue;
            }
            self.log.append(&Line::event(alert, now))?;
            self.log.mark_logged(alert);
            *counts.entry(&alert.source_device).or_default() += 1;
            let message = alert.event_message.as_deref().unwrap_or_default();
            self.print(&format!(
                "{} CRITICAL {:>2} {} {}  {message}",
                alert.time, alert.criticality, alert.source_device, alert.event_type
            ));
        }
        for (source_device, critical_event_count) in counts {
            self.log.append(&Line::summary(source_device, critical_event_count, now))?;
            self.print(&format!("{now} SUMMARY  {source_device}: {critical_event_count} new critical event(s)"));
        }
        Ok(())
    }

    /// Writes a line to the terminal; ignores errors, since a closed terminal must not stop the log.
    fn print(&mut self, line: &str) {
        let _ = self.parts.terminal.write_all(format!("{}\n", output::safe(line)).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_covers_the_absence_whatever_the_clock_was() {
        let now = Timestamp::from_seconds(1_750_000_000);
        let check = |seconds_ago: i64, expected: Duration| {
            let logged_until = Timestamp::from_seconds(1_750_000_000 - seconds_ago);
            assert_eq!(window(logged_until, now), expected, "{seconds_ago} s");
        };
        check(10, FIRST_WINDOW);
        check(3600, Duration::from_secs(3600) + OVERLAP);
        check(90 * 24 * 3600, MAX_WINDOW);
        check(1_750_000_000, MAX_WINDOW);
        // A small step back, and a clock that was years ahead when the log was written.
        check(-5, FIRST_WINDOW);
        check(-3600, MAX_WINDOW);
        check(-2_000_000_000, MAX_WINDOW);
    }
}
