//! The detector: follows both streams with consumers of its own, lets `core::judge` judge their messages in the order in
//! which NATS took them, and publishes the events that it makes.
//!
//! The state is saved with the positions that it covers, after the events made until then are acknowledged; only then
//! the messages are. So a crash repeats a part of the streams, makes the same events under the same ids, and loses none.
//!
//! - `merge`: the order of the messages.
//! - `judging`: payloads to the judge.
//! - `state_file`: saves and restores.
//! - `outlet`: events on their way to NATS.
//! - `intake`: the consumers, and another detector on them.

mod intake;
mod judging;
mod merge;
mod outlet;
mod readiness;
mod state_file;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use spindle_bus::Bus;
use spindle_core::Timestamp;
use spindle_core::judge::FleetJudge;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock;
use crate::config::DetectorConfig;
use crate::metrics::{
    DETECTOR_LAG, DETECTOR_LEFT_OUT, DETECTOR_RESTORE_SECONDS, DETECTOR_SAVED, DETECTOR_SERIES, DETECTOR_STATE_BYTES,
    advance_to,
};
pub(crate) use intake::CONSUMERS;
use intake::{Intake, Marks};
pub(crate) use judging::FOLLOWED;
use outlet::Outlet;
pub(crate) use readiness::DetectorReadiness;
use readiness::Hindrance;

/// Name of the state file in the data directory.
const STATE_FILE: &str = "detector.state";
/// Pause while nothing comes.
const IDLE: Duration = Duration::from_millis(200);
/// Messages judged since the last save from which it is due early: a restart must not repeat more, and NATS remembers
/// each one that is not acknowledged.
const MAX_UNSAVED: u64 = 100_000;
/// Share of the interval that passes between two early saves.
const EARLY_SHARE: u32 = 10;
/// Pause after a failed save.
const SAVE_RETRY: Duration = Duration::from_secs(30);
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Time that a message may need to arrive, by which the clock is behind.
const CLOCK_GRACE: Duration = Duration::from_secs(2);

/// What the detector works with.
pub(crate) struct Parts {
    pub(crate) bus: Bus,
    pub(crate) config: DetectorConfig,
    pub(crate) data_dir: PathBuf,
    pub(crate) readiness: DetectorReadiness,
    /// Limit for the last events and the state.
    pub(crate) shutdown_timeout: Duration,
}

/// Judges until `stop`, and saves the state.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) -> Result<()> {
    let Parts { bus, config, data_dir, readiness, shutdown_timeout } = parts;
    let (path, started) = (data_dir.join(STATE_FILE), Instant::now());
    let restoring = spawn_blocking({
        let path = path.clone();
        move || state_file::read(&path)
    });
    let restored = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        restored = restoring => restored.context("restoring the state panicked")??,
    };
    DETECTOR_RESTORE_SECONDS.set(started.elapsed().as_secs_f64());
    let is_new = restored.is_none();
    let (mut judge, positions) = restored.unwrap_or_default();
    let nats_clock = look_at_clock(&bus).await;
    if let Some((now, _)) = nats_clock.filter(|_| is_new) {
        // What the streams hold by now is no news.
        judge.stay_quiet_until(now);
    }
    let publishing = bus.another_for_publishing("spindle-detector").await?;
    let mut detector = Detector {
        intake: Intake::new(&bus, positions, readiness.clone()),
        outlet: Outlet::new(publishing, readiness.clone()),
        judge: Some(judge),
        is_new,
        n_unsaved: 0,
        save_at: (Instant::now(), Instant::now() + config.save_interval),
        report_at: Instant::now(),
        nats_clock,
        bus,
        config,
        path,
        readiness,
    };
    detector.readiness.set_running(true);
    let (n_series, restore_s) =
        (detector.judge.as_ref().map_or(0, FleetJudge::n_series), started.elapsed().as_secs_f32());
    info!(n_series, restore_s, "detector started");
    let followed = detector.follow(&stop).await;
    detector.readiness.set_running(false);
    followed?;
    detector.finish(shutdown_timeout).await
}

