//! Addresses of the servers of one store: the order in which requests try them, and those that are passed over.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::Url;
use spindle_core::backoff::Backoff;
use tokio::time::Instant;
use tracing::{info, warn};

use super::identity::ServerIdentity;

/// Pauses between two checks of an address that is away.
const FIRST_CHECK: Duration = Duration::from_secs(1);
const MAX_CHECK: Duration = Duration::from_secs(30);
/// Pause between two checks of an address that answers, so that an idle one is known to be away.
const IDLE_CHECK: Duration = Duration::from_secs(15);

/// State of one address of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressStatus {
    /// Address without user and password.
    pub address: String,
    /// Reason why requests pass it over; `None` while it serves.
    pub problem: Option<String>,
}

/// Addresses in the order of the setting.
#[derive(Debug)]
pub(super) struct Addresses {
    all: Vec<Address>,
    /// The address that answered last.
    preferred: AtomicUsize,
    /// Identity of the address that served the first request: the others must be like it.
    reference: OnceLock<ServerIdentity>,
    /// Returns from an outage that a request to another address hid.
    n_recoveries: AtomicU64,
}

#[derive(Debug)]
struct Address {
    base: Url,
    state: Mutex<AddressState>,
}

#[derive(Debug)]
struct AddressState {
    /// Identity in its last response to a check; `None` before the first.
    identity: Option<ServerIdentity>,
    /// Difference to the reference that was logged.
    difference: Option<String>,
    problem: Option<String>,
    /// It can never serve: it is another product.
    is_foreign: bool,
    backoff: Backoff,
    next_check: Instant,
}

