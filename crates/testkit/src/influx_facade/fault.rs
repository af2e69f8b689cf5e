//! What goes wrong, where and how often, as a test says it.

use std::time::Duration;

use super::http::{Answer, Request};

/// Something that goes wrong with requests to one path: by default once, and before anything is stored.
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
    /// Another answer.
    pub fn answer(path: &str, status: u16, body: &str) -> Fault {
        Fault::new(path, Act::Answer(Answer::new(status, body)))
    }

    /// The connection is reset instead of an answer.
    pub fn reset(path: &str) -> Fault {
        Fault::new(path, Act::Reset)
    }

    /// The connection ends in the middle of the answer's body.
    pub fn cut(path: &str) -> Fault {
        Fault { is_after: true, ..Fault::new(path, Act::Cut) }
    }

    /// The right answer, later.
    pub fn delay(path: &str, by: Duration) -> Fault {
        Fault::new(path, Act::Delay(by))
    }

    /// A header of the other answer.
    pub fn header(mut self, name: &str, value: &str) -> Fault {
        if let Act::Answer(answer) = &mut self.act {
            answer.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// It happens when the request has had its effect.
    pub fn after(mut self) -> Fault {
        self.is_after = true;
        self
    }

    /// How often; `usize::MAX` for always.
    pub fn times(mut self, n_times: usize) -> Fault {
        self.n_left = n_times;
        self
    }

    /// Only if the body, unpacked, holds this.
    pub fn if_body_holds(mut self, text: &str) -> Fault {
        self.holds = text.to_owned();
        self
    }

    fn new(path: &str, act: Act) -> Fault {
        Fault { path: path.to_owned(), holds: String::new(), n_left: 1, is_after: false, act }
    }

    /// Whether it happens to this request; then once less later.
    pub(super) fn takes(&mut self, request: &Request) -> bool {
        let is_meant = self.n_left > 0 && request.path == self.path && request.text().contains(&self.holds);
        if is_meant {
            self.n_left -= 1;
        }
        is_meant
    }
}
