//! Compression of answers: a fleet of 10,000 devices is a tenth as long.

use std::io::Write;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::task::spawn_blocking;

/// Answers below this fit into a few packets anyhow.
const MIN_BYTES: usize = 4 << 10;
/// Level: twice as fast as the usual 6, and a twentieth longer.
const LEVEL: u32 = 4;

/// Returns `true` if the client takes gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        is_gzip && parts.all(|part| part.strip_prefix("q=").is_none_or(|q| q.parse().is_ok_and(|q: f64| q > 0.0)))
    })
}

/// Compresses a body if the client takes that and it is worth it; returns whether it did.
pub(super) async fn of(body: Vec<u8>, headers: &HeaderMap) -> (Vec<u8>, bool) {
    if body.len() < MIN_BYTES || !takes_gzip(headers) {
        return (body, false);
    }
    let body = Bytes::from(body);
    let source = body.clone();
    let compress = move || {
        let mut encoder = GzEncoder::new(Vec::with_capacity(source.len() / 4), Compression::new(LEVEL));
        encoder.write_all(&source).and_then(|()| encoder.finish())
    };
    match spawn_blocking(compress).await {
        Ok(Ok(compressed)) => (compressed, true),
        _ => (body.into(), false),
    }
}

/// Adds the headers of a body that may be compressed.
pub(super) fn mark(response: &mut Response, is_compressed: bool) {
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if is_compressed {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let takes = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            takes_gzip(&headers)
        };
        assert!(takes("gzip") && takes("br, GZIP;q=0.5") && takes("deflate, gzip; q=1"));
        assert!(!takes("br") && !takes("gzip;q=0") && !takes("gzip; q=0.0") && !takes_gzip(&HeaderMap::new()));
    }
}
