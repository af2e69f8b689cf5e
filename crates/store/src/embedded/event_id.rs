//! An event's id as a cell: 16 bytes for a UUID in its usual spelling, otherwise text.

use rusqlite::Row;
use rusqlite::types::{FromSqlError, Type, Value, ValueRef};
use spindle_core::EventId;
use uuid::Uuid;

pub(super) fn to_sql(id: &EventId) -> Value {
    match id.as_uuid() {
        Some(uuid) => Value::Blob(uuid.as_bytes().to_vec()),
        None => Value::Text(id.text().into_owned()),
    }
}

pub(super) fn from_sql(row: &Row<'_>, column: usize) -> rusqlite::Result<EventId> {
    let broken = |data_type, error| rusqlite::Error::FromSqlConversionFailure(column, data_type, error);
    match row.get_ref(column)? {
        ValueRef::Text(text) => std::str::from_utf8(text)
            .map_err(|error| broken(Type::Text, Box::new(error)))
            .and_then(|text| EventId::new(text).map_err(|error| broken(Type::Text, Box::new(error)))),
        ValueRef::Blob(bytes) => {
            Uuid::from_slice(bytes).map(EventId::from).map_err(|error| broken(Type::Blob, Box::new(error)))
        }
        other => Err(broken(other.data_type(), Box::new(FromSqlError::InvalidType))),
    }
}
