//! Clock of the server, from the `Date` of its responses: by that clock it applies its retention.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use reqwest::header::{DATE, HeaderMap};
use spindle_core::Timestamp;

/// Time of the last response and the instant of its arrival; `None` before the first.
#[derive(Debug, Default)]
pub(super) struct ServerClock(Mutex<Option<(Timestamp, Instant)>>);

impl ServerClock {
    /// Takes in the headers of a response. One without a date changes nothing.
    pub(super) fn note(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok()).and_then(Timestamp::parse_http_date);
        if let Some(date) = date {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((date, Instant::now()));
        }
    }

    /// Returns the time on the server's clock, exact to a second; `None` if it has reported none.
    pub(super) fn now(&self) -> Option<Timestamp> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|(date, at)| date.plus(at.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_a_response_counts() {
        let clock = ServerClock::default();
        assert_eq!(clock.now(), None);
        let note = |date: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, date.parse().unwrap());
            clock.note(&headers);
        };
        note("Sun, 06 Nov 1994 08:49:37 GMT");
        let date = Timestamp::parse("1994-11-06T08:49:37Z").unwrap();
        assert!((0.0..60.0).contains(&clock.now().unwrap().seconds_since(date)));
        for other in ["", "yesterday", "Sun, 31 Feb 1994 08:49:37 GMT"] {
            note(other);
            clock.note(&HeaderMap::new());
            assert!((0.0..60.0).contains(&clock.now().unwrap().seconds_since(date)), "{other}");
        }
    }
}
