//! Names of devices, metric types and event types. Values of these types are always valid.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize};

use crate::timestamp::shorten;

/// Longest name in bytes. InfluxDB accepts far longer tags; longer names are mistakes.
pub const MAX_NAME_BYTES: usize = 256;

/// Error for a text that is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty text.
    #[error("is empty")]
    Empty,
    /// Longer than [`MAX_NAME_BYTES`].
    #[error("is {0} bytes long, more than {MAX_NAME_BYTES}")]
    TooLong(usize),
    /// Contains a line break or another control character, which stores and terminals handle badly.
    #[error("'{0}' contains a control character")]
    Control(String),
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong(text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(NameError::Control(shorten(&text.escape_default().to_string())));
    }
    Ok(())
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(CompactString);

        impl $name {
            /// Checks a text and returns it as a name.
            ///
            /// # Errors
            /// [`NameError`] if it is empty, too long, or contains a control character.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text).map(|()| Self(CompactString::new(text)))
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&text).map_err(|error| serde::de::Error::custom(format_args!("name {error}")))
            }
        }
    )*};
}

names! {
    /// Name of a device, unique in the fleet (`sourceDevice` on the wire).
    DeviceName;
    /// Type of a metric, such as `DiskTemp` (`metricType` on the wire).
    MetricType;
    /// Type of an event, such as `DriveFailure` (`eventType` on the wire).
    EventType;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_printable() {
        assert_eq!(DeviceName::new("shelf 3/disk ü").unwrap().as_str(), "shelf 3/disk ü");
        assert_eq!(DeviceName::new(""), Err(NameError::Empty));
        assert_eq!(DeviceName::new(&"x".repeat(257)), Err(NameError::TooLong(257)));
        assert!(matches!(DeviceName::new("a\nb"), Err(NameError::Control(_))));
    }
}
