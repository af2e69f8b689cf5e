//! Accepts connections and reads requests within limits: on connections, on request heads, on every duration. A
//! slow, silent or greedy client occupies one connection for a while and nothing else.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error};

use super::write_timeout::WriteTimeout;
use crate::metrics::WEB_CONNECTIONS;

/// Maximum number of open connections. A page holds one or two, a supervisor one for a moment. More wait in the
/// kernel's queue until one of these ends, which the timeouts below enforce.
const MAX_CONNECTIONS: usize = 256;
/// Timeout for the head of a request, from the start of the connection or the end of the previous response: a
/// client that sends a byte now and then, or nothing, is disconnected.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of request line and headers; a longer head gets status 431.
const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// Size of the read and write buffers.
const BUFFER_BYTES: usize = 64 << 10;
/// Timeout for the client to read a piece of a response: one that stops reading is disconnected.
const CLIENT_READ_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for requests in flight to finish after `stop`; then they are dropped, since a slow client must not delay
/// the shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after a failed accept; most of them mean that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Address of the client that sent a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Serves until `stop`; requests in flight are finished.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> Result<()> {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => log_panic(ended),
            (permit, stream, peer) = accept(&listener, &permits) => {
                let connection = connection(permit, stream, peer, router.clone(), stop.clone());
                connections.spawn(connection.in_current_span());
            }
        }
    }
    drop(listener);
    let _ = timeout(SHUTDOWN_TIMEOUT, async {
        while let Some(ended) = connections.join_next().await {
            log_panic(ended);
        }
    })
    .await;
    // The remaining connections are aborted when the set is dropped.
    Ok(())
}

/// Accepts the next connection once a permit is free.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (OwnedSemaphorePermit, TcpStream, SocketAddr) {
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { std::future::pending().await };
        match listener.accept().await {
            Ok((stream, peer)) => return (permit, stream, peer),
            // Not a problem of the server: the client closed the connection.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                error!(%error, "cannot accept HTTP connections, retrying");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Counts a connection while it is open. The servers of a process, one for probes and one for the page, share the gauge.
struct Counted;

impl Counted {
    fn new() -> Self {
        WEB_CONNECTIONS.inc();
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        WEB_CONNECTIONS.dec();
    }
}

async fn connection(
    permit: OwnedSemaphorePermit,
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    stop: CancellationToken,
) {
    let _counted = Counted::new();
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer.ip()));
        router.call(request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_header_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(WriteTimeout::new(stream, CLIENT_READ_TIMEOUT)), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "HTTP connection failed");
    }
    drop(permit);
}

/// Logs a panic. A request whose handler panics ends its connection, not the server.
fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "HTTP connection panicked");
    }
}
