//! Minimal NATS client, down to the bytes: the code under test must not judge itself, so nothing is shared with the bus.
//! Supports publishing with a reply subject, subscriptions, and JetStream requests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Capacity of the queue of frames. While it is full, the socket is not read, and the server waits.
const FRAMES: usize = 4_096;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Limit for a write; a peer that reads nothing for longer is dropped.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Address of NATS, or those of a cluster, tried in turn.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    ports: Arc<Vec<u16>>,
    n_tried: Arc<AtomicUsize>,
}

impl Address {
    pub(crate) fn new(ports: Vec<u16>) -> Self {
        Self { ports: Arc::new(ports), n_tried: Arc::default() }
    }

    fn next(&self) -> u16 {
        self.ports[self.n_tried.fetch_add(1, Ordering::Relaxed) % self.ports.len()]
    }
}

/// Message from the server.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) subject: String,
    pub(crate) reply: Option<String>,
    /// Headers as on the wire, `NATS/1.0` first; empty if there are none.
    pub(crate) headers: String,
    pub(crate) payload: Vec<u8>,
}

impl Received {
    /// Returns a header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Returns true if the subject has no responders, as while JetStream is unavailable.
    pub(crate) fn has_no_responders(&self) -> bool {
        self.headers.starts_with("NATS/1.0 503")
    }
}

/// Connection to one server. It never reconnects; long-lived users open a new one.
pub(crate) struct Connection {
    writer: OwnedWriteHalf,
    received: mpsc::Receiver<Frame>,
    reading: JoinHandle<()>,
    waiting: VecDeque<Received>,
    /// A PING awaits its PONG, which goes out with the next write; that is never cancelled half-way.
    owes_pong: bool,
}

enum Frame {
    Message(Received),
    Ping,
    Pong,
    Error(String),
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Connection {
    pub(crate) async fn open(address: &Address) -> Result<Self> {
        let port = address.next();
        timeout(CONNECT_TIMEOUT, Self::open_at(port)).await.with_context(|| format!("no NATS on port {port}"))?
    }

    async fn open_at(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let (send, received) = mpsc::channel(FRAMES);
        let reading = tokio::spawn(async move {
            let mut reader = BufReader::with_capacity(64 << 10, reader);
            while let Ok(frame) = read_frame(&mut reader).await {
                if let Some(frame) = frame
                    && send.send(frame).await.is_err()
                {
                    return;
                }
            }
        });
        let mut connection = Self { writer, received, reading, waiting: VecDeque::new(), owes_pong: false };
        let hello = r#"CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"name":"fault-harness","lang":"own","version":"1"}"#;
        connection.write(format!("{hello}\r\nPING\r\n").as_bytes()).await?;
        loop {
            match connection.received.recv().await.context("the connection ended")? {
                Frame::Pong => return Ok(connection),
                Frame::Error(message) => bail!("NATS refuses the connection: {message}"),
                Frame::Ping | Frame::Message(_) => {}
            }
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if std::mem::take(&mut self.owes_pong) {
            timeout(WRITE_TIMEOUT, self.writer.write_all(b"PONG\r\n")).await.context("NATS does not read")??;
        }
        timeout(WRITE_TIMEOUT, self.writer.write_all(bytes)).await.context("NATS does not read")??;
        Ok(())
    }

    /// Returns the next message, or an error once the connection has ended. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Received> {
        if let Some(received) = self.waiting.pop_front() {
            return Ok(received);
        }
        loop {
            match self.received.recv().await.context("the connection to NATS ended")? {
                Frame::Message(received) => return Ok(received),
                Frame::Ping => self.owes_pong = true,
                Frame::Pong => {}
                Frame::Error(message) => bail!("NATS reports {message}"),
            }
        }
    }

    /// Sends a request and waits for the reply.
    pub(crate) async fn ask(&mut self, subject: &str, payload: &[u8], limit: Duration) -> Result<Received> {
        let inbox = format!("_FAULTS.ask.{}", std::process::id());
        let mut bytes =
            format!("SUB {inbox} 7\r\nUNSUB 7 1\r\nPUB {subject} {inbox} {}\r\n", payload.len()).into_bytes();
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(b"\r\n");
        self.write(&bytes).await?;
        let deadline = Instant::now() + limit;
        let mut others = VecDeque::new();
        let answer = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let received = timeout(left, self.next())
                .await
                .with_context(|| format!("no answer to {subject} within {limit:?}"))??;
            if received.subject == inbox {
                break received;
            }
            others.push_back(received);
        };
        self.waiting.append(&mut others);
        Ok(answer)
    }

