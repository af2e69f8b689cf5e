//! Reads lines of bounded length: a file of one gigabyte without a line break takes no more memory than its longest
//! allowed line.

use std::io::{self, BufRead, Read};

use crate::wire::MAX_PAYLOAD_BYTES;

/// Bytes of a line that is too long that are kept for display.
const HEAD_BYTES: usize = 1_024;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reader of non-blank lines. Line breaks (`\n` or `\r\n`) and a byte order mark at the start of the file are removed;
/// the last line needs no line break.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    number: u64,
    /// The line in the buffer is to be returned again.
    held: bool,
}

/// Line of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Complete line.
    Whole(&'a [u8]),
    /// Line longer than [`MAX_PAYLOAD_BYTES`]; its rest was skipped.
    TooLong {
        /// Length, line break included.
        n_bytes: u64,
        /// First bytes.
        head: &'a [u8],
    },
}

impl<R: BufRead> Lines<R> {
    /// Returns the lines of a file from its start.
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), number: 0, held: false }
    }

    /// Returns the number of the line last read, counted from 1 with blank lines included.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Makes [`Lines::next_line`] return the last line once more; only for a complete one.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Returns the next non-blank line with its number; `None` at the end of the file.
    ///
    /// # Errors
    /// Errors of the reader.
    pub fn next_line(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        if std::mem::take(&mut self.held) {
            return Ok(Some((self.number, Line::Whole(trim_break(&self.buffer)))));
        }
        loop {
            self.buffer.clear();
            let limit = MAX_PAYLOAD_BYTES as u64 + 2;
            let n_read = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.buffer)?;
            if n_read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.number == 1 && self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.buffer.drain(..BYTE_ORDER_MARK.len());
            }
            if trim_break(&self.buffer).len() > MAX_PAYLOAD_BYTES {
                let number = self.number;
                return self.skip_rest(n_read as u64).map(|line| Some((number, line)));
            }
            if !trim_break(&self.buffer).trim_ascii().is_empty() {
                return Ok(Some((self.number, Line::Whole(trim_break(&self.buffer)))));
            }
        }
    }

    /// Skips to the line break without keeping anything, and frees the large buffer.
    fn skip_rest(&mut self, n_read: u64) -> io::Result<Line<'_>> {
        let mut n_bytes = n_read;
        let mut at_end = self.buffer.last() == Some(&b'\n');
        self.buffer.truncate(HEAD_BYTES);
        self.buffer.shrink_to_fit();
        while !at_end {
            let chunk = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let line_break = chunk.iter().position(|byte| *byte == b'\n');
            let n_used = line_break.map_or(chunk.len(), |index| index + 1);
            at_end = line_break.is_some() || chunk.is_empty();
            n_bytes += n_used as u64;
            self.reader.consume(n_used);
        }
        Ok(Line::TooLong { n_bytes, head: &self.buffer })
    }
}

fn trim_break(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<(u64, String)> {
        let mut lines = Lines::new(io::BufReader::with_capacity(7, bytes));
        let mut found = Vec::new();
        while let Some((number, line)) = lines.next_line().unwrap() {
            let text = match line {
                Line::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Line::TooLong { n_bytes, head } => format!("{n_bytes} bytes, {} kept", head.len()),
            };
            found.push((number, text));
        }
        found
    }

    #[test]
    fn blank_lines_breaks_and_the_mark_are_no_content() {
        let lines = all(b"\xEF\xBB\xBFone\r\n\r\n  \n\ntwo\nthr\ree");
        assert_eq!(lines, [(1, "one".into()), (5, "two".into()), (6, "thr\ree".into())]);
        assert!(all(b"").is_empty());
        assert!(all(b"\n\r\n").is_empty());
    }

    #[test]
    fn an_over_long_line_is_skipped_and_the_next_one_read() {
        let longest = vec![b'x'; MAX_PAYLOAD_BYTES];
        let too_long = vec![b'x'; MAX_PAYLOAD_BYTES * 2 + 5];
        let lines = all(&[&longest, &b"\r\n"[..], &too_long, b"\nafter"].concat());
        assert_eq!(lines[0].1.len(), MAX_PAYLOAD_BYTES);
        assert_eq!(lines[1], (2, format!("{} bytes, 1024 kept", MAX_PAYLOAD_BYTES * 2 + 6)));
        assert_eq!(lines[2], (3, "after".into()));
        assert_eq!(all(&too_long), [(1, format!("{} bytes, 1024 kept", too_long.len()))]);
        let by_one = vec![b'x'; MAX_PAYLOAD_BYTES + 1];
        assert_eq!(all(&[&by_one, &b"\nafter"[..]].concat())[1], (2, "after".into()));
    }

    #[test]
    fn a_held_line_is_returned_again() {
        let mut lines = Lines::new(&b"one\ntwo"[..]);
        lines.next_line().unwrap();
        lines.hold();
        assert_eq!(lines.next_line().unwrap(), Some((1, Line::Whole(b"one"))));
        assert_eq!(lines.next_line().unwrap(), Some((2, Line::Whole(b"two"))));
        assert_eq!((lines.number(), lines.next_line().unwrap()), (2, None));
    }
}
