//! Series that a limit of the server keeps out (`max-values-per-tag`, `max-series-per-database`, the tables of version
//! 3). They are remembered for some seconds, so that their points are set aside without a request and cost the others
//! nothing; then one request tries them again.

use spindle_core::Timestamp;

use crate::remembered::{Key, Remembered};

/// Time until a series is tried again. An operator who raised a limit waits no longer than that, and a redelivery.
const RETRY_NS: i64 = 5_000_000_000;
/// Beyond 114,688 series some are forgotten, and found again.
const N_SLOTS: usize = 1 << 17;
/// Texts of different limits that are remembered; there are four at most.
const MAX_TEXTS: usize = 8;
/// Parts of a message from which on it is about a single series or request.
const DETAILS: [&str; 2] = [": measurement=", " dropped="];

/// Time of the refusal in nanoseconds, and index of its text.
type KeptOut = (i64, usize);

/// Series kept out, with the server's messages.
#[derive(Debug)]
pub(super) struct LimitedSeries {
    kept_out: Remembered<KeptOut>,
    texts: Vec<String>,
}

impl Default for LimitedSeries {
    fn default() -> Self {
        Self { kept_out: Remembered::new(N_SLOTS), texts: Vec::new() }
    }
}

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
        self.kept_out.is_empty()
    }

    pub(super) fn state(&self, line: &str, now: Timestamp) -> SeriesState {
        match self.kept_out.get(self.key(line)) {
            None => SeriesState::Open,
            // A clock that was set back must not keep a series out forever.
            Some((at, text)) if now.as_ns().abs_diff(*at) < RETRY_NS.unsigned_abs() => {
                SeriesState::Limited(self.texts.get(*text).cloned().unwrap_or_default())
            }
            Some(_) => SeriesState::Due,
        }
    }

    pub(super) fn add(&mut self, line: &str, message: &str, now: Timestamp) {
        let text = self.index_of(without_details(message));
        let key = self.key(line);
        self.kept_out.insert(key, (now.as_ns(), text));
    }

    /// Forgets a series that was stored.
    pub(super) fn remove(&mut self, line: &str) {
        let key = self.key(line);
        self.kept_out.remove(key);
    }

    fn key(&self, line: &str) -> Key {
        self.kept_out.key(&series(line))
    }

    fn index_of(&mut self, text: &str) -> usize {
        if let Some(index) = self.texts.iter().position(|known| known == text) {
            return index;
        }
        if self.texts.len() >= MAX_TEXTS {
            self.texts.pop();
        }
        self.texts.push(text.to_owned());
        self.texts.len() - 1
    }
}

/// Returns the part of a message that is the same for all series that a limit keeps out.
fn without_details(message: &str) -> &str {
    let end = DETAILS.iter().filter_map(|detail| message.find(detail)).min();
    &message[..end.unwrap_or(message.len())]
}

#[cfg(test)]
pub(super) fn max_bytes() -> usize {
    Remembered::<KeptOut>::max_bytes(N_SLOTS)
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

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_series_is_tried_again_after_a_while() {
        let mut limited = LimitedSeries::default();
        let line = r#"m,source_device=a\ b\,c value=1,text="x y" 17"#;
        assert_eq!(series(line), r"m,source_device=a\ b\,c");
        assert_eq!(limited.state(line, at(100)), SeriesState::Open);
        limited.add(line, "full (5/5): measurement=\"m\" tag=\"source_device\" value=\"a b,c\" dropped=1", at(100));
        assert_eq!(limited.state(line, at(104)), SeriesState::Limited("full (5/5)".to_owned()));
        for now in [105, 94, 1_000] {
            assert_eq!(limited.state(line, at(now)), SeriesState::Due, "{now}");
        }
        assert_eq!(limited.state("m,source_device=a value=1 17", at(104)), SeriesState::Open);
        limited.remove(line);
        assert!(limited.is_empty());
    }

    #[test]
    fn each_series_has_the_message_of_its_own_limit() {
        let mut limited = LimitedSeries::default();
        for number in 0..100 {
            limited.add(&format!("m,d={number} v=1 1"), &format!("limit {} dropped={number}", number % 3), at(0));
        }
        assert_eq!(limited.state("m,d=7 v=1 1", at(1)), SeriesState::Limited("limit 1".to_owned()));
        assert_eq!(limited.texts.len(), 3);
        for number in 0..100 {
            limited.add("m v=1 1", &format!("text {number}"), at(0));
        }
        assert_eq!(limited.state("m v=1 1", at(1)), SeriesState::Limited("text 99".to_owned()));
        assert_eq!(limited.texts.len(), MAX_TEXTS);
    }
}
