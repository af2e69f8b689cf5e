//! Messages to the judge: payloads become metrics and events, and no message can take the role down.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use spindle_bus::{EVENTS_STREAM, METRICS_STREAM};
use spindle_core::Timestamp;
use spindle_core::judge::FleetJudge;
use spindle_core::wire;
use tracing::error;

use super::merge::STREAMS;
use crate::log_limit::LogLimiter;
use crate::metrics::{DETECTOR_JUDGED, DETECTOR_UNREADABLE};

/// The streams, in the order in which equal times are judged: an event explains the metrics of its time.
pub(crate) const FOLLOWED: [&str; STREAMS] = [EVENTS_STREAM, METRICS_STREAM];

static PANICS_LOGGED: LogLimiter = LogLimiter::new(5, Duration::from_secs(60));

/// Judges the content of a message. Content that cannot be read is counted; the writer keeps it as a dead letter.
pub(super) fn take(judge: &mut FleetJudge, stream: usize, published: Timestamp, payload: &[u8]) {
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
