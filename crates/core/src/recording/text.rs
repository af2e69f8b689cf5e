//! Text encodings: UTF-16, which spreadsheets and PowerShell write, is converted to UTF-8 as it is read.

use std::io::{self, Read};

/// Bytes of the source read at once.
const CHUNK_BYTES: usize = 8 << 10;

/// Reader of UTF-8 over a reader of UTF-8 or UTF-16. UTF-16 is recognised by its byte order mark, or by the zero bytes
/// of its first two characters. UTF-8 passes unchanged.
#[derive(Debug)]
pub struct Utf8Reader<R> {
    reader: R,
    encoding: Encoding,
    /// Bytes to return before those of the reader.
    ready: Vec<u8>,
    n_returned: usize,
    /// First half of a unit, and first unit of a pair, that a chunk ended with.
    half: Option<u8>,
    high: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16 { is_little_endian: bool },
}

impl<R: Read> Utf8Reader<R> {
    /// Detects the encoding from the first four bytes.
    ///
    /// # Errors
    /// Errors of the reader; `InvalidData` for UTF-32.
    pub fn new(mut reader: R) -> io::Result<Self> {
        let mut head = Vec::new();
        reader.by_ref().take(4).read_to_end(&mut head)?;
        let encoding = match head[..] {
            [0xFF, 0xFE, 0, 0] | [0, 0, 0xFE, 0xFF] => {
                return Err(invalid("it is UTF-32: convert it first (iconv -f UTF-32 -t UTF-8)"));
            }
            [0xFF, 0xFE, ..] => Encoding::Utf16 { is_little_endian: true },
            [0xFE, 0xFF, ..] => Encoding::Utf16 { is_little_endian: false },
            [1..=0x7F, 0, 1..=0x7F, 0] => Encoding::Utf16 { is_little_endian: true },
            [0, 1..=0x7F, 0, 1..=0x7F] => Encoding::Utf16 { is_little_endian: false },
            _ => Encoding::Utf8,
        };
        let mut this = Self { reader, encoding, ready: Vec::new(), n_returned: 0, half: None, high: None };
        match encoding {
            Encoding::Utf8 => this.ready = head,
            Encoding::Utf16 { is_little_endian } => this.decode(&head, is_little_endian)?,
        }
        Ok(this)
    }

    /// Appends the UTF-8 of a chunk of UTF-16 to `ready`.
    fn decode(&mut self, chunk: &[u8], is_little_endian: bool) -> io::Result<()> {
        for byte in chunk {
            let Some(first) = self.half.take() else {
                self.half = Some(*byte);
                continue;
            };
            let pair = [first, *byte];
            let unit = if is_little_endian { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) };
            if self.high.is_none() && (0xD800..0xDC00).contains(&unit) {
                self.high = Some(unit);
                continue;
            }
            for decoded in char::decode_utf16(self.high.take().into_iter().chain([unit])) {
                let ch = decoded.map_err(|_| invalid("it is not valid UTF-16: half of a surrogate pair is missing"))?;
                self.ready.extend_from_slice(ch.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        Ok(())
    }

    /// Decodes the next chunk. Returns `false` at the end.
    fn refill(&mut self, is_little_endian: bool) -> io::Result<bool> {
        let mut chunk = [0; CHUNK_BYTES];
        let n_read = self.reader.read(&mut chunk)?;
        if n_read == 0 && (self.half.is_some() || self.high.is_some()) {
            (self.half, self.high) = (None, None);
            return Err(invalid("it ends in the middle of a character of UTF-16: the file is cut"));
        }
        self.ready.clear();
        self.n_returned = 0;
        self.decode(&chunk[..n_read], is_little_endian)?;
        Ok(n_read > 0)
    }
}

impl<R: Read> Read for Utf8Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n_read = (&self.ready[self.n_returned..]).read(buffer)?;
            if n_read > 0 || buffer.is_empty() {
                self.n_returned += n_read;
                return Ok(n_read);
            }
            let Encoding::Utf16 { is_little_endian } = self.encoding else { return self.reader.read(buffer) };
            if !self.refill(is_little_endian)? {
                return Ok(0);
            }
        }
    }
}

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<String> {
        /// Returns one byte at a time.
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let n_bytes = buffer.len().min(1);
                self.0.read(&mut buffer[..n_bytes])
            }
        }
        let (mut whole, mut slow) = (String::new(), String::new());
        let outcome = Utf8Reader::new(bytes)?.read_to_string(&mut whole);
        let slowly = Utf8Reader::new(Slow(bytes))?.read_to_string(&mut slow);
        assert_eq!((outcome.is_ok(), whole.as_str()), (slowly.is_ok(), slow.as_str()));
        outcome.map(|_| whole)
    }

    #[test]
    fn utf_16_is_read_in_both_orders_with_and_without_a_mark() {
        let text = "date,серийный,🔥\r\n1";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!((read(&little).unwrap(), read(&big).unwrap()), (text.to_owned(), text.to_owned()));
        let marked = format!("\u{FEFF}{text}");
        assert_eq!(read(&[b"\xFF\xFE", &little[..]].concat()).unwrap(), marked);
        assert_eq!(read(&[b"\xFE\xFF", &big[..]].concat()).unwrap(), marked);
        for utf_8 in ["", "d", text, &marked] {
            assert_eq!(read(utf_8.as_bytes()).unwrap(), utf_8);
        }
        assert!(read(&little[..little.len() - 1]).is_err(), "cut");
        assert!(read(b"\xFF\xFE\x00\xDC").is_err(), "half of a pair");
        assert!(read(b"\xFF\xFE\x00\x00a\x00\x00\x00").unwrap_err().to_string().contains("UTF-32"));
    }
}
