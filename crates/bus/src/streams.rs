//! The three streams: created where they are missing, verified where they exist. They refuse new
//! messages when full rather than forget old ones that nobody has stored.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use tracing::{info, warn};

use crate::connect::Bus;
use crate::error::{BusError, BusErrorKind};

/// Stream of metrics.
pub const METRICS_STREAM: &str = "METRICS";
/// Stream of events.
pub const EVENTS_STREAM: &str = "EVENTS";
/// Stream of what could not be stored.
pub const DEAD_LETTER_STREAM: &str = "DEADLETTER";
/// Where metrics are published.
pub const METRICS_SUBJECT: &str = "events.metrics";
/// Where events are published.
pub const EVENTS_SUBJECT: &str = "events.event";
/// Where dead letters are published; the reason is the last token.
pub(crate) const DEAD_LETTER_SUBJECTS: &str = "deadletter.>";

/// How large each stream may grow, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Of METRICS.
    pub metrics_bytes: u64,
    /// Of EVENTS.
    pub events_bytes: u64,
    /// Of DEADLETTER.
    pub dead_letter_bytes: u64,
}

impl StreamLimits {
    /// All three together: what the server must be allowed to store.
    pub fn total(&self) -> u64 {
        self.metrics_bytes.saturating_add(self.events_bytes).saturating_add(self.dead_letter_bytes)
    }
}

impl Default for StreamLimits {
    /// A day of 200 metrics a second, with room to spare.
    fn default() -> Self {
        Self { metrics_bytes: 4 << 30, events_bytes: 1 << 30, dead_letter_bytes: 1 << 30 }
    }
}

/// How full a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// Messages in it.
    pub messages: u64,
    /// Bytes they take.
    pub bytes: u64,
    /// Sequence of the newest.
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

/// Duplicates are recognised within this time. Ids live in the server's memory: metrics come in
/// thousands a second, so their window is NATS's default; events are few and get longer.
const METRICS_DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
const EVENTS_DUPLICATE_WINDOW: Duration = Duration::from_secs(3600);

impl Bus {
    /// Creates the streams that are missing and checks those that exist.
    ///
    /// # Errors
    /// [`BusErrorKind::Transient`] while JetStream is not ready, [`BusErrorKind::Configuration`] when the server has no
    /// room for them, this user may not make them, or an existing stream differs in a way that would lose messages.
    pub async fn ensure_streams(&self, limits: StreamLimits) -> Result<(), BusError> {
        for wanted in wanted(limits) {
            self.ensure_stream(wanted).await?;
        }
        Ok(())
    }

    /// [`Bus::ensure_streams`] for who only publishes metrics and events: a user without the right to make
    /// streams waits for those who have it.
    ///
    /// # Errors
    /// As [`Bus::ensure_streams`], but [`BusErrorKind::Transient`] for a missing stream that this user may not make.
    pub async fn ensure_publishing(&self, limits: StreamLimits) -> Result<(), BusError> {
        for wanted in wanted(limits) {
            let name = wanted.name.clone();
            if name == DEAD_LETTER_STREAM {
                continue;
            }
            let Err(fault) = self.ensure_stream(wanted).await else { continue };
            if self.denied.has("publish", &create_subject(&name)) {
                let words = format!("stream {name} is not there, and this NATS user may not make it: start a writer");
                return Err(BusError::new(BusErrorKind::Transient, words));
            }
            return Err(fault);
        }
        Ok(())
    }