impl Addresses {
    /// Parses the setting. The error omits the address, which may contain a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut all: Vec<Address> = Vec::new();
        let mut open = String::new();
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        for (index, part) in parts.iter().enumerate() {
            if open.is_empty() && part.is_empty() {
                continue;
            }
            open = if open.is_empty() { (*part).to_owned() } else { format!("{open},{part}") };
            match base_url(&open) {
                Ok(base) if all.iter().any(|known| known.base == base) => open.clear(),
                Ok(base) => {
                    all.push(Address { base, state: Mutex::new(AddressState::new()) });
                    open.clear();
                }
                // A comma may be part of a password.
                Err(_) if parts[index + 1..].iter().any(|rest| rest.contains('@') && !rest.contains("://")) => {}
                Err(problem) => return Err(problem),
            }
        }
        match (open.is_empty(), all.is_empty()) {
            (false, _) => Err("INFLUXDB_HOST is not a list of addresses".to_owned()),
            (true, true) => Err("INFLUXDB_HOST must name an http or https address".to_owned()),
            (true, false) => Ok(Self {
                all,
                preferred: AtomicUsize::new(0),
                reference: OnceLock::new(),
                n_recoveries: AtomicU64::new(0),
            }),
        }
    }

    pub(super) fn are_several(&self) -> bool {
        self.all.len() > 1
    }

    /// Returns the URL of an address, possibly with user and password.
    pub(super) fn base(&self, index: usize) -> &Url {
        &self.all[index].base
    }

    /// Returns an address without user and password.
    pub(super) fn name(&self, index: usize) -> String {
        let mut redacted = self.all[index].base.clone();
        let _ = redacted.set_username("");
        let _ = redacted.set_password(None);
        redacted.as_str().trim_end_matches('/').to_owned()
    }

    /// Returns all addresses without user and password.
    pub(super) fn names(&self) -> String {
        (0..self.all.len()).map(|index| self.name(index)).collect::<Vec<_>>().join(",")
    }

    /// Returns the addresses in the order to try them: the one that answered last, those not known to be away, the
    /// rest. An address of another product is left out.
    pub(super) fn order(&self) -> Vec<usize> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let mut order: Vec<usize> = (0..self.all.len()).filter(|index| !self.state(*index).is_foreign).collect();
        order.sort_by_key(|index| (self.is_away(*index), *index != preferred));
        order
    }

    pub(super) fn is_away(&self, index: usize) -> bool {
        self.state(index).problem.is_some()
    }

    /// Returns whether the identity of an address is known, so that it may receive requests.
    pub(super) fn is_checked(&self, index: usize) -> bool {
        self.state(index).identity.is_some()
    }

    /// Returns the addresses to check now, and puts off their next check.
    pub(super) fn due(&self) -> Vec<usize> {
        let now = Instant::now();
        let is_due = |index: &usize| {
            let mut state = self.state(*index);
            let is_due = state.next_check <= now;
            if is_due {
                state.next_check = now + IDLE_CHECK;
            }
            is_due
        };
        (0..self.all.len()).filter(is_due).collect()
    }

    /// Records that an address answered a request.
    pub(super) fn note_answer(&self, index: usize) {
        self.preferred.store(index, Ordering::Relaxed);
        let identity = self.state(index).identity.clone();
        if let Some(identity) = identity.filter(|_| self.reference.get().is_none())
            && self.reference.set(identity).is_ok()
        {
            for (other, identity) in self.identities() {
                // The result is in the state of the address.
                let _ = self.note_identity(other, identity);
            }
        }
        self.note_up(index);
    }

    /// Records that an address is back or still there.
    pub(super) fn note_up(&self, index: usize) {
        let mut state = self.state(index);
        if state.is_foreign {
            return;
        }
        state.backoff.reset();
        state.next_check = Instant::now() + IDLE_CHECK;
        let was_away = state.problem.take().is_some();
        drop(state);
        if was_away && self.are_several() {
            self.n_recoveries.fetch_add(1, Ordering::Relaxed);
            info!(address = self.name(index), "store address available again");
        }
    }

    /// Records that an address did not answer, or not usefully.
    pub(super) fn note_away(&self, index: usize, problem: &str) {
        let mut state = self.state(index);
        // Without jitter: a check is one small request.
        state.next_check = Instant::now() + state.backoff.next(1.0);
        let was_there = state.problem.replace(problem.to_owned()).is_none();
        drop(state);
        if was_there && self.are_several() {
            warn!(address = self.name(index), error = problem, "store address unavailable, passed over");
        }
    }

    /// Records the identity of an address. The error is the reason why it must not serve.
    pub(super) fn note_identity(&self, index: usize, identity: ServerIdentity) -> Result<(), String> {
        let difference = self.reference.get().map_or(Ok(None), |known| identity.difference(known));
        let mut state = self.state(index);
        let is_news = difference.is_ok() && state.difference != difference.clone().unwrap_or_default();
        state.identity = Some(identity);
        state.is_foreign = difference.is_err();
        state.difference = difference.clone().unwrap_or_default();
        drop(state);
        match difference {
            Ok(Some(difference)) if is_news => {
                let address = self.name(index);
                warn!(address, difference, "store addresses differ: they must be servers of one store");
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(difference) => {
                let problem = format!("it {difference}: the addresses in INFLUXDB_HOST must be servers of one store");
                self.note_away(index, &problem);
                Err(problem)
            }
        }
    }

    /// Returns the known identities.
    pub(super) fn identities(&self) -> Vec<(usize, ServerIdentity)> {
        (0..self.all.len()).filter_map(|index| Some((index, self.state(index).identity.clone()?))).collect()
    }

    pub(super) fn statuses(&self) -> Vec<AddressStatus> {
        let status = |index| AddressStatus { address: self.name(index), problem: self.state(index).problem.clone() };
        (0..self.all.len()).map(status).collect()
    }

    pub(super) fn n_recoveries(&self) -> u64 {
        self.n_recoveries.load(Ordering::Relaxed)
    }

    /// Records the end of an outage that no failed connection showed.
    pub(super) fn note_recovery(&self) {
        self.n_recoveries.fetch_add(1, Ordering::Relaxed);
    }

    fn state(&self, index: usize) -> MutexGuard<'_, AddressState> {
        self.all[index].state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AddressState {
    fn new() -> Self {
        Self {
            identity: None,
            difference: None,
            problem: None,
            is_foreign: false,
            backoff: Backoff::new(FIRST_CHECK, MAX_CHECK),
            next_check: Instant::now(),
        }
    }
}

fn base_url(text: &str) -> Result<Url, String> {
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let base = Url::parse(&text).map_err(|error| format!("INFLUXDB_HOST is not an address: {error}"))?;
    if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
        return Err("INFLUXDB_HOST must be an http or https address".to_owned());
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::influx::settings::InfluxVersion;

    fn names(text: &str) -> Result<String, String> {
        Addresses::parse(text).map(|addresses| addresses.names())
    }

    #[test]
    fn lists_are_split_and_redacted() {
        for (text, expected) in [
            ("http://a:8086", "http://a:8086"),
            ("a:8086, b:8086 ,https://c/influx/", "http://a:8086,http://b:8086,https://c/influx"),
            ("http://a,,http://a/,", "http://a"),
            ("http://me:hush@a:1,you:hush@b:2", "http://a:1,http://b:2"),
            ("http://me:hu,sh@a:1,http://b:2", "http://a:1,http://b:2"),
            ("http://[::1]:8086,[::1]:8087", "http://[::1]:8086,http://[::1]:8087"),
        ] {
            assert_eq!(names(text).as_deref(), Ok(expected), "{text}");
        }
        for wrong in
            ["", " , ", "ftp://a", "http://a,ftp://b", "http://me:hush@h:port,http://b", "http://a,http://me:hu,sh@"]
        {
            let error = names(wrong).unwrap_err();
            assert!(error.starts_with("INFLUXDB_HOST") && !error.contains("hu"), "{wrong}: {error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_away_comes_last_and_is_checked_less_and_less_often() {
        let addresses = Addresses::parse("a,b,c").unwrap();
        assert_eq!((addresses.order(), addresses.due()), (vec![0, 1, 2], vec![0, 1, 2]));
        addresses.note_answer(1);
        assert_eq!(addresses.order(), [1, 0, 2]);
        addresses.note_away(1, "refused");
        assert_eq!(addresses.order(), [0, 2, 1]);
        assert_eq!(addresses.statuses()[1].problem.as_deref(), Some("refused"));
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let due = |addresses: &Addresses| addresses.due().contains(&1);
            tokio::time::advance(Duration::from_millis(seconds * 1_000 - 1)).await;
            assert!(!due(&addresses), "{seconds}");
            tokio::time::advance(Duration::from_millis(2)).await;
            assert!(due(&addresses), "{seconds}");
            addresses.note_away(1, "refused");
        }
        assert_eq!(addresses.n_recoveries(), 0);
        addresses.note_up(1);
        assert_eq!((addresses.order(), addresses.n_recoveries()), (vec![1, 0, 2], 1));
    }

    #[tokio::test]
    async fn another_product_is_never_asked() {
        let addresses = Addresses::parse("a,b").unwrap();
        let of = |version| ServerIdentity { version: Some(version), ..ServerIdentity::default() };
        // Whichever is checked first: the one that serves counts.
        addresses.note_identity(1, of(InfluxVersion::V1)).unwrap();
        addresses.note_identity(0, of(InfluxVersion::OpenGemini)).unwrap();
        addresses.note_answer(0);
        assert_eq!(addresses.order(), [0]);
        let error = addresses.note_identity(1, of(InfluxVersion::V1)).unwrap_err();
        assert!(error.contains("InfluxDB 1") && error.contains("openGemini"), "{error}");
        addresses.note_up(1);
        assert_eq!(addresses.order(), [0]);
        assert!(addresses.statuses()[1].problem.is_some());
        // It was replaced by the right one.
        addresses.note_identity(1, of(InfluxVersion::OpenGemini)).unwrap();
        addresses.note_up(1);
        assert_eq!((addresses.order(), addresses.statuses()[1].problem.clone()), (vec![0, 1], None));
    }
}
