//! The judge with what it needs around it: payloads become metrics and events, and time passes in whole ticks, so that
//! a replay advances at the same places as the first run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use spindle_bus::{EVENTS_STREAM, METRICS_STREAM};
use spindle_core::Timestamp;
use spindle_core::judge::FleetJudge;
use spindle_core::wire::{self, Event};
use tracing::error;

use super::merge::STREAMS;
use crate::log_limit::LogLimiter;
use crate::metrics::{DETECTOR_JUDGED, DETECTOR_UNREADABLE};

/// The streams, in the order in which equal times are judged: an event explains the metrics of its time.
pub(super) const FOLLOWED: [&str; STREAMS] = [EVENTS_STREAM, METRICS_STREAM];
/// Step of the time.
pub(super) const TICK: Duration = Duration::from_secs(10);
/// Most ticks made up for at once: a day.
const MAX_TICKS: i64 = 8_640;

static PANICS_LOGGED: LogLimiter = LogLimiter::new(5, Duration::from_secs(60));

/// The judge and its time.
#[derive(Debug, Default)]
pub(super) struct Judging {
    pub(super) judge: FleetJudge,
    /// Last tick.
    pub(super) ticked: Timestamp,
}

impl Judging {
    /// Judges the content of a message. What cannot be read is counted; the writer keeps it as a dead letter.
    pub(super) fn take(&mut self, stream: usize, published: Timestamp, payload: &[u8]) {
        self.tick_until(published);
        let judge = &mut self.judge;
        let judged = catch_unwind(AssertUnwindSafe(|| match FOLLOWED[stream] {
            EVENTS_STREAM => {
                let decoded = wire::decode_events(payload);
                decoded.items.iter().for_each(|event| judge.event(event, published));
                ("event", decoded.items.len(), decoded.rejected.len())
            }
            _ => {
                let decoded = wire::decode_metrics(payload);
                decoded.items.iter().for_each(|metric| judge.metric(metric, published));
                ("metric", decoded.items.len(), decoded.rejected.len())
            }
        }));
        let stream = FOLLOWED[stream];
        let n_unreadable = match judged {
            Ok((kind, n_items, n_rejected)) => {
                DETECTOR_JUDGED.with_label_values(&[kind]).inc_by(n_items as u64);
                n_rejected
            }
            Err(_) => {
                if let Some(n_suppressed) = PANICS_LOGGED.allow() {
                    error!(stream, n_suppressed, published = %published, "judging a message panicked, going on behind it");
                }
                1
            }
        };
        DETECTOR_UNREADABLE.with_label_values(&[stream]).inc_by(n_unreadable as u64);
    }

    /// Lets the time pass up to the last tick before `now`.
    pub(super) fn tick_until(&mut self, now: Timestamp) {
        let step = TICK.as_nanos() as i64;
        let last = now.as_ns().div_euclid(step) * step;
        let mut at = self.ticked.as_ns().max(last.saturating_sub(MAX_TICKS * step));
        while at < last {
            at += step;
            self.ticked = Timestamp::from_ns(at);
            self.judge.advance(self.ticked);
        }
    }

    /// Takes the events made so far.
    pub(super) fn made(&mut self) -> Vec<Event> {
        self.judge.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_in_whole_ticks_whoever_drives_it() {
        let at = |seconds: i64| Timestamp::from_seconds(1_800_000_000 + seconds);
        let mut judging = Judging::default();
        judging.tick_until(at(9));
        assert_eq!(judging.ticked, at(0));
        judging.take(1, at(25), b"no JSON");
        assert_eq!(judging.ticked, at(20));
        judging.tick_until(at(5));
        assert_eq!(judging.ticked, at(20));
    }
}
