//! The client: asks the reader on an interval and keeps a log of critical events that people and scripts
//! can follow. An event is logged once, over restarts too: the log itself is the memory. While the
//! reader is away it goes on asking, and then asks for all that became known in between.

mod log;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use spindle_bus::Bus;
use spindle_core::{Criticality, Timestamp};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock;
use crate::config;
use crate::output;
use log::{Line, Log};

/// What the client works with.
pub(crate) struct Parts {
    pub(crate) bus: Bus,
    pub(crate) subject: String,
    pub(crate) config: config::ClientConfig,
    pub(crate) log: PathBuf,
    /// What people look at.
    pub(crate) terminal: Box<dyn Write + Send>,
}

/// One row of `alerts_critical`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Alert {
    pub(super) time: Timestamp,
    pub(super) event_id: String,
    pub(super) source_device: String,
    pub(super) event_type: String,
    pub(super) criticality: u8,
    pub(super) event_message: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Reply {
    Success {
        data: Vec<Alert>,
        #[serde(default)]
        next: Option<Next>,
    },
    Error {
        message: String,
    },
}

#[derive(Deserialize)]
struct Next {
    offset: u64,
}

/// How far back the first question goes.
const FIRST_WINDOW: Duration = Duration::from_secs(15 * 60);
/// And how far back it goes at most, after a long absence.
const LONGEST_WINDOW: Duration = Duration::from_secs(30 * 24 * 3600);
/// Questions overlap by this much: clocks differ, and an event is logged only once anyway.
const OVERLAP: Duration = Duration::from_secs(120);
const REPLY_PATIENCE: Duration = Duration::from_secs(10);

struct Client {
    parts: Parts,
    log: Log,
    /// Everything that was known at this time has been logged.
    known_until: Timestamp,
}

/// Asks and logs until told to stop; with `once` a single time.
pub(crate) async fn run(parts: Parts, once: bool, stop: CancellationToken) -> Result<()> {
    let log = Log::open(&parts.log, parts.config.log_max_bytes, parts.config.log_max_files)
        .with_context(|| format!("cannot keep the log file {}: choose another with --log", parts.log.display()))?;
    let oldest = clock::now().minus(LONGEST_WINDOW);
    let known_until = log.newest().unwrap_or_else(|| clock::now().minus(FIRST_WINDOW)).max(oldest);
    info!(log = %parts.log.display(), "client logs critical events");
    let mut ticker = interval(parts.config.interval);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = Client { parts, log, known_until };
    if once {
        return client.ask_and_log().await;
    }
    let mut is_away = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticker.tick() => {}
        }
        let asked = tokio::select! { () = stop.cancelled() => return Ok(()), asked = client.ask_and_log() => asked };
        match &asked {
            Ok(()) if is_away => info!("reader answers again"),
            Err(fault) if !is_away => {
                warn!(error = format!("{fault:#}"), "no critical events could be logged, trying again")
            }
            Ok(()) | Err(_) => {}
        }
        is_away = asked.is_err();
    }
}

impl Client {
    async fn ask_and_log(&mut self) -> Result<()> {
        let asked_at = clock::now();
        let mut alerts = self.ask(asked_at).await?;
        alerts.retain(|alert| !self.log.has(alert));
        alerts.sort_by(|left, right| (left.time, &left.event_id).cmp(&(right.time, &right.event_id)));
        self.write(&alerts, asked_at).with_context(|| format!("cannot write {}", self.parts.log.display()))?;
        self.known_until = asked_at;
        self.log.note_asked(asked_at).context("cannot note how far the log goes")
    }

    async fn ask(&mut self, now: Timestamp) -> Result<Vec<Alert>> {
        let length = Duration::try_from_secs_f64(now.seconds_since(self.known_until)).unwrap_or_default() + OVERLAP;
        let minutes = length.as_secs().div_ceil(60).max(FIRST_WINDOW.as_secs() / 60);
        let criticality: Criticality = self.parts.config.min_criticality;
        let mut alerts = Vec::new();
        let mut offset = 0;
        loop {
            let params = serde_json::json!({ "since_minutes": minutes, "min_criticality": criticality, "offset": offset, "until": now });
            let question = serde_json::json!({ "query_type": "alerts_critical", "params": params });
            let answer =
                self.parts.bus.request(&self.parts.subject, question.to_string().into(), REPLY_PATIENCE).await?;
            match serde_json::from_slice(&answer).context("the reader's answer is not what was expected")? {
                Reply::Error { message } => bail!("the reader says: {message}"),
                Reply::Success { data, next } => {
                    alerts.extend(data);
                    let Some(next) = next else { return Ok(alerts) };
                    offset = next.offset;
                }
            }
        }
    }

    /// One line for each new event, then one for each device that had any.
    fn write(&mut self, alerts: &[Alert], now: Timestamp) -> Result<()> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for alert in alerts {
            // Pages overlap when events arrive while they are turned.
            if self.log.has(alert) {
                continue;
            }
            self.log.append(&Line::event(alert, now))?;
            self.log.remember(alert);
            *counts.entry(&alert.source_device).or_default() += 1;
            let words = alert.event_message.as_deref().unwrap_or_default();
            self.show(&format!(
                "{} CRITICAL {:>2} {} {}  {words}",
                alert.time, alert.criticality, alert.source_device, alert.event_type
            ));
        }
        for (source_device, critical_event_count) in counts {
            self.log.append(&Line::summary(source_device, critical_event_count, now))?;
            self.show(&format!("{now} SUMMARY  {source_device}: {critical_event_count} new critical event(s)"));
        }
        Ok(())
    }

    /// A closed terminal must not stop the log.
    fn show(&mut self, line: &str) {
        let _ = writeln!(self.parts.terminal, "{}", output::safe(line));
    }
}
