//! Notes that agree: several metrics of one device, or one metric of most devices of an enclosure, odd at the same time.
//!
//! Metrics that move together count as one, and load is no illness: a device with more to do is slower and warmer. So
//! what counts is latency and temperature that rise while the load does not, and metrics of which nothing is known.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Device;
use super::pages::{PAGED_FOR, is_of_place};
use super::series::Series;
use crate::cohort::TOGETHER_WITHIN;
use crate::detect::RowScore;
use crate::judge::events::{ANOMALIES_AGREE, ANOMALIES_ENDED, Finding, HEALTH_CHANGED};
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
/// Score of an alarm that is clear.
const CLEAR: f32 = 0.7;
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
    /// Returns the family of a metric.
    pub(in crate::judge) fn of(metric_type: &str) -> Self {
        let is_temperature = metric::lookup(metric_type).is_some_and(|kind| kind.unit == Unit::Celsius);
        match metric_type {
            LATENCY => Self::Latency,
            _ if OF_LOAD.contains(&metric_type) => Self::Load,
            _ if is_temperature => Self::Temperature,
            _ => Self::Other,
        }
    }

    /// Returns the name, as in the label `families`.
    const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Latency => "latency",
            Self::Temperature => "temperature",
            Self::Other => "other",
        }
    }

    /// Returns `true` for metrics that the place of a device can raise in all devices there.
    const fn is_shared(self) -> bool {
        matches!(self, Self::Latency | Self::Temperature)
    }
}

/// Alarms of a device in the last minutes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::judge) struct RecentAlarms {
    alarms: Vec<(Family, Timestamp, f32)>,
    /// Last alarm of anomalies that agree, until their end.
    open: Option<Timestamp>,
    /// Time of the last end: events before it are over.
    ended: Option<Timestamp>,
}

impl RecentAlarms {
    /// Takes the time of an event of another run of the detector.
    pub(in crate::judge) fn adopt(&mut self, at: Timestamp) {
        if self.ended.is_none_or(|ended| ended < at) {
            self.open = self.open.max(Some(at));
        }
    }

    pub(in crate::judge) fn replace(&mut self) {
        *self = Self::default();
    }

    /// Takes a hole: anomalies are not over because no alarm came in it.
    pub(in crate::judge) fn skip(&mut self, hole: Duration) {
        self.open = self.open.map(|open| open.plus(hole));
    }

    fn push(&mut self, family: Family, at: Timestamp, score: f64) {
        self.alarms.retain(|(_, alarm, _)| *alarm >= at.minus(LOAD_EXPLAINS));
        if self.alarms.len() >= MAX_ALARMS {
            self.alarms.remove(0);
        }
        self.alarms.push((family, at, score as f32));
        if self.open.is_some() {
            self.open = Some(at);
        }
    }

    fn is_loaded(&self) -> bool {
        self.alarms.iter().any(|(family, ..)| *family == Family::Load)
    }

    fn families(&self, at: Timestamp) -> Vec<Family> {
        let mut families: Vec<Family> = self.recent(at).map(|(family, _)| family).collect();
        families.sort_unstable();
        families.dedup();
        families
    }

    /// Returns `true` if each of the families is clearly odd: two weak alarms meet by chance now and then.
    fn are_clear(&self, families: &[Family], at: Timestamp) -> bool {
        let is_clear = |family: &Family| self.recent(at).any(|(other, score)| other == *family && score >= CLEAR);
        families.iter().all(is_clear)
    }

    fn recent(&self, at: Timestamp) -> impl Iterator<Item = (Family, f32)> {
        let since = at.minus(TOGETHER_WITHIN);
        self.alarms.iter().filter(move |(_, alarm, _)| *alarm >= since).map(|(family, _, score)| (*family, *score))
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
    /// Newest alarm of each device, by family.
    alarms: BTreeMap<Family, BTreeMap<DeviceName, Timestamp>>,
    /// Last time at which most devices agreed, by family.
    agreed: BTreeMap<Family, Timestamp>,
    /// Newest page about the enclosure itself, with the device that told it.
    place_paged: Option<(DeviceName, Timestamp)>,
    /// Newest page about its heat.
    heat_paged: Option<Timestamp>,
    /// Newest page about a value of one of its devices that the enclosure may have raised.
    value_paged: BTreeMap<Family, (DeviceName, Timestamp)>,
}

impl Shelves {
    /// Takes a page about a device, or the place where it is; `at` is its time.
    pub(in crate::judge) fn page(&mut self, device: &Device, event: &Event, at: Timestamp) {
        let Some(enclosure) = device.enclosure().filter(|_| event.criticality.calls()) else { return };
        let is_newer = |known: Option<&(DeviceName, Timestamp)>| known.is_none_or(|(_, known)| *known <= at);
        let page = (device.name.clone(), at);
        let event_type = event.event_type.as_str();
        if is_of_place(event) {
            let shelf = self.shelves.entry(enclosure.to_owned()).or_default();
            if event_type == ANOMALIES_AGREE {
                shelf.heat_paged = shelf.heat_paged.max(Some(at));
            }
            if is_newer(shelf.place_paged.as_ref()) {
                shelf.place_paged = Some(page);
            }
        } else if event_type == HEALTH_CHANGED
            && let Some(family) = event.label("why").map(Family::of).filter(|family| family.is_shared())
        {
            let shelf = self.shelves.entry(enclosure.to_owned()).or_default();
            if is_newer(shelf.value_paged.get(&family)) {
                shelf.value_paged.insert(family, page);
            }
        }
    }