    /// Sends a JetStream API request; an `error` in the reply is an error.
    pub(crate) async fn jetstream(&mut self, api: &str, payload: &Value) -> Result<Value> {
        let payload = if payload.is_null() { String::new() } else { payload.to_string() };
        let received = self.ask(&format!("$JS.API.{api}"), payload.as_bytes(), Duration::from_secs(5)).await?;
        if received.has_no_responders() {
            bail!("JetStream is unavailable ({api})");
        }
        let answer: Value =
            serde_json::from_slice(&received.payload).with_context(|| format!("invalid reply to {api}"))?;
        match answer["error"]["description"].as_str() {
            Some(message) => bail!("JetStream refuses {api}: {message}"),
            None => Ok(answer),
        }
    }
}

/// Sends one JetStream API request over a new connection.
pub(crate) async fn jetstream(address: &Address, api: &str, payload: &Value) -> Result<Value> {
    Connection::open(address).await?.jetstream(api, payload).await
}

/// Appends a message with a message id and a reply subject to the outgoing bytes.
pub(crate) fn push_publish(bytes: &mut Vec<u8>, subject: &str, reply: &str, message_id: &str, payload: &[u8]) {
    let headers = format!("NATS/1.0\r\nNats-Msg-Id: {message_id}\r\n\r\n");
    let total = headers.len() + payload.len();
    bytes.extend_from_slice(format!("HPUB {subject} {reply} {} {total}\r\n{headers}", headers.len()).as_bytes());
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\r\n");
}

/// Reads one frame; `None` for frames without meaning here.
async fn read_frame(reader: &mut BufReader<OwnedReadHalf>) -> Result<Option<Frame>> {
    let mut line = String::new();
    if reader.read_line(&mut line).await? == 0 {
        bail!("end");
    }
    let line = line.trim_end();
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let arguments: Vec<&str> = rest.split_whitespace().collect();
    match (verb, &arguments[..]) {
        ("MSG", [subject, .., length]) => {
            let reply = (arguments.len() == 4).then(|| arguments[2]);
            Ok(Some(Frame::Message(read_message(reader, subject, reply, 0, length.parse()?).await?)))
        }
        ("HMSG", [subject, .., headers, length]) => {
            let reply = (arguments.len() == 5).then(|| arguments[2]);
            Ok(Some(Frame::Message(read_message(reader, subject, reply, headers.parse()?, length.parse()?).await?)))
        }
        ("PING", _) => Ok(Some(Frame::Ping)),
        ("PONG", _) => Ok(Some(Frame::Pong)),
        ("-ERR", _) => Ok(Some(Frame::Error(rest.to_owned()))),
        ("INFO" | "+OK", _) => Ok(None),
        _ => bail!("unexpected frame {line:?}"),
    }
}

async fn read_message(
    reader: &mut BufReader<OwnedReadHalf>,
    subject: &str,
    reply: Option<&str>,
    n_header_bytes: usize,
    n_bytes: usize,
) -> Result<Received> {
    let mut bytes = vec![0; n_bytes + 2];
    reader.read_exact(&mut bytes).await?;
    bytes.truncate(n_bytes);
    let payload = bytes.split_off(n_header_bytes);
    Ok(Received {
        subject: subject.to_owned(),
        reply: reply.map(str::to_owned),
        headers: String::from_utf8_lossy(&bytes).into_owned(),
        payload,
    })
}
