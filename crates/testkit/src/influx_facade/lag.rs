//! Points that openGemini has acknowledged and does not show to queries yet: for two seconds if their series is new.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::{Shared, State};
use crate::influx::percent;

/// Hidden points, in the order of the writes.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    points: Vec<Point>,
    /// The time from which each series is known, by database and key.
    series: HashMap<(String, String), Instant>,
}

#[derive(Debug)]
struct Point {
    visible_from: Instant,
    database: String,
    line: String,
}

/// Accepts a line and hides it for a while.
pub(super) fn hide(shared: &Shared, state: &mut State, database: &str, series: &str, line: String) {
    let now = Instant::now();
    let (of_new, of_known) = shared.options.read_lag;
    let known_from = *state.hidden.series.entry((database.to_owned(), series.to_owned())).or_insert(now + of_new);
    let visible_from = known_from.max(now + of_known);
    state.hidden.points.push(Point { visible_from, database: database.to_owned(), line });
}

/// Forgets the points of a database.
pub(super) fn forget(state: &mut State, database: &str) {
    state.hidden.points.retain(|point| point.database != database);
    state.hidden.series.retain(|(of, _), _| of != database);
}

/// Writes the points that are visible at a time into the InfluxDB behind the facade; `None`: all of them.
pub(super) fn show(shared: &Shared, at: Option<Instant>) -> Result<()> {
    // Held until they are written: a later query must not overtake them.
    let mut state = shared.state();
    let is_due = |point: &Point| at.is_none_or(|at| point.visible_from <= at);
    let (due, hidden) = std::mem::take(&mut state.hidden.points).into_iter().partition(is_due);
    state.hidden.points = hidden;
    let mut bodies: HashMap<String, String> = HashMap::new();
    for Point { database, line, .. } in due {
        let body = bodies.entry(database).or_default();
        *body += &line;
        body.push('\n');
    }
    for (database, body) in bodies {
        let target = format!("/write?db={}&precision=n", percent(&database));
        let (status, answer) = shared.server.forward("POST", &target, "text/plain", body.as_bytes())?;
        ensure!(status == 204, "influxd answers {status} {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}
