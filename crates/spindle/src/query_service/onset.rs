//! Start of the findings from values, from the history of these values.

use std::time::Duration;

use anyhow::Result;
use spindle_core::health::{self, HealthReason};
use spindle_core::reading;
use spindle_core::records::Window;
use spindle_core::{DeviceName, MetricType, Timestamp};
use spindle_store::Store;

use super::decoded;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Adds the start of each finding from a value that has none, if its history holds it. `begin` is the time from which
/// the values are those of this drive.
pub(super) async fn date(
    store: &Store,
    device: &DeviceName,
    reasons: &mut [HealthReason],
    begin: Option<Timestamp>,
) -> Result<()> {
    for reason in reasons.iter_mut().filter(|reason| health::lacks_onset(reason)) {
        let (Some(limit), Some(time)) = (reason.limit, reason.time) else { continue };
        let metric_type = MetricType::new(&reason.metric)?;
        reason.since = find(store, device, &metric_type, (limit, time), begin).await?;
    }
    Ok(())
}

/// Looks in the last day, then in the last 30 days; values that are decoded one by one only in the last day.
async fn find(
    store: &Store,
    device: &DeviceName,
    metric_type: &MetricType,
    (limit, time): (f64, Timestamp),
    begin: Option<Timestamp>,
) -> Result<Option<Timestamp>> {
    let is_encoded = reading::is_encoded(metric_type);
    for (age, length) in [(DAY, MINUTE), (30 * DAY, HOUR)] {
        if is_encoded && age > DAY {
            return Ok(None);
        }
        let until = time.plus(Duration::from_nanos(1));
        let from = begin.map_or(time.minus(age), |begin| begin.max(time.minus(age)));
        let window = Window { from, until };
        if let Some(bucket) =
            health::onset(&decoded::buckets(store, device, metric_type, window, length).await?.0, limit)
        {
            let inside = Window { from: bucket.max(from), until: until.min(bucket.plus(length)) };
            return first_at(store, device, metric_type, inside, limit).await.map(|first| first.or(Some(bucket)));
        }
    }
    Ok(None)
}

/// Returns the time of the first value at a limit, exact to a second.
async fn first_at(
    store: &Store,
    device: &DeviceName,
    metric_type: &MetricType,
    window: Window,
    limit: f64,
) -> Result<Option<Timestamp>> {
    let (seconds, _) = decoded::buckets(store, device, metric_type, window, Duration::from_secs(1)).await?;
    Ok(seconds.iter().find(|second| second.max >= limit).map(|second| second.time.max(window.from)))
}

#[cfg(test)]
mod tests {
    use spindle_core::Batch;
    use spindle_core::response::Data;

    use super::*;
    use crate::clock;
    use crate::query_service::device;
    use crate::query_service::test_data::{event, metric, name, put};

    /// Returns the reasons of a device whose values, one a minute, are given with the newest last.
    async fn since_of(values: &[f64], replaced: Option<u64>) -> (Timestamp, Option<Timestamp>) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_embedded(&folder.path().join("a.db")).await.unwrap();
        let now = clock::now();
        let at = |minutes: usize| now.minus(MINUTE * u32::try_from(minutes).unwrap());
        let times = (0..values.len()).rev();
        let metrics = times.zip(values).map(|(minutes, value)| metric("disk", "PendingSectors", at(minutes), *value));
        let replaced = replaced.map(|minutes| event("disk", "DriveReplaced", now.minus(MINUTE * minutes as u32), &[]));
        put(&store, Batch { metrics: metrics.collect(), events: replaced.into_iter().collect() }, now).await;
        let window = Window::ending_at(now, HOUR);
        let Data::DeviceHealth { data, .. } = device::health(&store, name("disk"), window).await.unwrap() else {
            panic!()
        };
        let [reason, ..] = data.verdict.reasons.as_slice() else { panic!("no reason") };
        assert_eq!(reason.metric, "PendingSectors");
        (now, reason.since)
    }

    #[tokio::test]
    async fn a_value_past_its_limit_is_dated_by_its_history() {
        let mut values = vec![0.0; 90];
        values.extend([4.0; 31]);
        let (now, since) = since_of(&values, None).await;
        let found = now.seconds_since(since.unwrap()) / 60.0;
        assert!((found - 30.0).abs() < 0.1, "{found} minutes ago");
        // Two days ago: beyond the day of minutes, within the month of hours.
        let mut values = vec![0.0; 300];
        values.extend([4.0; 2 * 24 * 60]);
        let (now, since) = since_of(&values, None).await;
        let found = now.seconds_since(since.unwrap()) / 3_600.0;
        assert!((found - 48.0).abs() < 0.1, "{found} hours ago");
    }

    #[tokio::test]
    async fn a_start_that_no_value_shows_is_not_known() {
        assert_eq!(since_of(&[4.0; 50], None).await.1, None);
        // The values before belong to another drive.
        let mut values = vec![0.0; 90];
        values.extend([4.0; 31]);
        assert_eq!(since_of(&values, Some(25)).await.1, None);
    }
}
