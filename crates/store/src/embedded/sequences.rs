//! Sequence numbers of points, for the gap audit: read in storage order, passed on, never collected.

use rusqlite::{Connection, params};
use spindle_core::DeviceName;
use spindle_core::audit::{PointKind, SeqVisitor, Tally};
use spindle_core::records::Window;
use tokio_util::sync::CancellationToken;

use super::series::time_from_sql;

const METRICS_SQL: &str = "
    SELECT v.time_ns, v.seq
    FROM devices d
    JOIN series s ON s.device_id = d.id
    JOIN samples v ON v.series_id = s.id AND v.time_ns >= ?2 AND v.time_ns < ?3
    WHERE d.name = ?1";

const EVENTS_SQL: &str = "
    SELECT e.time_ns, e.seq
    FROM devices d
    JOIN events e ON e.device_id = d.id AND e.time_ns >= ?2 AND e.time_ns < ?3
    WHERE d.name = ?1";

const REPLACED_SQL: &str = "
    SELECT r.seq
    FROM devices d
    JOIN replaced r ON r.device_id = d.id AND r.time_ns >= ?2 AND r.time_ns < ?3
    WHERE d.name = ?1";

/// Rows between two checks for cancellation: about a millisecond.
const ROWS_PER_CHECK: u64 = 4096;

/// `Store::tally` for one device.
pub(super) fn tally(
    connection: &Connection,
    device: &DeviceName,
    window: Window,
    cancelled: &CancellationToken,
) -> rusqlite::Result<Tally> {
    let mut tally = Tally::default();
    each(connection, device, window, cancelled, |kind, seq, _| {
        tally.see(kind, seq);
        Ok(())
    })?;
    let mut select = connection.prepare_cached(REPLACED_SQL)?;
    let mut rows = select.query(params![device.as_str(), window.from.as_ns(), window.until.as_ns()])?;
    while let Some(row) = rows.next()? {
        tally.see_replaced(row.get::<_, i64>(0)?.cast_unsigned());
    }
    Ok(tally)
}

/// `Store::sequences`.
pub(super) fn visit<V: SeqVisitor>(
    connection: &Connection,
    device: &DeviceName,
    window: Window,
    cancelled: &CancellationToken,
    mut visitor: V,
) -> rusqlite::Result<V> {
    each(connection, device, window, cancelled, |_, seq, row| {
        if let Some(seq) = seq {
            visitor.visit(seq, time_from_sql(row, 0)?);
        }
        Ok(())
    })?;
    Ok(visitor)
}

/// Passes on each point. Ends early when cancelled: a long audit without a caller must not keep others from reading.
fn each(
    connection: &Connection,
    device: &DeviceName,
    window: Window,
    cancelled: &CancellationToken,
    mut take: impl FnMut(PointKind, Option<u64>, &rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut n_rows = 0_u64;
    for (kind, sql) in [(PointKind::Metric, METRICS_SQL), (PointKind::Event, EVENTS_SQL)] {
        let mut select = connection.prepare_cached(sql)?;
        let mut rows = select.query(params![device.as_str(), window.from.as_ns(), window.until.as_ns()])?;
        while let Some(row) = rows.next()? {
            take(kind, row.get::<_, Option<i64>>(1)?.map(i64::cast_unsigned), row)?;
            n_rows += 1;
            if n_rows.is_multiple_of(ROWS_PER_CHECK) && cancelled.is_cancelled() {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::schema::{memory_for_tests, plan_for_tests};

    #[test]
    fn an_audit_seeks_by_time_in_the_series_and_events_of_its_device() {
        let connection = memory_for_tests();
        for (sql, index) in
            [(METRICS_SQL, "PRIMARY KEY"), (EVENTS_SQL, "events_by_device"), (REPLACED_SQL, "PRIMARY KEY")]
        {
            let plan = plan_for_tests(&connection, sql);
            assert!(!plan.contains("SCAN") && plan.contains(index) && plan.contains("time_ns>?"), "{plan}");
        }
    }
}
