//! A lane: one stream, one consumer, and the life of its batches. A batch is fetched, decoded and given its ticket in the
//! write order, one after the other; then up to a fixed number of batches commit side by side. Nothing is fetched while
//! the store is unavailable.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use spindle_bus::{Bus, BusError, Consumer, Delivery};
use spindle_core::backoff::Backoff;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, warn};

use super::breaker::random;
use super::commit::{InFlight, Message};
use super::dead_letters::DeadLetters;
use super::decode::{Decoder, decode_all};
use super::past;
use super::readiness::Problem;
use super::restore::Restorer;
use super::restore_claim::RestoreClaim;
use super::store_writer::StoreWriter;
use super::write_order::WriteOrder;
use crate::logging::chain;
use crate::metrics::WRITER_REDELIVERED;

/// Pauses between attempts to fetch while NATS is unavailable.
const FETCH_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

pub(super) struct Lane {
    pub(super) stream: &'static str,
    pub(super) decoder: Decoder,
    pub(super) dead_letters: DeadLetters,
    pub(super) store_writer: Arc<StoreWriter>,
    order: Arc<Mutex<WriteOrder>>,
    /// One permit for each batch in flight.
    permits: Arc<Semaphore>,
    n_permits: u32,
}

impl Lane {
    /// At most `n_in_flight` batches commit at once.
    pub(super) fn new(
        stream: &'static str,
        decoder: Decoder,
        dead_letters: DeadLetters,
        store_writer: StoreWriter,
        n_in_flight: usize,
    ) -> Self {
        let n_permits = u32::try_from(n_in_flight).unwrap_or(u32::MAX);
        let permits = Arc::new(Semaphore::new(n_permits as usize));
        let (store_writer, order) = (Arc::new(store_writer), Arc::default());
        Self { stream, decoder, dead_letters, store_writer, order, permits, n_permits }
    }

    /// Re-writes what the store may lose; shares this lane's permits and write order.
    pub(super) fn restorer(&self, bus: Bus, durable: &'static str) -> Restorer {
        Restorer {
            stream: self.stream,
            durable,
            claim: RestoreClaim::new(bus.clone(), self.stream, durable),
            bus,
            decoder: self.decoder,
            store_writer: self.store_writer.clone(),
            order: self.order.clone(),
            permits: (self.permits.clone(), self.n_permits),
            is_pending: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Runs until `stop`; then every batch in flight is committed, or left unacknowledged if the store is unavailable.
    pub(super) async fn run(self: Arc<Self>, mut consumer: Consumer, stop: CancellationToken) {
        let mut in_flight = JoinSet::new();
        let mut backoff = Backoff::new(FETCH_BACKOFF.0, FETCH_BACKOFF.1);
        let mut n_failures = 0;
        loop {
            while let Some(ended) = in_flight.try_join_next() {
                propagate_panic(ended);
            }
            let fetched = tokio::select! {
                () = stop.cancelled() => break,
                fetched = self.fetch(&mut consumer) => fetched,
            };
            match fetched {
                Ok((deliveries, permit)) => {
                    backoff.reset();
                    n_failures = 0;
                    self.dead_letters.deferrals.readiness().clear(self.stream, Problem::Fetch);
                    let mut permit = permit;
                    for deliveries in past::by_arrival(deliveries) {
                        let permit = match permit.take() {
                            Some(permit) => Some(permit),
                            None => tokio::select! {
                                () = stop.cancelled() => break,
                                permit = self.permits.clone().acquire_owned() => permit.ok(),
                            },
                        };
                        let batch = self.decode(deliveries, permit).await;
                        let (lane, stop) = (self.clone(), stop.clone());
                        let commit = async move { batch.commit(&lane.store_writer, &lane.dead_letters, &stop).await };
                        in_flight.spawn(commit.in_current_span());
                    }
                }
                Err(error) => {
                    let error = chain(error);
                    n_failures += 1;
                    // The first one may be a connection that was lost a moment ago.
                    if n_failures > 1 {
                        self.dead_letters.deferrals.readiness().report(self.stream, Problem::Fetch, &error);
                    }
                    warn!(stream = self.stream, error, "fetch failed, retrying");
                    tokio::select! { () = stop.cancelled() => break, () = sleep(backoff.next(random())) => {} }
                }
            }
        }
        while let Some(ended) = in_flight.join_next().await {
            propagate_panic(ended);
        }
    }

    /// Waits for a permit and for the store, then for messages.
    async fn fetch(&self, consumer: &mut Consumer) -> Result<(Vec<Delivery>, Option<OwnedSemaphorePermit>), BusError> {
        // The semaphore is never closed, so there always is a permit.
        let permit = self.permits.clone().acquire_owned().await.ok();
        self.store_writer.wait_available().await;
        Ok((consumer.next().await?, permit))
    }

    async fn decode(&self, deliveries: Vec<Delivery>, permit: Option<OwnedSemaphorePermit>) -> InFlight {
        let as_of = deliveries.iter().filter_map(Delivery::as_of).max();
        let n_redelivered = deliveries.iter().filter(|delivery| delivery.n_delivered() > 1).count();
        WRITER_REDELIVERED.with_label_values(&[self.stream]).inc_by(n_redelivered as u64);
        self.dead_letters.warn_of_many_deliveries(&deliveries);
        let (batch, decoded) =
            decode_all(self.decoder, &deliveries, |delivery| self.dead_letters.deferrals.remaining(delivery)).await;
        let messages =
            deliveries.into_iter().zip(decoded).map(|(delivery, decoded)| Message { delivery, decoded }).collect();
        let batch = Arc::new(batch);
        let ticket = self.order.lock().unwrap_or_else(PoisonError::into_inner).join(&batch);
        InFlight { stream: self.stream, batch, messages, ticket, as_of, _permit: permit }
    }
}

/// A panic outside of decoding and encoding is our own bug: it must end the role, loudly.
fn propagate_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
