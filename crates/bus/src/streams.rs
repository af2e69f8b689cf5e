//! The three streams: created if missing, verified if present. They refuse new messages when full, rather than discard
//! old ones that are not stored yet.

mod difference;
mod fill;
mod info;

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::CreateStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use serde_json::Value;
use tracing::{info, warn};

use crate::connect::Bus;
use crate::error::{BusError, BusErrorKind};
pub use difference::{Difference, Impact};
use difference::{Requirements, differences, remedy};
pub(crate) use difference::{is_default, text};
pub(crate) use fill::floor;
pub use fill::{FillLevel, StreamFill, StreamHolder, TightestLimit};
pub(crate) use info::{FOLLOWER, RawConsumer, RawStream};

/// Stream of metrics.
pub const METRICS_STREAM: &str = "METRICS";
/// Stream of events.
pub const EVENTS_STREAM: &str = "EVENTS";
/// Stream of dead letters.
pub const DEAD_LETTER_STREAM: &str = "DEADLETTER";
/// Subject of metrics.
pub const METRICS_SUBJECT: &str = "events.metrics";
/// Subject of events.
pub const EVENTS_SUBJECT: &str = "events.event";
/// Subjects of dead letters; the reason is the last token.
pub(crate) const DEAD_LETTER_SUBJECTS: &str = "deadletter.>";

/// Limits of the streams: sizes in bytes, and the age of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Limit of METRICS.
    pub metrics_bytes: u64,
    /// Limit of EVENTS.
    pub events_bytes: u64,
    /// Limit of DEADLETTER.
    pub dead_letter_bytes: u64,
    /// Age from which the store keeps nothing: a stream may drop older messages. `None` if the store keeps everything.
    pub retention: Option<Duration>,
}

impl StreamLimits {
    /// Returns the sum of all three, which the server must be allowed to store.
    pub fn total(&self) -> u64 {
        self.metrics_bytes.saturating_add(self.events_bytes).saturating_add(self.dead_letter_bytes)
    }
}

impl Default for StreamLimits {
    /// Room for more than a day of 200 metrics a second.
    fn default() -> Self {
        Self { metrics_bytes: 4 << 30, events_bytes: 1 << 30, dead_letter_bytes: 1 << 30, retention: None }
    }
}

/// Fill level of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// Number of messages.
    pub messages: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Sequence of the newest message.
    pub last_sequence: u64,
}

/// Result of inspecting a stream.
#[derive(Debug)]
pub enum StreamFinding {
    /// It does not exist yet.
    Missing,
    /// It exists and loses nothing.
    Usable {
        /// Its fill level, without a holder.
        fill: StreamFill,
        /// What differs from the configuration with which Spindle creates it.
        differences: Vec<Difference>,
    },
    /// It exists, and would lose messages; the error names the reasons and the remedy.
    Unsafe(BusError),
}

/// Time within which duplicates are recognized. The server keeps the ids in memory: metrics come in thousands a second,
/// so their window is NATS's default; events are few and get a longer one.
const METRICS_DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
const EVENTS_DUPLICATE_WINDOW: Duration = Duration::from_secs(3600);

impl Bus {
    /// Creates the streams that are missing and checks those that exist.
    ///
    /// # Errors
    /// Transient, while JetStream is not ready; configuration, if the server has no room for them, this user may not
    /// create them, or an existing stream differs in a way that would lose messages.
    pub async fn ensure_streams(&self, limits: StreamLimits) -> Result<(), BusError> {
        for wanted in wanted(limits) {
            self.ensure_stream(wanted).await?;
        }
        Ok(())
    }

    /// Ensures the streams of metrics and events, for a role that only publishes: a user who may not create streams
    /// waits for one who may. The age limit of a stream is the writer's concern.
    ///
    /// # Errors
    /// As [`Bus::ensure_streams`], but transient for a missing stream that this user may not create.
    pub async fn ensure_publishing(&self, limits: StreamLimits) -> Result<(), BusError> {
        for wanted in wanted(StreamLimits { retention: Some(Duration::ZERO), ..limits }) {
            let name = wanted.name;
            if name == DEAD_LETTER_STREAM {
                continue;
            }
            let Err(error) = self.ensure_stream(wanted).await else { continue };
            if self.denied.has("publish", &create_subject(name)) {
                let message =
                    format!("stream {name} does not exist, and this NATS user may not create it: start a writer");
                return Err(BusError::new(BusErrorKind::Transient, message));
            }
            return Err(error);
        }
        Ok(())
    }

