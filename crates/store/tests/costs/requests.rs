//! Counts the rows that a store reads.

use spindle_testkit::InfluxFacade;

use crate::{n_rows, texts_of};

/// Runs the queries of the facade's record from `start` once more; returns the rows of all responses, and of the
/// largest.
pub(crate) fn rows_read(facade: &InfluxFacade, start: usize) -> (usize, usize) {
    let rows: Vec<usize> = texts_of(facade, start).iter().map(|text| n_rows(facade, text)).collect();
    (rows.iter().sum(), rows.iter().copied().max().unwrap_or(0))
}
