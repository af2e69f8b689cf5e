//! This host's disks and file systems as a live source. It runs on an interval and never waits for NATS.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use spindle_core::Batch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::publish_stage::PublishStage;
use crate::clock;
use crate::metrics::DAEMON_UNREADABLE;
use crate::sources::host::{Host, Roots};

/// Time to the second sample: rates need two, so the first ones appear soon.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// Duration after which a sample counts as hanging; a failing disk can block the kernel.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Samples this host until `stop`. `register` is the file that keeps the places of its drives over restarts.
pub(super) async fn run(
    hostname: String,
    register: PathBuf,
    every: Duration,
    stage: PublishStage,
    stop: CancellationToken,
) -> Result<()> {
    let roots = Roots::default();
    let mut host = tokio::task::spawn_blocking({
        let hostname = hostname.clone();
        move || Host::new(roots, &hostname, Some(register))
    })
    .await?;
    // Without new numbers: the store passes over those that it has, and the audit must not miss them.
    stage.deliver(&Batch { events: host.unconfirmed_events(), metrics: Vec::new() }).await;
    let mut n_counted = 0;
    let (mut pause, mut is_first) = (FIRST_INTERVAL.min(every), true);
    loop {
        let (sampled, batch) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            sampled = sample(host) => sampled?,
        };
        host = sampled;
        if std::mem::take(&mut is_first) && host.is_bare() {
            warn!(hostname, "no disks or file systems found on this host; nothing to collect");
        }
        stage.offer(batch);
        n_counted = report_problems(&mut host, n_counted);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = sleep(pause) => pause = every,
        }
    }
}

/// Takes a sample on a blocking thread, and logs if that hangs.
async fn sample(mut host: Host) -> Result<(Host, Batch)> {
    let mut sampling = tokio::task::spawn_blocking(move || {
        let batch = host.sample(clock::now());
        (host, batch)
    });
    loop {
        match timeout(SAMPLE_TIMEOUT, &mut sampling).await {
            Ok(sampled) => return sampled.context("sampling this host panicked"),
            Err(_) => {
                warn!(timeout_s = SAMPLE_TIMEOUT.as_secs(), "sampling this host hangs, waiting; is a disk failing?")
            }
        }
    }
}

/// Exports the number of problems, and logs those that were not named within a day. Returns the number of problems.
fn report_problems(host: &mut Host, n_counted: u64) -> u64 {
    let n_total = host.problems().n_total();
    DAEMON_UNREADABLE.with_label_values(&["host"]).inc_by(n_total - n_counted);
    for (kind, reason) in host.take_log_lines() {
        if kind.is_notice() {
            info!(kind = kind.as_str(), reason, "left out on this host");
        } else {
            warn!(kind = kind.as_str(), reason, "readings of this host left out");
        }
    }
    n_total
}