struct Detector {
    intake: Intake,
    outlet: Outlet,
    /// `None` while another thread has it.
    judge: Option<FleetJudge>,
    /// No state was ever saved: the first one keeps the positions from which everything was judged.
    is_new: bool,
    /// Messages judged since the last save.
    n_unsaved: u64,
    /// Times from which the next save is possible, and due.
    save_at: (Instant, Instant),
    report_at: Instant,
    /// Time of NATS at an instant. Our clock says nothing: it may be wrong, or be set.
    nats_clock: Option<(Timestamp, Instant)>,
    bus: Bus,
    config: DetectorConfig,
    path: PathBuf,
    readiness: DetectorReadiness,
}

impl Detector {
    /// Judges until `stop`, which ends no save and no judging.
    async fn follow(&mut self, stop: &CancellationToken) -> Result<()> {
        while !stop.is_cancelled() {
            self.outlet.report();
            // Nothing more is judged while events wait: they are what memory must hold.
            if !self.outlet.is_flushed() {
                tokio::select! { () = stop.cancelled() => {}, () = self.outlet.flush() => {}, () = sleep(IDLE) => {} }
                continue;
            }
            if self.is_save_due() {
                if self.outlet.is_settled() {
                    self.save().await?;
                } else {
                    tokio::select! { () = stop.cancelled() => {}, () = self.outlet.settled() => {}, () = sleep(IDLE) => {} }
                    continue;
                }
            }
            let caught_up = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                caught_up = self.intake.fetch() => caught_up,
            };
            tokio::select! { () = stop.cancelled() => return Ok(()), () = self.report() => {} }
            // Before the time of NATS is known, nobody knows what is news.
            let n_messages = if self.nats_clock.is_some() { self.judge(caught_up).await? } else { 0 };
            if n_messages == 0 {
                tokio::select! { () = stop.cancelled() => {}, () = sleep(IDLE) => {} }
            }
        }
        Ok(())
    }

    /// Judges the messages whose order is known, and the passing of time up to `caught_up`, at which both streams were at
    /// their ends. On a thread of its own: a batch may take long.
    async fn judge(&mut self, caught_up: Option<Instant>) -> Result<usize> {
        let messages: Vec<_> = std::iter::from_fn(|| self.intake.next()).collect();
        let time = |at: Option<Instant>| Some(time_at(at?, self.nats_clock?).minus(CLOCK_GRACE));
        let is_past = messages.iter().any(|message| message.is_past);
        let (gap_until, now) = (time(self.intake.gap_until()), time(caught_up));
        let mut judge = self.judge.take().context("the judge is gone")?;
        let judged = spawn_blocking(move || {
            let mut marks = Marks::default();
            let n_messages = messages.len();
            if let Some(until) = gap_until {
                judge.gap(until);
            }
            for message in messages {
                if let Some(until) = message.gap_until {
                    judge.gap(until);
                }
                if message.is_past {
                    judge.begin_past(message.published);
                }
                judging::take(&mut judge, message.stream, message.published, &message.payload);
                marks[message.stream] = Some(message.mark);
            }
            if let Some(now) = now {
                judge.advance(now);
            }
            let made = judge.take();
            (judge, made, marks, n_messages)
        });
        let (judge, made, marks, n_messages) = judged.await.context("judging panicked")?;
        DETECTOR_SERIES.set(judge.n_series() as i64);
        advance_to(&DETECTOR_LEFT_OUT, judge.n_left_out());
        self.judge = Some(judge);
        self.intake.judged(marks);
        self.n_unsaved += n_messages as u64;
        self.outlet.add(&made, is_past);
        Ok(n_messages)
    }

    fn is_save_due(&self) -> bool {
        let (possible, due) = self.save_at;
        let now = Instant::now();
        let is_early = self.n_unsaved >= MAX_UNSAVED || self.is_outdated();
        self.is_unsaved() && (now >= due || is_early && now >= possible)
    }

    /// Returns `true` if a saved state would differ.
    fn is_unsaved(&self) -> bool {
        self.n_unsaved > 0 || self.is_outdated()
    }

    /// Returns `true` if there is no state, or one that covers other messages than the streams hold.
    fn is_outdated(&self) -> bool {
        self.intake.is_outdated() || self.is_new && self.nats_clock.is_some() && self.intake.is_placed()
    }

    /// Saves the state, then acknowledges the messages that it covers. All events made are acknowledged by now.
    async fn save(&mut self) -> Result<()> {
        let (path, judge) = (self.path.clone(), self.judge.take().context("the judge is gone")?);
        let positions = self.intake.positions();
        let written = spawn_blocking(move || {
            let written = state_file::write(&path, &judge, &positions);
            (judge, written)
        });
        let (judge, written) = written.await.context("saving the state panicked")?;
        self.judge = Some(judge);
        let (now, interval) = (Instant::now(), self.config.save_interval);
        match written {
            Ok(n_bytes) => {
                self.readiness.set(Hindrance::Save, None);
                DETECTOR_SAVED.set(clock::now().as_ns() as f64 / 1e9);
                DETECTOR_STATE_BYTES.set(i64::try_from(n_bytes).unwrap_or(i64::MAX));
                (self.n_unsaved, self.is_new) = (0, false);
                self.save_at = (now + interval / EARLY_SHARE, now + interval);
                self.intake.acknowledge().await;
            }
            Err(error) => {
                let error = format!("{}: {error}", self.path.display());
                warn!(error, "state of the detector not saved, retrying");
                self.readiness.set(Hindrance::Save, Some(&error));
                self.save_at = (now + SAVE_RETRY, now + SAVE_RETRY);
            }
        }
        Ok(())
    }

    /// Updates the lag, and the time of NATS.
    async fn report(&mut self) {
        if self.nats_clock.is_some() && Instant::now() < self.report_at {
            return;
        }
        self.report_at = Instant::now() + REPORT_INTERVAL;
        for (stream, lag) in FOLLOWED.iter().zip(self.intake.lag().await) {
            if let Some(lag) = lag {
                DETECTOR_LAG.with_label_values(&[stream]).set(i64::try_from(lag).unwrap_or(i64::MAX));
            }
        }
        if let Some((now, at)) = look_at_clock(&self.bus).await {
            let is_first = self.nats_clock.replace((now, at)).is_none();
            if let Some(judge) = self.judge.as_mut().filter(|_| is_first && self.is_new) {
                judge.stay_quiet_until(now);
            }
        }
    }

    /// Publishes the last events and saves the state. If that takes too long, the next start repeats what the last saved
    /// state does not cover.
    async fn finish(mut self, limit: Duration) -> Result<()> {
        let settling = async {
            self.outlet.flush().await;
            self.outlet.settled().await;
        };
        if timeout(limit / 2, settling).await.is_err() {
            warn!("events of the detector not taken in time, state not saved; the next start makes them again");
        } else if self.is_unsaved() {
            self.save().await?;
        }
        self.outlet.close().await;
        self.bus.close().await;
        Ok(())
    }
}

/// Returns the time of NATS and the instant at which it came; `None` if NATS does not answer, or has no stream yet.
async fn look_at_clock(bus: &Bus) -> Option<(Timestamp, Instant)> {
    let time = bus.server_time().await.ok().flatten()?;
    Some((time, Instant::now()))
}

/// Returns the time of NATS at an instant.
fn time_at(instant: Instant, (time, at): (Timestamp, Instant)) -> Timestamp {
    time.plus(instant.saturating_duration_since(at)).minus(at.saturating_duration_since(instant))
}
