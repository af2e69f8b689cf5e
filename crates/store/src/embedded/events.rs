//! Queries for events.

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};
use spindle_core::records::{EventFilter, EventRecord, TimeBasis};
use spindle_core::{Criticality, DeviceName, Event, EventType};

use super::device::labels_from_sql;
use super::event_id;
use super::series::{name_from_sql, sql_limit, time_from_sql};

/// Lowest criticality with a separate index (`events_critical` in `schema`).
const INDEXED_CRITICALITY: u8 = 8;

/// `Store::events`.
pub(super) fn select(connection: &Connection, filter: &EventFilter) -> rusqlite::Result<Vec<EventRecord>> {
    let sql = select_sql(filter);
    let (limit, offset) = (sql_limit(filter.limit), sql_limit(filter.offset));
    with_parameters(filter, |parameters| {
        let mut parameters = parameters.to_vec();
        parameters.push((":limit", &limit));
        parameters.push((":offset", &offset));
        connection.prepare_cached(&sql)?.query_map(&*parameters, record)?.collect()
    })
}

/// `Store::count_events_by_device`.
pub(super) fn count_by_device(
    connection: &Connection,
    filter: &EventFilter,
) -> rusqlite::Result<Vec<(DeviceName, u64)>> {
    let sql = count_sql(filter);
    with_parameters(filter, |parameters| {
        let mut select = connection.prepare_cached(&sql)?;
        let rows = select.query_map(parameters, |row| {
            Ok((name_from_sql(row, 0, DeviceName::new)?, row.get::<_, i64>(1)?.unsigned_abs()))
        })?;
        rows.collect()
    })
}

fn select_sql(filter: &EventFilter) -> String {
    let source = source(filter);
    format!(
        "SELECT e.event_id, d.name, e.event_type, e.time_ns, e.received_ns, e.criticality, e.message, e.seq, e.labels
         FROM {source} e JOIN devices d ON d.id = e.device_id
         ORDER BY e.time_ns DESC, e.event_id DESC, d.name DESC, e.event_type DESC
         LIMIT :limit OFFSET :offset"
    )
}

fn count_sql(filter: &EventFilter) -> String {
    let source = source(filter);
    format!(
        "SELECT d.name, n FROM (SELECT e.device_id, count(*) AS n FROM {source} e GROUP BY e.device_id)
         JOIN devices d ON d.id = device_id ORDER BY d.name"
    )
}

/// Returns the events of a filter as a table of SQL. Each part of it seeks its window in an index: an index by device,
/// which SQLite would prefer for a device's arrivals, holds all that ever happened to the device.
fn source(filter: &EventFilter) -> String {
    const HAPPENED: &str = "time_ns >= :from AND time_ns < :until";
    const RECEIVED: &str = "received_ns >= :from AND received_ns < :until";
    let rest = condition(filter);
    let happened = format!("SELECT * FROM events WHERE {HAPPENED}{rest}");
    let received = format!("SELECT * FROM events INDEXED BY events_by_received WHERE {RECEIVED}{rest}");
    match filter.basis {
        TimeBasis::Happened => format!("({happened})"),
        TimeBasis::Received => format!("({received})"),
        TimeBasis::Either => format!("({happened} UNION ALL {received} AND NOT ({HAPPENED}))"),
    }
}

/// Returns the filter without its window as SQL. It contains only the conditions that restrict, so that SQLite can
/// choose the best index.
fn condition(filter: &EventFilter) -> String {
    let mut condition = String::new();
    if filter.source_device.is_some() {
        condition.push_str(" AND device_id = (SELECT id FROM devices WHERE name = :device)");
    }
    if filter.event_type.is_some() {
        condition.push_str(" AND event_type = :type");
    }
    if filter.min_criticality.level() > 1 {
        condition.push_str(" AND criticality >= :criticality");
    }
    if filter.min_criticality.level() >= INDEXED_CRITICALITY {
        // Redundant except to SQLite, which uses a partial index only for the literal condition of its definition.
        condition.push_str(" AND criticality >= 8");
    }
    condition
}

