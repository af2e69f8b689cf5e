//! Removing dead letters from the stream: one by one by sequence, or all of a reason at once.

use async_nats::jetstream::response::Response;
use serde::{Deserialize, Serialize};

use super::list::subjects_of;
use crate::connect::Bus;
use crate::error::BusError;
use crate::streams::DEAD_LETTER_STREAM;

#[derive(Serialize)]
struct Delete {
    seq: u64,
    /// Skips overwriting the bytes on the disk, which is several times faster: they only need to be gone.
    no_erase: bool,
}

#[derive(Deserialize)]
struct Deleted {
    success: bool,
}

impl Bus {
    /// Removes the messages with these sequences; returns the number of those that still existed.
    ///
    /// # Errors
    /// Transient, if NATS does not answer; some may be removed then.
    pub async fn remove_dead_letters(&self, sequences: &[u64]) -> Result<usize, BusError> {
        let mut n_removed = 0;
        // From last to first: of a dead letter in parts, the one that is listed goes last.
        for sequence in sequences.iter().rev() {
            n_removed += usize::from(self.remove_message(*sequence).await?);
        }
        Ok(n_removed)
    }

    async fn remove_message(&self, seq: u64) -> Result<bool, BusError> {
        let api = format!("STREAM.MSG.DELETE.{DEAD_LETTER_STREAM}");
        let reply = self.jetstream.request(api.clone(), &Delete { seq, no_erase: true }).await;
        match reply.map_err(|error| self.denied.api_error("remove dead letters", &api, error))? {
            Response::Ok(Deleted { success }) => Ok(success),
            // Another client may have removed it; but the same code also reports a disk error.
            Response::Err { error } => match self.dead_letter_head(seq).await? {
                Some(_) => Err(BusError::transient(format!("remove dead letter {seq}"), error)),
                None => Ok(false),
            },
        }
    }

    /// Removes all dead letters up to the sequence `last`, or only those with one reason; returns the number of
    /// messages removed.
    ///
    /// # Errors
    /// Transient, if NATS does not answer.
    pub async fn purge_dead_letters(&self, reason: Option<&str>, last: u64) -> Result<u64, BusError> {
        let api = format!("STREAM.PURGE.{DEAD_LETTER_STREAM}");
        let failed = |error| self.denied.api_error("remove dead letters", &api, error);
        let stream = self.dead_letter_stream().await?;
        let mut n_removed = 0;
        for filter in reason.map_or_else(|| vec![">".to_owned()], subjects_of) {
            let purged = stream.purge().filter(filter).sequence(last.saturating_add(1)).await.map_err(failed)?;
            n_removed += purged.purged;
        }
        Ok(n_removed)
    }
}
