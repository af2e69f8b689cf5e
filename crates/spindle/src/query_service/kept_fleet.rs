//! The newest judgement of the present fleet, kept for some seconds.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use spindle_core::records::Window;
use spindle_store::Store;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::bounded_events::ReadLimits;
use super::judged_fleet::{self, JudgedFleet};
use crate::clock;

/// Length of the window of a judgement that is kept: the default of `fleet`.
pub(super) const KEPT_WINDOW: Duration = Duration::from_secs(3600);
/// Age up to which a kept judgement answers, at least and at most; between them it is that of [`COST_SHARE`].
const MIN_AGE: Duration = Duration::from_secs(1);
const MAX_AGE: Duration = Duration::from_secs(10);
/// A judgement answers for this many times as long as it took, so that judging takes a fraction of one core.
const COST_SHARE: u32 = 5;

/// Newest judgement of the present fleet, shared by all who ask within seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptFleet(Arc<Mutex<Option<Kept>>>);

#[derive(Debug)]
struct Kept {
    /// Time up to which it answers.
    until: Instant,
    window: Window,
    fleet: Arc<JudgedFleet>,
}

impl KeptFleet {
    /// Returns the fleet as of now, or as of a moment ago. Those who ask meanwhile wait for the same judgement.
    pub(super) async fn present(&self, store: &Store) -> Result<(Window, Arc<JudgedFleet>)> {
        let mut kept = self.0.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| Instant::now() < kept.until) {
            return Ok((kept.window, kept.fleet.clone()));
        }
        let at = Instant::now();
        let window = Window::ending_at(clock::now().plus(Duration::from_nanos(1)), KEPT_WINDOW);
        let fleet = Arc::new(judged_fleet::judge(store, window, false, ReadLimits::DEFAULT).await?);
        let took = at.elapsed();
        let until = at + took + (took * COST_SHARE).clamp(MIN_AGE, MAX_AGE);
        *kept = Some(Kept { until, window, fleet: fleet.clone() });
        Ok((window, fleet))
    }
}
