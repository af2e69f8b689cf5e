//! Cached device: its id, its labels and the ids of its series. Valid as long as no other connection writes and nothing
//! is removed (see `insert`, which owns the cache).

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};
use spindle_core::{DeviceName, Labels, MetricType};

use super::error::EmbeddedError;

/// Device and those of its series that have been looked up.
#[derive(Debug)]
pub(super) struct CachedDevice {
    pub(super) id: i64,
    labels: Labels,
    series: HashMap<MetricType, i64>,
}

impl CachedDevice {
    /// Reads a device, created if absent.
    pub(super) fn find_or_create(connection: &Connection, name: &DeviceName) -> Result<Self, EmbeddedError> {
        let found = connection
            .prepare_cached("SELECT id, labels FROM devices WHERE name = ?1")?
            .query_row([name.as_str()], |row| Ok((row.get(0)?, labels_from_sql(row, 1)?)))
            .optional()?;
        let (id, labels) = match found {
            Some(found) => found,
            None => {
                connection
                    .prepare_cached("INSERT INTO devices (name, labels) VALUES (?1, '{}')")?
                    .execute([name.as_str()])?;
                (connection.last_insert_rowid(), Labels::new())
            }
        };
        Ok(Self { id, labels, series: HashMap::new() })
    }

    /// Returns the id of one of its series, created if absent.
    pub(super) fn series_id(
        &mut self,
        connection: &Connection,
        metric_type: &MetricType,
    ) -> Result<i64, EmbeddedError> {
        if let Some(id) = self.series.get(metric_type) {
            return Ok(*id);
        }
        let found = connection
            .prepare_cached("SELECT id FROM series WHERE device_id = ?1 AND metric_type = ?2")?
            .query_row(params![self.id, metric_type.as_str()], |row| row.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => {
                connection
                    .prepare_cached("INSERT INTO series (device_id, metric_type) VALUES (?1, ?2)")?
                    .execute(params![self.id, metric_type.as_str()])?;
                connection.last_insert_rowid()
            }
        };
        self.series.insert(metric_type.clone(), id);
        Ok(id)
    }

    /// Merges labels; writes the device only if one is new or has another value.
    pub(super) fn merge(&mut self, connection: &Connection, labels: Option<&Labels>) -> Result<(), EmbeddedError> {
        let mut changed = false;
        for (key, value) in labels.into_iter().flatten() {
            if self.labels.get(key) != Some(value) {
                self.labels.insert(key.clone(), value.clone());
                changed = true;
            }
        }
        if changed {
            connection
                .prepare_cached("UPDATE devices SET labels = ?2 WHERE id = ?1")?
                .execute(params![self.id, labels_to_sql(&self.labels)])?;
        }
        Ok(())
    }
}

/// Converts labels to a column.
pub(super) fn labels_to_sql(labels: &Labels) -> String {
    serde_json::to_string(labels).expect("a map of texts is always JSON")
}

/// Reads labels from a column that is not null.
pub(super) fn labels_from_sql(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Labels> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}
