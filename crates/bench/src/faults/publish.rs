//! Publishes the known messages, each repeatedly with the same id until JetStream acknowledges it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::messages::{Message, Messages};
use crate::harness::nats::{Address, Connection, Received, push_publish};

/// Publishing connections; each waits only for the syncs of its own messages.
const CONNECTIONS: u64 = 2;
/// Messages in flight per connection.
const WINDOW: usize = 256;
/// Messages made ahead per connection.
const MADE_AHEAD: usize = 64;
/// Time without an ack after which a message is resent.
const RESEND_AFTER: Duration = Duration::from_secs(4);
/// Time after which a refused message is resent.
const REFUSED_PAUSE: Duration = Duration::from_millis(300);
/// Time without a frame from the server while acks are due, after which a new connection is opened.
const SILENCE: Duration = Duration::from_secs(6);
const TICK: Duration = Duration::from_millis(100);

/// Record of sent and acknowledged messages.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// One bit per message.
    acked: Mutex<Vec<u64>>,
    pub(super) n_acked: AtomicU64,
    pub(super) n_sent: AtomicU64,
    pub(super) n_resent: AtomicU64,
    pub(super) n_refused: AtomicU64,
    pub(super) n_duplicate: AtomicU64,
    pub(super) n_connections: AtomicU64,
    /// No new message is sent.
    is_stopped: AtomicBool,
}

impl Ledger {
    pub(super) fn new(n_messages: u64) -> Self {
        Self { acked: Mutex::new(vec![0; n_messages.div_ceil(64) as usize]), ..Self::default() }
    }

