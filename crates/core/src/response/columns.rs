//! A fleet in columns: texts that repeat are stored once, and only devices that are not ok have a reason.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Basis, FleetRow};
use crate::health::Health;
use crate::metric;
use crate::name::{DeviceName, MetricType};
use crate::query::ColumnsQuery;
use crate::reading::{self, Reading};
use crate::records::LatestSample;
use crate::timestamp::Timestamp;

/// Labels that a list groups by or names a place with.
const LABELS: [&str; 6] = ["enclosure", "bay", "class", "host", "model", "source"];
/// Label that a search needs: each has its own, so it is returned only on request.
const SERIAL: &str = "serial";
/// States in the order of their numbers.
const STATES: [&str; 6] = ["ok", "asleep", "unknown", "silent", "warning", "critical"];

/// Result of `fleet`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FleetAnswer {
    /// Columns.
    pub data: FleetColumns,
    /// Data it is based on.
    pub basis: Basis,
}

/// Devices, each at the same index of every column.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FleetColumns {
    /// Names, in their order.
    #[serde(flatten)]
    pub names: DeviceNames,
    /// Names of the states: `ok`, `asleep`, `unknown`, `silent`, `warning`, `critical`.
    pub states: [&'static str; 6],
    /// Indices into `states`.
    pub state: Vec<u8>,
    /// Seconds since its newest values arrived; `None` if no arrival is known.
    pub heard_seconds: Vec<Option<u64>>,
    /// Labels that any device has, by key.
    pub labels: BTreeMap<&'static str, TextColumn>,
    /// Newest values of the requested metrics that any device has.
    pub metrics: BTreeMap<MetricType, MetricColumn>,
    /// Devices that are not ok.
    pub not_ok: NotOkColumns,
}

/// Names of devices, in their order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum DeviceNames {
    /// As they are.
    #[serde(rename = "device")]
    Plain(Vec<DeviceName>),
    /// As what differs from the name before.
    #[serde(rename = "device_front_coded")]
    FrontCoded(FrontCoded),
}

impl Default for DeviceNames {
    fn default() -> Self {
        Self::Plain(Vec::new())
    }
}

/// Sorted names, each as what differs from the one before.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FrontCoded {
    /// Number of characters that each name shares with the one before.
    pub shared: Vec<usize>,
    /// What follows them.
    pub rest: Vec<String>,
}

impl FrontCoded {
    fn of(names: &[DeviceName]) -> Self {
        let mut coded = Self::default();
        let mut before = "";
        for name in names {
            let same = before.chars().zip(name.chars()).take_while(|(one, other)| one == other);
            let (n_chars, n_bytes) =
                same.fold((0, 0), |(chars, bytes), (each, _)| (chars + 1, bytes + each.len_utf8()));
            coded.shared.push(n_chars);
            coded.rest.push(name[n_bytes..].to_owned());
            before = name;
        }
        coded
    }
}

/// Texts that repeat.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TextColumn {
    /// Different texts.
    pub names: Vec<String>,
    /// Index into `names` for each device; -1 if it has none.
    pub index: Vec<i32>,
}

/// Values of one metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MetricColumn {
    /// Unit, if the metric table has one.
    pub unit: Option<&'static str>,
    /// Decoded value for each device, to three significant digits; `None` if there is no current one.
    pub values: Vec<Option<f64>>,
}

/// Devices that are not ok, each at the same index of every column.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NotOkColumns {
    /// Indices into the columns of all devices.
    pub index: Vec<u32>,
    /// From 100 down to 0; `None` if health is unknown.
    pub score: Vec<Option<u8>>,
    /// Start of the verdict, or of the most important finding.
    pub since: Vec<Option<Timestamp>>,
    /// Most important finding, for people.
    pub reason: Vec<String>,
    /// What to do.
    pub advice: Vec<Option<String>>,
    /// `true` if somebody works on it.
    pub acknowledged: Vec<bool>,
}

