//! Devices, series and labels that have been looked up, to save a look-up per value. Valid as long as no other
//! connection writes and nothing is removed (see `insert`, which owns them).

use rusqlite::{Connection, OptionalExtension, params};
use spindle_core::{DeviceName, Labels, MetricType};

use super::error::EmbeddedError;
use crate::remembered::{Key, Remembered};

/// Enough for 229,376 devices.
const DEVICE_SLOTS: usize = 1 << 18;
/// Enough for 20,000 devices with 22 metrics and labels each.
const SERIES_SLOTS: usize = 1 << 19;
const LABEL_SLOTS: usize = 1 << 19;

/// Ids of devices by name and of series by device and metric type; values of labels by device and key.
#[derive(Debug)]
pub(super) struct KnownDevices {
    devices: Remembered<i64>,
    series: Remembered<i64>,
    labels: Remembered<Key>,
}

impl Default for KnownDevices {
    fn default() -> Self {
        Self {
            devices: Remembered::new(DEVICE_SLOTS),
            series: Remembered::new(SERIES_SLOTS),
            labels: Remembered::new(LABEL_SLOTS),
        }
    }
}

impl KnownDevices {
    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.devices.clear();
        self.series.clear();
        self.labels.clear();
    }

    /// Returns the id of a device, created if absent.
    pub(super) fn device_id(&mut self, connection: &Connection, name: &DeviceName) -> Result<i64, EmbeddedError> {
        let key = self.devices.key(&name.as_str());
        if let Some(id) = self.devices.get(key) {
            return Ok(*id);
        }
        let found = connection
            .prepare_cached("SELECT id FROM devices WHERE name = ?1")?
            .query_row([name.as_str()], |row| row.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => {
                connection
                    .prepare_cached("INSERT INTO devices (name, labels) VALUES (?1, '{}')")?
                    .execute([name.as_str()])?;
                connection.last_insert_rowid()
            }
        };
        self.devices.insert(key, id);
        Ok(id)
    }

    /// Returns the id of one of a device's series, created if absent.
    pub(super) fn series_id(
        &mut self,
        connection: &Connection,
        device_id: i64,
        metric_type: &MetricType,
    ) -> Result<i64, EmbeddedError> {
        let key = self.series.key(&(device_id, metric_type.as_str()));
        if let Some(id) = self.series.get(key) {
            return Ok(*id);
        }
        let found = connection
            .prepare_cached("SELECT id FROM series WHERE device_id = ?1 AND metric_type = ?2")?
            .query_row(params![device_id, metric_type.as_str()], |row| row.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => {
                connection
                    .prepare_cached("INSERT INTO series (device_id, metric_type) VALUES (?1, ?2)")?
                    .execute(params![device_id, metric_type.as_str()])?;
                connection.last_insert_rowid()
            }
        };
        self.series.insert(key, id);
        Ok(id)
    }

    /// Merges labels into those of a device; writes the device only if one is new or has another value.
    pub(super) fn merge_labels(
        &mut self,
        connection: &Connection,
        device_id: i64,
        labels: Option<&Labels>,
    ) -> Result<(), EmbeddedError> {
        let Some(labels) = labels else { return Ok(()) };
        let entry = |(key, value)| (self.labels.key(&(device_id, key)), self.labels.key(&value));
        let entries: Vec<(Key, Key)> = labels.iter().map(entry).collect();
        if entries.iter().all(|(key, value)| self.labels.get(*key) == Some(value)) {
            return Ok(());
        }
        let mut stored = connection
            .prepare_cached("SELECT labels FROM devices WHERE id = ?1")?
            .query_row([device_id], |row| labels_from_sql(row, 0))?;
        let mut has_changed = false;
        for (key, value) in labels {
            if stored.get(key) != Some(value) {
                stored.insert(key.clone(), value.clone());
                has_changed = true;
            }
        }
        if has_changed {
            connection
                .prepare_cached("UPDATE devices SET labels = ?2 WHERE id = ?1")?
                .execute(params![device_id, labels_to_sql(&stored)])?;
        }
        for (key, value) in entries {
            self.labels.insert(key, value);
        }
        Ok(())
    }

    /// Returns the most bytes that the tables take.
    #[cfg(test)]
    pub(super) fn max_bytes() -> usize {
        Remembered::<i64>::max_bytes(DEVICE_SLOTS + SERIES_SLOTS) + Remembered::<Key>::max_bytes(LABEL_SLOTS)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caches_of_a_writer_stay_small() {
        let all = KnownDevices::max_bytes() + crate::known_arrivals::max_bytes();
        assert!(all <= 48 << 20, "{all}");
    }
}
