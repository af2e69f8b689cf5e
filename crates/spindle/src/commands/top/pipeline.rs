//! The pipeline as far as NATS tells it: how full the streams are, and how many messages wait for the writer.

use spindle_bus::{Bus, BusError, BusErrorKind, DEAD_LETTER_STREAM, EVENTS_STREAM, FillLevel, METRICS_STREAM};
use tokio::time::Instant;

use crate::logging::chain;
use crate::roles::writer::{EVENTS_CONSUMER, METRICS_CONSUMER};

/// Streams with their consumers of the writer.
const STREAMS: [(&str, Option<&str>); 3] =
    [(METRICS_STREAM, Some(METRICS_CONSUMER)), (EVENTS_STREAM, Some(EVENTS_CONSUMER)), (DEAD_LETTER_STREAM, None)];

/// State of the streams.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) streams: Vec<StreamView>,
    pub(super) asked: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamView {
    pub(super) name: &'static str,
    /// Messages that it holds; the newest ones stay after they were stored.
    pub(super) n_messages: u64,
    /// Fill level of the tighter limit.
    pub(super) percent: u64,
    pub(super) level: FillLevel,
    /// Messages that are not stored yet; `None` for dead letters.
    pub(super) waiting: Option<Waiting>,
}

/// Messages that wait for the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Messages(u64),
    /// The writer's consumer does not exist yet.
    NoWriter,
    /// This user may not look it up.
    Denied,
}

/// Reason for which the streams are not known.
#[derive(Debug)]
pub(super) struct PipelineError {
    pub(super) message: String,
    /// A permission is missing: to ask again is of no use on the same connection.
    pub(super) is_denied: bool,
}

/// Looks up all streams.
///
/// # Errors
/// If one of them cannot be looked up.
pub(super) async fn look_up(bus: &Bus) -> Result<Pipeline, PipelineError> {
    let asked = Instant::now();
    let [metrics, events, letters] = STREAMS.map(|(name, writer)| stream(bus, name, writer));
    let (metrics, events, letters) = tokio::try_join!(metrics, events, letters).map_err(|error| PipelineError {
        is_denied: error.kind() == BusErrorKind::Configuration,
        message: chain(error),
    })?;
    Ok(Pipeline { streams: vec![metrics, events, letters], asked })
}

async fn stream(bus: &Bus, name: &'static str, writer: Option<&str>) -> Result<StreamView, BusError> {
    let fill = bus.stream_fill(name, None).await?;
    let waiting = match writer {
        None => None,
        Some(writer) => Some(match bus.consumer_backlog(name, writer).await {
            Ok(Some(n)) => Waiting::Messages(n),
            Ok(None) => Waiting::NoWriter,
            Err(error) if error.kind() == BusErrorKind::Configuration => Waiting::Denied,
            Err(error) => return Err(error),
        }),
    };
    Ok(StreamView { name, n_messages: fill.messages, percent: fill.percent(), level: fill.level(), waiting })
}
