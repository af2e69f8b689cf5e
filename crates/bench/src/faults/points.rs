//! Points of the harness's devices as the InfluxDB itself counts them.

use std::collections::BTreeMap;

use anyhow::Result;
use spindle_testkit::InfluxServer;

/// Counts the points of both measurements.
pub(super) fn count(influx: &InfluxServer) -> Result<u64> {
    let mut n_points = 0;
    for (field, measurement) in [("value", "device_metrics"), ("event_id", "events")] {
        let query = format!("SELECT count({field}) FROM {measurement} WHERE source_device =~ /^fault-/");
        let answer = influx.query("spindle", &query)?;
        n_points += answer["results"][0]["series"][0]["values"][0][1].as_u64().unwrap_or_default();
    }
    Ok(n_points)
}

/// Describes some of the events that are stored more than once, and counts series and points.
pub(super) fn describe_duplicates(influx: &InfluxServer) -> Result<Vec<String>> {
    const MAX_DESCRIBED: usize = 10;
    let query = "SELECT event_id, timestamp_ns, received_ns FROM events WHERE source_device =~ /^fault-/ \
                 GROUP BY source_device, event_type, slot";
    let answer = influx.query("spindle", query)?;
    let mut points: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut n_rows = 0;
    for series in answer["results"][0]["series"].as_array().into_iter().flatten() {
        for row in series["values"].as_array().into_iter().flatten() {
            n_rows += 1;
            let event = format!("{} of {} {}", row[1], series["tags"]["source_device"], row[2]);
            let point = format!("{} slot {} received {}", row[0], series["tags"]["slot"], row[3]);
            points.entry(event).or_default().push(point);
        }
    }
    let mut lines = vec![format!("{n_rows} points of {} events", points.len())];
    let duplicates = points.into_iter().filter(|(_, points)| points.len() > 1);
    lines.extend(
        duplicates.take(MAX_DESCRIBED).map(|(event, points)| format!("event {event} at {}", points.join(" and "))),
    );
    Ok(lines)
}
