//! A TCP proxy on the loopback address that can behave as bad networks do.

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

/// How the link behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    /// As it should.
    Forward,
    /// Each piece comes so much later.
    Delay(Duration),
    /// Half-open: nothing is forwarded, nothing is closed.
    Stall,
    /// New connections end at once.
    Refuse,
    /// A connection ends after so many more bytes towards the server: in the middle of a request.
    CutRequest(u64),
    /// A connection ends after so many more bytes from the server: in the middle of an answer.
    CutAnswer(u64),
}

#[derive(Clone, Copy, Debug)]
struct Order {
    mode: Mode,
    /// Connections of an earlier generation end.
    generation: u64,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

/// A link between one client and one server.
#[derive(Debug)]
pub(super) struct Proxy {
    port: u16,
    order: watch::Sender<Order>,
    n_cut: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// Listens on a free port and forwards to `server_port`, whether a server is there yet or not.
    pub(super) async fn start(server_port: u16) -> Result<Self> {
        let port = spindle_testkit::free_port()?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await.context("no port for a proxy")?;
        let (order, seen) = watch::channel(Order { mode: Mode::Forward, generation: 0 });
        let n_cut = Arc::new(AtomicU64::new(0));
        let accepting = tokio::spawn(accept(listener, server_port, seen, n_cut.clone()));
        Ok(Self { port, order, n_cut, accepting })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Connections that were cut.
    pub(super) fn n_cut(&self) -> u64 {
        self.n_cut.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, mode: Mode) {
        self.order.send_modify(|order| order.mode = mode);
    }

    /// Ends every connection there is.
    pub(super) fn cut(&self) {
        self.order.send_modify(|order| order.generation += 1);
    }
}

async fn accept(listener: TcpListener, server_port: u16, mut seen: watch::Receiver<Order>, n_cut: Arc<AtomicU64>) {
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

/// Why a connection was ended by us and not by one of its ends.
struct Cut;

async fn forward(client: TcpStream, server_port: u16, seen: watch::Receiver<Order>) -> Result<(), Cut> {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)).await else { return Ok(()) };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // When one way ends, both do: both protocols use their connection as long as it lives.
    tokio::select! {
        ended = pump(from_client, to_server, Direction::ToServer, seen.clone()) => ended,
        ended = pump(from_server, to_client, Direction::ToClient, seen) => ended,
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    mut seen: watch::Receiver<Order>,
) -> Result<(), Cut> {
    let mut order = *seen.borrow_and_update();
    let mut left = budget(order.mode, direction);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let n_bytes = tokio::select! {
            changed = seen.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let now = *seen.borrow_and_update();
                if now.generation != order.generation {
                    return Err(Cut);
                }
                order = now;
                left = budget(order.mode, direction);
                continue;
            }
            read = from.read(&mut piece), if order.mode != Mode::Stall => match read {
                Ok(0) | Err(_) => return Ok(()),
                Ok(n_bytes) => n_bytes,
            },
        };
        if let Mode::Delay(pause) = order.mode {
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

/// How many bytes may still pass this way.
fn budget(mode: Mode, direction: Direction) -> Option<u64> {
    match (mode, direction) {
        (Mode::CutRequest(n_bytes), Direction::ToServer) | (Mode::CutAnswer(n_bytes), Direction::ToClient) => {
            Some(n_bytes)
        }
        _ => None,
    }
}
