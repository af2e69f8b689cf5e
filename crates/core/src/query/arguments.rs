//! Typed access to the parameters of one query: each is looked up in the table, checked and defaulted.

use std::time::Duration;

use serde_json::{Map, Value};

use super::error::QueryError;
use super::table::{Param, ParamKind, QueryType};
use crate::name::DeviceName;
use crate::records::Window;
use crate::timestamp::{Timestamp, shorten};

/// Parameters of one query, read by name.
pub(super) struct Arguments<'a> {
    pub(super) query_type: &'static QueryType,
    pub(super) params: &'a Map<String, Value>,
    pub(super) now: Timestamp,
}

impl Arguments<'_> {
    pub(super) fn refuse_unknown(&self) -> Result<(), QueryError> {
        for name in self.params.keys() {
            if !self.has(name) {
                let expected: Vec<_> = self.query_type.params.iter().map(|param| param.name).collect();
                return Err(QueryError::UnknownParam {
                    query_type: self.query_type.name,
                    param: shorten(name),
                    expected: expected.join(", "),
                });
            }
        }
        Ok(())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.query_type.params.iter().any(|param| param.name == name)
    }

    /// Returns the table's row. A name without a row is a bug that every test of the query type hits.
    fn row(&self, name: &str) -> &'static Param {
        self.query_type.params.iter().find(|param| param.name == name).unwrap_or(&self.query_type.params[0])
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.params.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn bad(&self, name: &str, found: &str, expected: String) -> QueryError {
        QueryError::BadParam {
            query_type: self.query_type.name,
            param: self.row(name).name,
            found: shorten(found),
            expected,
        }
    }

    /// Returns the error of a value that is not what the table describes.
    pub(super) fn unexpected(&self, name: &str, found: &str) -> QueryError {
        self.bad(name, found, self.row(name).expected())
    }

    fn wrong(&self, name: &str, found: &Value) -> QueryError {
        self.bad(name, &found.to_string(), self.row(name).expected())
    }

    pub(super) fn integer(&self, name: &str, default: i64) -> Result<i64, QueryError> {
        let Some(value) = self.value(name) else { return Ok(default) };
        match (value.as_i64(), self.row(name).kind) {
            (Some(number), ParamKind::Integer(min, max)) if (min..=max).contains(&number) => Ok(number),
            _ => Err(self.wrong(name, value)),
        }
    }

    pub(super) fn number(&self, name: &str, default: f64) -> Result<f64, QueryError> {
        let Some(value) = self.value(name) else { return Ok(default) };
        match (value.as_f64(), self.row(name).kind) {
            (Some(number), ParamKind::Number(min, max)) if (min..=max).contains(&number) => Ok(number),
            _ => Err(self.wrong(name, value)),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, QueryError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match (value.as_str(), self.row(name).kind) {
            (Some(word), ParamKind::Choice(words)) if !words.contains(&word) => Err(self.wrong(name, value)),
            (Some(word), _) => Ok(Some(word)),
            (None, _) => Err(self.wrong(name, value)),
        }
    }

    pub(super) fn name<T, E: std::fmt::Display>(
        &self,
        name: &str,
        new: fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, QueryError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        if text.is_empty() {
            return Err(self.unexpected(name, "empty"));
        }
        new(text).map(Some).map_err(|error| self.bad(name, text, format!("a name, but it {error}")))
    }

    /// Returns names without repetition, in their order.
    pub(super) fn names<T: PartialEq, E: std::fmt::Display>(
        &self,
        name: &str,
        new: fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, QueryError> {
        let Some(text) = self.text(name)? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let found = new(part).map_err(|error| self.bad(name, part, format!("a name, but it {error}")))?;
            if !names.contains(&found) {
                names.push(found);
            }
        }
        match self.row(name).kind {
            ParamKind::Names(most) if (1..=most).contains(&names.len()) => Ok(names),
            _ => Err(self.unexpected(name, &format!("{} names", names.len()))),
        }
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, QueryError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        Timestamp::parse(text).map(Some).map_err(|_| self.unexpected(name, text))
    }

    pub(super) fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, QueryError> {
        value.ok_or_else(|| QueryError::MissingParam {
            query_type: self.query_type.name,
            param: self.row(name).name,
            expected: self.row(name).expected(),
        })
    }

    pub(super) fn device(&self) -> Result<DeviceName, QueryError> {
        self.required("source_device", self.name("source_device", DeviceName::new)?)
    }

    pub(super) fn window_minutes(&self, default: i64) -> Result<Window, QueryError> {
        let until = self.time("at")?.unwrap_or(self.now);
        Ok(Window::ending_at(just_after(until), minutes(self.integer("window_minutes", default)?)))
    }

    pub(super) fn since_minutes(&self, default: i64) -> Result<Window, QueryError> {
        self.since_minutes_before(just_after(self.now), default)
    }

    /// Returns the requested window, which ends at `end` by default.
    pub(super) fn since_minutes_before(&self, end: Timestamp, default: i64) -> Result<Window, QueryError> {
        let until = self.time("until")?.unwrap_or(end);
        let length = minutes(self.integer("since_minutes", default)?);
        let from = self.time("from")?.unwrap_or_else(|| until.minus(length));
        if from >= until {
            return Err(self.bad("from", &from.to_string(), format!("a time before until ({until})")));
        }
        Ok(Window { from, until })
    }
}

/// Returns the end of a window that includes `instant`: windows exclude their end.
fn just_after(instant: Timestamp) -> Timestamp {
    instant.plus(Duration::from_nanos(1))
}

fn minutes(count: i64) -> Duration {
    Duration::from_secs(count.unsigned_abs() * 60)
}
