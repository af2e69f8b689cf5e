//! Proxy in front of an InfluxDB that may answer writes itself, as load balancers, firewalls, login pages and other
//! servers on the same address do.

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Answer that is not InfluxDB's.
#[derive(Clone, Debug)]
pub(super) struct Foreign {
    pub(super) status: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: &'static str,
}

/// Answers seen in front of databases.
pub(super) const FOREIGN: [Foreign; 14] = [
    Foreign {
        status: "400 Bad Request",
        content_type: "text/html",
        body: "<html><h1>400 Bad Request</h1>nginx</html>",
    },
    Foreign { status: "400 Bad Request", content_type: "application/json", body: r#"{"message":"no such route"}"# },
    Foreign { status: "400 Bad Request", content_type: "application/json", body: r#"{"error":"malformed"}"# },
    Foreign { status: "400 Bad Request", content_type: "text/plain", body: "" },
    Foreign { status: "200 OK", content_type: "text/html", body: "<html>log in</html>" },
    Foreign { status: "200 OK", content_type: "application/json", body: "{}" },
    Foreign { status: "302 Found", content_type: "text/html", body: "moved" },
    Foreign { status: "401 Unauthorized", content_type: "text/html", body: "<html>401</html>" },
    Foreign { status: "403 Forbidden", content_type: "text/html", body: "<html>blocked by policy</html>" },
    Foreign { status: "404 Not Found", content_type: "text/html", body: "<html>404</html>" },
    Foreign { status: "405 Method Not Allowed", content_type: "text/plain", body: "no" },
    Foreign { status: "422 Unprocessable Entity", content_type: "application/json", body: r#"{"detail":"bad"}"# },
    Foreign { status: "500 Internal Server Error", content_type: "text/html", body: "<html>500</html>" },
    Foreign { status: "503 Service Unavailable", content_type: "text/html", body: "<html>503</html>" },
];

/// Running proxy.
pub(super) struct Stranger {
    port: u16,
    foreign: Arc<Mutex<Option<Foreign>>>,
    accepting: JoinHandle<()>,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Stranger {
    /// Starts in front of the server on a port of the loopback address.
    pub(super) async fn start(server: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let foreign: Arc<Mutex<Option<Foreign>>> = Arc::default();
        let answers = foreign.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answers = answers.clone();
                // A client that goes away in the middle is none of the harness's business.
                tokio::spawn(async move { serve(stream, server, &answers).await.ok() });
            }
        });
        Ok(Self { port, foreign, accepting })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Answers writes itself from now on, or forwards them again.
    pub(super) fn answer(&self, foreign: Option<Foreign>) {
        *self.foreign.lock().unwrap_or_else(PoisonError::into_inner) = foreign;
    }
}

/// Serves one request; the connection closes after it.
async fn serve(mut stream: TcpStream, server: u16, foreign: &Mutex<Option<Foreign>>) -> Result<()> {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    let (mut head, mut n_body) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if line == "\r\n" {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(length) = lower.strip_prefix("content-length:") {
            n_body = length.trim().parse().context("content-length")?;
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; n_body];
    reader.read_exact(&mut body).await?;
    let answer = foreign.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(Foreign { status, content_type, body }) = answer.filter(|_| head.contains("/write")) {
        let location = if status.starts_with('3') { "Location: http://127.0.0.1:1/login\r\n" } else { "" };
        let text = format!(
            "HTTP/1.1 {status}\r\nServer: nginx\r\n{location}Content-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        writer.write_all(text.as_bytes()).await?;
        return Ok(());
    }
    let mut upstream = TcpStream::connect(("127.0.0.1", server)).await?;
    upstream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await?;
    upstream.write_all(&body).await?;
    tokio::io::copy(&mut upstream, &mut writer).await?;
    Ok(())
}
