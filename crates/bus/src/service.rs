//! The reader's micro service, as ADR-32 has it: discoverable with `nats service ls`, one endpoint per
//! subject, requests answered side by side up to a bound.

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
use tracing::warn;

use crate::connect::Bus;
use crate::error::{BusError, BusErrorKind};

/// One subject that is served.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name, unique in the service: letters, digits, `-` and `_`.
    pub name: String,
    /// Its subject.
    pub subject: String,
    /// What it does, for `nats service info`.
    pub description: String,
}

/// What goes back to whoever asked.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The body.
    pub body: Bytes,
    /// For a request that failed: a code as in HTTP and one line of text, set as ADR-32's headers.
    pub error: Option<(usize, String)>,
}

/// Requests answered at once; more wait in their subscription's queue.
const MAX_CONCURRENT: usize = 32;
/// Subscriptions end within milliseconds, unless NATS is away: then nothing comes through them anyhow.
const UNSUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves the endpoints until `stop` resolves, then accepts no more and finishes what is in hand.
/// `handle` gets the index of the endpoint and the request's payload.
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
    let (handle, places, mut at_work) = (Arc::new(handle), Arc::new(Semaphore::new(MAX_CONCURRENT)), JoinSet::new());
    let (mut service, leave) = (Some(service), sleep(Duration::MAX));
    tokio::pin!(stop, leave);
    let ended = loop {
        tokio::select! {
            () = &mut stop, if service.is_some() => {
                // First of all no more is accepted: it would wait here while what is in hand is finished,
                // and no other reader would get it. What came before is still taken.
                end(service.take()).await;
                leave.as_mut().reset(Instant::now() + UNSUBSCRIBE_TIMEOUT);
            }
            () = &mut leave => break Ok(()),
            next = requests.next() => {
                let Some((index, request)) = next else {
                    let fault = || BusError::new(BusErrorKind::Transient, format!("service {name}: its subscriptions ended"));
                    break if service.is_some() { Err(fault()) } else { Ok(()) };
                };
                let Ok(place) = places.clone().acquire_owned().await else { continue };
                let handle = handle.clone();
                at_work.spawn(async move {
                    let reply = handle(index, request.message.payload.clone()).await;
                    respond(&request, reply).await;
                    drop(place);
                });
                while at_work.try_join_next().is_some() {}
            }
        }
    };
    while at_work.join_next().await.is_some() {}
    end(service).await;
    ended
}

/// Dropping the service would end the endpoints, yet leave it visible in the list.
async fn end(service: Option<Service>) {
    let Some(service) = service else { return };
    if let Err(error) = service.stop().await {
        warn!(%error, "service did not stop cleanly");
    }
}

/// ADR-32 puts errors into headers with an empty body; the first system's clients read the body. Both
/// get what they need, and the service's own error count is right.
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
        warn!(%error, "answer could not be sent");
    }
}
