//! The reader's micro service after NATS's ADR-32: discoverable with `nats service ls`, one endpoint per subject,
//! requests handled concurrently up to a bound.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::service::ServiceExt;
use async_nats::service::{Request, Service, endpoint};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::SelectAll;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
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

/// Requests handled at once; more wait in their subscription's queue.
const MAX_CONCURRENT: usize = 32;
/// Time limit for the end of the subscriptions. It takes milliseconds unless NATS is away, and then no request comes.
const UNSUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves the endpoints until `stop` resolves, then accepts no more requests and finishes those in flight. `handle`
/// receives the index of the endpoint and the request's payload.
///
/// # Errors
/// Transient, if the service cannot be registered or its subscriptions end.
pub async fn serve<H, F>(
    bus: &Bus,
    name: &str,
    version: &str,
    endpoints: &[Endpoint],
    handle: H,
    stop: impl Future<Output = ()>,
) -> Result<(), BusError>
where
    H: Fn(usize, Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
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
    let (handle, permits, mut in_flight) = (Arc::new(handle), Arc::new(Semaphore::new(MAX_CONCURRENT)), JoinSet::new());
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
                let Ok(permit) = permits.clone().acquire_owned().await else { continue };
                let handle = handle.clone();
                let serve = async move {
                    let reply = handle(index, request.message.payload.clone()).await;
                    respond(&request, reply).await;
                    drop(permit);
                };
                in_flight.spawn(serve.in_current_span());
                while in_flight.try_join_next().is_some() {}
            }
        }
    };
    while in_flight.join_next().await.is_some() {}
    end(service).await;
    ended
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
