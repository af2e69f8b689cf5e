//! One HTTP request.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Returns status and body of a GET request to an address of host and port.
pub(crate) async fn get(address: &str, path: &str, limit: Duration) -> Result<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await?;
        let (head, body) = response.split_once("\r\n\r\n").context("no HTTP response")?;
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        Ok((status, body.trim_end().to_owned()))
    };
    timeout(limit, exchange).await.with_context(|| format!("no response to GET {path} within {limit:?}"))?
}
