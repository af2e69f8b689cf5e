//! Reads of values.

use std::time::Duration;

use spindle_core::records::{Bucket, LatestSample, Sample, Window};
use spindle_core::{DeviceName, MetricType};

use crate::{FirstAndLast, Store, StoreError, influx};

impl Store {
    /// Returns the newest value of each metric type in the window, by metric name.
    pub async fn latest(&self, device: &DeviceName, window: Window) -> Result<Vec<LatestSample>, StoreError> {
        let mut latest = self.latest_many(std::slice::from_ref(device), window).await?;
        Ok(latest.pop().unwrap_or_default())
    }

    /// Returns [`Self::latest`] of many devices in one state of the store, in the order of `devices`; empty for an
    /// unknown device.
    pub async fn latest_many(
        &self,
        devices: &[DeviceName],
        window: Window,
    ) -> Result<Vec<Vec<LatestSample>>, StoreError> {
        match self {
            Self::Embedded(store) => store.latest_many(devices, window).await,
            Self::Influx(influx) => influx::series::latest_many(influx, devices, window).await,
        }
    }

    /// Returns the oldest `limit` values of one series in the window, oldest first.
    pub async fn range(
        &self,
        device: &DeviceName,
        metric: &MetricType,
        window: Window,
        limit: usize,
    ) -> Result<Vec<Sample>, StoreError> {
        match self {
            Self::Embedded(store) => store.range(device, metric, window, limit).await,
            Self::Influx(influx) => influx::series::range(influx, device, metric, window, limit).await,
        }
    }

    /// Returns first value, last value and number of values in the window; `None` if there is none.
    pub async fn first_and_last(
        &self,
        device: &DeviceName,
        metric: &MetricType,
        window: Window,
    ) -> Result<Option<FirstAndLast>, StoreError> {
        let mut found = self.first_and_last_many(&[(device.clone(), metric.clone())], window).await?;
        Ok(found.pop().flatten())
    }

    /// Returns [`Self::first_and_last`] of many series, in their order.
    pub async fn first_and_last_many(
        &self,
        series: &[(DeviceName, MetricType)],
        window: Window,
    ) -> Result<Vec<Option<FirstAndLast>>, StoreError> {
        match self {
            Self::Embedded(store) => store.first_and_last_many(series, window).await,
            Self::Influx(influx) => influx::series::first_and_last_many(influx, series, window).await,
        }
    }

    /// Returns the last value in each bucket of the window, for every device that has the metric, by name of the device;
    /// the time of a value is the start of its bucket. Costs a seek a bucket and device, however many values there are.
    pub async fn last_of_buckets(
        &self,
        metric: &MetricType,
        window: Window,
        bucket: Duration,
    ) -> Result<Vec<(DeviceName, Vec<Sample>)>, StoreError> {
        match self {
            Self::Embedded(store) => store.last_of_buckets(metric, window, bucket).await,
            Self::Influx(influx) => influx::series::last_of_buckets(influx, metric, window, bucket).await,
        }
    }

    /// Returns the window in buckets of length `bucket` (at least 1 ns), oldest first. A bucket starts at a whole
    /// multiple of its length since the Unix epoch, before 1970 too; at the window's edges it holds only the values
    /// inside the window. Empty buckets are omitted.
    pub async fn buckets(
        &self,
        device: &DeviceName,
        metric: &MetricType,
        window: Window,
        bucket: Duration,
    ) -> Result<Vec<Bucket>, StoreError> {
        match self {
            Self::Embedded(store) => store.buckets(device, metric, window, bucket).await,
            Self::Influx(influx) => influx::series::buckets(influx, device, metric, window, bucket).await,
        }
    }
}
