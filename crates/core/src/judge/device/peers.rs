//! Devices beside their peers, live: minutes of latency to [`Cohorts`], and its verdicts to events.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::notes::{exact, rounded};
use super::slow::{self, NOTE, PAGE};
use super::{Device, Devices};
use crate::cohort::{Cohorts, MIN_PEERS, PeerSample, PeerSamples, PeerVerdict, TOGETHER_WITHIN};
use crate::judge::events::{DEVICE_SLOW, DEVICE_SLOW_ENDED, Finding};
use crate::name::DeviceName;
use crate::timestamp::Timestamp;
use crate::wire::{Event, Labels};

/// Metric type that is compared.
pub(in crate::judge) const COMPARED: &str = "Latency";
/// Score from which on a device is called slow at once. From 1 on it is slower than its peers, but a load of its own (a
/// backup, a working day) explains that too: it reaches 1.9 in a fleet without a fault whose devices have loads of their
/// own, and 3 and more when they wear out.
const SURE_SCORE: f64 = 2.0;
/// Time for which a lower score must last: no daily rhythm does.
const SURE_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Minutes beside its peers after which the history of a device says that slowness found before it began is over: the
/// longest window of a cohort.
const UNPROVEN_MINUTES: u16 = 180;
/// Between the parts of the name of a cohort: not part of a label, so no two cohorts share a name.
const SEPARATOR: char = '\u{1f}';

/// Logarithm of a ratio to the peers from which on a load explains slowness: 1.35 times as much.
const MORE_LOAD: f32 = 0.3;

/// Loads of the devices of each cohort in a minute.
#[derive(Debug, Default)]
struct Loads(BTreeMap<String, CohortLoads>);

/// Logarithms of the loads of a cohort.
#[derive(Debug, Default)]
struct CohortLoads {
    /// Beside the usual load of the device itself.
    beside_usual: Vec<f32>,
    /// Numbers of requests.
    requests: Vec<f32>,
}

impl Loads {
    fn add(&mut self, cohort: &str, device: &Device, minute: i64) {
        let loads = match self.0.get_mut(cohort) {
            Some(loads) => loads,
            None => self.0.entry(cohort.to_owned()).or_default(),
        };
        loads.beside_usual.extend(device.own_past.load(minute).filter(|load| load.is_finite()));
        loads.requests.extend(device.own_past.requests(minute).filter(|load| load.is_finite()));
    }

    fn sort(&mut self) {
        for loads in self.0.values_mut() {
            loads.beside_usual.sort_by(f32::total_cmp);
            loads.requests.sort_by(f32::total_cmp);
        }
    }

    /// Compares the loads of a device with those of its cohort.
    fn moment(&self, cohort: Option<&str>, device: &Device, at: Timestamp, is_quiet: bool) -> Moment {
        let loads = cohort.and_then(|cohort| self.0.get(cohort));
        let compared = |all: fn(&CohortLoads) -> &Vec<f32>| loads.map(all).filter(|all| all.len() > MIN_PEERS);
        let is_more = |own: f32, all: &Vec<f32>| own - all[all.len() / 2] > MORE_LOAD;
        let is_uneven = |all: &Vec<f32>| all[all.len() * 3 / 4] - all[all.len() / 4] > MORE_LOAD;
        let is_busier =
            |own: f32, all: &Vec<f32>| is_more(own, all) || is_uneven(all) && own > all[(all.len() - 1) / 2];
        let minute = at.minute();
        Moment {
            at,
            is_quiet,
            is_loaded: device
                .own_past
                .load(minute)
                .zip(compared(|loads| &loads.beside_usual))
                .is_some_and(|(own, all)| is_more(own, all)),
            is_busier: device
                .own_past
                .requests(minute)
                .zip(compared(|loads| &loads.requests))
                .is_some_and(|(own, all)| is_busier(own, all)),
        }
    }
}

/// Minute in which a device is judged.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Timestamp,
    /// Nothing is said yet.
    is_quiet: bool,
    /// The device has more load than usual, and its peers have not.
    is_loaded: bool,
    /// The device has more requests than its peers, perhaps always; or more than most of them, where their loads differ.
    is_busier: bool,
}

/// State of one device beside its peers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::judge) struct PeerWatch {
    /// Sum and number of values in the minute in the making.
    sum: f64,
    n_values: u32,
    /// Names of the cohorts that its labels put it in.
    of_enclosure: Option<String>,
    of_model: Option<String>,
    /// `true` from [`DEVICE_SLOW`] to its end.
    is_slow: bool,
    /// Time since when its score has been 1 or above.
    alarm_since: Option<Timestamp>,
    /// Newest minutes in which it had a load of its own, and in which it was busier than its peers.
    loaded: Option<Timestamp>,
    busier: Option<Timestamp>,
    /// `true` for a replaced drive until its predecessor's slowness has left the windows.
    is_excused: bool,
    changed: Option<Timestamp>,
    /// Minutes for which slowness that another run of the detector has found does not end without an alarm.
    unproven: u16,
}

