//! Ids of events, as their senders assign them.

use std::borrow::Cow;
use std::fmt;

use compact_str::CompactString;
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// Longest id of an event in bytes: a SHA-512 in hexadecimal.
pub const MAX_EVENT_ID_BYTES: usize = 128;

/// Id of an event: any text of 1 to [`MAX_EVENT_ID_BYTES`] bytes. It is returned exactly as it came; two spellings of
/// one UUID are two ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Form);

/// A UUID in its usual spelling takes 16 bytes, in memory and on disk; the order of the forms is that of the embedded
/// store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    Text(CompactString),
    /// Spelled in lowercase with hyphens.
    Uuid(Uuid),
}

/// Error for a text that is not an [`EventId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventIdError {
    /// Empty text.
    #[error("is empty")]
    Empty,
    /// Longer than [`MAX_EVENT_ID_BYTES`].
    #[error("is {0} bytes long, more than {MAX_EVENT_ID_BYTES}")]
    TooLong(usize),
}

impl EventId {
    /// Checks a text and returns it as an id.
    ///
    /// # Errors
    /// [`EventIdError`] if it is empty or too long.
    pub fn new(text: &str) -> Result<Self, EventIdError> {
        if text.is_empty() {
            return Err(EventIdError::Empty);
        }
        if text.len() > MAX_EVENT_ID_BYTES {
            return Err(EventIdError::TooLong(text.len()));
        }
        let form = canonical_uuid(text).map_or_else(|| Form::Text(CompactString::new(text)), Form::Uuid);
        Ok(Self(form))
    }

    /// Returns the id as text.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.0 {
            Form::Text(text) => Cow::Borrowed(text),
            Form::Uuid(uuid) => Cow::Owned(uuid.to_string()),
        }
    }

    /// Returns the UUID if the id is one in lowercase with hyphens; equal ids are equal UUIDs.
    pub fn as_uuid(&self) -> Option<Uuid> {
        match self.0 {
            Form::Uuid(uuid) => Some(uuid),
            Form::Text(_) => None,
        }
    }
}

fn canonical_uuid(text: &str) -> Option<Uuid> {
    let uuid = (text.len() == uuid::fmt::Hyphenated::LENGTH).then(|| Uuid::try_parse(text).ok())??;
    let mut spelled = [0; uuid::fmt::Hyphenated::LENGTH];
    (uuid.hyphenated().encode_lower(&mut spelled) == text).then_some(uuid)
}

impl From<Uuid> for EventId {
    fn from(uuid: Uuid) -> Self {
        Self(Form::Uuid(uuid))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.text())
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90";

    #[test]
    fn any_text_is_an_id_and_comes_back_as_it_came() {
        let texts = [
            UUID.to_owned(),
            UUID.to_uppercase(),
            UUID.replace('-', ""),
            format!("{{{UUID}}}"),
            "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
            "42".to_owned(),
            " \u{fc}\n\0\u{7f}\u{2028}".to_owned(),
            "x".repeat(MAX_EVENT_ID_BYTES),
        ];
        for text in &texts {
            let id = EventId::new(text).unwrap();
            assert_eq!((id.to_string(), &*id.text()), (text.clone(), text.as_str()));
            assert_eq!(serde_json::to_value(&id).unwrap(), serde_json::Value::from(text.as_str()));
            assert_eq!(id.as_uuid().is_some(), text == UUID);
            assert_eq!(texts.iter().filter(|other| EventId::new(other).unwrap() == id).count(), 1, "{text}");
        }
        assert_eq!(EventId::new(UUID).unwrap(), EventId::from(Uuid::try_parse(UUID).unwrap()));
    }

    #[test]
    fn an_id_has_1_to_128_bytes() {
        assert_eq!(EventId::new(""), Err(EventIdError::Empty));
        assert_eq!(EventId::new(&"x".repeat(129)), Err(EventIdError::TooLong(129)));
        assert_eq!(EventId::new(&"ü".repeat(65)), Err(EventIdError::TooLong(130)));
    }
}
