//! A letter as it lies in the stream, read from its headers. Whoever may publish there can leave
//! something odd: nothing is taken for granted but the sequence, the time and the subject.

use async_nats::HeaderMap;
use spindle_core::Timestamp;

use super::header;

/// One message of the stream of dead letters, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterHead {
    /// Its sequence in the stream of dead letters; what people name it by.
    pub sequence: u64,
    /// When it was kept.
    pub kept_at: Timestamp,
    /// Why: the second token of its subject.
    pub reason: String,
    /// Why, in words.
    pub detail: String,
    /// The subject that the original was published to.
    pub subject: Option<String>,
    /// The stream that the original lay in.
    pub stream: Option<String>,
    /// The original's sequence in that stream.
    pub stream_sequence: Option<u64>,
    /// Its place in the original's array; 0 if that was no array.
    pub index: Option<u64>,
    /// When the original was published.
    pub published: Option<String>,
    /// The id that the original's publisher gave it.
    pub message_id: Option<String>,
    /// Which part of the letter it is, if that lies in several messages.
    pub part: Option<Part>,
    /// How often it was replayed before it became this letter.
    pub n_replays: u32,
    /// Bytes of the original in this message.
    pub size_bytes: u64,
    /// What the parts of one letter have in common, and nothing else has.
    pub(super) key: String,
}

/// One of several messages that hold a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 1 to `of`.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

/// No letter of ours has more: the largest message that a server can be set to take is 64 MiB.
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

    /// Whether another message holds a part of the same letter.
    pub(super) fn belongs_to(&self, other: &Self) -> bool {
        self.key == other.key && self.part.map(|part| part.of) == other.part.map(|part| part.of)
    }

    /// What all parts of one letter share; `None` for a letter in one piece.
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

/// Which letters are meant; an empty one means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// The reason, as it stands in the letter.
    pub reason: Option<String>,
    /// The original's subject.
    pub subject: Option<String>,
    /// Kept at this time or later.
    pub since: Option<Timestamp>,
    /// Kept before this time.
    pub until: Option<Timestamp>,
}

impl DeadLetterFilter {
    /// Whether a letter is meant.
    pub fn takes(&self, letter: &DeadLetterHead) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        is(&self.reason, Some(&letter.reason))
            && is(&self.subject, letter.subject.as_deref())
            && self.since.is_none_or(|since| letter.kept_at >= since)
            && self.until.is_none_or(|until| letter.kept_at < until)
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
        assert_eq!(read("deadletter.x", &[("Spindle-Part", "1/2")]).part, None, "whose part?");
    }

    #[test]
    fn a_filter_takes_what_fulfils_all_of_it() {
        let letter = read("deadletter.bad_json", &[("Spindle-Subject", "events.event")]);
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
            assert_eq!(filter.takes(&letter), expected, "{filter:?}");
        }
    }
}
