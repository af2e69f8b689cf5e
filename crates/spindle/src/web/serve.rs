//! From a listener to requests, with limits: on connections, on heads, on how long anything may take. A
//! client that is slow, silent or greedy costs one of the connections for a while and nothing else.

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
use tracing::{debug, error};

use super::patient::Patient;
use crate::metrics::WEB_CONNECTIONS;

/// Connections at once. A page holds one or two, a supervisor one for a moment. Further ones wait in the
/// kernel's queue until one of these ends, which the times below see to.
const MAX_CONNECTIONS: usize = 256;
/// For the head of a request, from the connection's beginning or the end of the answer before: a client
/// that sends a byte now and then, or nothing, is cut off.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// Request line and headers; longer ones are answered with 431.
const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// What is read ahead and written at once.
const BUFFER_BYTES: usize = 64 << 10;
/// For the client to take a piece of an answer: one that stops reading is cut off.
const TAKING_PATIENCE: Duration = Duration::from_secs(20);
/// Requests that are not finished this long after the order to stop are left: a slow client must not hold
/// everything up.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
/// After a failed accept, of which most mean that file handles ran out.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Serves until told to stop; requests in hand are finished.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> Result<()> {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        WEB_CONNECTIONS.set(i64::try_from(connections.len()).unwrap_or(i64::MAX));
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => notice(ended),
            (seat, stream, peer) = next(&listener, &seats) => {
                connections.spawn(connection(seat, stream, peer, router.clone(), stop.clone()));
            }
        }
    }
    drop(listener);
    let _ = timeout(STOP_PATIENCE, async {
        while let Some(ended) = connections.join_next().await {
            notice(ended);
        }
    })
    .await;
    // Those that are left end with the set.
    Ok(())
}

/// The next connection, once there is a seat for it.
async fn next(listener: &TcpListener, seats: &Arc<Semaphore>) -> (OwnedSemaphorePermit, TcpStream, SocketAddr) {
    loop {
        let Ok(seat) = seats.clone().acquire_owned().await else { std::future::pending().await };
        match listener.accept().await {
            Ok((stream, peer)) => return (seat, stream, peer),
            // The client's matter: it is gone again already.
            Err(fault) if matches!(fault.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(fault) => {
                error!(%fault, "no HTTP connection can be accepted, trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    seat: OwnedSemaphorePermit,
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer.ip()));
        router.call(request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_header_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(Patient::new(stream, TAKING_PATIENCE)), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(fault) = ended {
        debug!(%peer, %fault, "HTTP connection broke off");
    }
    drop(seat);
}

/// A request whose handler panics ends its connection, not the server.
fn notice(ended: Result<(), JoinError>) {
    if let Err(crash) = ended {
        error!(%crash, "an HTTP connection crashed");
    }
}
