//! Reads points at exact places, at a cost that depends on the number of places alone.
//!
//! InfluxQL cannot join instants by OR: the condition `time = 1 OR time = 2` selects nothing. So each place is a
//! statement, and a request holds many. Where places lie close together, one range is cheaper; it ends with a limit of
//! rows in proportion to the places, so that a range full of other events costs no more than they do.

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::event_position::SPREAD_NS;
use super::line::{self, one_of_devices, quoted};
use super::response::SeriesPart;
use super::series::MAX_NAMED_DEVICES;
use super::session::Influx;
use super::settings::InfluxVersion;
use crate::StoreError;

/// Statements in one request. On 1.6.7 a place costs 0.2 ms up to a hundred of them, and 1 ms from five hundred on.
const MAX_STATEMENTS: usize = 50;
/// Requests in flight where one holds many statements, and where it holds one: version 3 up to 3.6 takes no more, and
/// openGemini ends a request at a measurement that does not exist yet.
const REQUESTS_WITH_MANY: usize = 2;
const REQUESTS_WITH_ONE: usize = 8;

/// Mean distance of places up to which their range is read.
const DENSE_NS: i64 = 20_000_000;
/// Longest gap in a range of history.
const HISTORY_GAP_NS: i64 = 3_600 * 1_000_000_000;
/// Rows read per place of a range; beyond that, its places are read one by one. In data as dense as that, a place costs
/// as much: the server decodes the block around it.
const MAX_ROWS_PER_PLACE: usize = 100;

/// Place of points: of one device and event type at one instant, in any slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place<'a> {
    pub(super) time: i64,
    pub(super) device: &'a str,
    pub(super) event_type: &'a str,
}

/// Distance of places up to which their range is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Density {
    /// The range may be full of other points: at most [`DENSE_NS`] on average, without a gap longer than [`SPREAD_NS`].
    Live,
    /// The places themselves are most of their range.
    History,
}

/// Sorted places without duplicates.
#[derive(Clone, Debug)]
pub(super) struct Places<'a> {
    sorted: Vec<Place<'a>>,
    density: Density,
}

impl<'a> Places<'a> {
    pub(super) fn new(places: impl Iterator<Item = Place<'a>>, density: Density) -> Self {
        let mut sorted: Vec<Place<'a>> = places.collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self { sorted, density }
    }

    /// Returns the index of a place.
    pub(super) fn find(&self, place: &Place<'_>) -> Option<usize> {
        self.sorted.binary_search_by(|known| known.cmp(place)).ok()
    }

    /// Visits the points at these places, each at least once, with the index of its place and its slot. A row holds the
    /// time and the `fields`.
    pub(super) async fn read(
        &self,
        influx: &Influx,
        measurement: &str,
        fields: &str,
        mut each: impl FnMut(usize, u32, &SeriesPart, &[Value]),
    ) -> Result<(), StoreError> {
        let mut each_row = |series: &SeriesPart| self.each_of_ours(series, &mut each);
        let mut single = Vec::new();
        let max_gap_ns = if self.density == Density::Live { SPREAD_NS } else { HISTORY_GAP_NS };
        for cluster in self.sorted.chunk_by(|one, next| next.time.saturating_sub(one.time) <= max_gap_ns) {
            let is_read =
                self.is_range(cluster) && read_range(influx, measurement, fields, cluster, &mut each_row).await?;
            if !is_read {
                single.extend_from_slice(cluster);
            }
        }
        let (n_statements, n_requests) = match influx.ready().await? {
            InfluxVersion::V3 | InfluxVersion::OpenGemini => (1, REQUESTS_WITH_ONE),
            _ => (MAX_STATEMENTS, REQUESTS_WITH_MANY),
        };
        let texts: Vec<(String, u64)> = single
            .chunks(n_statements)
            .map(|some| (select_each(measurement, fields, some), some.len() as u64))
            .collect();
        let requests = texts.into_iter().map(|(text, n_statements)| read_all(influx, text, n_statements));
        let mut responses = stream::iter(requests).buffer_unordered(n_requests);
        while let Some(found) = responses.try_next().await? {
            found.iter().for_each(&mut each_row);
        }
        Ok(())
    }