impl PeerWatch {
    /// Adds a value of the minute in the making.
    pub(in crate::judge) fn add(&mut self, value: f64) {
        self.sum += value;
        self.n_values += 1;
    }

    /// Takes a hole: the minute in the making is dropped, and an alarm is not older than before.
    pub(in crate::judge) fn skip(&mut self, hole: Duration) {
        (self.sum, self.n_values) = (0.0, 0);
        self.alarm_since = self.alarm_since.map(|since| since.plus(hole));
    }

    /// Takes an event of another run of the detector about the device.
    pub(in crate::judge) fn adopt(&mut self, event: &Event, at: Timestamp) {
        if self.changed.is_none_or(|changed| changed < at) {
            let is_slow = event.event_type.as_str() == DEVICE_SLOW;
            if is_slow && !self.is_slow {
                self.unproven = UNPROVEN_MINUTES;
            }
            (self.is_slow, self.changed) = (is_slow, Some(at));
        }
    }

    /// Takes the replacement of the drive.
    pub(in crate::judge) fn replace(&mut self, at: Timestamp) {
        let before = std::mem::take(self);
        *self = Self { is_slow: false, alarm_since: None, is_excused: true, changed: Some(at), unproven: 0, ..before };
    }
}

/// Minute in the making and the histories of all devices.
#[derive(Debug, Default)]
pub(in crate::judge) struct Peers {
    /// Minutes since the epoch, by the time at which NATS took the values: the clocks of the senders do not matter.
    pub(in crate::judge) minute: Option<i64>,
    pub(in crate::judge) cohorts: Cohorts,
    /// Number of devices in each cohort of an enclosure.
    members: BTreeMap<String, usize>,
    /// Newest device of each enclosure that was slow, and since when.
    pub(in crate::judge) slow: BTreeMap<String, (DeviceName, Timestamp)>,
}

impl Peers {
    /// Enters a device whose labels have changed in its cohorts.
    pub(in crate::judge) fn enter(&mut self, device: &mut Device) {
        let class = device.labels.get("class").map_or("", String::as_str);
        let named =
            |key: &str| device.labels.get(key).map(|value| format!("{key}{SEPARATOR}{value}{SEPARATOR}{class}"));
        let (of_enclosure, of_model) = (named("enclosure"), named("model"));
        if of_enclosure != device.peers.of_enclosure {
            self.leave(device);
            if let Some(cohort) = &of_enclosure {
                *self.members.entry(cohort.clone()).or_default() += 1;
            }
        }
        (device.peers.of_enclosure, device.peers.of_model) = (of_enclosure, of_model);
    }

    /// Takes a device out of its cohort.
    fn leave(&mut self, device: &Device) {
        let Some(cohort) = &device.peers.of_enclosure else { return };
        if let Some(n_members) = self.members.get_mut(cohort) {
            *n_members -= 1;
            if *n_members == 0 {
                self.members.remove(cohort);
            }
        }
    }

    /// Forgets a device.
    pub(in crate::judge) fn forget(&mut self, device: &Device) {
        self.leave(device);
        self.cohorts.remove(&device.name);
    }

    /// Counts a restored device.
    pub(in crate::judge) fn count(&mut self, device: &Device) {
        if let Some(cohort) = &device.peers.of_enclosure {
            *self.members.entry(cohort.clone()).or_default() += 1;
        }
    }

    /// Returns the number of devices in an enclosure.
    pub(in crate::judge) fn n_in(&self, enclosure: &str) -> usize {
        let prefix = format!("enclosure{SEPARATOR}{enclosure}{SEPARATOR}");
        let from_prefix = self.members.range(prefix.clone()..);
        from_prefix.take_while(|(cohort, _)| cohort.starts_with(&prefix)).map(|(_, n_members)| n_members).sum()
    }

    /// Takes the time: judges the minute in the making if it is over. Events go to `made`.
    pub(in crate::judge) fn advance(
        &mut self,
        now: Timestamp,
        devices: &mut Devices,
        quiet_until: Timestamp,
        made: &mut Vec<Event>,
    ) {
        let minute = now.minute();
        let Some(current) = self.minute.filter(|current| *current < minute) else {
            self.minute.get_or_insert(minute);
            return;
        };
        self.minute = Some(minute);
        let at = Timestamp::of_minute(current);
        let end = at.plus(Duration::from_secs(60));
        let mut samples = PeerSamples::new();
        let mut loads = Loads::default();
        for device in devices.iter_mut().filter(|device| device.peers.n_values > 0) {
            let value = device.peers.sum / f64::from(device.peers.n_values);
            (device.peers.sum, device.peers.n_values) = (0.0, 0);
            slow::look(device, value, end, quiet_until, made);
            if let Some(cohort) = self.cohort_of(device) {
                loads.add(cohort, device, end.minute());
                samples.insert(device.name.clone(), PeerSample { cohort: cohort.to_owned(), value });
            }
        }
        loads.sort();
        for verdict in self.cohorts.push(at, &samples) {
            if let Some(device) = devices.find(&verdict.device) {
                let moment = loads.moment(self.cohort_of(device), device, end, end < quiet_until);
                self.judge(device, &verdict, moment, made);
            }
        }
    }

