//! SMART data of this host's drives as a live source. It runs on an interval of its own and never waits for NATS.

use std::time::Duration;

use anyhow::Result;
use spindle_core::Batch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::publish_stage::PublishStage;
use crate::clock;
use crate::metrics::DAEMON_UNREADABLE;
use crate::sources::smart::{Smart, SmartOptions};

/// Reads the drives every `every` until `stop`.
pub(super) async fn run(
    options: SmartOptions,
    every: Duration,
    stage: PublishStage,
    stop: CancellationToken,
) -> Result<()> {
    let mut smart = tokio::task::spawn_blocking(move || Smart::new(options)).await?;
    // Without new numbers: the store passes over those that it has, and the audit must not miss them.
    stage.deliver(&Batch { events: smart.unconfirmed_events(), metrics: Vec::new() }).await;
    let mut n_counted = 0;
    loop {
        let batch = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            batch = smart.poll(clock::now()) => batch,
        };
        stage.offer(batch);
        n_counted = report_problems(&mut smart, n_counted);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = sleep(every) => {}
        }
    }
}

/// Exports the number of problems, and logs those that were not named within a day. Returns the number of problems.
fn report_problems(smart: &mut Smart, n_counted: u64) -> u64 {
    let n_total = smart.problems().n_total();
    DAEMON_UNREADABLE.with_label_values(&["smart"]).inc_by(n_total - n_counted);
    for (kind, reason) in smart.take_log_lines() {
        if kind.is_notice() {
            info!(kind = kind.as_str(), reason, "left out by the smart source");
        } else {
            warn!(kind = kind.as_str(), reason, "SMART data left out");
        }
    }
    n_total
}