    /// Returns the other device of the enclosure with which a person was called just before about the place, or about the
    /// same family of metrics.
    pub(in crate::judge) fn paged_beside(
        &self,
        device: &Device,
        families: &[Family],
        at: Timestamp,
    ) -> Option<&DeviceName> {
        let shelf = self.shelves.get(device.enclosure()?)?;
        let of_values = families.iter().filter_map(|family| shelf.value_paged.get(family));
        let mut pages = shelf.place_paged.iter().chain(of_values);
        pages.find(|(other, paged)| *other != device.name && at <= paged.plus(SHELF_PAGED)).map(|(other, _)| other)
    }

    /// Forgets what is long over.
    pub(in crate::judge) fn forget(&mut self, oldest: Timestamp) {
        self.shelves.retain(|_, shelf| {
            let alarms = shelf.alarms.values().flat_map(BTreeMap::values).copied();
            let agreed = shelf.agreed.values().copied().chain(shelf.heat_paged);
            let paged = shelf.place_paged.iter().chain(shelf.value_paged.values()).map(|(_, at)| *at);
            alarms.chain(agreed).chain(paged).any(|at| at >= oldest)
        });
    }

    /// Enters an alarm; returns the devices of the enclosure that agree, if they are most of its `n_devices`, and `true` if
    /// that calls a person. A page about one of them says nothing of all of them.
    pub(in crate::judge) fn agree(
        &mut self,
        device: &Device,
        family: Family,
        at: Timestamp,
        n_devices: usize,
    ) -> Option<(Vec<DeviceName>, bool)> {
        let shelf = self.shelves.entry(device.enclosure()?.to_owned()).or_default();
        let alarms = shelf.alarms.entry(family).or_default();
        alarms.retain(|_, alarm| *alarm >= at.minus(TOGETHER_WITHIN));
        alarms.insert(device.name.clone(), at);
        if alarms.len() < MIN_DEVICES || 2 * alarms.len() <= n_devices {
            return None;
        }
        let devices = alarms.keys().cloned().collect();
        let is_recent = |paged: Option<Timestamp>, length| paged.is_some_and(|paged| at < paged.plus(length));
        let place_paged = shelf.place_paged.as_ref().map(|(_, paged)| *paged);
        // All drives of a shelf wait longer when their work changes, so their latency alone calls nobody.
        let calls = family != Family::Latency
            && !is_recent(place_paged, SHELF_PAGED)
            && !is_recent(shelf.heat_paged, PAGED_FOR);
        let before = shelf.agreed.insert(family, at);
        // A note of long ago stands for no page.
        let is_said = is_recent(before, ENDED_AFTER) || (!calls && is_recent(before, PAGED_FOR));
        (!is_said).then_some((devices, calls))
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
    device.alarms.push(family, at, score.anomaly_score);
    if family == Family::Load || device.alarms.is_loaded() {
        return None;
    }
    if family != Family::Other
        && let Some((devices, calls)) = shelves.agree(device, family, at, n_devices)
    {
        let event = of_enclosure(device, family, &devices, calls, at);
        shelves.page(device, &event, at);
        return Some(event);
    }
    let families = device.alarms.families(at);
    if families.len() < MIN_FAMILIES || device.alarms.open.is_some() {
        return None;
    }
    Some(of_device(device, &families, shelves, at))
}

/// Ends anomalies that agreed. Returns the time at which to look again.
pub(in crate::judge) fn look(
    device: &mut Device,
    now: Timestamp,
    quiet_until: Timestamp,
    made: &mut Vec<Event>,
) -> Option<Timestamp> {
    let ends_at = device.alarms.ends_at()?.max(quiet_until);
    if ends_at > now {
        return Some(ends_at);
    }
    (device.alarms.open, device.alarms.ended) = (None, Some(ends_at));
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

fn of_device(device: &mut Device, families: &[Family], shelves: &Shelves, at: Timestamp) -> Event {
    let names: Vec<&str> = families.iter().map(|family| family.name()).collect();
    let message = format!("{} odd within ten minutes, while the load is as usual", names.join(" and "));
    let is_clear = device.alarms.are_clear(families, at);
    let calls = is_clear && !device.pages.stands(at) && shelves.paged_beside(device, families, at).is_none();
    agreed(device, message, vec![("families", names.join(","))], calls, at)
}

fn of_enclosure(device: &mut Device, family: Family, devices: &[DeviceName], calls: bool, at: Timestamp) -> Event {
    let family = family.name();
    let mut list = String::new();
    for name in devices {
        if list.len() + name.len() < MAX_LIST_BYTES {
            list.push_str(if list.is_empty() { "" } else { "," });
            list.push_str(name);
        }
    }
    let enclosure = device.enclosure().unwrap_or_default();
    let message = format!("{family} of {} devices of {enclosure} rises within ten minutes", devices.len());
    let labels = vec![("families", family.to_owned()), ("devices", list), ("n_devices", devices.len().to_string())];
    agreed(device, message, labels, calls, at)
}

/// Returns the event. `more` begins with the families, which tell events of one device and time apart.
fn agreed(device: &mut Device, message: String, more: Vec<(&str, String)>, calls: bool, at: Timestamp) -> Event {
    device.alarms.open = Some(at);
    let mut labels = device.labels_of_event();
    let subject = more.iter().map(|(_, value)| value.as_str()).next().unwrap_or_default().to_owned();
    labels.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    let criticality = if calls { 7 } else { 6 };
    let finding = Finding {
        event_type: ANOMALIES_AGREE,
        criticality,
        device: &device.name,
        at,
        subject: &subject,
        message,
        labels,
    };
    finding.into_event()
}
