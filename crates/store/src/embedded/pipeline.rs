//! Reports of writers on the pipeline: one row each, in columns, for at most [`LONGEST`].

use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};
use spindle_core::pipeline::{LEVELS, PipelinePoint, RATES, READY, WriterReport};
use spindle_core::records::Window;
use spindle_core::schema::PIPELINE;

use super::series::time_from_sql;

/// Age at which a report goes, unless the retention is shorter: 260,000 rows of a writer, about 30 MB.
pub(super) const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// Rows removed with a report; with one row every 10 s more than come.
const MAX_REMOVED: i64 = 100;

/// Stores the points of a writer, each once, and removes those before `oldest_ns`.
pub(super) fn insert(
    connection: &Connection,
    instance: &str,
    points: &[PipelinePoint],
    oldest_ns: i64,
) -> rusqlite::Result<()> {
    let names: Vec<&str> = PIPELINE.fields.iter().map(|field| field.name).collect();
    let marks = vec!["?"; names.len() + 2].join(", ");
    let sql = format!("INSERT OR REPLACE INTO pipeline (time_ns, instance, {}) VALUES ({marks})", names.join(", "));
    let mut statement = connection.prepare_cached(&sql)?;
    for point in points {
        let value = |name: &&str| {
            let found = point.values.iter().find(|(known, value)| known == name && value.is_finite());
            found.map_or(Value::Null, |(_, value)| Value::Real(*value))
        };
        let key = [Value::Integer(point.at.as_ns()), Value::Text(instance.to_owned())];
        statement.execute(params_from_iter(key.into_iter().chain(names.iter().map(value))))?;
    }
    connection
        .prepare_cached(
            "DELETE FROM pipeline WHERE (time_ns, instance) IN
                 (SELECT time_ns, instance FROM pipeline WHERE time_ns < ?1 ORDER BY time_ns LIMIT ?2)",
        )?
        .execute(params![oldest_ns, MAX_REMOVED])?;
    Ok(())
}

/// Returns what each writer reported in each bucket of the window, oldest first.
pub(super) fn reports(
    connection: &Connection,
    window: Window,
    bucket: Duration,
) -> rusqlite::Result<Vec<WriterReport>> {
    let mean = |name: &&str| format!("avg({name})");
    let most = |name: &&str| format!("max({name})");
    let last = [mean(&READY), "count(*)".to_owned()];
    let columns: Vec<String> = RATES.iter().map(mean).chain(LEVELS.iter().map(most)).chain(last).collect();
    let sql = format!(
        "SELECT time_ns - ((time_ns % ?3) + ?3) % ?3 AS start, instance, {} FROM pipeline
         WHERE time_ns >= ?1 AND time_ns < ?2 GROUP BY start, instance ORDER BY start, instance",
        columns.join(", ")
    );
    let length = i64::try_from(bucket.as_nanos()).unwrap_or(i64::MAX).max(1);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![window.from.as_ns(), window.until.as_ns(), length], report)?;
    rows.collect()
}

fn report(row: &Row<'_>) -> rusqlite::Result<WriterReport> {
    let (mut rates, mut levels) = ([None; RATES.len()], [None; LEVELS.len()]);
    for (at, cell) in rates.iter_mut().chain(&mut levels).enumerate() {
        *cell = row.get(2 + at)?;
    }
    let at = 2 + RATES.len() + LEVELS.len();
    let (ready, n_points) = (row.get(at)?, row.get::<_, i64>(at + 1)?.unsigned_abs());
    Ok(WriterReport { time: time_from_sql(row, 0)?, instance: row.get(1)?, n_points, rates, levels, ready })
}

#[cfg(test)]
mod tests {
    use spindle_core::Timestamp;

    use super::*;
    use crate::embedded::schema::{memory_for_tests, plan_for_tests};

    #[test]
    fn the_table_has_a_column_for_each_field() {
        let connection = memory_for_tests();
        let mut columns = connection.prepare("SELECT name FROM pragma_table_info('pipeline')").unwrap();
        let columns: Vec<String> = columns.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let fields = PIPELINE.fields.iter().map(|field| field.name);
        assert_eq!(columns, ["time_ns", "instance"].into_iter().chain(fields).collect::<Vec<_>>());
        let plan = plan_for_tests(&connection, "SELECT ready FROM pipeline WHERE time_ns >= 1 AND time_ns < 2");
        assert!(plan.contains("SEARCH pipeline"), "{plan}");
    }

    #[test]
    fn old_reports_go_with_new_ones() {
        let connection = memory_for_tests();
        let point = |ns| PipelinePoint { at: Timestamp::from_ns(ns), values: vec![(READY, 1.0)] };
        let points: Vec<_> = (0..250).map(point).collect();
        insert(&connection, "a", &points, 0).unwrap();
        let n_left = || connection.query_row("SELECT count(*) FROM pipeline", [], |row| row.get::<_, i64>(0)).unwrap();
        for (ns, left) in [(1_000, 151), (1_001, 52), (1_002, 3)] {
            insert(&connection, "a", &[point(ns)], 500).unwrap();
            assert_eq!(n_left(), left);
        }
    }
}
