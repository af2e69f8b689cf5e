//! As much HTTP/1.1 as a client of InfluxDB uses: bodies of known length, gzip, connections that stay.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;

use flate2::read::GzDecoder;

/// A request as it came, its body unpacked.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Without the query.
    pub path: String,
    /// The query, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// Unpacked if it came packed.
    pub body: Vec<u8>,
    /// Bytes of the body on the wire.
    pub size_bytes: usize,
    /// Why the body could not be unpacked.
    pub(super) packing_fault: Option<String>,
}

impl Request {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The next one of a connection; `None` when the client has closed it.
    pub(super) fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(None);
        }
        let mut words = first.split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("no request: {first:?}")));
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let mut request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: decode_form(query),
            headers,
            body: Vec::new(),
            size_bytes: 0,
            packing_fault: None,
        };
        request.size_bytes = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut body = vec![0; request.size_bytes];
        reader.read_exact(&mut body)?;
        if request.header("content-encoding") == Some("gzip") {
            let mut unpacked = Vec::new();
            request.packing_fault =
                GzDecoder::new(body.as_slice()).read_to_end(&mut unpacked).err().map(|error| error.to_string());
            body = unpacked;
        }
        request.body = body;
        Ok(Some(request))
    }
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Where the body is cut into HTTP chunks; `None`: one body of known length.
    pub(super) chunk_bytes: Option<usize>,
}

impl Answer {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, body: body.into(), ..Answer::default() }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes it, or (`is_cut`) its head and half of its body.
    pub(super) fn write(&self, mut stream: &TcpStream, is_cut: bool) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} -\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        match self.chunk_bytes {
            Some(_) => head += "Transfer-Encoding: chunked\r\n\r\n",
            // These have no body, and say no length.
            None if self.status == 204 => head += "\r\n",
            None => head += &format!("Content-Length: {}\r\n\r\n", self.body.len()),
        }
        let mut whole = head.into_bytes();
        let body = if is_cut { &self.body[..self.body.len() / 2] } else { &self.body[..] };
        match self.chunk_bytes {
            Some(size) => {
                for piece in body.chunks(size) {
                    write!(whole, "{:x}\r\n", piece.len())?;
                    whole.extend_from_slice(piece);
                    whole.extend_from_slice(b"\r\n");
                }
                if !is_cut {
                    whole.extend_from_slice(b"0\r\n\r\n");
                }
            }
            None => whole.extend_from_slice(body),
        }
        stream.write_all(&whole)
    }
}

/// `a=1&b=x+y` as pairs.
pub(super) fn decode_form(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_percent(key), decode_percent(value))
        })
        .collect()
}

fn decode_percent(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let escaped = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(decode_form("a=x+y%C3%A9&b=%&c"), [pair("a", "x yé"), pair("b", "%"), pair("c", "")]);
    }
}
