//! Words that JSON does not have, such as `NaN`: found, so that they cost only the element or field in which they stand.
//!
//! Programs write `NaN`, `Infinity`, `nan`, `None`, `.5` or `015` where JSON wants a value. Outside of strings, such a
//! word has a clear beginning and end. Each is replaced by a number of the same length; if the rest is then JSON, its
//! structure is certain, and the parts of the original text lie at the same offsets.

use serde::de::IgnoredAny;

/// Text of which every word is JSON, with the original beside it.
pub(super) struct Patched<'a> {
    original: &'a str,
    pub(super) text: String,
    /// Start and end of each replaced word, ascending.
    words: Vec<(usize, usize)>,
}

impl<'a> Patched<'a> {
    /// Replaces the words of a text that are not JSON; `None` if it has none. Takes one pass over the text.
    pub(super) fn new(original: &'a str) -> Option<Self> {
        let words: Vec<_> = words(original.as_bytes())
            .filter(|(start, end)| serde_json::from_str::<IgnoredAny>(&original[*start..*end]).is_err())
            .collect();
        let mut text = String::with_capacity(original.len());
        for (start, end) in &words {
            text.push_str(&original[text.len()..*start]);
            text.push('0');
            text.extend(std::iter::repeat_n(' ', end - start - 1));
        }
        text.push_str(&original[text.len()..]);
        (!words.is_empty()).then_some(Self { original, text, words })
    }

    /// Returns the original of a part of [`Self::text`].
    pub(super) fn original_of(&self, part: &str) -> &'a str {
        let start = part.as_ptr().addr() - self.text.as_ptr().addr();
        let end = start + part.len();
        // The parser leaves out the spaces that fill up a word.
        let last = self.words[..self.words.partition_point(|word| word.0 < end)].last();
        &self.original[start..last.map_or(end, |word| end.max(word.1))]
    }
}

/// Returns start and end of each run of bytes outside of strings that are neither space nor punctuation.
fn words(text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(byte) = text.get(at) {
            match byte {
                b'"' => at = string_end(text, at + 1),
                _ if is_delimiter(*byte) => at += 1,
                _ => {
                    let start = at;
                    at += text[at..].iter().take_while(|byte| !is_delimiter(**byte)).count();
                    return Some((start, at));
                }
            }
        }
        None
    })
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'"' | b',' | b':' | b'[' | b']' | b'{' | b'}' | b' ' | b'\t' | b'\n' | b'\r')
}

/// Returns the index after the closing quote, or of the end of the text.
fn string_end(text: &[u8], mut at: usize) -> usize {
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patched(text: &str) -> Option<String> {
        Patched::new(text).map(|patched| patched.text)
    }

    #[test]
    fn words_outside_of_strings_become_numbers_of_the_same_length() {
        assert_eq!(patched(r#"{"a":1.5e-3,"b":"NaN \" NaN","c":[true,null,-0]}"#), None);
        assert_eq!(patched(r#"{"a":NaN,"b":-Infinity }"#).unwrap(), r#"{"a":0  ,"b":0         }"#);
        assert_eq!(patched("[é, 01]").unwrap(), "[0 , 0 ]");
        assert_eq!(patched("\"never closed \\").as_deref(), None);
    }

    #[test]
    fn a_part_keeps_its_words() {
        let patched = Patched::new("[ NaN , {\"a\":nan}, 1 ]").unwrap();
        let parts: Vec<&serde_json::value::RawValue> = serde_json::from_str(&patched.text).unwrap();
        let originals: Vec<_> = parts.iter().map(|part| patched.original_of(part.get())).collect();
        assert_eq!(originals, ["NaN", "{\"a\":nan}", "1"]);
    }

    proptest! {
        #[test]
        fn the_rest_stays_in_its_place(text in "[\\[\\]{}:,\" \\\\Naé0-]{0,40}") {
            if let Some(patched) = Patched::new(&text) {
                prop_assert_eq!(patched.text.len(), text.len());
                prop_assert!(Patched::new(&patched.text).is_none());
                prop_assert_eq!(patched.original_of(&patched.text), text.as_str());
                prop_assert!(serde_json::from_str::<IgnoredAny>(&text).is_err(), "JSON needs no patch");
            }
        }

        /// The structure is known beforehand: each word of the list is found, and nothing else is touched.
        #[test]
        fn an_array_with_any_words_becomes_json(words in proptest::collection::vec("NaN|-?Infinity|None|\\.5|015|1|-2\\.5e3|null|\"a,\\\\\"NaN\"|[a-zé]{1,5}", 1..8)) {
            let text = format!("[ {} ]", words.join(" ,\t"));
            let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
            let patched = Patched::new(&text);
            prop_assert_eq!(patched.is_none(), is_json(&text));
            if let Some(patched) = patched {
                let parts: Vec<&serde_json::value::RawValue> = serde_json::from_str(&patched.text).unwrap();
                let originals: Vec<_> = parts.iter().map(|part| patched.original_of(part.get())).collect();
                prop_assert_eq!(originals, words.iter().map(String::as_str).collect::<Vec<_>>());
            }
        }
    }
}