    /// Returns whether places lie so close together that reading their range is cheaper.
    fn is_range(&self, cluster: &[Place<'_>]) -> bool {
        let [first, .., last] = cluster else { return false };
        let length_ns = last.time.saturating_sub(first.time);
        self.density == Density::History || length_ns / DENSE_NS <= cluster.len() as i64
    }

    fn each_of_ours(&self, series: &SeriesPart, each: &mut impl FnMut(usize, u32, &SeriesPart, &[Value])) {
        let columns = ["source_device", "event_type", "slot"].map(|name| series.column(name));
        for row in &series.values {
            let [device, event_type, slot] =
                columns.map(|column| column.and_then(|at| row.get(at)?.as_str()).unwrap_or_default());
            let Some(time) = row.first().and_then(Value::as_i64) else { continue };
            let (device, event_type) = (line::decode(device), line::decode(event_type));
            if let Some(index) = self.find(&Place { time, device: &device, event_type: &event_type }) {
                each(index, slot.parse().unwrap_or(0), series, row);
            }
        }
    }
}

/// Reads the range of sorted places. Returns `false` if it holds too many points, of which some have been visited.
async fn read_range(
    influx: &Influx,
    measurement: &str,
    fields: &str,
    cluster: &[Place<'_>],
    mut each: impl FnMut(&SeriesPart),
) -> Result<bool, StoreError> {
    let mut devices: Vec<&str> = cluster.iter().map(|place| place.device).collect();
    devices.sort_unstable();
    devices.dedup();
    let only = if devices.len() <= MAX_NAMED_DEVICES { one_of_devices(devices.into_iter()) } else { String::new() };
    let max_rows = cluster.len() * MAX_ROWS_PER_PLACE;
    let query = |from, until| format!("{} LIMIT {}", select(measurement, fields, from, until, &only), max_rows + 1);
    let mut n_rows = 0;
    influx
        .select(cluster[0].time, cluster[cluster.len() - 1].time, query, |series| {
            n_rows += series.values.len();
            each(series);
        })
        .await?;
    Ok(n_rows <= max_rows)
}

/// Returns a statement for each place.
fn select_each(measurement: &str, fields: &str, places: &[Place<'_>]) -> String {
    let statement = |Place { time, device, event_type }: &Place<'_>| {
        let only = format!(" AND source_device = {} AND event_type = {}", quoted(device), quoted(event_type));
        select(measurement, fields, *time, *time, &only)
    };
    places.iter().map(statement).collect::<Vec<_>>().join("; ")
}

async fn read_all(influx: &Influx, text: String, n_statements: u64) -> Result<Vec<SeriesPart>, StoreError> {
    let mut rows = influx.client.query_all(&text, n_statements).await?;
    let mut all = Vec::new();
    loop {
        let found = rows.next().await?;
        if found.is_empty() {
            return Ok(all);
        }
        all.extend(found);
    }
}

fn select(measurement: &str, fields: &str, from: i64, until: i64, only: &str) -> String {
    format!(
        "SELECT {fields}, source_device, event_type, slot FROM {measurement} WHERE time >= {from} AND time <= {until}{only}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(times: &[i64], density: Density) -> Places<'static> {
        Places::new(times.iter().map(|time| Place { time: *time, device: "d", event_type: "t" }), density)
    }

    #[test]
    fn only_places_that_lie_close_together_are_a_range() {
        let is_range = |times: &[i64], density| {
            let places = places(times, density);
            places.is_range(&places.sorted)
        };
        assert!(!is_range(&[5], Density::Live) && !is_range(&[5], Density::History));
        assert!(is_range(&[0, DENSE_NS], Density::Live));
        assert!(!is_range(&[0, 3 * DENSE_NS], Density::Live) && is_range(&[0, 3 * DENSE_NS], Density::History));
        assert!(!is_range(&[i64::MIN, i64::MAX], Density::Live));
        assert!(is_range(&(0..10_000).collect::<Vec<_>>(), Density::Live));
    }

    #[test]
    fn rows_of_other_places_are_passed_over() {
        let ours = places(&[5, 7, 7], Density::Live);
        let series: SeriesPart = serde_json::from_str(
            r#"{"columns":["time","event_id","source_device","event_type","slot"],
                "values":[[5,"a","d","t",null],[6,"b","d","t",null],[7,"c","d","t","3"],[7,"d","e","t",null],[7,"e","d"],[]]}"#,
        )
        .unwrap();
        let mut seen = Vec::new();
        ours.each_of_ours(&series, &mut |index, slot, _: &SeriesPart, row: &[Value]| {
            seen.push((index, slot, row[1].as_str().unwrap_or_default().to_owned()));
        });
        assert_eq!(seen, [(0, 0, "a".to_owned()), (1, 3, "c".to_owned())]);
    }
}
