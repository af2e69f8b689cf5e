//! The server's description of a stream and of its consumers, as JSON: configurations are complete, whatever the client
//! library knows of them.

use std::collections::HashMap;

use async_nats::client::Request;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use spindle_core::Timestamp;

use super::METRICS_STREAM;
use crate::connect::{ACK_TIMEOUT, Bus};
use crate::error::BusError;

/// A stream.
#[derive(Debug, Deserialize)]
pub(crate) struct RawStream {
    pub(crate) config: Map<String, Value>,
    pub(crate) state: RawState,
    #[serde(default)]
    pub(crate) created: Option<String>,
    #[serde(default)]
    cluster: Option<RawCluster>,
    /// Time of the answer, by the clock of the server.
    #[serde(default)]
    ts: Option<String>,
}

/// Contents of a stream.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct RawState {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    #[serde(default)]
    pub(crate) num_subjects: u64,
}

/// Numbers of messages by subject.
#[derive(Deserialize)]
struct Subjects {
    state: SubjectCounts,
}

#[derive(Deserialize)]
struct SubjectCounts {
    #[serde(default)]
    subjects: Option<HashMap<String, u64>>,
}

#[derive(Debug, Deserialize)]
struct RawCluster {
    #[serde(default)]
    replicas: Option<Vec<RawReplica>>,
}

#[derive(Debug, Deserialize)]
struct RawReplica {
    #[serde(default)]
    current: bool,
    #[serde(default)]
    offline: bool,
}

/// A consumer.
#[derive(Debug, Deserialize)]
pub(crate) struct RawConsumer {
    pub(crate) name: String,
    pub(crate) config: Map<String, Value>,
    pub(crate) delivered: RawPosition,
    pub(crate) ack_floor: RawPosition,
    #[serde(default)]
    pub(crate) num_pending: u64,
    #[serde(default)]
    pub(crate) num_ack_pending: u64,
}

/// Key of the process that follows, in the metadata of a consumer.
pub(crate) const FOLLOWER: &str = "spindle-follower";

impl RawConsumer {
    /// Returns the name of the process that follows with it; `None` if it is no consumer of a [`crate::Follower`].
    pub(crate) fn follower(&self) -> Option<&str> {
        self.config.get("metadata")?.get(FOLLOWER)?.as_str()
    }
}

/// A position of a consumer.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct RawPosition {
    /// Sequence of the stream.
    pub(crate) stream_seq: u64,
    /// Number of deliveries.
    #[serde(default)]
    pub(crate) consumer_seq: u64,
}

#[derive(Deserialize)]
struct ConsumerPage {
    #[serde(default)]
    total: usize,
    /// Go writes an empty list as null.
    consumers: Option<Vec<RawConsumer>>,
}

impl RawStream {
    /// Returns a limit of the configuration, if it is set.
    pub(crate) fn limit(&self, field: &str) -> Option<u64> {
        self.config.get(field).and_then(Value::as_u64).filter(|limit| *limit > 0)
    }

    /// Returns `true` if the stream has copies.
    pub(crate) fn is_replicated(&self) -> bool {
        self.n_replicas() > 1
    }

    /// Returns the number of copies.
    pub(crate) fn n_replicas(&self) -> u64 {
        self.limit("num_replicas").unwrap_or(1)
    }

    /// Returns `true` while a copy that is reachable is behind the others.
    pub(crate) fn is_catching_up(&self) -> bool {
        let replicas = self.cluster.as_ref().and_then(|cluster| cluster.replicas.as_ref());
        replicas.into_iter().flatten().any(|replica| !replica.current && !replica.offline)
    }
}

impl Bus {
    /// Looks up a stream; `None` if it does not exist.
    pub(crate) async fn raw_stream(&self, name: &str) -> Result<Option<RawStream>, BusError> {
        let api = format!("STREAM.INFO.{name}");
        self.describe(format!("look up stream {name}"), api, Bytes::new(), ErrorCode::STREAM_NOT_FOUND).await
    }

