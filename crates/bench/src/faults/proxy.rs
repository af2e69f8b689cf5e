//! TCP proxy on the loopback address that simulates bad networks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

const PIECE_BYTES: usize = 16 << 10;

/// Behaviour of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    /// Forwards everything.
    Forward,
    /// Delays each piece.
    Delay(Duration),
    /// Half-open: nothing is forwarded, nothing is closed.
    Stall,
    /// Closes new connections at once.
    Refuse,
    /// Closes a connection after this many more bytes to the server: in the middle of a request.
    CutRequest(u64),
    /// Closes a connection after this many more bytes from the server: in the middle of a response.
    CutResponse(u64),
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    mode: Mode,
    /// Connections of earlier generations are closed.
    generation: u64,
}

/// Direction of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

/// Link between one client and one server.
#[derive(Debug)]
pub(super) struct Proxy {
    port: u16,
    setting: watch::Sender<Setting>,
    n_cut: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// Listens on a free port and forwards to `server_port`, even before a server listens there.
    pub(super) async fn start(server_port: u16) -> Result<Self> {
        let port = spindle_testkit::free_port()?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await.context("cannot bind a port for a proxy")?;
        let (setting, seen) = watch::channel(Setting { mode: Mode::Forward, generation: 0 });
        let n_cut = Arc::new(AtomicU64::new(0));
        let accepting = tokio::spawn(accept(listener, server_port, seen, n_cut.clone()));
        Ok(Self { port, setting, n_cut, accepting })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Number of connections cut.
    pub(super) fn n_cut(&self) -> u64 {
        self.n_cut.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, mode: Mode) {
        self.setting.send_modify(|setting| setting.mode = mode);
    }

    /// Closes every open connection.
    pub(super) fn cut(&self) {
        self.setting.send_modify(|setting| setting.generation += 1);
    }
}

async fn accept(listener: TcpListener, server_port: u16, mut seen: watch::Receiver<Setting>, n_cut: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        if seen.borrow_and_update().mode == Mode::Refuse {
            n_cut.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let (seen, n_cut) = (seen.clone(), n_cut.clone());
        connections.spawn(async move {
            if forward(client, server_port, seen).await.is_err() {
                n_cut.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

/// Error of a connection that the proxy closed, not one of its ends.
struct Cut;

async fn forward(client: TcpStream, server_port: u16, seen: watch::Receiver<Setting>) -> Result<(), Cut> {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)).await else { return Ok(()) };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Either direction ends both: both protocols use a connection in both directions until its end.
    tokio::select! {
        ended = pump(from_client, to_server, Direction::ToServer, seen.clone()) => ended,
        ended = pump(from_server, to_client, Direction::ToClient, seen) => ended,
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    mut seen: watch::Receiver<Setting>,
) -> Result<(), Cut> {
    let mut setting = *seen.borrow_and_update();
    let mut left = budget(setting.mode, direction);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let n_bytes = tokio::select! {
            changed = seen.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let now = *seen.borrow_and_update();
                if now.generation != setting.generation {
                    return Err(Cut);
                }
                setting = now;
                left = budget(setting.mode, direction);
                continue;
            }
            read = from.read(&mut piece), if setting.mode != Mode::Stall => match read {
                Ok(0) | Err(_) => return Ok(()),
                Ok(n_bytes) => n_bytes,
            },
        };
        if let Mode::Delay(pause) = setting.mode {
            sleep(pause).await;
        }
        let n_passing = left.map_or(n_bytes, |left| n_bytes.min(left as usize));
        if to.write_all(&piece[..n_passing]).await.is_err() {
            return Ok(());
        }
        if let Some(left) = &mut left {
            *left -= n_passing as u64;
            if n_passing < n_bytes {
                return Err(Cut);
            }
        }
    }
}

/// Returns the number of bytes that may still pass in this direction.
fn budget(mode: Mode, direction: Direction) -> Option<u64> {
    match (mode, direction) {
        (Mode::CutRequest(n_bytes), Direction::ToServer) | (Mode::CutResponse(n_bytes), Direction::ToClient) => {
            Some(n_bytes)
        }
        _ => None,
    }
}