    /// Looked up first: a server short of room refuses even to confirm a stream that it has.
    async fn ensure_stream(&self, wanted: Config) -> Result<(), BusError> {
        let name = wanted.name.clone();
        match self.jetstream.get_stream(&name).await {
            Ok(stream) => {
                let found = &stream.cached_info().config;
                verify(found, &wanted)?;
                if name == DEAD_LETTER_STREAM {
                    self.grow(found, wanted.max_bytes).await;
                }
                Ok(())
            }
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(reply) if reply.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    self.create_stream(wanted).await
                }
                _ => {
                    let fault = BusError::transient(format!("look up stream {name}"), error);
                    Err(self.denied.or("publish", &[&format!("$JS.API.STREAM.INFO.{name}")], fault))
                }
            },
        }
    }

    /// A stream of dead letters that is full is made larger in the configuration, and that must help. It is
    /// never made smaller, and nothing depends on its success.
    async fn grow(&self, found: &Config, max_bytes: i64) {
        if found.max_bytes <= 0 || found.max_bytes >= max_bytes {
            return;
        }
        let name = &found.name;
        match self.jetstream.update_stream(Config { max_bytes, ..found.clone() }).await {
            Ok(_) => info!(stream = name, from = found.max_bytes, to = max_bytes, "stream made larger, as configured"),
            Err(error) => {
                let update = format!("$JS.API.STREAM.UPDATE.{name}");
                let fault = BusError::transient(format!("make stream {name} larger"), error);
                warn!(fault = %self.denied.or("publish", &[&update], fault), "it stays as large as it is");
            }
        }
    }

    async fn create_stream(&self, wanted: Config) -> Result<(), BusError> {
        let (name, max_bytes, subjects) = (wanted.name.clone(), wanted.max_bytes, wanted.subjects.join(", "));
        let subject = create_subject(&name);
        if self.denied.has("publish", &subject) {
            // Asking again would only time out again.
            let fault = BusError::new(BusErrorKind::Transient, format!("create stream {name}"));
            return Err(self.denied.or("publish", &[&subject], fault));
        }
        let Err(error) = self.jetstream.create_stream(wanted).await else { return Ok(()) };
        let code = match error.kind() {
            CreateStreamErrorKind::JetStream(reply) => Some(reply.error_code()),
            _ => None,
        };
        let (kind, why) = match code {
            Some(ErrorCode::STORAGE_RESOURCES_EXCEEDED) => {
                let key = name.to_lowercase();
                (
                    BusErrorKind::Configuration,
                    format!(
                        ": the NATS server may not store {max_bytes} bytes more; raise its max_file_store or lower nats.{key}_bytes"
                    ),
                )
            }
            Some(ErrorCode::STREAM_SUBJECT_OVERLAP) => (
                BusErrorKind::Configuration,
                format!(": another stream already takes {subjects}; remove it from that stream"),
            ),
            _ => (BusErrorKind::Transient, String::new()),
        };
        let fault = BusError::caused(kind, format!("create stream {name}{why}"), error);
        Err(self.denied.or("publish", &[&subject], fault))
    }

    /// Inspects the three streams at the same time without creating or changing one. Each result has the name of its
    /// stream.
    ///
    /// # Errors
    /// [`BusErrorKind::Configuration`] if this user may not look at the stream, [`BusErrorKind::Transient`] if JetStream
    /// does not answer.
    pub async fn inspect_streams(&self, limits: StreamLimits) -> Vec<(String, Result<StreamFinding, BusError>)> {
        let inspections = wanted(limits).map(|wanted| async move {
            let finding = self.inspect_stream(&wanted).await;
            (wanted.name, finding)
        });
        futures::future::join_all(inspections).await
    }

    async fn inspect_stream(&self, wanted: &Config) -> Result<StreamFinding, BusError> {
        let name = &wanted.name;
        let error = match self.jetstream.get_stream(name).await {
            Ok(stream) => {
                let info = stream.cached_info();
                if let Err(error) = verify(&info.config, wanted) {
                    return Ok(StreamFinding::Unsafe(error));
                }
                let (messages, bytes) = (info.state.messages, info.state.bytes);
                return Ok(StreamFinding::Usable {
                    messages,
                    bytes,
                    max_bytes: u64::try_from(info.config.max_bytes).ok(),
                });
            }
            Err(error) => error,
        };
        match error.kind() {
            GetStreamErrorKind::JetStream(reply) if reply.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Ok(StreamFinding::Missing)
            }
            _ => {
                let error = BusError::transient(format!("look up stream {name}"), error);
                Err(self.denied.or("publish", &[&format!("$JS.API.STREAM.INFO.{name}")], error))
            }
        }
    }

    /// Returns the bytes that JetStream stores for this account, and its limit if there is one.
    ///
    /// # Errors
    /// As [`Bus::inspect_streams`].
    pub async fn jetstream_usage(&self) -> Result<(u64, Option<u64>), BusError> {
        match self.jetstream.query_account().await {
            Ok(account) => {
                let limit = account.limits.max_storage.and_then(|limit| u64::try_from(limit).ok());
                Ok((account.storage, limit))
            }
            Err(error) => {
                let error = BusError::transient("query JetStream", error);
                Err(self.denied.or("publish", &["$JS.API.INFO"], error))
            }
        }
    }

    /// How full a stream is.
    ///
    /// # Errors
    /// [`BusErrorKind::Transient`] if NATS does not answer.
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

/// The streams as we make them.
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

/// An operator may have made a stream larger, replicated it or given it an age; that is theirs to decide.
/// What would lose messages in silence is refused.
fn verify(found: &Config, wanted: &Config) -> Result<(), BusError> {
    let name = &wanted.name;
    let mut faults = Vec::new();
    if !wanted.subjects.iter().all(|subject| found.subjects.contains(subject)) {
        faults.push(format!("it does not take {}", wanted.subjects.join(", ")));
    }
    if found.discard != DiscardPolicy::New && (found.max_bytes > 0 || found.max_messages > 0) {
        faults.push("it discards old messages when full (want discard: new)".to_owned());
    }
    if found.retention != RetentionPolicy::Limits {
        faults.push("its retention is not limits, so messages vanish before every consumer has them".to_owned());
    }
    if found.storage != StorageType::File {
        faults.push("it is kept in memory only".to_owned());
    }
    if faults.is_empty() {
        return Ok(());
    }
    let remedy = format!("mend it with `nats stream edit {name}`, or remove it so that it is made anew");
    Err(BusError::new(
        BusErrorKind::Configuration,
        format!("stream {name} is not safe to use: {}; {remedy}", faults.join("; ")),
    ))
}
