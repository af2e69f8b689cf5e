//! Failures on request: the path, the kind, the number of times.

use std::time::Duration;

use super::http::{Answer, Request};

/// Fault of requests to one path: by default once, and before anything is stored.
#[derive(Clone, Debug)]
pub struct Fault {
    path: String,
    holds: String,
    n_left: usize,
    pub(super) is_after: bool,
    pub(super) act: Act,
}

#[derive(Clone, Debug)]
pub(super) enum Act {
    Answer(Answer),
    Reset,
    Cut,
    Delay(Duration),
}

impl Fault {
    /// Responds with another status and body.
    pub fn answer(path: &str, status: u16, body: &str) -> Fault {
        Fault::new(path, Act::Answer(Answer::new(status, body)))
    }

    /// Resets the connection instead of responding.
    pub fn reset(path: &str) -> Fault {
        Fault::new(path, Act::Reset)
    }

    /// Closes the connection in the middle of the response's body.
    pub fn cut(path: &str) -> Fault {
        Fault { is_after: true, ..Fault::new(path, Act::Cut) }
    }

    /// Delays the right response.
    pub fn delay(path: &str, by: Duration) -> Fault {
        Fault::new(path, Act::Delay(by))
    }

    /// Adds a header to the other response.
    pub fn header(mut self, name: &str, value: &str) -> Fault {
        if let Act::Answer(answer) = &mut self.act {
            answer.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Applies the fault after the request has taken effect.
    pub fn after(mut self) -> Fault {
        self.is_after = true;
        self
    }

    /// Sets the number of times; `usize::MAX` for always.
    pub fn times(mut self, n_times: usize) -> Fault {
        self.n_left = n_times;
        self
    }

    /// Limits the fault to requests whose uncompressed body contains `text`.
    pub fn if_body_holds(mut self, text: &str) -> Fault {
        self.holds = text.to_owned();
        self
    }

    fn new(path: &str, act: Act) -> Fault {
        Fault { path: path.to_owned(), holds: String::new(), n_left: 1, is_after: false, act }
    }

    /// Returns true if the fault applies to this request, and counts it.
    pub(super) fn takes(&mut self, request: &Request) -> bool {
        let is_meant = self.n_left > 0 && request.path == self.path && request.text().contains(&self.holds);
        if is_meant {
            self.n_left -= 1;
        }
        is_meant
    }
}
