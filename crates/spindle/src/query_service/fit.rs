//! Response JSON of bounded size. A list that is too long for one message is shortened, and its `next` leads to
//! the rest.

use std::io::{self, Write};

use serde::Serialize;
use spindle_core::response::{Data, Response};

/// A list that can be cut to its first rows.
pub(super) trait Page {
    /// Returns the bytes that each row adds to the JSON, with the comma before it.
    fn row_bytes(&self) -> Vec<usize>;
    /// Keeps the first `n_rows`, of which there is at least one, and adjusts what [`Self::frame_bytes`] counts.
    fn truncate(&mut self, n_rows: usize);
    /// Returns the bytes of those parts beside the rows that change when the list is cut.
    fn frame_bytes(&self) -> usize;
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
        Response::Success(Data::DeviceHealth { .. } | Data::AnomalyTemperature { .. } | Data::Series { .. })
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
