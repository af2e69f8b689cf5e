//! The reader's micro service after NATS's ADR-32: discoverable with `nats service ls`, one endpoint per subject,
//! requests handled concurrently up to a bound.
//!
//! Requests are taken from their subscription at once, because its queue counts messages, of any size. Those that wait
//! for the handler are bounded in bytes and in time: nobody waits for a reply for ever.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::service::ServiceExt;
use async_nats::service::{Request, Service, endpoint};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{Instrument, warn};

use crate::connect::Bus;
use crate::error::{BusError, BusErrorKind};

/// A served subject.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name, unique in the service: letters, digits, `-` and `_`.
    pub name: String,
    /// Its subject.
    pub subject: String,
    /// Purpose, as `nats service info` prints it.
    pub description: String,
}

/// Reply to a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The body.
    pub body: Bytes,
    /// For a failed request: an HTTP status code and one line of text, sent in the headers of ADR-32.
    pub error: Option<(usize, String)>,
}

/// Bounds on the requests of a service.
#[derive(Clone, Copy, Debug)]
pub struct ServiceLimits {
    /// Size of the largest request, in bytes.
    pub max_request_bytes: usize,
    /// Time from the arrival of a request to the end of its handling; later nobody waits for the reply.
    pub deadline: Duration,
    /// Called for each request that is not answered; returns the reply to send instead, if any.
    pub refuse: fn(Unanswered) -> Option<Reply>,
}

/// Reason why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// It has this many bytes, more than [`ServiceLimits::max_request_bytes`].
    TooLarge(usize),
    /// Too many others wait.
    Busy,
    /// Its deadline has passed.
    Expired,
}

/// Requests handled at once; more wait.
const MAX_CONCURRENT: usize = 32;
/// Bytes of the requests that wait or are handled; beyond it requests are refused at once.
const MAX_HELD_BYTES: usize = 4 << 20;
/// Bytes that a waiting request takes beside its payload: its task, its subjects and headers.
const REQUEST_BYTES: usize = 1 << 10;
/// Refusals on their way out; beyond it requests are dropped, which their senders notice as a timeout.
const MAX_REFUSALS: usize = 256;
/// Time limit for the end of the subscriptions. It takes milliseconds unless NATS is away, and then no request comes.
const UNSUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves the endpoints until `stop` resolves, then accepts no more requests and finishes those in flight. `handle`
/// receives the index of the endpoint and the request's payload. Use a connection from
/// [`Bus::another_for_answering`].
///
/// # Errors
/// Transient, if the service cannot be registered or its subscriptions end.
pub async fn serve<H, F>(
    bus: &Bus,
    (name, version): (&str, &str),
    endpoints: &[Endpoint],
    limits: ServiceLimits,
    handle: H,
    stop: impl Future<Output = ()>,
) -> Result<(), BusError>
where
    H: Fn(usize, Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let (service, mut requests) = start(bus, name, version, endpoints).await?;
    let (handle, seats, mut in_flight) = (Arc::new(handle), Seats::new(limits), JoinSet::new());
    let (mut service, deadline) = (Some(service), sleep(Duration::MAX));
    tokio::pin!(stop, deadline);
    let ended = loop {
        tokio::select! {
            () = &mut stop, if service.is_some() => {
                // Unsubscribes first: a request accepted now would wait for those in flight, and no other reader would
                // get it. Requests that came before are still handled.
                end(service.take()).await;
                deadline.as_mut().reset(Instant::now() + UNSUBSCRIBE_TIMEOUT);
            }
            () = &mut deadline => break Ok(()),
            next = requests.next() => {
                let Some((index, request)) = next else {
                    let error = || BusError::new(BusErrorKind::Transient, format!("service {name}: subscriptions ended"));
                    break if service.is_some() { Err(error()) } else { Ok(()) };
                };
                match seats.take(request) {
                    Some(Seated::Request(request)) => {
                        let handle = handle.clone();
                        let serve = request.serve(move |payload| handle(index, payload));
                        in_flight.spawn(serve.in_current_span());
                    }
                    Some(Seated::Refusal(refusal)) => {
                        in_flight.spawn(refusal.send().in_current_span());
                    }
                    None => {}
                }
                while in_flight.try_join_next().is_some() {}
            }
        }
    };
    while in_flight.join_next().await.is_some() {}
    end(service).await;
    ended
}

type Requests = SelectAll<BoxStream<'static, (usize, Request)>>;

