//! Stream of changes as server-sent events: one batch a second. `fleet` says that verdicts have changed, `events` has new
//! events, and `has_more` if there are others that it does not carry; `beat` shows that the stream lives. One task looks
//! for all readers, while there are any.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt};
use serde_json::json;
use spindle_core::Timestamp;
use spindle_core::records::EventRecord;
use spindle_core::response::EventRow;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::clock;
use crate::query_service::QueryService;

const INTERVAL: Duration = Duration::from_secs(1);
/// Batches kept for a reader that is slow; a slower one is told to ask for everything.
const KEPT: usize = 64;
/// Longest absence after which the missed events are sent; after a longer one they are to be asked for.
const LONGEST_ABSENCE_SECONDS: f64 = 3600.0;
/// Time for which events are looked for again: a store may show them a while after their arrival.
const OVERLAP: Duration = Duration::from_secs(5);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Sends changes to the readers of the stream; clones share the task.
#[derive(Clone)]
pub(super) struct Live {
    service: QueryService,
    sender: broadcast::Sender<Batch>,
    stop: CancellationToken,
}

/// What has changed in a second.
#[derive(Clone, Debug)]
struct Batch {
    /// Events stored before have been sent.
    at: Timestamp,
    /// Verdicts have changed.
    fleet: bool,
    /// New events as JSON; `None` without any.
    events: Option<String>,
}

impl Batch {
    /// Tells a reader to ask for everything.
    fn of_unknown(at: Timestamp) -> Self {
        Self { at, fleet: true, events: Some(rows_to_json(&[], true)) }
    }
}

/// What a reader had seen when its last stream ended.
#[derive(Clone, Copy, Debug)]
enum Seen {
    /// It has no earlier stream.
    Nothing,
    /// Events stored before this time.
    Before(Timestamp),
    /// Too long ago, or an id that is not ours.
    Unknown,
}

impl Live {
    /// Starts the task that looks for changes, until `stop`.
    pub(super) fn start(service: QueryService, stop: CancellationToken) -> Self {
        let (sender, _) = broadcast::channel(KEPT);
        let live = Self { service, sender, stop };
        tokio::spawn(live.clone().watch());
        live
    }

    async fn watch(self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = Watch::from(clock::now());
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if self.sender.receiver_count() == 0 {
                // A reader who comes within the next second gets what is stored from now on.
                watch = Watch::from(clock::now());
                continue;
            }
            let batch = watch.look(&self.service).await;
            // Fails only if the last reader has gone meanwhile.
            let _ = self.sender.send(batch);
        }
    }

    /// Returns the stream of one reader, which begins with the events that it has not seen.
    async fn follow(self, seen: Seen) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        let receiver = self.sender.subscribe();
        let at = clock::now();
        let first = match seen {
            Seen::Nothing => Batch { at, fleet: false, events: None },
            Seen::Before(time) => match self.service.events_received(time.minus(OVERLAP), at).await {
                Ok((found, has_more)) => Batch { at, fleet: true, events: to_json(&found, has_more) },
                Err(_) => Batch::of_unknown(at),
            },
            Seen::Unknown => Batch::of_unknown(at),
        };
        let batches = stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(batch) => Some((batch, receiver)),
                Err(RecvError::Lagged(_)) => Some((Batch::of_unknown(clock::now()), receiver)),
                Err(RecvError::Closed) => None,
            }
        });
        stream::iter([first])
            .chain(batches)
            .flat_map(|batch| stream::iter(messages(batch)))
            .map(Ok)
            .take_until(self.stop.cancelled_owned())
    }
}

/// Handler of `/api/v1/live`.
pub(super) async fn live(State(live): State<Live>, headers: HeaderMap) -> Response {
    Sse::new(live.follow(seen(&headers, clock::now())).await).into_response()
}

fn seen(headers: &HeaderMap, now: Timestamp) -> Seen {
    let Some(id) = headers.get(LAST_EVENT_ID) else { return Seen::Nothing };
    let time = id.to_str().ok().and_then(|text| text.parse().ok()).map(Timestamp::from_ns);
    // The clock may have been set back since.
    let is_recent = |time: &Timestamp| (0.0..LONGEST_ABSENCE_SECONDS).contains(&now.seconds_since(*time));
    time.filter(is_recent).map_or(Seen::Unknown, Seen::Before)
}

fn messages(batch: Batch) -> Vec<Event> {
    let id = batch.at.as_ns().to_string();
    let mut messages = Vec::new();
    if batch.fleet {
        messages.push(Event::default().event("fleet").data("{}"));
    }
    messages.extend(batch.events.map(|json| Event::default().event("events").data(json)));
    messages.push(Event::default().event("beat").id(id).data("{}"));
    messages
}

/// What was known a second ago.
struct Watch {
    fleet: Option<u64>,
    /// Events stored before have been looked for.
    since: Timestamp,
    /// Events sent within [`OVERLAP`]; `None` before the first look.
    sent: Option<HashSet<String>>,
}

impl From<Timestamp> for Watch {
    fn from(since: Timestamp) -> Self {
        Self { fleet: None, since, sent: None }
    }
}

impl Watch {
    async fn look(&mut self, service: &QueryService) -> Batch {
        let at = clock::now();
        let fleet = service.fleet_digest().await.ok();
        // At the first look too: it cannot be known what its readers have seen.
        let is_changed = fleet.is_some() && fleet != self.fleet;
        self.fleet = fleet.or(self.fleet);
        let events = match service.events_received(self.since.minus(OVERLAP), at).await {
            Ok((found, has_more)) => {
                let fresh = self.fresh(found);
                to_json(&fresh, has_more)
            }
            Err(error) => {
                debug!(error = format!("{error:#}"), "events for the live page cannot be read");
                return Batch { at: self.since, fleet: is_changed, events: None };
            }
        };
        self.since = at;
        Batch { at, fleet: is_changed, events }
    }

    /// Returns the events that were not sent before; at the first look, those stored since it began.
    fn fresh(&mut self, found: Vec<EventRecord>) -> Vec<EventRecord> {
        let identity = |record: &EventRecord| record.event.identity().message_id();
        let known: HashSet<String> = found.iter().map(identity).collect();
        let is_fresh = |record: &EventRecord| match &self.sent {
            Some(sent) => !sent.contains(&identity(record)),
            None => record.received >= self.since,
        };
        let fresh = found.into_iter().filter(is_fresh).collect();
        self.sent = Some(known);
        fresh
    }
}

/// Returns events as JSON, newest first; `None` if there is nothing to tell.
fn to_json(events: &[EventRecord], has_more: bool) -> Option<String> {
    (!events.is_empty() || has_more).then(|| rows_to_json(events, has_more))
}

fn rows_to_json(events: &[EventRecord], has_more: bool) -> String {
    let rows: Vec<EventRow> = events.iter().cloned().map(EventRow::from).collect();
    json!({ "data": rows, "has_more": has_more }).to_string()
}