    /// Looks the stream up before creating it: a server short of room refuses to create even a stream that exists.
    async fn ensure_stream(&self, wanted: WantedStream) -> Result<(), BusError> {
        let Some(found) = self.raw_stream(wanted.name).await? else { return self.create_stream(wanted.config()).await };
        for difference in self.verify(&found, &wanted)? {
            let (stream, field, found, wanted) =
                (wanted.name, &difference.field, &difference.found, &difference.wanted);
            match difference.impact {
                Impact::Harmless => info!(stream, field, found, wanted, "stream differs from Spindle's configuration"),
                Impact::Weakens | Impact::Loses => {
                    warn!(stream, field, found, wanted, consequence = difference.consequence, "stream differs");
                }
            }
        }
        if wanted.name == DEAD_LETTER_STREAM {
            self.grow(found, wanted.max_bytes).await;
        }
        Ok(())
    }

    /// Returns the differences of a stream that is safe to use.
    fn verify(&self, found: &RawStream, wanted: &WantedStream) -> Result<Vec<Difference>, BusError> {
        let max_payload = i64::try_from(self.max_payload()).unwrap_or(i64::MAX);
        let differences = differences(&found.config, &wanted.requirements(max_payload));
        let losing = differences.iter().filter(|difference| difference.impact == Impact::Loses);
        let losing: Vec<String> = losing.map(ToString::to_string).collect();
        if losing.is_empty() {
            return Ok(differences);
        }
        let (name, remedy) = (wanted.name, remedy(wanted.name, &differences));
        let message = format!("stream {name} loses messages: {}; {remedy}", losing.join("; "));
        Err(BusError::new(BusErrorKind::Configuration, message))
    }

    /// Enlarges the stream of dead letters to its configured size: that is the remedy for a full one. Never shrinks it,
    /// and nothing depends on its success.
    async fn grow(&self, found: RawStream, max_bytes: i64) {
        let from = found.config.get("max_bytes").and_then(Value::as_i64).unwrap_or(-1);
        if from <= 0 || from >= max_bytes {
            return;
        }
        let (name, mut config) = (DEAD_LETTER_STREAM, found.config);
        config.insert("max_bytes".to_owned(), max_bytes.into());
        match self.update_raw_stream(name, &config).await {
            Ok(()) => info!(stream = name, from, to = max_bytes, "stream enlarged to its configured size"),
            Err(error) => warn!(%error, stream = name, "stream keeps its size"),
        }
    }

    async fn create_stream(&self, wanted: Config) -> Result<(), BusError> {
        let (name, max_bytes, subjects) = (wanted.name.clone(), wanted.max_bytes, wanted.subjects.join(", "));
        let subject = create_subject(&name);
        if self.denied.has("publish", &subject) {
            // Another request would only time out again.
            let error = BusError::new(BusErrorKind::Transient, format!("create stream {name}"));
            return Err(self.denied.or("publish", &[&subject], error));
        }
        let Err(error) = self.jetstream.create_stream(wanted).await else { return Ok(()) };
        let code = match error.kind() {
            CreateStreamErrorKind::JetStream(reply) => Some(reply.error_code()),
            _ => None,
        };
        let (kind, remedy) = match code {
            Some(ErrorCode::STORAGE_RESOURCES_EXCEEDED) => {
                let key = name.to_lowercase();
                (
                    BusErrorKind::Configuration,
                    format!(
                        ": the NATS server may not store another {max_bytes} bytes; raise its max_file_store or lower nats.{key}_bytes"
                    ),
                )
            }
            Some(ErrorCode::STREAM_SUBJECT_OVERLAP) => (
                BusErrorKind::Configuration,
                format!(": another stream already takes {subjects}; remove it from that stream"),
            ),
            _ => (BusErrorKind::Transient, String::new()),
        };
        let error = BusError::caused(kind, format!("create stream {name}{remedy}"), error);
        Err(self.denied.or("publish", &[&subject], error))
    }