/// Registers the service; returns it with the requests of all endpoints, each with the index of its endpoint.
async fn start(bus: &Bus, name: &str, version: &str, endpoints: &[Endpoint]) -> Result<(Service, Requests), BusError> {
    let failed = |error: async_nats::Error| BusError::transient(format!("start service {name}"), error);
    let service = bus
        .client
        .service_builder()
        .description("answers questions about a storage fleet")
        .start(name, version)
        .await
        .map_err(failed)?;
    let mut requests = SelectAll::new();
    for (index, spec) in endpoints.iter().enumerate() {
        let metadata = HashMap::from([("description".to_owned(), spec.description.clone())]);
        let endpoint: endpoint::Endpoint =
            service.endpoint_builder().name(&spec.name).metadata(metadata).add(&spec.subject).await.map_err(failed)?;
        requests.push(endpoint.map(move |request| (index, request)).boxed());
    }
    Ok((service, requests))
}

/// Room for requests.
struct Seats {
    limits: ServiceLimits,
    /// One permit for each request that is handled.
    turns: Arc<Semaphore>,
    /// One permit for each byte that is held.
    bytes: Arc<Semaphore>,
    /// One permit for each refusal on its way out.
    refusals: Arc<Semaphore>,
}

enum Seated {
    Request(Waiting),
    Refusal(Refusal),
}

/// A request that waits for its turn.
struct Waiting {
    request: Request,
    payload: Bytes,
    limits: ServiceLimits,
    deadline: Instant,
    turns: Arc<Semaphore>,
    _held: OwnedSemaphorePermit,
}

/// A reply to a request that is not handled.
struct Refusal {
    request: Request,
    reply: Reply,
    _permit: OwnedSemaphorePermit,
}

impl Seats {
    fn new(limits: ServiceLimits) -> Self {
        let [turns, bytes, refusals] =
            [MAX_CONCURRENT, MAX_HELD_BYTES, MAX_REFUSALS].map(|n_permits| Arc::new(Semaphore::new(n_permits)));
        Self { limits, turns, bytes, refusals }
    }

    /// Takes a request, or prepares its refusal; `None` if nothing is sent at all.
    fn take(&self, mut request: Request) -> Option<Seated> {
        let payload = std::mem::take(&mut request.message.payload);
        if payload.len() > self.limits.max_request_bytes {
            return self.refuse(request, Unanswered::TooLarge(payload.len()));
        }
        let n_bytes = u32::try_from(payload.len() + REQUEST_BYTES).unwrap_or(u32::MAX);
        let Ok(_held) = self.bytes.clone().try_acquire_many_owned(n_bytes) else {
            return self.refuse(request, Unanswered::Busy);
        };
        // A copy: the original keeps the whole read buffer of the connection.
        let payload = Bytes::copy_from_slice(&payload);
        let deadline = Instant::now() + self.limits.deadline;
        let (limits, turns) = (self.limits, self.turns.clone());
        Some(Seated::Request(Waiting { request, payload, limits, deadline, turns, _held }))
    }

    fn refuse(&self, request: Request, reason: Unanswered) -> Option<Seated> {
        let reply = (self.limits.refuse)(reason)?;
        let _permit = self.refusals.clone().try_acquire_owned().ok()?;
        Some(Seated::Refusal(Refusal { request, reply, _permit }))
    }
}

impl Waiting {
    /// Waits for a turn, handles the request and replies, all within the deadline.
    async fn serve<F: Future<Output = Reply>>(self, handle: impl FnOnce(Bytes) -> F) {
        let Self { request, payload, limits, deadline, turns, _held } = self;
        let handled = timeout_at(deadline, async {
            let turn = turns.acquire_owned().await.ok()?;
            Some((handle(payload).await, turn))
        });
        match handled.await {
            Ok(Some((reply, _turn))) => respond(&request, reply).await,
            Ok(None) => {}
            Err(_) => {
                if let Some(reply) = (limits.refuse)(Unanswered::Expired) {
                    respond(&request, reply).await;
                }
            }
        }
    }
}

impl Refusal {
    async fn send(self) {
        respond(&self.request, self.reply).await;
    }
}

/// Stops the service. Dropping it would end the endpoints, but leave it visible in the list.
async fn end(service: Option<Service>) {
    let Some(service) = service else { return };
    if let Err(error) = service.stop().await {
        warn!(%error, "failed to stop the service cleanly");
    }
}

/// Sends the reply with an error in the headers and in the body: ADR-32 puts errors into headers with an empty body,
/// legacy clients read the body. The service's own error count stays right.
async fn respond(request: &Request, reply: Reply) {
    if request.message.reply.is_none() {
        return;
    }
    let mut headers = HeaderMap::new();
    if let Some((code, text)) = &reply.error {
        headers.insert(async_nats::service::NATS_SERVICE_ERROR, text.replace(['\r', '\n'], " ").as_str());
        headers.insert(async_nats::service::NATS_SERVICE_ERROR_CODE, code.to_string().as_str());
    }
    if let Err(error) = request.respond_with_headers(Ok(reply.body), headers).await {
        warn!(%error, "failed to send the reply");
    }
}
