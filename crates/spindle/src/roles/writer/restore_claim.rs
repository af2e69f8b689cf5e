//! Several writers share a consumer; one of them restores. Its claim is kept in the metadata of the consumer: the
//! incarnation of the store's server, the writer, and the next sequence to restore. A claim that makes no progress is
//! taken over where it stopped. Two writers that hold it at once only restore twice.

use std::time::Duration;

use spindle_bus::{Bus, BusError};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// Key of the claim in the consumer's metadata.
const CLAIM: &str = "spindle-restore-claim";
/// Key of the incarnation that the last complete restore wrote to.
const RESTORED_TO: &str = "spindle-restored-to";
/// Time without progress after which another writer takes over.
const STALE_AFTER: Duration = Duration::from_secs(15);
/// Of two writers that claim at once the second one wins, after this time.
const SETTLE: Duration = Duration::from_millis(500);

/// The claims on the restore of one stream.
pub(super) struct RestoreClaim {
    stream: &'static str,
    durable: &'static str,
    bus: Bus,
    writer: String,
    /// The other writer's claim, and the time at which it was first seen.
    seen: Mutex<Option<(String, Instant)>>,
}

impl RestoreClaim {
    pub(super) fn new(bus: Bus, stream: &'static str, durable: &'static str) -> Self {
        Self { stream, durable, bus, writer: Uuid::new_v4().simple().to_string(), seen: Mutex::default() }
    }

    /// Returns the incarnation that the last complete restore wrote to.
    pub(super) async fn restored_to(&self) -> Result<Option<String>, BusError> {
        self.bus.consumer_metadata(self.stream, self.durable, RESTORED_TO).await
    }

    pub(super) async fn set_restored_to(&self, incarnation: &str) -> Result<(), BusError> {
        self.bus.set_consumer_metadata(self.stream, self.durable, RESTORED_TO, incarnation).await
    }

    /// Claims the restore to an incarnation. Returns the sequence at which to begin, or `None` while another writer
    /// restores.
    pub(super) async fn take(&self, incarnation: &str) -> Result<Option<u64>, BusError> {
        let mut seen = self.seen.lock().await;
        let held = self.bus.consumer_metadata(self.stream, self.durable, CLAIM).await?;
        let mut next = 0;
        if let Some((writer, reached)) = held.as_deref().and_then(|claim| parse(claim, incarnation)) {
            next = reached;
            if writer != self.writer {
                let since = match seen.take() {
                    Some((claim, since)) if Some(&claim) == held.as_ref() => since,
                    _ => Instant::now(),
                };
                if since.elapsed() < STALE_AFTER {
                    *seen = held.map(|claim| (claim, since));
                    return Ok(None);
                }
            }
        }
        self.renew(incarnation, next).await?;
        sleep(SETTLE).await;
        let held = self.bus.consumer_metadata(self.stream, self.durable, CLAIM).await?;
        Ok((held == Some(self.text(incarnation, next))).then_some(next))
    }

    /// Keeps the claim; everything before `next` is restored.
    pub(super) async fn renew(&self, incarnation: &str, next: u64) -> Result<(), BusError> {
        let text = self.text(incarnation, next);
        self.bus.set_consumer_metadata(self.stream, self.durable, CLAIM, &text).await
    }

    fn text(&self, incarnation: &str, next: u64) -> String {
        format!("{incarnation} {} {next}", self.writer)
    }
}

/// Returns writer and next sequence of a claim on this incarnation.
fn parse<'a>(claim: &'a str, incarnation: &str) -> Option<(&'a str, u64)> {
    let (writer, next) = claim.strip_prefix(incarnation)?.strip_prefix(' ')?.split_once(' ')?;
    Some((writer, next.parse().ok()?))
}
