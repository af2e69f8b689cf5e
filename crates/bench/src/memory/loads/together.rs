//! Every role in one process.

use anyhow::Result;

use super::answering::{fill, read_slowly};
use super::storing::{publish_values, stored};
use super::{Stage, until};

/// The daemon sends, the writer stores large messages, and slow clients read large answers, all at once.
pub(super) async fn run(stage: &Stage<'_>, n_clients: usize) -> Result<u64> {
    fill(stage).await?;
    let mut all =
        stage.start(&[("SPINDLE_SOURCES", "simulate"), ("SPINDLE_DEVICES", "2000"), ("SPINDLE_INTERVAL", "1s")])?;
    let (n_values, read) = tokio::join!(publish_values(stage), read_slowly(all.address(), n_clients));
    read?;
    let n_values = n_values? as f64;
    until("the values are stored", || stored(&all, "metric") >= n_values).await?;
    all.peak_bytes()
}
