//! Aliases in queries: `host:sda` means the drive that is there now. A device of exactly that name (an earlier version
//! named drives so) is answered for itself as far as its data reach into the window.

use std::time::Duration;

use anyhow::Result;
use spindle_core::DeviceName;
use spindle_core::alias::Alias;
use spindle_core::query::Query;
use spindle_core::records::Window;
use spindle_store::Store;

/// Age of data of a device that is there now.
const RECENT: Duration = Duration::from_secs(3600);

/// Replaces an alias in a query by the device that it means; any other query stays as it is.
pub(super) async fn resolve(store: &Store, mut query: Query) -> Result<Query> {
    let named = match &mut query {
        Query::DeviceHealth { source_device, window }
        | Query::AnomalyTemperature { source_device, window, .. }
        | Query::HealthHistory { source_device, window }
        | Query::Series { source_device, window, .. } => Some((source_device, *window)),
        Query::AlertsCritical(events) | Query::Events(events) => {
            events.source_device.as_mut().map(|device| (device, events.window))
        }
        Query::AuditGaps(audit) => audit.source_device.as_mut().map(|device| (device, audit.window)),
        Query::Incidents(query) => query.source_device.as_mut().map(|device| (device, query.window)),
        Query::Anomalies(query) => query.source_device.as_mut().map(|device| (device, query.window)),
        Query::Devices { source_device, at, .. } => {
            source_device.as_mut().map(|device| (device, Window::ending_at(*at, RECENT)))
        }
        Query::FleetHealth(_)
        | Query::Fleet(_)
        | Query::FleetHistory { .. }
        | Query::FleetSeries { .. }
        | Query::Pipeline { .. } => None,
    };
    if let Some((device, window)) = named
        && let Some(meant) = meant(store, device, window).await?
    {
        *device = meant;
    }
    Ok(query)
}

/// Returns the device that an alias means; `None` if the name is not one, or belongs to a device with data in the
/// window, or nothing is there.
async fn meant(store: &Store, device: &DeviceName, window: Window) -> Result<Option<DeviceName>> {
    let Some(alias) = Alias::parse(device) else { return Ok(None) };
    if let Some(record) = store.device(device).await?
        && record.last_seen >= window.from
        && record.first_seen < window.until
    {
        return Ok(None);
    }
    let candidates = store.devices_at(&alias).await?;
    if candidates.len() <= 1 {
        return Ok(candidates.into_iter().next());
    }
    // A drive that is gone keeps the labels of its last place; the one that is there still reports.
    let latest = store.latest_many(&candidates, window).await?;
    let newest = latest.iter().map(|samples| samples.iter().map(|sample| sample.time).max());
    Ok(candidates.iter().zip(newest).max_by_key(|(_, newest)| *newest).map(|(name, _)| name.clone()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use spindle_core::{Batch, DeviceMetric, Labels, MetricType, Timestamp};

    use super::*;

    async fn put(store: &Store, device: &str, seconds: i64, labels: &[(&str, &str)]) {
        let labels: Labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let metric = DeviceMetric {
            timestamp: Timestamp::from_seconds(seconds),
            source_device: DeviceName::new(device).unwrap(),
            metric_type: MetricType::new("IOPs").unwrap(),
            value: 1.0,
            seq: None,
            labels: Some(Box::new(labels)),
        };
        let batch = Batch { metrics: vec![metric], events: Vec::new() };
        store.write(Arc::new(batch), Timestamp::from_seconds(seconds)).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_alias_means_what_is_there_and_old_names_keep_their_data() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_embedded(&folder.path().join("a.db")).await.unwrap();
        let sda = [("host", "vm1"), ("name", "sda")];
        put(&store, "vm1:sda", 1_000, &[("host", "vm1")]).await;
        put(&store, "M_OLD", 2_000, &sda).await;
        put(&store, "M_NEW", 3_000, &sda).await;
        let window = |until: i64| Window::ending_at(Timestamp::from_seconds(until), Duration::from_secs(500));
        let asked = async |name: &str, until| {
            let source_device = DeviceName::new(name).unwrap();
            let query = Query::DeviceHealth { source_device, window: window(until) };
            let Query::DeviceHealth { source_device, .. } = resolve(&store, query).await.unwrap() else { panic!() };
            source_device.to_string()
        };
        assert_eq!(asked("vm1:sda", 3_100).await, "M_NEW");
        assert_eq!(asked("vm1:sda", 2_100).await, "M_OLD", "as of then");
        assert_eq!(asked("vm1:sda", 1_100).await, "vm1:sda", "stored by an earlier version");
        assert_eq!(asked("vm1:sdb", 3_100).await, "vm1:sdb", "nothing is there");
        assert_eq!(asked("M_OLD", 3_100).await, "M_OLD");
    }
}
