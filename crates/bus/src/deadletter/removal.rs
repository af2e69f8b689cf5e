//! Taking letters out of the stream: one by one by sequence, or whole reasons at once.

use async_nats::jetstream::response::Response;
use serde::{Deserialize, Serialize};

use super::list::subjects_of;
use crate::connect::Bus;
use crate::error::BusError;
use crate::streams::DEAD_LETTER_STREAM;

#[derive(Serialize)]
struct Delete {
    seq: u64,
    /// A letter's bytes need not be overwritten on the disk, only be gone: that is several times faster.
    no_erase: bool,
}

#[derive(Deserialize)]
struct Deleted {
    success: bool,
}

impl Bus {
    /// Removes the messages with these sequences; returns how many of them were still there.
    ///
    /// # Errors
    /// [`crate::BusErrorKind::Transient`] if NATS does not answer; some may be removed then.
    pub async fn remove_dead_letters(&self, sequences: &[u64]) -> Result<usize, BusError> {
        let mut n_removed = 0;
        // From the last to the first: of a letter in parts, the one that is listed goes last.
        for sequence in sequences.iter().rev() {
            n_removed += usize::from(self.remove_message(*sequence).await?);
        }
        Ok(n_removed)
    }

    async fn remove_message(&self, seq: u64) -> Result<bool, BusError> {
        let subject = format!("STREAM.MSG.DELETE.{DEAD_LETTER_STREAM}");
        let asked = self.jetstream.request(subject.clone(), &Delete { seq, no_erase: true }).await;
        match asked.map_err(|error| self.no_answer("remove from", &subject, error))? {
            Response::Ok(Deleted { success }) => Ok(success),
            // Somebody was faster? The code for that is also the code for a fault of the disk.
            Response::Err { error } => match self.dead_letter_head(seq).await? {
                Some(_) => Err(BusError::transient(format!("remove dead letter {seq}"), error)),
                None => Ok(false),
            },
        }
    }

    /// Removes everything up to the sequence `last`, or only what has one reason; returns how many messages.
    ///
    /// # Errors
    /// [`crate::BusErrorKind::Transient`] if NATS does not answer.
    pub async fn purge_dead_letters(&self, reason: Option<&str>, last: u64) -> Result<u64, BusError> {
        let subject = format!("STREAM.PURGE.{DEAD_LETTER_STREAM}");
        let failed = |error| self.no_answer("remove", &subject, error);
        let stream = self.dead_letter_stream().await?;
        let mut n_removed = 0;
        for filter in reason.map_or_else(|| vec![">".to_owned()], subjects_of) {
            let purged = stream.purge().filter(filter).sequence(last.saturating_add(1)).await.map_err(failed)?;
            n_removed += purged.purged;
        }
        Ok(n_removed)
    }
}
