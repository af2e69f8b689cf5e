//! Notes that agree: several metrics of one device, or one metric of most devices of an enclosure, odd at the same time.
//!
//! Metrics that move together count as one, and load is no illness: a device with more to do is slower and warmer. So
//! what counts is latency and temperature that rise while the load does not, and metrics of which nothing is known.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Device;
use super::evidence::PAGED_FOR;
use super::series::Series;
use crate::cohort::TOGETHER_WITHIN;
use crate::detect::RowScore;
use crate::judge::events::{ANOMALIES_AGREE, ANOMALIES_ENDED, Finding};
use crate::metric::{self, Unit};
use crate::name::DeviceName;
use crate::timestamp::Timestamp;
use crate::wire::Event;

/// Metrics of one load, and the filling that follows it.
const OF_LOAD: [&str; 6] = ["CapacityUsed", "IOPs", "QueueDepth", "ReadThroughput", "Utilization", "WriteThroughput"];
const LATENCY: &str = "Latency";
/// Time for which a rise of the load explains what else rises: heat takes its time.
const LOAD_EXPLAINS: Duration = Duration::from_secs(3600);
/// Families of metrics of one device that must agree.
const MIN_FAMILIES: usize = 2;
/// Devices of one enclosure that must agree, beside being more than half of it.
const MIN_DEVICES: usize = 3;
/// Time without an alarm after which anomalies are over.
const ENDED_AFTER: Duration = Duration::from_secs(6 * 3600);
/// Time for which a page about a device of an enclosure stands for its other devices.
const SHELF_PAGED: Duration = Duration::from_secs(3600);
const MAX_ALARMS: usize = 16;
/// Longest list of devices in a label, in bytes.
const MAX_LIST_BYTES: usize = 240;

/// Metrics that have one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::judge) enum Family {
    Load,
    Latency,
    Temperature,
    Other,
}

impl Family {
    fn of(metric_type: &str) -> Self {
        let is_temperature = metric::lookup(metric_type).is_some_and(|kind| kind.unit == Unit::Celsius);
        match metric_type {
            LATENCY => Self::Latency,
            _ if OF_LOAD.contains(&metric_type) => Self::Load,
            _ if is_temperature => Self::Temperature,
            _ => Self::Other,
        }
    }
}

/// Alarms of a device in the last minutes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::judge) struct RecentAlarms {
    alarms: Vec<(Family, Timestamp)>,
    /// Last alarm of anomalies that agree, until their end.
    open: Option<Timestamp>,
    paged: Option<Timestamp>,
}

impl RecentAlarms {
    /// Takes an event of another run of the detector.
    pub(in crate::judge) fn adopt(&mut self, event: &Event, at: Timestamp) {
        // Others of this type, about a device beside its own past, have an end of their own.
        let is_of_notes = event.labels.as_ref().is_some_and(|labels| labels.contains_key("families"));
        if is_of_notes && self.open.is_none_or(|open| open < at) {
            (self.open, self.paged) = (Some(at), Some(at));
        }
    }

    /// Returns the time of the last page.
    pub(in crate::judge) fn paged(&self) -> Option<Timestamp> {
        self.paged
    }

    pub(in crate::judge) fn replace(&mut self) {
        *self = Self::default();
    }

    /// Takes a hole: anomalies are not over because no alarm came in it.
    pub(in crate::judge) fn skip(&mut self, hole: Duration) {
        self.open = self.open.map(|open| open.plus(hole));
    }

    fn push(&mut self, family: Family, at: Timestamp) {
        self.alarms.retain(|(_, alarm)| *alarm >= at.minus(LOAD_EXPLAINS));
        if self.alarms.len() >= MAX_ALARMS {
            self.alarms.remove(0);
        }
        self.alarms.push((family, at));
        if self.open.is_some() {
            self.open = Some(at);
        }
    }

    fn is_loaded(&self) -> bool {
        self.alarms.iter().any(|(family, _)| *family == Family::Load)
    }

    fn families(&self, at: Timestamp) -> Vec<Family> {
        let recent = self.alarms.iter().filter(|(_, alarm)| *alarm >= at.minus(TOGETHER_WITHIN));
        let mut families: Vec<Family> = recent.map(|(family, _)| *family).collect();
        families.sort_unstable();
        families.dedup();
        families
    }

    /// Returns the time at which open anomalies are over if no other alarm follows.
    fn ends_at(&self) -> Option<Timestamp> {
        Some(self.open?.plus(ENDED_AFTER))
    }
}

/// Enclosures with recent pages and alarms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::judge) struct Shelves {
    shelves: BTreeMap<String, Shelf>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Shelf {
    alarms: Vec<(DeviceName, Family, Timestamp)>,
    agreed: Option<Timestamp>,
    /// Newest page about one of its devices.
    paged: Option<(DeviceName, Timestamp)>,
}

impl Shelves {
    /// Records that a page about a device was made.
    pub(in crate::judge) fn page(&mut self, device: &Device, at: Timestamp) {
        if let Some(enclosure) = device.enclosure() {
            self.shelves.entry(enclosure.to_owned()).or_default().paged = Some((device.name.clone(), at));
        }
    }

    /// Returns the other device of the enclosure about which a person was called just before.
    pub(in crate::judge) fn paged_beside(&self, device: &Device, at: Timestamp) -> Option<&DeviceName> {
        let (other, paged) = self.shelves.get(device.enclosure()?)?.paged.as_ref()?;
        (*other != device.name && at <= paged.plus(SHELF_PAGED)).then_some(other)
    }

