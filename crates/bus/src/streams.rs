//! The three streams: created if missing, verified if present. They refuse new messages when full, rather than discard
//! old ones that are not stored yet.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use tracing::{info, warn};

use crate::connect::Bus;
use crate::error::{BusError, BusErrorKind};

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

/// Size limits of the streams, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Limit of METRICS.
    pub metrics_bytes: u64,
    /// Limit of EVENTS.
    pub events_bytes: u64,
    /// Limit of DEADLETTER.
    pub dead_letter_bytes: u64,
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
        Self { metrics_bytes: 4 << 30, events_bytes: 1 << 30, dead_letter_bytes: 1 << 30 }
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
        /// Messages in it.
        messages: u64,
        /// Bytes they take.
        bytes: u64,
        /// Its limit, if it has one.
        max_bytes: Option<u64>,
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
    /// waits for one who may.
    ///
    /// # Errors
    /// As [`Bus::ensure_streams`], but transient for a missing stream that this user may not create.
    pub async fn ensure_publishing(&self, limits: StreamLimits) -> Result<(), BusError> {
        for wanted in wanted(limits) {
            let name = wanted.name.clone();
            if name == DEAD_LETTER_STREAM {
                continue;
            }
            let Err(error) = self.ensure_stream(wanted).await else { continue };
            if self.denied.has("publish", &create_subject(&name)) {
                let message =
                    format!("stream {name} does not exist, and this NATS user may not create it: start a writer");
                return Err(BusError::new(BusErrorKind::Transient, message));
            }
            return Err(error);
        }
        Ok(())
    }

    /// Looks the stream up before creating it: a server short of room refuses to create even a stream that exists.
    async fn ensure_stream(&self, wanted: Config) -> Result<(), BusError> {
        let Some(found) = self.find_stream(&wanted.name).await? else { return self.create_stream(wanted).await };
        verify(&found.config, &wanted)?;
        if wanted.name == DEAD_LETTER_STREAM {
            self.grow(&found.config, wanted.max_bytes).await;
        }
        Ok(())
    }

    /// Returns a stream if it exists.
    async fn find_stream(&self, name: &str) -> Result<Option<Info>, BusError> {
        match self.jetstream.get_stream(name).await {
            Ok(stream) => Ok(Some(stream.cached_info().clone())),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(reply) if reply.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
                _ => {
                    Err(self.denied.api_error(format!("look up stream {name}"), &format!("STREAM.INFO.{name}"), error))
                }
            },
        }
    }

    /// Enlarges the stream of dead letters to its configured size: that is the remedy for a full one. Never shrinks it,
    /// and nothing depends on its success.
    async fn grow(&self, found: &Config, max_bytes: i64) {
        if found.max_bytes <= 0 || found.max_bytes >= max_bytes {
            return;
        }
        let name = &found.name;
        match self.jetstream.update_stream(Config { max_bytes, ..found.clone() }).await {
            Ok(_) => {
                info!(stream = name, from = found.max_bytes, to = max_bytes, "stream enlarged to its configured size")
            }
            Err(error) => {
                let error =
                    self.denied.api_error(format!("enlarge stream {name}"), &format!("STREAM.UPDATE.{name}"), error);
                warn!(%error, "stream keeps its size");
            }
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
    pub async fn inspect_streams(&self, limits: StreamLimits) -> Vec<(String, Result<StreamFinding, BusError>)> {
        let inspections = wanted(limits).map(|wanted| async move {
            let finding = self.inspect_stream(&wanted).await;
            (wanted.name, finding)
        });
        futures::future::join_all(inspections).await
    }

    async fn inspect_stream(&self, wanted: &Config) -> Result<StreamFinding, BusError> {
        let Some(found) = self.find_stream(&wanted.name).await? else { return Ok(StreamFinding::Missing) };
        if let Err(error) = verify(&found.config, wanted) {
            return Ok(StreamFinding::Unsafe(error));
        }
        let max_bytes = u64::try_from(found.config.max_bytes).ok().filter(|limit| *limit > 0);
        Ok(StreamFinding::Usable { messages: found.state.messages, bytes: found.state.bytes, max_bytes })
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

/// Returns the configurations of the streams.
fn wanted(limits: StreamLimits) -> impl Iterator<Item = Config> {
    let rows = [
        (METRICS_STREAM, METRICS_SUBJECT, limits.metrics_bytes, METRICS_DUPLICATE_WINDOW),
        (EVENTS_STREAM, EVENTS_SUBJECT, limits.events_bytes, EVENTS_DUPLICATE_WINDOW),
        (DEAD_LETTER_STREAM, DEAD_LETTER_SUBJECTS, limits.dead_letter_bytes, EVENTS_DUPLICATE_WINDOW),
    ];
    rows.into_iter().map(|(name, subject, max_bytes, duplicate_window)| Config {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        max_bytes: i64::try_from(max_bytes).unwrap_or(i64::MAX),
        discard: DiscardPolicy::New,
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: 1,
        duplicate_window,
        ..Config::default()
    })
}

fn create_subject(stream: &str) -> String {
    format!("$JS.API.STREAM.CREATE.{stream}")
}

/// Refuses a stream that would silently lose messages. An operator may have made it larger, replicated it or limited
/// the age of messages; that is their decision.
fn verify(found: &Config, wanted: &Config) -> Result<(), BusError> {
    let name = &wanted.name;
    let mut problems = Vec::new();
    if !wanted.subjects.iter().all(|subject| found.subjects.contains(subject)) {
        problems.push(format!("it does not take {}", wanted.subjects.join(", ")));
    }
    if found.discard != DiscardPolicy::New && (found.max_bytes > 0 || found.max_messages > 0) {
        problems.push("it discards old messages when full (want discard: new)".to_owned());
    }
    if found.retention != RetentionPolicy::Limits {
        problems.push("its retention is not limits, so messages vanish before every consumer has them".to_owned());
    }
    if found.storage != StorageType::File {
        problems.push("it is kept in memory only".to_owned());
    }
    if problems.is_empty() {
        return Ok(());
    }
    let remedy = format!("fix it with `nats stream edit {name}`, or delete it so that it is created again");
    Err(BusError::new(
        BusErrorKind::Configuration,
        format!("stream {name} is not safe to use: {}; {remedy}", problems.join("; ")),
    ))
}
