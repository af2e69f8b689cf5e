//! Watch over the clocks: this machine's beside those of NATS and of the store. While they disagree, nothing is given up
//! or removed for its age unless it is too old by all of them. Never decides which clock is right.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use spindle_bus::Bus;
use spindle_core::Timestamp;
use spindle_store::{Store, WriteTime};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::readiness::{Problem, Readiness};
use crate::clock;
use crate::logging::chain;
use crate::metrics::CLOCK_OFFSET;

const INTERVAL: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// Owner of the problem, beside the streams of the others.
const ALL_STREAMS: &str = "all";

/// Clocks that the writer knows. A clone is a handle to the same.
#[derive(Clone)]
pub(super) struct Clocks {
    store: Store,
    /// Last time of NATS, with the instant at which it was right. From then on the monotonic clock counts, so that a
    /// step of this machine's clock is noticed at once.
    nats: Arc<Mutex<Option<(Timestamp, Instant)>>>,
}

impl Clocks {
    /// Asks NATS for its time until it answers, so that the first write is judged by it.
    pub(super) async fn new(store: Store, bus: &Bus) -> Self {
        let clocks = Self { store, nats: Arc::default() };
        while !clocks.ask(bus).await {
            sleep(FIRST_RETRY).await;
        }
        clocks
    }

    /// Returns the time of a write that begins now.
    pub(super) fn moment(&self) -> WriteTime {
        WriteTime::of(clock::now(), self.others().into_iter().map(|(_, time)| time))
    }

    fn others(&self) -> Vec<(&'static str, Timestamp)> {
        let nats = *self.nats.lock().unwrap_or_else(PoisonError::into_inner);
        let nats = nats.map(|(time, at)| ("NATS", time.plus(at.elapsed())));
        nats.into_iter().chain(self.store.server_clock().map(|time| ("store", time))).collect()
    }

    /// Returns `false` if NATS does not answer; keeps its last time then.
    async fn ask(&self, bus: &Bus) -> bool {
        let asked = Instant::now();
        match bus.server_time().await {
            Ok(Some(time)) => {
                // The answer was under way for half of the time, as far as is known.
                let at = asked + asked.elapsed() / 2;
                *self.nats.lock().unwrap_or_else(PoisonError::into_inner) = Some((time, at));
            }
            Ok(None) => debug!("NATS reports no time"),
            Err(error) => {
                let may_answer = error.is_transient();
                debug!(error = chain(error), "time of NATS unknown");
                return !may_answer;
            }
        }
        true
    }

    fn report(&self, readiness: &Readiness) {
        let (own, others) = (clock::now(), self.others());
        for (name, time) in &others {
            CLOCK_OFFSET.with_label_values(&[&name.to_lowercase()]).set(own.seconds_since(*time));
        }
        let Some(problem) = clock::disagreement(own, &others) else {
            if readiness.clear(ALL_STREAMS, Problem::Clocks) {
                info!("clocks agree again");
            }
            return;
        };
        let problem = format!("{problem}; nothing is judged by its age until they agree: {}", clock::REMEDY);
        if readiness.report(ALL_STREAMS, Problem::Clocks, &problem) {
            error!(error = problem, "clocks disagree");
        }
    }
}

/// Compares the clocks until `stop`.
pub(super) async fn run(clocks: Clocks, bus: Bus, readiness: Readiness, stop: CancellationToken) {
    let mut ticker = interval(INTERVAL);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! { () = stop.cancelled() => return, _ = ticker.tick() => {} }
        // NATS may hang: a shutdown does not wait for it.
        tokio::select! { () = stop.cancelled() => return, _ = clocks.ask(&bus) => {} }
        clocks.report(&readiness);
    }
}
