//! Single requests with a single reply.

use std::time::Duration;

use async_nats::RequestErrorKind;
use async_nats::client::Request;
use bytes::Bytes;

use crate::connect::Bus;
use crate::error::{BusError, BusErrorKind};

impl Bus {
    /// Sends a request and waits for the reply.
    ///
    /// # Errors
    /// [`BusErrorKind::Transient`] if nobody serves the subject or `timeout` expires, [`BusErrorKind::Configuration`]
    /// if this user may not send it, [`BusErrorKind::Permanent`] if the request itself cannot be sent.
    pub async fn request(&self, subject: &str, payload: Bytes, timeout: Duration) -> Result<Bytes, BusError> {
        let request = Request::new().payload(payload).timeout(Some(timeout));
        let reply = self.client.send_request(subject.to_owned(), request).await;
        reply.map(|message| message.payload).map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => {
                BusError::new(BusErrorKind::Transient, format!("nobody answers on '{subject}': is the reader running?"))
            }
            RequestErrorKind::TimedOut => {
                let message = format!("no answer on '{subject}' within {} s", timeout.as_secs_f32());
                let lost = self.denied.or("publish", &[subject], BusError::new(BusErrorKind::Transient, message));
                self.denied.or_inbox(&self.inbox, lost)
            }
            _ => BusError::caused(BusErrorKind::Permanent, format!("request on '{subject}'"), error),
        })
    }
}
