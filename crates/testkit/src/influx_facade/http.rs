//! The part of HTTP/1.1 that InfluxDB clients use: bodies of known length, gzip, persistent connections.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

/// Request with its body uncompressed.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method: `GET`, `POST`, …
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Decoded query parameters, in order.
    pub query: Vec<(String, String)>,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Uncompressed body.
    pub body: Vec<u8>,
    /// Size of the body on the wire.
    pub size_bytes: usize,
    /// Error of uncompressing the body.
    pub(super) encoding_error: Option<String>,
}

impl Request {
    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns a header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns a query parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Reads the next request of a connection; `None` once the client has closed it.
    pub(super) fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(None);
        }
        let mut parts = first.split_whitespace();
        let (Some(method), Some(target)) = (parts.next(), parts.next()) else {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("not a request: {first:?}")));
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
            encoding_error: None,
        };
        request.size_bytes = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut body = vec![0; request.size_bytes];
        reader.read_exact(&mut body)?;
        if request.header("content-encoding") == Some("gzip") {
            let mut plain = Vec::new();
            request.encoding_error =
                GzDecoder::new(body.as_slice()).read_to_end(&mut plain).err().map(|error| error.to_string());
            body = plain;
        }
        request.body = body;
        Ok(Some(request))
    }
}

/// Response.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Size of the HTTP chunks; `None`: one body of known length.
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

    /// Writes the response; if `is_cut`, only its head and half of its body.
    pub(super) fn write(&self, mut stream: &TcpStream, is_cut: bool) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} -\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        match self.chunk_bytes {
            Some(_) => head += "Transfer-Encoding: chunked\r\n\r\n",
            // A 204 has neither a body nor a length.
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

pub(super) fn json_answer(status: u16, body: &Value) -> Answer {
    Answer::new(status, body.to_string()).with("Content-Type", "application/json")
}

/// Error response of version 2.
pub(super) fn error(status: u16, code: &str, message: &str) -> Answer {
    json_answer(status, &json!({ "code": code, "message": message })).with("X-Platform-Error-Code", code)
}

/// Decodes `a=1&b=x+y` into pairs.
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
