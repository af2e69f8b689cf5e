//! Messages that came suspiciously often, and the last guard against one that ends the writer. What is done about
//! them, and why by us and not by the server, is said in `spindle_bus`, at [`Bus::suspect`].
//!
//! [`Bus::suspect`]: spindle_bus::Bus::suspect

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use spindle_bus::{Delivery, Kind, Suspicion, UNDELIVERABLE};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::batch::with_progress;
use super::lane::{Lane, chain};
use super::order::Order;
use crate::telemetry::{WRITER_DEAD_LETTERS, WRITER_SUSPECTS};

/// The delivery from which on a message is tried by itself. Four deaths in the company of others may be
/// anybody's fault; the trial costs an innocent message some milliseconds.
const SUSPECT_FROM: i64 = 5;
/// How long suspects are tried before others have their turn again: thousands can be suspect at once, after
/// a store that was away while the writer was restarted again and again.
const TIME_AT_ONCE: Duration = Duration::from_secs(1);
/// When the others come again.
const LATER: Duration = Duration::from_secs(2);

/// Those above suspicion, and the suspects.
pub(super) fn sift(deliveries: Vec<Delivery>) -> (Vec<Delivery>, Vec<Delivery>) {
    deliveries.into_iter().partition(|delivery| delivery.n_delivered() < SUSPECT_FROM)
}

impl Lane {
    /// Tries one after the other, each by itself.
    pub(super) async fn try_suspects(
        self: &Arc<Self>,
        suspects: Vec<Delivery>,
        order: &mut Order,
        stop: &CancellationToken,
    ) {
        let until = Instant::now() + TIME_AT_ONCE;
        let mut waiting = VecDeque::from(suspects);
        while let Some(suspect) = waiting.pop_front() {
            if stop.is_cancelled() {
                return;
            }
            if Instant::now() < until {
                with_progress(waiting.iter(), Box::pin(self.try_alone(suspect, order, stop))).await;
            } else if let Err(fault) = suspect.nak(LATER).await {
                warn!(stream = self.stream, error = chain(fault), "a suspect could not be put off: it comes again");
            }
        }
    }

    async fn try_alone(self: &Arc<Self>, suspect: Delivery, order: &mut Order, stop: &CancellationToken) {
        WRITER_SUSPECTS.with_label_values(&[self.stream]).inc();
        let sequence = suspect.stream_sequence();
        match self.bus.suspect(self.stream, &suspect).await {
            Ok(Suspicion::Try) => {}
            Ok(Suspicion::Guilty) => return self.bury(&suspect).await,
            Err(fault) if fault.kind() == Kind::StreamFull => {
                self.note_unkept(&suspect, fault);
                if let Err(fault) = self.put_off(&suspect, false).await {
                    warn!(stream = self.stream, error = chain(fault), "a suspect could not be put off: it comes again");
                }
                return;
            }
            // Without the guard it was handled before it was suspect, too: better that than not at all.
            Err(fault) => {
                warn!(
                    stream = self.stream,
                    sequence,
                    error = chain(fault),
                    "a message that came often is tried without a copy kept before"
                );
            }
        }
        if let Some(in_hand) = self.take_in_hand(vec![suspect], None, order).await {
            self.clone().bring_through(in_hand, stop.clone()).await;
        }
    }

    /// Its dead letter is kept since the last attempt.
    async fn bury(&self, suspect: &Delivery) {
        let (sequence, n_delivered) = (suspect.stream_sequence(), suspect.n_delivered());
        if let Err(fault) = suspect.term().await {
            return warn!(stream = self.stream, sequence, error = chain(fault), "a message could not be terminated");
        }
        WRITER_DEAD_LETTERS.with_label_values(&[UNDELIVERABLE]).inc();
        error!(
            stream = self.stream,
            sequence,
            n_delivered,
            "a message ended the writer whenever it was tried: it is a dead letter now (spindle dlq ls --reason undeliverable)"
        );
    }
}
