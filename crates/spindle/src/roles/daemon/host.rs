//! This host's disks and file systems as a live source. It runs on an interval and never waits for NATS.

use std::time::Duration;

use anyhow::{Context, Result};
use spindle_core::Batch;
use spindle_core::log_limit::LogLimit;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::publish_stage::PublishStage;
use crate::clock;
use crate::metrics::DAEMON_UNREADABLE;
use crate::sources::host::{Host, Problems, Roots};

/// Time to the second sample: rates need two, so the first ones appear soon.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// Duration after which a sample counts as hanging; a failing disk can block the kernel.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Minimum interval between log lines about problems; most of them are permanent.
const LOG_INTERVAL: Duration = Duration::from_secs(600);

/// Samples this host until `stop`.
pub(super) async fn run(hostname: String, every: Duration, stage: PublishStage, stop: CancellationToken) -> Result<()> {
    let mut host = Host::new(Roots::default(), &hostname);
    let mut problem_log = ProblemLog { n_counted: 0, limit: LogLimit::new(1, LOG_INTERVAL) };
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
        problem_log.note(host.problems());
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

/// Exports the number of problems, and logs them rarely.
struct ProblemLog {
    n_counted: u64,
    limit: LogLimit<Instant>,
}

impl ProblemLog {
    fn note(&mut self, problems: &Problems) {
        let n_new = problems.n_total() - self.n_counted;
        if n_new == 0 {
            return;
        }
        self.n_counted += n_new;
        DAEMON_UNREADABLE.with_label_values(&["host"]).inc_by(n_new);
        if self.limit.allow(Instant::now()).is_some() {
            for (kind, n_problems, newest) in problems.iter() {
                warn!(kind = kind.as_str(), n_problems, newest, "readings of this host left out");
            }
        }
    }
}
