//! Texts that are never printed.

use std::fmt;

/// Description of a valid token.
pub(super) const GOOD_TOKEN: &str =
    "at least 16 characters without blanks (`openssl rand -hex 16` makes some), printable ASCII";

/// Shorter ones can be guessed over a network within months.
const MIN_TOKEN_CHARACTERS: usize = 16;

/// A secret that `Debug` does not print; [`Secret::expose`] names the places that need its text. It has no `==`, which
/// would stop at the first difference and so reveal by its duration how much of a guess is right.
#[derive(Clone, serde::Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Secret(String);

impl Secret {
    /// Returns a token that fits into a header and is too long to guess, or what it expected.
    pub(crate) fn token(text: &str) -> Result<Self, &'static str> {
        let is_good = text.len() >= MIN_TOKEN_CHARACTERS && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_good { Ok(Self(text.to_owned())) } else { Err(GOOD_TOKEN) }
    }

    /// Returns the text, which must not get into a log, an error or a response.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Secret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::token(&text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