    fn set_acked(&self, number: u64) {
        let mut bits = self.acked.lock().unwrap_or_else(PoisonError::into_inner);
        bits[(number / 64) as usize] |= 1 << (number % 64);
        self.n_acked.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns true if JetStream acknowledged a message.
    pub(super) fn is_acked(&self, number: u64) -> bool {
        let bits = self.acked.lock().unwrap_or_else(PoisonError::into_inner);
        bits[(number / 64) as usize] & (1 << (number % 64)) != 0
    }

    /// Stops publishing; messages in flight still get their acks.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}

/// Number of messages that may have been made by now.
pub(super) type Allowance = Arc<AtomicU64>;

/// Publishes all messages, as fast as `allowed` grows; ends once each is acknowledged.
pub(super) fn start(
    address: &Address,
    prefix: &str,
    messages: Messages,
    ledger: &Arc<Ledger>,
    allowed: Allowance,
) -> JoinHandle<()> {
    let (mut senders, mut working) = (Vec::new(), Vec::new());
    for number in 0..CONNECTIONS {
        let (send, made) = mpsc::channel(MADE_AHEAD);
        senders.push(send);
        let lane = Lane {
            address: address.clone(),
            prefix: prefix.to_owned(),
            inbox: format!("_FAULTS.{prefix}.{number}"),
            ledger: ledger.clone(),
            pending: BTreeMap::new(),
        };
        working.push(tokio::spawn(lane.run(made)));
    }
    let ledger = ledger.clone();
    tokio::spawn(async move {
        make(messages, senders, &ledger, &allowed).await;
        for lane in working {
            // Ends once everything is acknowledged; after a panic the verdict reports the missing messages.
            let _ = lane.await;
        }
    })
}

async fn make(messages: Messages, senders: Vec<mpsc::Sender<Message>>, ledger: &Ledger, allowed: &AtomicU64) {
    for message in messages {
        while message.number >= allowed.load(Ordering::Relaxed) && !ledger.is_stopped() {
            sleep(Duration::from_millis(5)).await;
        }
        if ledger.is_stopped() {
            return;
        }
        let lane = (message.number % CONNECTIONS) as usize;
        if senders[lane].send(message).await.is_err() {
            return;
        }
    }
}

struct Pending {
    subject: &'static str,
    payload: Vec<u8>,
    resend_at: Instant,
}

/// Share of one connection.
struct Lane {
    address: Address,
    prefix: String,
    inbox: String,
    ledger: Arc<Ledger>,
    pending: BTreeMap<u64, Pending>,
}

impl Lane {
    async fn run(mut self, mut made: mpsc::Receiver<Message>) {
        loop {
            let Ok(connection) = Connection::open(&self.address).await else {
                sleep(TICK).await;
                continue;
            };
            self.ledger.n_connections.fetch_add(1, Ordering::Relaxed);
            if self.work(connection, &mut made).await.is_ok() {
                return;
            }
        }
    }

    /// Returns `Ok` once everything is acknowledged and no more messages will come.
    async fn work(&mut self, mut connection: Connection, made: &mut mpsc::Receiver<Message>) -> anyhow::Result<()> {
        connection.write(format!("SUB {}.* 1\r\n", self.inbox).as_bytes()).await?;
        self.resend(&mut connection, true).await?;
        let mut ticker = interval(TICK);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut received_at, mut is_open) = (Instant::now(), true);
        while is_open || !self.pending.is_empty() {
            tokio::select! {
                received = connection.next() => {
                    received_at = Instant::now();
                    self.settle(&received?);
                }
                message = made.recv(), if is_open && self.pending.len() < WINDOW => match message {
                    Some(message) => {
                        if self.pending.is_empty() {
                            received_at = Instant::now();
                        }
                        self.send(&mut connection, message).await?;
                    }
                    None => is_open = false,
                },
                _ = ticker.tick() => {
                    self.resend(&mut connection, false).await?;
                    anyhow::ensure!(self.pending.is_empty() || received_at.elapsed() < SILENCE, "no frame from the server");
                }
            }
        }
        Ok(())
    }

    async fn send(&mut self, connection: &mut Connection, message: Message) -> anyhow::Result<()> {
        let Message { number, subject, payload, .. } = message;
        self.pending.insert(number, Pending { subject, payload, resend_at: Instant::now() + RESEND_AFTER });
        self.ledger.n_sent.fetch_add(1, Ordering::Relaxed);
        let mut bytes = Vec::new();
        self.push(number, &mut bytes);
        connection.write(&bytes).await
    }

    fn push(&self, number: u64, bytes: &mut Vec<u8>) {
        let Some(Pending { subject, payload, .. }) = self.pending.get(&number) else { return };
        let (reply, id) = (format!("{}.{number}", self.inbox), message_id(&self.prefix, number));
        push_publish(bytes, subject, &reply, &id, payload);
    }

    /// Resends the messages that are due, or all of them on a new connection.
    async fn resend(&mut self, connection: &mut Connection, all: bool) -> anyhow::Result<()> {
        let now = Instant::now();
        let due: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| all || pending.resend_at <= now)
            .map(|(number, _)| *number)
            .collect();
        let mut bytes = Vec::new();
        for number in &due {
            if let Some(pending) = self.pending.get_mut(number) {
                pending.resend_at = now + RESEND_AFTER;
            }
            self.push(*number, &mut bytes);
        }
        self.ledger.n_resent.fetch_add(due.len() as u64, Ordering::Relaxed);
        connection.write(&bytes).await
    }

    fn settle(&mut self, received: &Received) {
        let Some(number) = received.subject.rsplit('.').next().and_then(|token| token.parse().ok()) else { return };
        let ack: Value = serde_json::from_slice(&received.payload).unwrap_or_default();
        if ack["error"].is_null() && ack["seq"].is_u64() {
            if self.pending.remove(&number).is_some() {
                self.ledger.set_acked(number);
                let is_duplicate = ack["duplicate"] == true;
                self.ledger.n_duplicate.fetch_add(u64::from(is_duplicate), Ordering::Relaxed);
            }
        } else if let Some(pending) = self.pending.get_mut(&number) {
            pending.resend_at = Instant::now() + REFUSED_PAUSE;
            self.ledger.n_refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Message id, the same over all attempts.
pub(super) fn message_id(prefix: &str, number: u64) -> String {
    format!("{prefix}-{number}")
}

/// Returns the number of the message with an id.
pub(super) fn number_of(prefix: &str, id: &str) -> Option<u64> {
    id.strip_prefix(prefix)?.strip_prefix('-')?.parse().ok()
}
