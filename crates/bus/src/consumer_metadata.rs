//! Metadata of durable consumers: small values that belong to a position in a stream and must outlive the process that
//! writes them (nats-server 2.10 and later).

use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{FromConsumer, PullConsumer};

use crate::connect::Bus;
use crate::error::BusError;

impl Bus {
    /// Returns the value that [`Self::set_consumer_metadata`] kept under `key`.
    ///
    /// # Errors
    /// Transient, if NATS does not answer or the consumer does not exist; configuration, if a permission is missing.
    pub async fn consumer_metadata(&self, stream: &str, durable: &str, key: &str) -> Result<Option<String>, BusError> {
        let consumer: Result<PullConsumer, _> = self.jetstream.get_consumer_from_stream(durable, stream).await;
        let consumer = consumer.map_err(|error| {
            let attempt = format!("look up consumer {durable} of stream {stream}");
            self.denied.api_error(attempt, &format!("CONSUMER.INFO.{stream}.{durable}"), error)
        })?;
        Ok(consumer.cached_info().config.metadata.get(key).cloned())
    }

    /// Keeps a value with a durable consumer, in place of the one under the same key.
    ///
    /// # Errors
    /// As [`Self::consumer_metadata`].
    pub async fn set_consumer_metadata(
        &self,
        stream: &str,
        durable: &str,
        key: &str,
        value: &str,
    ) -> Result<(), BusError> {
        let attempt = || format!("update the metadata of consumer {durable} of stream {stream}");
        let found = self.jetstream.get_stream_no_info(stream).await;
        let found = found.map_err(|error| BusError::transient(attempt(), error))?;
        let info = found.consumer_info(durable).await;
        let info = info
            .map_err(|error| self.denied.api_error(attempt(), &format!("CONSUMER.INFO.{stream}.{durable}"), error))?;
        let mut config =
            Config::try_from_consumer_config(info.config).map_err(|error| BusError::transient(attempt(), error))?;
        config.metadata.insert(key.to_owned(), value.to_owned());
        let updated = found.update_consumer(config).await;
        updated
            .map(drop)
            .map_err(|error| self.denied.api_error(attempt(), &format!("CONSUMER.CREATE.{stream}.{durable}"), error))
    }
}