/// Calls `query` with the parameters that [`condition`] names.
fn with_parameters<T>(filter: &EventFilter, query: impl FnOnce(&[(&str, &dyn ToSql)]) -> T) -> T {
    let (from, until) = (filter.window.from.as_ns(), filter.window.until.as_ns());
    let device = filter.source_device.as_deref();
    let event_type = filter.event_type.as_deref();
    let criticality = filter.min_criticality.level();
    let mut parameters: Vec<(&str, &dyn ToSql)> = vec![(":from", &from), (":until", &until)];
    if device.is_some() {
        parameters.push((":device", &device));
    }
    if event_type.is_some() {
        parameters.push((":type", &event_type));
    }
    if criticality > 1 {
        parameters.push((":criticality", &criticality));
    }
    query(&parameters)
}

fn record(row: &Row<'_>) -> rusqlite::Result<EventRecord> {
    let labels = match row.get_ref(8)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(Box::new(labels_from_sql(row, 8)?)),
    };
    let criticality: i64 = row.get(5)?;
    let event = Event {
        id: event_id::from_sql(row, 0)?,
        criticality: u64::try_from(criticality)
            .ok()
            .and_then(Criticality::new)
            .ok_or(rusqlite::Error::IntegralValueOutOfRange(5, criticality))?,
        timestamp: time_from_sql(row, 3)?,
        source_device: name_from_sql(row, 1, DeviceName::new)?,
        event_type: name_from_sql(row, 2, EventType::new)?,
        event_message: row.get(6)?,
        seq: row.get::<_, Option<i64>>(7)?.map(i64::cast_unsigned),
        labels,
    };
    Ok(EventRecord { event, received: time_from_sql(row, 4)? })
}

#[cfg(test)]
mod tests {
    use spindle_core::records::Window;

    use super::*;
    use crate::embedded::schema::{memory_for_tests, plan_for_tests};

    fn filter(basis: TimeBasis, device: bool, criticality: u64) -> EventFilter {
        EventFilter {
            window: Window { from: Default::default(), until: Default::default() },
            basis,
            source_device: device.then(|| DeviceName::new("disk").unwrap()),
            event_type: None,
            min_criticality: Criticality::new(criticality).unwrap(),
            limit: 10,
            offset: 0,
        }
    }

    /// Checks the plans of a filter: each part seeks a range of time, in the index that fits.
    fn check(filter: &EventFilter, expect: &[&str]) {
        let connection = memory_for_tests();
        let sql = select_sql(filter).replace(":limit", "10").replace(":offset", "0");
        for sql in [sql, count_sql(filter)] {
            let plan = plan_for_tests(&connection, &sql);
            let steps: Vec<&str> = plan.lines().filter(|step| step.contains("events")).collect();
            assert_eq!(steps.len(), expect.len(), "{filter:?}\n{plan}");
            for (step, index) in steps.iter().zip(expect) {
                let is_range =
                    step.contains("time_ns>? AND time_ns<?") || step.contains("received_ns>? AND received_ns<?");
                assert!(step.contains("SEARCH") && step.contains(index) && is_range, "{filter:?}\n{plan}");
            }
        }
    }

    #[test]
    fn every_filter_seeks_its_window_in_the_index_that_fits() {
        for device in [false, true] {
            for event_type in [false, true] {
                for criticality in [1, 5, 8] {
                    let filter = |basis| EventFilter {
                        event_type: event_type.then(|| EventType::new("Note").unwrap()),
                        ..filter(basis, device, criticality)
                    };
                    let happened = match (device, event_type, criticality) {
                        (_, _, 8) => "events_",
                        (true, true, _) => "events_by_",
                        (true, false, _) => "events_by_device",
                        (false, true, _) => "events_of_type",
                        (false, false, _) => "events_identity",
                    };
                    check(&filter(TimeBasis::Happened), &[happened]);
                    check(&filter(TimeBasis::Received), &["events_by_received"]);
                    check(&filter(TimeBasis::Either), &[happened, "events_by_received"]);
                }
            }
        }
        check(&filter(TimeBasis::Happened, false, 8), &["events_critical"]);
    }

    #[test]
    fn a_page_of_events_is_not_sorted_from_all_of_them() {
        let plan = plan_for_tests(&memory_for_tests(), &select_sql(&filter(TimeBasis::Happened, false, 1)));
        assert!(!plan.contains("TEMP B-TREE FOR ORDER BY"), "{plan}");
    }
}