impl FleetColumns {
    /// Returns the columns of devices as of `until`. `devices` have their newest values and are in order of name.
    pub fn of<'a>(
        devices: impl ExactSizeIterator<Item = (&'a FleetRow, &'a [LatestSample])>,
        wanted: &ColumnsQuery,
        until: Timestamp,
    ) -> Self {
        let ColumnsQuery { metric_types, with_serials, front_coded, .. } = wanted;
        let mut names = Vec::with_capacity(devices.len());
        let mut columns = Self { states: STATES, ..Self::default() };
        let keys = LABELS.into_iter().chain(with_serials.then_some(SERIAL));
        let mut labels: Vec<_> = keys.map(|key| (key, TextColumn::default(), BTreeMap::new())).collect();
        let mut metrics: Vec<MetricColumn> = vec![MetricColumn::default(); metric_types.len()];
        for (index, (row, latest)) in devices.enumerate() {
            names.push(row.source_device.clone());
            columns.state.push(state(row));
            columns.heard_seconds.push(row.last_received.map(|received| until.seconds_since(received).max(0.0) as u64));
            for (key, column, known) in &mut labels {
                column.push(row.labels.get(*key), known);
            }
            for (metric_type, column) in metric_types.iter().zip(&mut metrics) {
                let sample = latest.iter().find(|sample| sample.metric_type == *metric_type);
                column.values.push(sample.and_then(|sample| decoded(metric_type, sample.value)));
            }
            if row.health != Health::Ok {
                columns.not_ok.push(index as u32, row);
            }
        }
        columns.names = match front_coded {
            true => DeviceNames::FrontCoded(FrontCoded::of(&names)),
            false => DeviceNames::Plain(names),
        };
        columns.labels = labels
            .into_iter()
            .filter(|(_, column, _)| !column.names.is_empty())
            .map(|(key, column, _)| (key, column))
            .collect();
        columns.metrics = metric_types
            .iter()
            .zip(metrics)
            .filter(|(_, column)| column.values.iter().any(Option::is_some))
            .map(|(name, column)| (name.clone(), MetricColumn { unit: metric::unit_symbol(name), ..column }))
            .collect();
        columns
    }
}

impl TextColumn {
    fn push(&mut self, text: Option<&String>, known: &mut BTreeMap<String, i32>) {
        let index = text.filter(|text| !text.is_empty()).map_or(-1, |text| match known.get(text) {
            Some(index) => *index,
            None => {
                let index = self.names.len() as i32;
                self.names.push(text.clone());
                known.insert(text.clone(), index);
                index
            }
        });
        self.index.push(index);
    }
}

impl NotOkColumns {
    fn push(&mut self, index: u32, row: &FleetRow) {
        let reason = row.reason.as_ref();
        self.index.push(index);
        self.score.push(row.score);
        self.since.push(row.since.or_else(|| reason.and_then(|reason| reason.since)));
        self.reason.push(reason.map(|reason| reason.why.clone()).unwrap_or_default());
        self.advice.push(reason.and_then(|reason| reason.advice.as_deref().map(str::to_owned)));
        self.acknowledged.push(row.acknowledged.is_some());
    }
}

/// Returns the index of the state of a device.
fn state(row: &FleetRow) -> u8 {
    let is_silent = || row.reason.as_ref().is_some_and(|reason| reason.metric == "silence");
    match row.health {
        Health::Ok => 0,
        Health::Unknown if is_silent() => 3,
        Health::Unknown if row.asleep => 1,
        Health::Unknown => 2,
        Health::Warning => 4,
        Health::Critical => 5,
    }
}

fn decoded(metric_type: &MetricType, stored: f64) -> Option<f64> {
    match reading::read(metric_type, stored) {
        Reading::Value(value) => Some(rounded(value)),
        Reading::Absent | Reading::Unclear(_) => None,
    }
}

/// Rounds to three significant digits: more cannot be seen, and cost most of the answer's bytes.
fn rounded(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_three_significant_digits() {
        assert_eq!(
            [rounded(61.42857), rounded(0.0), rounded(123_456.0), rounded(-0.001_234_56)],
            [61.4, 0.0, 123_000.0, -0.001_23]
        );
    }

    #[test]
    fn front_coded_names_are_what_differs() {
        let names = ["a", "ab1", "ab2", "aé1", "aé2", "ü"].map(|name| DeviceName::new(name).unwrap());
        let coded = FrontCoded::of(&names);
        assert_eq!(coded.shared, [0, 1, 2, 1, 2, 0]);
        assert_eq!(coded.rest, ["a", "b1", "2", "é1", "2", "ü"]);
        let answer = FleetColumns { names: DeviceNames::FrontCoded(coded), ..FleetColumns::default() };
        let json = serde_json::to_value(answer).unwrap();
        assert_eq!(json["device_front_coded"]["shared"][2], 2);
        assert!(json.get("device").is_none());
        assert_eq!(serde_json::to_value(FleetColumns::default()).unwrap()["device"], serde_json::json!([]));
    }

    #[test]
    fn texts_that_repeat_are_stored_once() {
        let (mut column, mut known) = (TextColumn::default(), BTreeMap::new());
        for text in ["a", "b", "a"] {
            column.push(Some(&text.to_owned()), &mut known);
        }
        column.push(None, &mut known);
        assert_eq!((column.names, column.index), (vec!["a".to_owned(), "b".to_owned()], vec![0, 1, 0, -1]));
    }
}