    /// Inspects the three streams at the same time without creating or changing one. Each result has the name of its
    /// stream.
    ///
    /// # Errors
    /// Configuration, if this user may not look up the stream; transient, if JetStream does not answer.
    pub async fn inspect_streams(&self, limits: StreamLimits) -> Vec<(&'static str, Result<StreamFinding, BusError>)> {
        let inspections = wanted(limits).map(|wanted| async move {
            let finding = self.inspect_stream(&wanted).await;
            (wanted.name, finding)
        });
        futures::future::join_all(inspections).await
    }

    async fn inspect_stream(&self, wanted: &WantedStream) -> Result<StreamFinding, BusError> {
        let Some(found) = self.raw_stream(wanted.name).await? else { return Ok(StreamFinding::Missing) };
        Ok(match self.verify(&found, wanted) {
            Ok(differences) => StreamFinding::Usable { fill: self.fill(wanted.name, &found).await?, differences },
            Err(error) => StreamFinding::Unsafe(error),
        })
    }

    /// Returns the bytes that JetStream stores for this account, and its limit if there is one.
    ///
    /// # Errors
    /// As [`Bus::inspect_streams`].
    pub async fn jetstream_usage(&self) -> Result<(u64, Option<u64>), BusError> {
        let account = self.jetstream.query_account().await;
        let account = account.map_err(|error| self.denied.api_error("query the JetStream account", "INFO", error))?;
        Ok((account.storage, account.limits.max_storage.and_then(|limit| u64::try_from(limit).ok())))
    }

    /// Returns the fill level of a stream.
    ///
    /// # Errors
    /// Transient, if NATS does not answer.
    pub async fn stream_state(&self, name: &str) -> Result<StreamState, BusError> {
        let stream = self
            .jetstream
            .get_stream(name)
            .await
            .map_err(|error| BusError::transient(format!("look up stream {name}"), error))?;
        let state = &stream.cached_info().state;
        Ok(StreamState { messages: state.messages, bytes: state.bytes, last_sequence: state.last_sequence })
    }
}

/// A stream as Spindle creates it.
#[derive(Clone, Copy, Debug)]
struct WantedStream {
    name: &'static str,
    subject: &'static str,
    max_bytes: i64,
    duplicate_window: Duration,
    retention: Option<Duration>,
}

impl WantedStream {
    fn config(&self) -> Config {
        Config {
            name: self.name.to_owned(),
            subjects: vec![self.subject.to_owned()],
            max_bytes: self.max_bytes,
            discard: DiscardPolicy::New,
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            num_replicas: 1,
            duplicate_window: self.duplicate_window,
            ..Config::default()
        }
    }

    fn requirements(&self, max_payload: i64) -> Requirements {
        let ns = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Requirements {
            subject: self.subject,
            max_bytes: self.max_bytes,
            duplicate_window_ns: ns(self.duplicate_window),
            min_age_ns: self.retention.map_or(i64::MAX, ns),
            max_payload,
            is_trimmed: self.name != DEAD_LETTER_STREAM,
        }
    }
}

/// Returns the streams as Spindle creates them.
fn wanted(limits: StreamLimits) -> impl Iterator<Item = WantedStream> {
    let rows = [
        (METRICS_STREAM, METRICS_SUBJECT, limits.metrics_bytes, METRICS_DUPLICATE_WINDOW),
        (EVENTS_STREAM, EVENTS_SUBJECT, limits.events_bytes, EVENTS_DUPLICATE_WINDOW),
        (DEAD_LETTER_STREAM, DEAD_LETTER_SUBJECTS, limits.dead_letter_bytes, EVENTS_DUPLICATE_WINDOW),
    ];
    rows.into_iter().map(move |(name, subject, max_bytes, duplicate_window)| WantedStream {
        name,
        subject,
        max_bytes: i64::try_from(max_bytes).unwrap_or(i64::MAX),
        duplicate_window,
        retention: limits.retention,
    })
}

fn create_subject(stream: &str) -> String {
    format!("$JS.API.STREAM.CREATE.{stream}")
}
