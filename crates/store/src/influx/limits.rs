//! Series that a limit of the server keeps out (`max-values-per-tag`, `max-series-per-database`, the tables of version
//! 3). They are remembered for some seconds, so that their points are set aside without a request and cost the others
//! nothing; then one request tries them again.

use std::collections::HashMap;

use spindle_core::Timestamp;

/// Time until a series is tried again. An operator who raised a limit waits no longer than that, and a redelivery.
const RETRY_NS: i64 = 5_000_000_000;
/// Beyond that all are forgotten, and found again.
const MAX_REMEMBERED: usize = 100_000;

/// Series kept out, with the time of the refusal in nanoseconds and the server's message.
#[derive(Debug, Default)]
pub(super) struct LimitedSeries(HashMap<String, (i64, String)>);

/// State of a series.
#[derive(Debug, PartialEq)]
pub(super) enum SeriesState {
    /// Nothing speaks against it.
    Open,
    /// Kept out a moment ago, with the server's message.
    Limited(String),
    /// Kept out, long enough ago to try again.
    Due,
}

impl LimitedSeries {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn state(&self, line: &str, now: Timestamp) -> SeriesState {
        match self.0.get(series(line)) {
            None => SeriesState::Open,
            // A clock that was set back must not keep a series out forever.
            Some((at, message)) if now.as_ns().abs_diff(*at) < RETRY_NS.unsigned_abs() => {
                SeriesState::Limited(message.clone())
            }
            Some(_) => SeriesState::Due,
        }
    }

    pub(super) fn add(&mut self, line: &str, message: &str, now: Timestamp) {
        if self.0.len() >= MAX_REMEMBERED {
            self.0.clear();
        }
        self.0.insert(series(line).to_owned(), (now.as_ns(), message.to_owned()));
    }

    /// Forgets a series that was stored.
    pub(super) fn remove(&mut self, line: &str) {
        self.0.remove(series(line));
    }
}

/// Returns measurement and tags of a line: everything before the first space that no backslash precedes.
pub(super) fn series(line: &str) -> &str {
    let mut is_escaped = false;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b' ' if !is_escaped => return &line[..at],
            b'\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_tried_again_after_a_while() {
        let at = |seconds| Timestamp::from_seconds(seconds);
        let mut limited = LimitedSeries::default();
        let line = r#"m,source_device=a\ b\,c value=1,text="x y" 17"#;
        assert_eq!(series(line), r"m,source_device=a\ b\,c");
        assert_eq!(limited.state(line, at(100)), SeriesState::Open);
        limited.add(line, "full", at(100));
        assert_eq!(limited.state(line, at(104)), SeriesState::Limited("full".to_owned()));
        for now in [105, 94, 1_000] {
            assert_eq!(limited.state(line, at(now)), SeriesState::Due, "{now}");
        }
        assert_eq!(limited.state("m,source_device=a value=1 17", at(104)), SeriesState::Open);
        limited.remove(line);
        assert!(limited.is_empty());
    }
}