    /// Returns the number of messages of the subject that has the most.
    pub(crate) async fn fullest_subject(&self, name: &str) -> Result<u64, BusError> {
        let api = format!("STREAM.INFO.{name}");
        let request = json!({ "subjects_filter": ">" }).to_string().into();
        let attempt = format!("count the subjects of stream {name}");
        let found: Option<Subjects> = self.describe(attempt, api, request, ErrorCode::STREAM_NOT_FOUND).await?;
        let counts = found.and_then(|found| found.state.subjects).unwrap_or_default();
        Ok(counts.into_values().max().unwrap_or(0))
    }

    /// Returns the time on the clock of the server that keeps METRICS; `None` if the stream does not exist, or the server
    /// reports no time.
    ///
    /// # Errors
    /// Transient, if NATS does not answer; configuration, if a permission is missing.
    pub async fn server_time(&self) -> Result<Option<Timestamp>, BusError> {
        let stream = self.raw_stream(METRICS_STREAM).await?;
        Ok(stream.and_then(|stream| Timestamp::parse(&stream.ts?).ok()))
    }

    /// Looks up a consumer; `None` if it does not exist.
    pub(crate) async fn raw_consumer(&self, stream: &str, durable: &str) -> Result<Option<RawConsumer>, BusError> {
        let api = format!("CONSUMER.INFO.{stream}.{durable}");
        let attempt = format!("look up consumer {durable} of stream {stream}");
        self.describe(attempt, api, Bytes::new(), ErrorCode::CONSUMER_NOT_FOUND).await
    }

    /// Lists all consumers of a stream, ephemeral ones too.
    pub(crate) async fn raw_consumers(&self, stream: &str) -> Result<Vec<RawConsumer>, BusError> {
        let mut consumers = Vec::new();
        loop {
            let (api, attempt) = (format!("CONSUMER.LIST.{stream}"), format!("list the consumers of stream {stream}"));
            let request = json!({ "offset": consumers.len() }).to_string().into();
            let page: Option<ConsumerPage> = self.describe(attempt, api, request, ErrorCode::STREAM_NOT_FOUND).await?;
            let Some(ConsumerPage { total, consumers: Some(page) }) = page else { return Ok(consumers) };
            let is_last = page.is_empty() || consumers.len() + page.len() >= total;
            consumers.extend(page);
            if is_last {
                return Ok(consumers);
            }
        }
    }

    /// Replaces the configuration of a stream.
    pub(crate) async fn update_raw_stream(&self, name: &str, config: &Map<String, Value>) -> Result<(), BusError> {
        let api = format!("STREAM.UPDATE.{name}");
        let attempt = format!("update stream {name}");
        let payload = Value::Object(config.clone()).to_string().into();
        let updated: Option<Value> = self.describe(attempt.clone(), api, payload, ErrorCode::STREAM_NOT_FOUND).await?;
        updated.map(drop).ok_or_else(|| BusError::transient(attempt, "it does not exist"))
    }

    /// Sends a request to JetStream's API; `None` if the answer is the error `missing`.
    async fn describe<T: DeserializeOwned>(
        &self,
        attempt: String,
        api: String,
        payload: Bytes,
        missing: ErrorCode,
    ) -> Result<Option<T>, BusError> {
        let request = Request::new().payload(payload).timeout(Some(ACK_TIMEOUT));
        let reply = self.client.send_request(format!("$JS.API.{api}"), request).await;
        let reply = reply.map_err(|error| self.denied.api_error(attempt.clone(), &api, error))?;
        match serde_json::from_slice(&reply.payload) {
            Ok(Response::Ok(answer)) => Ok(Some(answer)),
            Ok(Response::Err { error }) if error.error_code() == missing => Ok(None),
            Ok(Response::Err { error }) => Err(self.denied.api_error(attempt, &api, error)),
            Err(error) => Err(BusError::transient(attempt, error)),
        }
    }
}
