//! Objects in JSON that spreads over lines: pretty-printed ones, concatenated ones, and arrays of them, of any length.
//!
//! No object takes more memory than [`MAX_PAYLOAD_BYTES`]. A cut object does not swallow those after it, as long as the
//! next one begins on a line of its own.

use std::io::{self, BufRead};

use super::refused::RefusedRecord;
use crate::wire::MAX_PAYLOAD_BYTES;

/// Reader of objects. Brackets and commas between them are skipped.
#[derive(Debug)]
pub(super) struct Values<R> {
    reader: R,
    line: u64,
    after_return: bool,
    n_open_arrays: u64,
    /// The object being read: line on which it begins, length, bytes up to the limit, position in its structure.
    begin: u64,
    n_bytes: u64,
    object: Vec<u8>,
    place: Place,
}

/// Position in the structure of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Between,
    /// A value that is not an object.
    Bare,
    Inside {
        depth: u64,
        string: Option<InString>,
        /// Last byte that is not white space; a line feed at the start of a line.
        last: u8,
        starts_line: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InString {
    is_escaped: bool,
}

/// Effect of one byte.
enum Step {
    Skip,
    Keep,
    /// The value is complete; the byte belongs to it.
    Complete,
    /// The value ended before this byte.
    EndedBefore,
    /// The object is cut before this byte.
    Cut,
}

/// Text of an object, or the reason for its lack.
pub(super) type Value<'a> = Result<&'a [u8], RefusedRecord>;

impl<R: BufRead> Values<R> {
    /// Reads from a position between objects, at the start of a line.
    pub(super) fn new(reader: R, line: u64) -> Self {
        Self {
            reader,
            line,
            after_return: false,
            n_open_arrays: 0,
            begin: line,
            n_bytes: 0,
            object: Vec::new(),
            place: Place::Between,
        }
    }

    /// Returns the number of the current line.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Returns the next object with the line on which it begins; `None` at the end.
    pub(super) fn next_value(&mut self) -> io::Result<Option<(u64, Value<'_>)>> {
        self.object.clear();
        (self.n_bytes, self.place) = (0, Place::Between);
        loop {
            let chunk = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            let Some(byte) = chunk.first().copied() else { return Ok(self.at_end()) };
            let step = self.step(byte);
            if let Step::Cut | Step::EndedBefore = step {
                let refused = self.refuse(matches!(step, Step::Cut));
                return Ok(Some((self.begin, Err(refused))));
            }
            self.reader.consume(1);
            self.count_line(byte);
            if let Step::Keep | Step::Complete = step {
                self.n_bytes += 1;
                if self.object.len() < MAX_PAYLOAD_BYTES {
                    self.object.push(byte);
                }
            }
            if let Step::Complete = step {
                let is_whole = self.n_bytes == self.object.len() as u64;
                let value = if is_whole {
                    Ok(&self.object[..])
                } else {
                    Err(RefusedRecord::too_long(self.n_bytes, &self.object))
                };
                return Ok(Some((self.begin, value)));
            }
        }
    }

    fn step(&mut self, byte: u8) -> Step {
        match &mut self.place {
            Place::Between => self.step_between(byte),
            Place::Bare => match byte {
                b',' | b'[' | b']' | b'{' | b'\n' | b'\r' => Step::EndedBefore,
                _ => Step::Keep,
            },
            Place::Inside { depth, string, last, starts_line } => step_inside(byte, depth, string, last, starts_line),
        }
    }

    fn step_between(&mut self, byte: u8) -> Step {
        match byte {
            b'[' => self.n_open_arrays += 1,
            b']' => self.n_open_arrays = self.n_open_arrays.saturating_sub(1),
            b',' => {}
            _ if byte.is_ascii_whitespace() => {}
            b'{' => {
                self.begin = self.line;
                self.place = Place::Inside { depth: 1, string: None, last: b'{', starts_line: false };
                return Step::Keep;
            }
            _ => {
                (self.begin, self.place) = (self.line, Place::Bare);
                return Step::Keep;
            }
        }
        Step::Skip
    }

    fn count_line(&mut self, byte: u8) {
        let was_return = std::mem::replace(&mut self.after_return, byte == b'\r');
        self.line += u64::from(byte == b'\r' || (byte == b'\n' && !was_return));
    }

    fn refuse(&self, is_cut: bool) -> RefusedRecord {
        match is_cut {
            true => RefusedRecord::new("bad_json", "the object that begins here is not closed", &self.object),
            false => {
                RefusedRecord::new("bad_shape", "expected a metric or an event, an object in braces", &self.object)
            }
        }
    }

    fn at_end(&mut self) -> Option<(u64, Value<'static>)> {
        if self.place != Place::Between {
            let is_cut = self.place != Place::Bare;
            return Some((self.begin, Err(self.refuse(is_cut))));
        }
        if std::mem::take(&mut self.n_open_arrays) == 0 {
            return None;
        }
        let reason = "the array is not closed at the end of the file: records after it may be missing";
        Some((self.line, Err(RefusedRecord::new("bad_json", reason, &[]))))
    }
}

fn step_inside(
    byte: u8,
    depth: &mut u64,
    string: &mut Option<InString>,
    last: &mut u8,
    starts_line: &mut bool,
) -> Step {
    if let Some(InString { is_escaped }) = string {
        match byte {
            // No text of JSON contains a line break.
            b'\n' | b'\r' => return Step::Cut,
            b'"' if !*is_escaped => *string = None,
            _ => *is_escaped = !*is_escaped && byte == b'\\',
        }
        return Step::Keep;
    }
    match byte {
        b'\n' | b'\r' => *starts_line = true,
        _ if byte.is_ascii_whitespace() => {}
        // Here no value can begin, so an object has, and the one before it was cut.
        b'{' if *starts_line && !matches!(*last, b':' | b',' | b'[') => return Step::Cut,
        _ => {
            match byte {
                b'"' => *string = Some(InString { is_escaped: false }),
                b'{' | b'[' => *depth += 1,
                b'}' | b']' => *depth -= 1,
                _ => {}
            }
            (*last, *starts_line) = (byte, false);
        }
    }
    if *depth == 0 { Step::Complete } else { Step::Keep }
}

/// Returns `true` if a line is not one whole value: brackets are open at its end, or another value or a comma follows.
pub(super) fn is_part(line: &[u8]) -> bool {
    let (mut depth, mut string, mut is_closed) = (0_i64, None::<bool>, false);
    for byte in line {
        match (&mut string, *byte) {
            (Some(is_escaped), b'"') if !*is_escaped => string = None,
            (Some(is_escaped), byte) => *is_escaped = !*is_escaped && byte == b'\\',
            (None, b'{' | b'[' | b',') if is_closed => return true,
            (None, b'"') => string = Some(false),
            (None, b'{' | b'[') => depth += 1,
            (None, b'}' | b']') => {
                depth -= 1;
                is_closed = depth == 0;
            }
            (None, byte) if is_closed && !byte.is_ascii_whitespace() => return false,
            (None, _) => {}
        }
    }
    depth > 0 && string.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(u64, String)> {
        let mut values = Values::new(io::BufReader::with_capacity(3, text.as_bytes()), 1);
        let mut found = Vec::new();
        while let Some((line, value)) = values.next_value().unwrap() {
            found.push((
                line,
                value.map_or_else(
                    |refused| refused.kind.to_owned(),
                    |value| String::from_utf8_lossy(value).into_owned(),
                ),
            ));
        }
        found
    }

    #[test]
    fn objects_are_found_in_every_layout() {
        let expected =
            |lines: [u64; 2]| [(lines[0], "{\"a\":[{}]}".to_owned()), (lines[1], "{\"}\":\"\\\"{\"}".to_owned())];
        let (one, two) = ("{\"a\":[{}]}", "{\"}\":\"\\\"{\"}");
        assert_eq!(read(&format!("[\n  {one},\n  {two}\n]\n")), expected([2, 3]));
        assert_eq!(read(&format!("[{one}\r,{two}]")), expected([1, 2]));
        assert_eq!(read(&format!("{one}{two}")), expected([1, 1]));
        assert_eq!(read(&format!("[[\r\n{one}],\r\n[{two}]]")), expected([2, 3]));
        assert_eq!(read("{\n\"a\":\n{\n}\n}\n"), [(1, "{\n\"a\":\n{\n}\n}".to_owned())]);
        assert!(read("[ ]\n").is_empty());
    }

    #[test]
    fn what_is_broken_costs_itself() {
        let good = |line| (line, "{\"b\":2}".to_owned());
        let bad = |line, kind: &str| (line, kind.to_owned());
        assert_eq!(read("[{\"a\":1\n{\"b\":2}]"), [bad(1, "bad_json"), good(2)]);
        assert_eq!(read("[{\"a\n,{\"b\":2}]"), [bad(1, "bad_json"), good(2)]);
        assert_eq!(read("[7, {\"b\":2}, \"x\"\n]"), [bad(1, "bad_shape"), good(1), bad(1, "bad_shape")]);
        assert_eq!(read("[{\"b\":2},\n{\"a\":"), [good(1), bad(2, "bad_json"), bad(2, "bad_json")]);
        assert_eq!(read("[{\"b\":2},\n"), [good(1), bad(2, "bad_json")]);
    }

    #[test]
    fn an_endless_object_keeps_no_more_than_the_limit() {
        let text = format!("[{{\"a\":\"{}\"}},\n{{\"b\":2}}]", "x".repeat(MAX_PAYLOAD_BYTES));
        assert_eq!(read(&text), [(1, "too_large".to_owned()), (2, "{\"b\":2}".to_owned())]);
    }

    #[test]
    fn a_line_that_continues_is_told_from_one_that_is_whole() {
        for whole in ["{}", "[{},{}]", "{\"a\":\"{\"}", "{} x", "{} x{}", "}", "{\"a", "{\"a\":[{}],\"b\":{}} "] {
            assert!(!is_part(whole.as_bytes()), "{whole}");
        }
        for part in ["[", "[{},", "{\"a\":1,", "[[]", "{}{}", "{} {", "{\"a\":[]},", "[{}],[{}]", "[][]"] {
            assert!(is_part(part.as_bytes()), "{part}");
        }
    }
}
