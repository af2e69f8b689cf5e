//! Headers of the dead letters in the stream, and filters over them. Any user that may publish there can write anything:
//! only the sequence, the time and the subject can be relied on.

use async_nats::HeaderMap;
use spindle_core::Timestamp;

use super::header;

/// One message of the stream of dead letters, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterHead {
    /// Sequence in the stream of dead letters, which identifies it to operators.
    pub sequence: u64,
    /// Time at which it was kept.
    pub kept_at: Timestamp,
    /// Reason: the second token of its subject. Any text, since other versions or users may have written it.
    pub reason: String,
    /// Details of the reason.
    pub detail: String,
    /// Subject of the original.
    pub subject: Option<String>,
    /// Stream of the original.
    pub stream: Option<String>,
    /// Sequence of the original in that stream.
    pub stream_sequence: Option<u64>,
    /// Index in the original's array; 0 if the original was not an array.
    pub index: Option<u64>,
    /// Time at which the original was published.
    pub published: Option<String>,
    /// Message id of the original.
    pub message_id: Option<String>,
    /// Part number, if several messages hold the dead letter.
    pub part: Option<Part>,
    /// Number of replays before it became this dead letter.
    pub n_replays: u32,
    /// Size of the original in this message, in bytes.
    pub size_bytes: u64,
    /// Key that the parts of one dead letter share with each other and with nothing else.
    pub(super) key: String,
}

/// Position among the messages that hold a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Number from 1 to `of`.
    pub number: usize,
    /// Total number of parts.
    pub of: usize,
}

/// Bound on the parts of a dead letter: the largest message that a server can be configured to take is 64 MiB.
const MAX_PARTS: usize = 1 << 18;

impl DeadLetterHead {
    pub(super) fn read(
        sequence: u64,
        kept_at: Timestamp,
        own_subject: &str,
        headers: Option<&HeaderMap>,
        size_bytes: u64,
    ) -> Self {
        let text = |name: &str| Some(headers?.get(name)?.as_str().to_owned());
        let number = |name: &str| text(name)?.parse::<u64>().ok();
        let part = text(header::PART).as_deref().and_then(Part::read);
        let own_id = text("Nats-Msg-Id").unwrap_or_default();
        // Each part's id ends in its number.
        let key = own_id.rsplit_once('-').map_or("", |(key, _)| key).to_owned();
        Self {
            sequence,
            kept_at,
            reason: own_subject.split('.').nth(1).unwrap_or_default().to_owned(),
            detail: text(header::DETAIL).unwrap_or_default(),
            subject: text(header::SUBJECT),
            stream: text(header::STREAM),
            stream_sequence: number(header::SEQUENCE),
            index: number(header::INDEX),
            published: text(header::PUBLISHED),
            message_id: text(header::MESSAGE_ID),
            part: part.filter(|_| !key.is_empty()),
            n_replays: number(header::REPLAYS).and_then(|n_replays| u32::try_from(n_replays).ok()).unwrap_or(0),
            size_bytes,
            key,
        }
    }

    /// Returns `true` if the other message holds a part of the same dead letter.
    pub(super) fn belongs_to(&self, other: &Self) -> bool {
        self.key == other.key && self.part.map(|part| part.of) == other.part.map(|part| part.of)
    }

    /// Returns the key that all parts of a dead letter share; `None` for a dead letter in one piece.
    pub fn parts_key(&self) -> Option<&str> {
        self.part.map(|_| self.key.as_str())
    }
}

impl Part {
    fn read(text: &str) -> Option<Self> {
        let (number, of) = text.split_once('/')?;
        let part = Self { number: number.parse().ok()?, of: of.parse().ok()? };
        (part.of <= MAX_PARTS && (1..=part.of).contains(&part.number)).then_some(part)
    }
}

/// Filter over dead letters. The default matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Reason, exactly as in the dead letter.
    pub reason: Option<String>,
    /// Subject of the original.
    pub subject: Option<String>,
    /// Earliest time of keeping, inclusive.
    pub since: Option<Timestamp>,
    /// Latest time of keeping, exclusive.
    pub until: Option<Timestamp>,
}

impl DeadLetterFilter {
    /// Returns `true` if the filter matches a dead letter.
    pub fn matches(&self, head: &DeadLetterHead) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        is(&self.reason, Some(&head.reason))
            && is(&self.subject, head.subject.as_deref())
            && self.since.is_none_or(|since| head.kept_at >= since)
            && self.until.is_none_or(|until| head.kept_at < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(subject: &str, headers: &[(&str, &str)]) -> DeadLetterHead {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        DeadLetterHead::read(7, Timestamp::from_ns(1), subject, Some(&map), 3)
    }

    #[test]
    fn what_others_leave_in_the_stream_is_read_without_trust() {
        let bare = DeadLetterHead::read(7, Timestamp::from_ns(1), "deadletter", None, 0);
        assert_eq!((bare.reason.as_str(), bare.subject, bare.part), ("", None, None));
        let id = ("Nats-Msg-Id", "a-1-2-0-1");
        for part in ["", "/", "0/2", "3/2", "1/0", "-1/2", "1/99999999999999999999", "1/300000", "x/y", "1"] {
            assert_eq!(read("deadletter.x", &[id, ("Spindle-Part", part)]).part, None, "{part}");
        }
        assert_eq!(read("deadletter.x", &[id, ("Spindle-Part", "1/2")]).part, Some(Part { number: 1, of: 2 }));
        let odd = read("deadletter.x.y", &[("Spindle-Sequence", "many"), ("Spindle-Replays", "99999999999")]);
        assert_eq!((odd.reason.as_str(), odd.stream_sequence, odd.n_replays), ("x", None, 0));
        assert_eq!(
            read("deadletter.x", &[("Spindle-Part", "1/2")]).part,
            None,
            "a part without an id belongs to nothing"
        );
    }

    #[test]
    fn a_filter_takes_what_fulfils_all_of_it() {
        let head = read("deadletter.bad_json", &[("Spindle-Subject", "events.event")]);
        let at = |ns| Some(Timestamp::from_ns(ns));
        let named = |text: &str| Some(text.to_owned());
        let all = DeadLetterFilter::default();
        let filters = [
            (all.clone(), true),
            (DeadLetterFilter { reason: named("bad_json"), subject: named("events.event"), ..all.clone() }, true),
            (DeadLetterFilter { reason: named("bad"), ..all.clone() }, false),
            (DeadLetterFilter { subject: named("events.metrics"), ..all.clone() }, false),
            (DeadLetterFilter { since: at(1), until: at(2), ..all.clone() }, true),
            (DeadLetterFilter { since: at(2), ..all.clone() }, false),
            (DeadLetterFilter { until: at(1), ..all.clone() }, false),
        ];
        for (filter, expected) in filters {
            assert_eq!(filter.matches(&head), expected, "{filter:?}");
        }
    }
}
