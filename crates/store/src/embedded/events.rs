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
    let condition = condition(filter);
    format!(
        "SELECT e.event_id, d.name, e.event_type, e.time_ns, e.received_ns, e.criticality, e.message, e.seq, e.labels
         FROM events e JOIN devices d ON d.id = e.device_id
         WHERE {condition}
         ORDER BY e.time_ns DESC, e.event_id DESC, d.name DESC, e.event_type DESC
         LIMIT :limit OFFSET :offset"
    )
}

fn count_sql(filter: &EventFilter) -> String {
    let condition = condition(filter);
    format!(
        "SELECT d.name, n FROM (SELECT e.device_id, count(*) AS n FROM events e WHERE {condition} GROUP BY e.device_id)
         JOIN devices d ON d.id = device_id ORDER BY d.name"
    )
}

/// Returns the filter as SQL. It contains only the conditions that restrict, so that SQLite can choose the best index.
fn condition(filter: &EventFilter) -> String {
    let happened = "e.time_ns >= :from AND e.time_ns < :until";
    let received = "e.received_ns >= :from AND e.received_ns < :until";
    let mut condition = match filter.basis {
        TimeBasis::Happened => happened.to_owned(),
        TimeBasis::Received => received.to_owned(),
        TimeBasis::Either => format!("(({happened}) OR ({received}))"),
    };
    if filter.source_device.is_some() {
        condition.push_str(" AND e.device_id = (SELECT id FROM devices WHERE name = :device)");
    }
    if filter.event_type.is_some() {
        condition.push_str(" AND e.event_type = :type");
    }
    if filter.min_criticality.level() > 1 {
        condition.push_str(" AND e.criticality >= :criticality");
    }
    if filter.min_criticality.level() >= INDEXED_CRITICALITY {
        // Redundant except to SQLite, which uses a partial index only for the literal condition of its definition.
        condition.push_str(" AND e.criticality >= 8");
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

    #[test]
    fn every_filter_seeks_in_the_index_that_fits() {
        let connection = memory_for_tests();
        let check = |filter: EventFilter, expect: &[&str]| {
            let sql = select_sql(&filter).replace(":limit", "10").replace(":offset", "0");
            for sql in [sql, count_sql(&filter)] {
                let plan = plan_for_tests(&connection, &sql);
                assert!(!plan.contains("SCAN e"), "{filter:?}\n{plan}");
                assert!(expect.iter().all(|index| plan.contains(index)), "{filter:?}\n{plan}");
            }
        };
        check(filter(TimeBasis::Happened, false, 1), &["events_identity"]);
        check(filter(TimeBasis::Happened, false, 8), &["events_critical"]);
        check(filter(TimeBasis::Happened, true, 1), &["events_by_device"]);
        check(filter(TimeBasis::Received, false, 1), &["events_by_received"]);
        check(filter(TimeBasis::Either, false, 1), &["events_identity", "events_by_received"]);
    }

    #[test]
    fn a_page_of_events_is_not_sorted_from_all_of_them() {
        let plan = plan_for_tests(&memory_for_tests(), &select_sql(&filter(TimeBasis::Happened, false, 1)));
        assert!(!plan.contains("TEMP B-TREE FOR ORDER BY"), "{plan}");
    }
}
