//! Replaying dead letters: the original bytes go to the original subject and pass the writer's checks again. A dead
//! letter leaves its stream only after JetStream has acknowledged them.
//!
//! A replay's message id is made of the dead letter's own sequence and time. So if a replay was interrupted between
//! publishing and removing, the stream drops its repetition as a duplicate (within the duplicate window; after it the
//! store recognizes the same value or event). A dead letter that comes back, because it is as bad as before, has a new
//! sequence: the next replay has a new id and is not dropped.

use async_nats::HeaderMap;

use super::head::DeadLetterHead;
use super::header;
use super::read::DeadLetter;
use crate::connect::Bus;
use crate::error::{BusError, BusErrorKind};
use crate::publish::{publish, publish_message};
use crate::streams::{EVENTS_STREAM, METRICS_STREAM};

/// Outcome of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// The message is in its stream again.
    Stored,
    /// The stream had the message already: an earlier replay was interrupted before the dead letter was removed.
    Duplicate,
}

/// Republishes dead letters to the streams that they came from.
#[derive(Clone, Debug)]
pub struct Replayer {
    bus: Bus,
    /// Streams with their subjects.
    subjects: Vec<(&'static str, Vec<String>)>,
}

impl Bus {
    /// Creates a replayer for the streams as they are now.
    ///
    /// # Errors
    /// Transient, if NATS does not answer; configuration, if a permission is missing.
    pub async fn replayer(&self) -> Result<Replayer, BusError> {
        let mut subjects = Vec::new();
        for name in [METRICS_STREAM, EVENTS_STREAM] {
            let stream = self.jetstream.get_stream(name).await;
            let stream = stream.map_err(|error| {
                self.denied.api_error(format!("look up stream {name}"), &format!("STREAM.INFO.{name}"), error)
            })?;
            subjects.push((name, stream.cached_info().config.subjects.clone()));
        }
        Ok(Replayer { bus: self.clone(), subjects })
    }
}

impl Replayer {
    /// Publishes a dead letter's original bytes to its original subject; returns once JetStream has them. The dead
    /// letter stays in its stream.
    ///
    /// # Errors
    /// Permanent, if it has no subject of ours or is larger than the server takes, else as any publish.
    pub async fn replay(&self, dead_letter: &DeadLetter) -> Result<Replayed, BusError> {
        let DeadLetter { head, bytes, .. } = dead_letter;
        let (stream, subject) = self.destination(head)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::REPLAYS, head.n_replays.saturating_add(1).to_string().as_str());
        headers.insert(async_nats::header::NATS_EXPECTED_STREAM, stream);
        let mut sent = publish(&self.bus, subject, &replay_id(dead_letter), headers, bytes.clone()).await;
        if sent.as_ref().is_err_and(|error| error.kind() == BusErrorKind::Permanent) {
            // The original filled its message completely, so there is no room for headers. Without an id only the store
            // recognizes a second replay, and the next dead letter does not count its replays.
            sent = publish_message(&self.bus, subject, HeaderMap::new(), bytes.clone()).await;
        }
        let is_duplicate = sent.map_err(|error| self.bus.denied.or("publish", &[subject], error))?;
        Ok(if is_duplicate { Replayed::Duplicate } else { Replayed::Stored })
    }

    /// Returns the stream and subject that a dead letter came from; nothing is ever published elsewhere.
    fn destination<'a>(&self, head: &'a DeadLetterHead) -> Result<(&'static str, &'a str), BusError> {
        let sequence = head.sequence;
        let refused =
            |problem: String| BusError::new(BusErrorKind::Permanent, format!("dead letter {sequence} {problem}"));
        let Some(subject) = head.subject.as_deref() else {
            return Err(refused("has no original subject: it was not written by Spindle".to_owned()));
        };
        let stream = self.subjects.iter().find(|(_, subjects)| subjects.iter().any(|taken| takes(taken, subject)));
        match stream {
            Some((stream, _)) => Ok((stream, subject)),
            None => Err(refused(format!(
                "came from '{subject}', which neither {METRICS_STREAM} nor {EVENTS_STREAM} takes: add the subject to its stream, or drop the dead letter"
            ))),
        }
    }
}

fn replay_id(dead_letter: &DeadLetter) -> String {
    let head = &dead_letter.head;
    match (dead_letter.sequences.first(), head.parts_key()) {
        // The same for every part that can be requested.
        (Some(first), Some(key)) => format!("replay-{first}-{key}"),
        _ => format!("replay-{}-{}", head.sequence, head.kept_at.as_ns()),
    }
}

/// Returns `true` if a stream's subject, with its wildcards, takes a subject. The latter must not contain wildcards or
/// be one of the server's own.
fn takes(taken: &str, subject: &str) -> bool {
    if subject.starts_with('$')
        || subject.split('.').any(|token| ["", "*", ">"].contains(&token) || token.contains(char::is_whitespace))
    {
        return false;
    }
    let mut tokens = subject.split('.');
    for pattern in taken.split('.') {
        match (pattern, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (pattern, Some(token)) if pattern == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_taken_as_the_server_takes_it() {
        let cases = [
            ("events.metrics", "events.metrics", true),
            ("events.metrics", "events.metrics.x", false),
            ("events.metrics", "events", false),
            ("events.*", "events.metrics", true),
            ("events.*", "events.metrics.x", false),
            ("events.>", "events.metrics.x", true),
            ("events.>", "events", false),
            (">", "$JS.API.STREAM.DELETE.METRICS", false),
            ("events.*", "events.*", false),
            ("events.*", "events.>", false),
            ("events.*", "events.", false),
            ("events.*", "events.a b", false),
            ("events.*", "", false),
        ];
        for (taken, subject, expected) in cases {
            assert_eq!(takes(taken, subject), expected, "{taken} {subject}");
        }
    }
}
