//! Sources that end: recordings. They can wait, so nothing of them is ever given up.

use std::time::Duration;

use anyhow::{Context, Result};
use spindle_core::Timestamp;
use spindle_core::wire::Batch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::publish_stage::PublishStage;
use crate::config::Pace;
use crate::metrics::DAEMON_UNREADABLE;
use crate::sources::replay::{BadRecord, Replay};

/// Bad records are named up to this many, then only counted.
const MAX_NAMED: u64 = 10;

/// Plays a recording to its end.
pub(super) async fn replay(
    mut recording: Replay,
    pace: Pace,
    stage: PublishStage,
    stop: CancellationToken,
) -> Result<()> {
    let started = Instant::now();
    let mut first: Option<Timestamp> = None;
    let (mut n_metrics, mut n_events, mut n_bad) = (0, 0, 0);
    loop {
        let (returned, next) = tokio::task::spawn_blocking(move || {
            let next = recording.next_batch();
            (recording, next)
        })
        .await
        .context("reading the recording crashed")?;
        recording = returned;
        let (recorded, batch) = match next {
            None => break,
            Some(Ok(next)) => next,
            Some(Err(bad)) => {
                n_bad += 1;
                say(&bad, n_bad);
                continue;
            }
        };
        let first = *first.get_or_insert(recorded);
        let due = pace.due(first, recorded).unwrap_or(Duration::ZERO).saturating_sub(started.elapsed());
        tokio::select! { () = stop.cancelled() => return Ok(()), () = sleep(due) => {} }
        n_metrics += batch.metrics.len();
        n_events += batch.events.len();
        if !deliver(&stage, &batch, &stop).await {
            return Ok(());
        }
    }
    info!(n_metrics, n_events, n_bad, seconds = started.elapsed().as_secs_f32(), "recording played to its end");
    Ok(())
}

/// Waits for room in the hold, unless told to stop.
async fn deliver(stage: &PublishStage, batch: &Batch, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = stage.deliver(batch) => true,
    }
}

fn say(bad: &BadRecord, n_bad: u64) {
    DAEMON_UNREADABLE.with_label_values(&["replay"]).inc();
    if n_bad <= MAX_NAMED {
        warn!(%bad, "record left out");
    }
    if n_bad == MAX_NAMED {
        warn!("further bad records are only counted");
    }
}
