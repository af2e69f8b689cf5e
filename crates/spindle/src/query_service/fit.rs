//! Response JSON of bounded size. A list that is too long for one message is shortened, and its `next` leads to
//! the rest.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use spindle_core::response::{Basis, Data, Response};

/// Parameters that request the next page.
pub(super) type Next = Option<BTreeMap<&'static str, Value>>;

/// A list that can be shortened.
pub(super) trait Page {
    /// Returns the bytes that each row adds to the JSON, with the comma before it.
    fn row_bytes(&self) -> Vec<usize>;
    /// Keeps the first `n_rows`, of which there is at least one, and adjusts what [`Self::frame_bytes`] counts.
    fn truncate(&mut self, n_rows: usize);
    /// Returns the bytes of those parts beside the rows that change when the list is cut.
    fn frame_bytes(&self) -> usize;
}

/// A list of which the first rows are kept.
pub(super) trait FirstRows {
    type Row: Serialize;

    fn parts(&self) -> (&[Self::Row], &Next, &Basis);
    fn parts_mut(&mut self) -> (&mut Vec<Self::Row>, &mut Next, &mut Basis);
    /// Returns the parameters of the page after these rows.
    fn following(&self) -> Next;
    /// Returns the number of points of these rows, if the basis counts those alone.
    fn n_points(&self) -> Option<u64> {
        None
    }
}

/// Implements the access of [`FirstRows`] to the fields `data`, `next` and `basis`.
macro_rules! rows_in_data {
    ($row:ty) => {
        type Row = $row;

        fn parts(&self) -> (&[$row], &$crate::query_service::fit::Next, &spindle_core::response::Basis) {
            (&self.data, &self.next, &self.basis)
        }

        fn parts_mut(
            &mut self,
        ) -> (&mut Vec<$row>, &mut $crate::query_service::fit::Next, &mut spindle_core::response::Basis) {
            (&mut self.data, &mut self.next, &mut self.basis)
        }
    };
}
pub(super) use rows_in_data;

impl<List: FirstRows> Page for List {
    fn row_bytes(&self) -> Vec<usize> {
        bytes_of_rows(self.parts().0.iter())
    }

    fn truncate(&mut self, n_rows: usize) {
        self.parts_mut().0.truncate(n_rows);
        let (following, n_points) = (self.following(), self.n_points());
        let (_, next, basis) = self.parts_mut();
        *next = following;
        basis.n_points = n_points.unwrap_or(basis.n_points);
    }

    fn frame_bytes(&self) -> usize {
        let (_, next, basis) = self.parts();
        json_bytes(next) + json_bytes(basis)
    }
}

/// Returns the first page of a list of all rows up to one beyond the limit at least, which shows that there are more.
pub(super) fn page_of<List: FirstRows>(mut list: List, limit: usize) -> List {
    if list.parts().0.len() > limit {
        list.truncate(limit);
    }
    list
}

/// Serialises a successful response. A list that exceeds `max_bytes` is halved until it fits.
///
/// # Errors
/// The size of the shortest response, if that does not fit either.
pub(super) fn to_json_within(data: Data, max_bytes: usize) -> Result<Vec<u8>, usize> {
    let mut response = Response::Success(data);
    let json = to_json(&response);
    if json.len() <= max_bytes {
        return Ok(json);
    }
    match &mut response {
        Response::Success(Data::AlertsCritical(page) | Data::Events(page)) => halve(page, json.len(), max_bytes),
        Response::Success(Data::Devices(page)) => halve(page, json.len(), max_bytes),
        Response::Success(Data::AuditGaps(page)) => halve(page, json.len(), max_bytes),
        Response::Success(Data::FleetHealth(page)) => halve(&mut **page, json.len(), max_bytes),
        Response::Success(Data::Incidents(page)) => halve(page, json.len(), max_bytes),
        Response::Success(Data::HealthHistory(page)) => halve(page, json.len(), max_bytes),
        Response::Success(Data::Anomalies(page)) => halve(page, json.len(), max_bytes),
        Response::Success(
            Data::Fleet(_)
            | Data::FleetHistory { .. }
            | Data::FleetSeries { .. }
            | Data::Pipeline { .. }
            | Data::DeviceHealth { .. }
            | Data::AnomalyTemperature { .. }
            | Data::Series { .. },
        )
        | Response::Error { .. } => Err(json.len()),
    }?;
    Ok(to_json(&response))
}

/// Halves a page of `n_bytes` until it fits. Each row is measured once, not with every attempt.
fn halve(page: &mut impl Page, mut n_bytes: usize, max_bytes: usize) -> Result<(), usize> {
    let row_bytes = page.row_bytes();
    let mut n_rows = row_bytes.len();
    while n_bytes > max_bytes {
        let n_kept = n_rows / 2;
        if n_kept == 0 {
            return Err(n_bytes);
        }
        n_bytes -= row_bytes[n_kept..n_rows].iter().sum::<usize>() + page.frame_bytes();
        page.truncate(n_kept);
        n_bytes += page.frame_bytes();
        n_rows = n_kept;
    }
    Ok(())
}

/// Returns the bytes that each row of a JSON array adds, with the comma before all but the first.
pub(super) fn bytes_of_rows<'a, Row: Serialize + 'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<usize> {
    rows.enumerate().map(|(index, row)| json_bytes(row) + usize::from(index > 0)).collect()
}

/// Returns the length of a value as JSON.
pub(super) fn json_bytes(value: &impl Serialize) -> usize {
    let mut counter = ByteCounter(0);
    serde_json::to_writer(&mut counter, value).expect(ALWAYS_JSON);
    counter.0
}

/// Serialises a response.
pub(super) fn to_json(response: &Response) -> Vec<u8> {
    serde_json::to_vec(response).expect(ALWAYS_JSON)
}

const ALWAYS_JSON: &str = "responses have string keys only, which JSON can always express";

struct ByteCounter(usize);

impl Write for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