    /// Returns the cohort of a device: its enclosure, or its model if too few of its class are in there.
    fn cohort_of<'a>(&self, device: &'a Device) -> Option<&'a str> {
        let PeerWatch { of_enclosure, of_model, .. } = &device.peers;
        let is_large = |cohort: &&String| self.members.get(*cohort).is_some_and(|n_members| *n_members > MIN_PEERS);
        of_enclosure.as_ref().filter(is_large).or(of_model.as_ref()).map(String::as_str)
    }

    fn judge(&mut self, device: &mut Device, verdict: &PeerVerdict, moment: Moment, made: &mut Vec<Event>) {
        let Moment { at, is_quiet, is_loaded, is_busier } = moment;
        if is_loaded {
            device.peers.loaded = Some(at);
        }
        if is_busier {
            device.peers.busier = Some(at);
        }
        if !verdict.alarm {
            let watch = &mut device.peers;
            (watch.is_excused, watch.alarm_since) = (false, None);
            let is_proven = watch.unproven == 0;
            watch.unproven = watch.unproven.saturating_sub(1);
            if watch.is_slow && is_proven && !is_quiet {
                (watch.is_slow, watch.changed) = (false, Some(at));
                let event = ended(device, verdict, at);
                device.say(event, at, made);
            }
            return;
        }
        device.peers.unproven = 0;
        if verdict.score < 1.0 {
            device.peers.alarm_since = None;
            return;
        }
        let since = *device.peers.alarm_since.get_or_insert(at);
        // A window that a load of its own reaches into says nothing.
        let window = Duration::from_secs(60 * verdict.window_minutes as u64);
        let is_over = |last: Option<Timestamp>| last.is_none_or(|last| last.plus(window) < at);
        let is_sudden = verdict.score >= SURE_SCORE && is_over(device.peers.loaded);
        let is_sure = is_sudden || since.plus(SURE_AFTER) <= at && is_over(device.peers.busier);
        if !is_sure || device.peers.is_slow || device.peers.is_excused || is_quiet {
            return;
        }
        (device.peers.is_slow, device.peers.changed) = (true, Some(at));
        // What has called a person, another fault of the device included, calls nobody again.
        let is_again = device.pages.stands_for_slowness(at);
        let with = self.slow_beside(device, at);
        let is_page = with.is_none() && !is_again;
        let criticality = if is_page { PAGE } else { NOTE };
        let event = slow(device, verdict, at, criticality, with);
        device.say(event, at, made);
    }

    /// Returns the device of the same enclosure that got slow just before, and enters this one.
    fn slow_beside(&mut self, device: &Device, at: Timestamp) -> Option<DeviceName> {
        let enclosure = device.enclosure()?;
        let before = self.slow.insert(enclosure.to_owned(), (device.name.clone(), at));
        before
            .filter(|(other, since)| *other != device.name && at <= since.plus(TOGETHER_WITHIN))
            .map(|(other, _)| other)
    }
}

fn slow(device: &Device, verdict: &PeerVerdict, at: Timestamp, criticality: u8, with: Option<DeviceName>) -> Event {
    let since = at.minus(Duration::from_secs(60 * verdict.window_minutes as u64));
    let mut labels = labels(device, verdict);
    labels.insert("since".to_owned(), since.to_string());
    labels.extend(with.map(|with| ("with".to_owned(), with.to_string())));
    let PeerVerdict { value, expected, n_peers, window_minutes, .. } = verdict;
    let message = format!(
        "{COMPARED} {} ms, expected {} ms beside {n_peers} peers, for {window_minutes} minutes",
        rounded(*value),
        rounded(*expected),
    );
    finding(DEVICE_SLOW, criticality, device, at, message, labels)
}

fn ended(device: &Device, verdict: &PeerVerdict, at: Timestamp) -> Event {
    let message = format!(
        "{COMPARED} {} ms, expected {} ms: no longer slower than its peers",
        rounded(verdict.value),
        rounded(verdict.expected)
    );
    finding(DEVICE_SLOW_ENDED, 3, device, at, message, labels(device, verdict))
}

fn labels(device: &Device, verdict: &PeerVerdict) -> Labels {
    let mut labels = device.labels_of_event();
    labels.extend([
        ("metric".to_owned(), COMPARED.to_owned()),
        ("value".to_owned(), exact(verdict.value)),
        ("expected".to_owned(), exact(verdict.expected)),
        ("n_peers".to_owned(), verdict.n_peers.to_string()),
        ("score".to_owned(), format!("{:.3}", verdict.score)),
    ]);
    labels
}

fn finding(
    event_type: &'static str,
    criticality: u8,
    device: &Device,
    at: Timestamp,
    message: String,
    labels: Labels,
) -> Event {
    Finding { event_type, criticality, device: &device.name, at, subject: COMPARED, message, labels }.into_event()
}
