//! Reasons for which a message becomes a dead letter.

use std::fmt;
use std::str::FromStr;

/// Reason of a dead letter. Its text is a token of the subject, a header, a label of metrics and a filter of
/// `spindle dlq`: it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The payload or array exceeds the limits of [`crate::wire`].
    TooLarge,
    /// The payload is not JSON.
    BadJson,
    /// The payload is JSON, but neither an object nor an array of objects.
    BadShape,
    /// A required field is missing.
    MissingField,
    /// A field is invalid.
    BadField,
    /// The store refused the element.
    StoreRefused,
    /// Elements of the message are older than the store's retention.
    BeyondRetention,
    /// Handling the message panicked.
    Panic,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::TooLarge,
        Self::BadJson,
        Self::BadShape,
        Self::MissingField,
        Self::BadField,
        Self::StoreRefused,
        Self::BeyondRetention,
        Self::Panic,
    ];

    /// Returns the reason's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::BadJson => "bad_json",
            Self::BadShape => "bad_shape",
            Self::MissingField => "missing_field",
            Self::BadField => "bad_field",
            Self::StoreRefused => "store_refused",
            Self::BeyondRetention => "beyond_retention",
            Self::Panic => "panic",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Error for a text that is not one of the [`Reason`]s. Readers of the stream of dead letters keep such a text as it
/// is: another version may have written it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown dead-letter reason '{0}'")]
pub struct UnknownReason(pub String);

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or_else(|| UnknownReason(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back_and_is_one_token_of_a_subject() {
        for reason in Reason::ALL {
            let text = reason.to_string();
            assert_eq!(text.parse(), Ok(reason));
            assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{text}");
        }
        assert_eq!("undeliverable".parse::<Reason>(), Err(UnknownReason("undeliverable".to_owned())));
    }
}
