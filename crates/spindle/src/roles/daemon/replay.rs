//! Recordings as sources that end. They wait for room in the buffer, so none of their data is ever dropped.

use std::time::Duration;

use anyhow::{Context, Result};
use spindle_core::Timestamp;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::publish_stage::PublishStage;
use crate::config::Pace;
use crate::metrics::DAEMON_UNREADABLE;
use crate::sources::replay::{BadRecord, Replay};

/// Number of bad records that are logged one by one; the others are only counted.
const MAX_LOGGED: u64 = 10;

/// Replays a recording to its end, or until `stop`.
pub(super) async fn run(mut recording: Replay, pace: Pace, stage: PublishStage, stop: CancellationToken) -> Result<()> {
    let started = Instant::now();
    let mut first: Option<Timestamp> = None;
    let (mut n_metrics, mut n_events, mut n_bad) = (0, 0, 0);
    loop {
        let (returned, next) = tokio::task::spawn_blocking(move || {
            let next = recording.next_batch();
            (recording, next)
        })
        .await
        .context("reading the recording panicked")?;
        recording = returned;
        let (recorded, batch) = match next {
            None => break,
            Some(Ok(next)) => next,
            Some(Err(bad)) => {
                n_bad += 1;
                note_bad(&bad, n_bad);
                continue;
            }
        };
        let first = *first.get_or_insert(recorded);
        let due = pace.due(first, recorded).unwrap_or(Duration::ZERO).saturating_sub(started.elapsed());
        n_metrics += batch.metrics.len();
        n_events += batch.events.len();
        let delivery = async {
            sleep(due).await;
            stage.deliver(&batch).await;
        };
        tokio::select! { () = stop.cancelled() => return Ok(()), () = delivery => {} }
    }
    info!(n_metrics, n_events, n_bad, seconds = started.elapsed().as_secs_f32(), "recording replayed to its end");
    Ok(())
}

/// Counts a bad record, and logs the first ones.
fn note_bad(bad: &BadRecord, n_bad: u64) {
    DAEMON_UNREADABLE.with_label_values(&["replay"]).inc();
    if n_bad <= MAX_LOGGED {
        warn!(%bad, "record left out");
    }
    if n_bad == MAX_LOGGED {
        warn!("further bad records are only counted");
    }
}