    /// Forgets what is long over.
    pub(in crate::judge) fn forget(&mut self, oldest: Timestamp) {
        self.shelves.retain(|_, shelf| {
            let alarms = shelf.alarms.iter().map(|(.., at)| *at);
            let paged = shelf.paged.as_ref().map(|(_, at)| *at);
            alarms.chain(shelf.agreed).chain(paged).any(|at| at >= oldest)
        });
    }

    /// Enters an alarm; returns the devices of the enclosure that agree, if they are most of its `n_devices`.
    fn agree(&mut self, device: &Device, family: Family, at: Timestamp, n_devices: usize) -> Option<Vec<DeviceName>> {
        let shelf = self.shelves.entry(device.enclosure()?.to_owned()).or_default();
        shelf.alarms.retain(|(.., alarm)| *alarm >= at.minus(TOGETHER_WITHIN));
        if shelf.alarms.len() < 4 * MAX_ALARMS {
            shelf.alarms.push((device.name.clone(), family, at));
        }
        let of_family = shelf.alarms.iter().filter(|(_, other, _)| *other == family);
        let mut devices: Vec<DeviceName> = of_family.map(|(name, ..)| name.clone()).collect();
        devices.sort();
        devices.dedup();
        let is_most = devices.len() >= MIN_DEVICES && 2 * devices.len() > n_devices;
        let is_again = shelf.agreed.is_some_and(|agreed| at < agreed.plus(PAGED_FOR));
        (is_most && !is_again).then(|| {
            shelf.agreed = Some(at);
            devices
        })
    }
}

/// Takes an alarm of the series at `place`. `n_devices` is the number of devices in the enclosure.
pub(in crate::judge) fn take(
    device: &mut Device,
    place: usize,
    (score, at): (&RowScore, Timestamp),
    shelves: &mut Shelves,
    n_devices: usize,
) -> Option<Event> {
    let series = &device.series[place];
    let family = Family::of(&series.metric_type);
    let rises = rises(series, score);
    // What falls is no illness, and a load that falls explains nothing.
    if family != Family::Other && !rises {
        return None;
    }
    device.alarms.push(family, at);
    if family == Family::Load || device.alarms.is_loaded() {
        return None;
    }
    if family != Family::Other
        && let Some(devices) = shelves.agree(device, family, at, n_devices)
    {
        return Some(of_enclosure(device, family, &devices, shelves, at));
    }
    let families = device.alarms.families(at);
    if families.len() < MIN_FAMILIES || device.alarms.open.is_some() {
        return None;
    }
    Some(of_device(device, &families, shelves, at))
}

/// Ends anomalies that agreed. Returns the time at which to look again.
pub(in crate::judge) fn look(device: &mut Device, now: Timestamp, made: &mut Vec<Event>) -> Option<Timestamp> {
    let ends_at = device.alarms.ends_at()?;
    if ends_at > now {
        return Some(ends_at);
    }
    device.alarms.open = None;
    let finding = Finding {
        event_type: ANOMALIES_ENDED,
        criticality: 3,
        device: &device.name,
        at: ends_at,
        subject: "",
        message: format!("no alarm for {} hours", ENDED_AFTER.as_secs() / 3600),
        labels: device.labels_of_event(),
    };
    device.say(finding.into_event(), now, made);
    None
}

fn rises(series: &Series, score: &RowScore) -> bool {
    let value = series.newest.as_ref().map_or(f64::NAN, |newest| newest.value);
    score.expected.is_some_and(|(low, high)| value > low.midpoint(high))
}

fn of_device(device: &mut Device, families: &[Family], shelves: &mut Shelves, at: Timestamp) -> Event {
    let names: Vec<String> = families.iter().map(|family| format!("{family:?}").to_lowercase()).collect();
    let message = format!("{} odd within ten minutes, while the load is as usual", names.join(" and "));
    agreed(device, message, vec![("families", names.join(","))], (shelves, true), at)
}

fn of_enclosure(
    device: &mut Device,
    family: Family,
    devices: &[DeviceName],
    shelves: &mut Shelves,
    at: Timestamp,
) -> Event {
    // All drives of a shelf wait longer when their work changes, so their latency alone calls nobody.
    let may_call = family != Family::Latency;
    let family = format!("{family:?}").to_lowercase();
    let mut list = String::new();
    for name in devices {
        if list.len() + name.len() < MAX_LIST_BYTES {
            list.push_str(if list.is_empty() { "" } else { "," });
            list.push_str(name);
        }
    }
    let enclosure = device.enclosure().unwrap_or_default();
    let message = format!("{family} of {} devices of {enclosure} rises within ten minutes", devices.len());
    let labels = vec![("families", family), ("devices", list), ("n_devices", devices.len().to_string())];
    agreed(device, message, labels, (shelves, may_call), at)
}

fn agreed(
    device: &mut Device,
    message: String,
    more: Vec<(&str, String)>,
    (shelves, may_call): (&mut Shelves, bool),
    at: Timestamp,
) -> Event {
    let is_recent = |paged: &Timestamp| at < paged.plus(PAGED_FOR);
    let is_said = !may_call
        || device.alarms.paged.as_ref().is_some_and(is_recent)
        || device.kept.has_paged(at)
        || shelves.paged_beside(device, at).is_some();
    device.alarms.open = Some(at);
    if !is_said {
        device.alarms.paged = Some(at);
        shelves.page(device, at);
    }
    let mut labels = device.labels_of_event();
    labels.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    let criticality = if is_said { 6 } else { 7 };
    Finding { event_type: ANOMALIES_AGREE, criticality, device: &device.name, at, subject: "", message, labels }
        .into_event()
}
