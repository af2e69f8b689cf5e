//! Texts that are never shown.

use std::fmt;

/// What a good token is.
pub(super) const GOOD_TOKEN: &str =
    "at least 16 characters without blanks (`openssl rand -hex 16` makes some), printable ASCII";

/// Shorter ones can be guessed over a network within months.
const MIN_TOKEN_CHARACTERS: usize = 16;

/// A secret. It does not show itself; who needs its text says so by name. It has no `==`, which would stop at the
/// first letter that differs.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    /// A token that a header can carry and nobody guesses; says what it expected otherwise.
    pub(crate) fn token(text: &str) -> Result<Self, String> {
        let is_good = text.len() >= MIN_TOKEN_CHARACTERS && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_good { Ok(Self(text.to_owned())) } else { Err(GOOD_TOKEN.to_owned()) }
    }

    /// The text. It must not get into a log, an error or an answer.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
