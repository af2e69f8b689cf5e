//! Reads lines of bounded length: a file of one gigabyte without a line break takes no more memory than its longest
//! allowed line.

use std::io::{self, BufRead, Chain, Cursor, Read};

use crate::wire::MAX_PAYLOAD_BYTES;

/// Bytes of a line that is too long that are kept for display.
const HEAD_BYTES: usize = 1_024;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reader of non-blank lines. Line breaks (`\n`, `\r\n` or a lone `\r`) and a byte order mark at the start of the file
/// are removed; the last line needs no line break.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    number: u64,
    /// The line in the buffer is to be returned again.
    held: bool,
    /// The line in the buffer ended with a line break.
    ended: bool,
    /// The last line ended with a carriage return, so a line feed that follows belongs to it.
    after_return: bool,
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
        Self { reader, buffer: Vec::new(), number: 0, held: false, ended: false, after_return: false }
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
        if !std::mem::take(&mut self.held) && !self.read_start()? {
            return Ok(None);
        }
        let number = self.number;
        let line = if self.buffer.len() > MAX_PAYLOAD_BYTES { self.skip_rest()? } else { Line::Whole(&self.buffer) };
        Ok(Some((number, line)))
    }

    /// Reads the start of the next non-blank line, at most one byte more than is allowed. Returns `false` at the end of
    /// the file.
    pub(super) fn read_start(&mut self) -> io::Result<bool> {
        loop {
            self.buffer.clear();
            let limit = MAX_PAYLOAD_BYTES + 1 + if self.number == 0 { BYTE_ORDER_MARK.len() } else { 0 };
            let n_read = self.read_until_break(limit)?;
            if n_read == 0 {
                return Ok(false);
            }
            self.number += 1;
            if self.number == 1 && self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.buffer.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    /// Returns the bytes read of the current line.
    pub(super) fn start(&self) -> &[u8] {
        &self.buffer
    }

    /// Skips the rest of the current line and returns the length of the line in bytes.
    pub(super) fn count_rest(&mut self) -> io::Result<u64> {
        match self.skip_rest()? {
            Line::TooLong { n_bytes, .. } => Ok(n_bytes),
            Line::Whole(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Returns the number of the current line, and a reader that begins with it.
    pub(super) fn into_rest(self) -> (u64, Chain<Cursor<Vec<u8>>, R>) {
        let mut start = self.buffer;
        if self.ended {
            start.push(b'\n');
        }
        (self.number, Cursor::new(start).chain(self.reader))
    }

    /// Appends bytes up to the next line break, or up to `limit` of them, and returns how many were read.
    fn read_until_break(&mut self, limit: usize) -> io::Result<usize> {
        let mut n_read = 0;
        self.ended = false;
        while !self.ended && self.buffer.len() < limit {
            let Some((part, n_used)) = next_part(&mut self.reader, &mut self.after_return, &mut self.ended)? else {
                break;
            };
            let room = limit - self.buffer.len();
            // Beyond the limit the break has not been reached.
            let n_kept = part.len().min(room);
            self.buffer.extend_from_slice(&part[..n_kept]);
            let n_used = if n_kept < part.len() { n_kept } else { n_used };
            self.ended &= n_kept == part.len();
            self.reader.consume(n_used);
            n_read += n_used;
        }
        Ok(n_read)
    }

    /// Skips to the line break without keeping anything, and frees the large buffer.
    fn skip_rest(&mut self) -> io::Result<Line<'_>> {
        let mut n_bytes = self.buffer.len() as u64 + u64::from(self.ended);
        self.buffer.truncate(HEAD_BYTES);
        self.buffer.shrink_to_fit();
        while !self.ended {
            let Some((_, n_used)) = next_part(&mut self.reader, &mut self.after_return, &mut self.ended)? else {
                break;
            };
            self.reader.consume(n_used);
            n_bytes += n_used as u64;
        }
        Ok(Line::TooLong { n_bytes, head: &self.buffer })
    }
}

/// Returns the buffered part of a line and the number of bytes to consume, its break included; `None` at the end.
fn next_part<'a>(
    reader: &'a mut impl BufRead,
    after_return: &mut bool,
    ended: &mut bool,
) -> io::Result<Option<(&'a [u8], usize)>> {
    loop {
        match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
            Ok([]) => return Ok(None),
            Ok([b'\n', ..]) if std::mem::take(after_return) => reader.consume(1),
            Ok(_) => break,
        }
    }
    *after_return = false;
    let chunk = reader.fill_buf()?;
    match chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        Some(index) => {
            (*ended, *after_return) = (true, chunk[index] == b'\r');
            Ok(Some((&chunk[..index], index + 1)))
        }
        None => Ok(Some((chunk, chunk.len()))),
    }
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
        let lines = all(b"\xEF\xBB\xBFone\r\n\r\n  \n\ntwo\nthree\r\rfour\r\r\n");
        assert_eq!(lines, [(1, "one".into()), (5, "two".into()), (6, "three".into()), (8, "four".into())]);
        for line_break in ["\n", "\r", "\r\n"] {
            let lines = all(["a long line", "", "b", "c"].join(line_break).as_bytes());
            assert_eq!(lines, [(1, "a long line".into()), (3, "b".into()), (4, "c".into())], "{line_break:?}");
        }
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
