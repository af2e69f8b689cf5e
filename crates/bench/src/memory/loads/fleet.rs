//! A fleet, larger than the writer's caches or not: every device, series and label passes through them.

use anyhow::Result;
use spindle_testkit::{InfluxOptions, InfluxServer};

use super::storing::stored;
use super::{Stage, until};

/// Devices in one message, so that it has about 30 kB.
const PER_MESSAGE: usize = 10;
/// 2024-01-01T00:00:00Z, in seconds.
const START: usize = 1_704_067_200;
const MONTH: usize = 30 * 86_400;

/// Devices that send their metrics and labels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fleet {
    n_devices: usize,
    n_metrics: usize,
    n_labels: usize,
    /// Months over which the metrics of a device are spread.
    n_months: usize,
    /// Further devices with one metric and without labels.
    n_small: usize,
}

/// Largest fleet that Spindle is made for.
pub(super) const LARGE: Fleet = Fleet { n_devices: 20_000, n_metrics: 20, n_labels: 16, n_months: 1, n_small: 0 };
/// More of everything than the caches of the InfluxDB store remember, except series beyond a limit.
pub(super) const BEYOND_CACHES: Fleet =
    Fleet { n_devices: 25_000, n_metrics: 20, n_labels: 20, n_months: 20, n_small: 230_000 };

impl Fleet {
    /// Sends everything twice, a second apart: the second time the caches know it.
    pub(super) async fn run(self, stage: &Stage<'_>, on_influxdb: bool) -> Result<u64> {
        let fleet = Self { n_devices: self.n_devices / stage.divisor, n_small: self.n_small / stage.divisor, ..self };
        let influx = on_influxdb.then(|| {
            // Nothing is kept out.
            let limits = "max-series-per-database = 0\nmax-values-per-tag = 0".to_owned();
            InfluxServer::start_with(InfluxOptions { data_config: limits, ..InfluxOptions::default() })
        });
        let influx = influx.transpose()?;
        let host = influx.as_ref().map(InfluxServer::url);
        let variables: Vec<_> = host.as_deref().map(|host| ("INFLUXDB_HOST", host)).into_iter().collect();
        let mut writer = stage.start(&variables)?;
        let mut n_values = 0;
        for second in 0..2 {
            stage.publish(&format!("fleet-{second}"), fleet.messages(second)).await?;
            n_values += fleet.n_devices * fleet.n_metrics + fleet.n_small;
            until("the values are stored", || stored(&writer, "metric") >= n_values as f64).await?;
        }
        writer.peak_bytes()
    }

    fn messages(self, second: usize) -> impl Iterator<Item = (bool, String)> {
        let large = (0..self.n_devices.div_ceil(PER_MESSAGE)).map(move |number| {
            let devices = number * PER_MESSAGE..((number + 1) * PER_MESSAGE).min(self.n_devices);
            devices.map(|device| self.values(device, second)).collect::<Vec<_>>().join(",")
        });
        let small = (0..self.n_small.div_ceil(20 * PER_MESSAGE)).map(move |number| {
            let devices = number * 20 * PER_MESSAGE..((number + 1) * 20 * PER_MESSAGE).min(self.n_small);
            devices
                .map(|device| value(&format!("small-drive-{device}"), "metric-0", START + second, ""))
                .collect::<Vec<_>>()
                .join(",")
        });
        large.chain(small).map(|values| (false, format!("[{values}]")))
    }

    /// Returns the values of a device, the first with its labels.
    fn values(self, device: usize, second: usize) -> String {
        let labels: Vec<_> =
            (0..self.n_labels).map(|number| format!(r#""label-{number}":"value {number} of {device}""#)).collect();
        let labels = format!(r#","labels":{{{}}}"#, labels.join(","));
        let of_metric = |number: usize| {
            let time = START + number % self.n_months * MONTH + second;
            let labels = if number == 0 { labels.as_str() } else { "" };
            value(&format!("MODEL-9000_SERIAL{device:08}"), &format!("metric-{number}"), time, labels)
        };
        (0..self.n_metrics).map(of_metric).collect::<Vec<_>>().join(",")
    }
}

fn value(device: &str, metric_type: &str, time: usize, labels: &str) -> String {
    let time = spindle_core::Timestamp::from_seconds(time as i64);
    format!(
        r#"{{"timestamp":"{time}","sourceDevice":"{device}","metricType":"{metric_type}","value":7,"seq":{}{labels}}}"#,
        (1 << 24) + time.as_ns() / 1_000_000_000 % 1_000_000
    )
}
