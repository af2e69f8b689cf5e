//! Events that a filter selects, of one device or of all, within limits. A device that sends many hides no other, and
//! those of which events are left out are named.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use spindle_core::DeviceName;
use spindle_core::records::{EventFilter, EventRecord, Window};
use spindle_store::Store;

/// Events that one answer keeps, after which only a page of each further kind is read: some 300 MB.
const MAX_KEPT: usize = 400_000;
/// Requests about single devices at a time.
const AT_ONCE: usize = 8;

/// Bounds of a read of events of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadLimits {
    /// Most events of one device, the newest.
    pub(super) of_device: usize,
    /// Events of all devices in one request.
    pub(super) page: usize,
    /// Most such requests.
    pub(super) n_pages: usize,
    /// Most devices read one by one after them.
    pub(super) n_apart: usize,
}

impl ReadLimits {
    /// At most 60,000 events of a type for all devices, and 100,000 more where these are not enough.
    pub(super) const DEFAULT: Self = Self { of_device: 1_000, page: 20_000, n_pages: 3, n_apart: 100 };

    /// Returns the limits of a further read for an answer that keeps some events already.
    pub(super) fn beside(self, n_kept: usize) -> Self {
        let left = MAX_KEPT.saturating_sub(n_kept);
        let n_pages = self.n_pages.min((left / self.page).max(1));
        Self { n_pages, n_apart: self.n_apart.min(left / self.of_device), ..self }
    }
}

/// Events of one kind.
#[derive(Debug, Default)]
pub(super) struct BoundedEvents {
    /// The newest of each device, newest first.
    pub(super) by_device: HashMap<DeviceName, Vec<EventRecord>>,
    /// Devices with more of them than were read.
    pub(super) cut: HashSet<DeviceName>,
    /// Of these, the devices of which fewer than the limit of one device were read.
    pub(super) unread: HashSet<DeviceName>,
}

impl BoundedEvents {
    /// Returns the number of events.
    pub(super) fn len(&self) -> usize {
        self.by_device.values().map(Vec::len).sum()
    }

    /// Adds events of a device in order, newest first; of those beyond the limit, the first shows that there are more.
    fn add(&mut self, record: EventRecord, of_device: usize) {
        let device = &record.event.source_device;
        let kept = match self.by_device.get_mut(device) {
            Some(kept) => kept,
            None => self.by_device.entry(device.clone()).or_default(),
        };
        if kept.len() < of_device {
            kept.push(record);
        } else {
            self.cut.insert(record.event.source_device);
        }
    }

    fn n_kept(&self, device: &DeviceName) -> usize {
        self.by_device.get(device).map_or(0, Vec::len)
    }
}

/// Reads events; ignores limit and offset of the filter.
pub(super) async fn read(store: &Store, filter: EventFilter, limits: ReadLimits) -> Result<BoundedEvents> {
    let mut found = BoundedEvents::default();
    if filter.source_device.is_some() {
        let filter = EventFilter { limit: limits.of_device + 1, offset: 0, ..filter };
        store.events(filter).await?.into_iter().for_each(|record| found.add(record, limits.of_device));
        return Ok(found);
    }
    if read_pages(store, &filter, limits, &mut found).await? {
        return Ok(found);
    }
    let counts = store.count_events_by_device(filter.clone()).await?;
    let is_short = |(device, n): &(DeviceName, u64)| {
        let n_kept = found.n_kept(device);
        n_kept < limits.of_device && (n_kept as u64) < *n
    };
    let mut short: Vec<DeviceName> = counts.into_iter().filter(is_short).map(|(device, _)| device).collect();
    let left = short.split_off(short.len().min(limits.n_apart));
    let apart = read_apart(store, &filter, short, limits.of_device).await?;
    found.by_device.extend(apart.by_device);
    found.cut.extend(apart.cut);
    found.cut.extend(left.iter().cloned());
    found.unread.extend(left);
    Ok(found)
}

/// Reads the events of all devices from the newest on, page by page. Returns `true` if these are all.
async fn read_pages(
    store: &Store,
    filter: &EventFilter,
    limits: ReadLimits,
    found: &mut BoundedEvents,
) -> Result<bool> {
    let mut until = filter.window.until;
    // Events at the end of a page, which the next one contains again.
    let mut at_end = HashSet::new();
    for _ in 0..limits.n_pages {
        let window = Window { until, ..filter.window };
        let page = store.events(EventFilter { window, limit: limits.page, offset: 0, ..filter.clone() }).await?;
        let is_last = page.len() < limits.page;
        let end = page.last().map(|record| record.event.timestamp);
        let identity = |record: &EventRecord| record.event.identity().message_id();
        let next_at_end = page.iter().filter(|record| Some(record.event.timestamp) == end).map(identity).collect();
        for record in page {
            if at_end.is_empty() || !at_end.contains(&identity(&record)) {
                found.add(record, limits.of_device);
            }
        }
        at_end = next_at_end;
        let Some(next_until) = end.map(|end| end.plus(Duration::from_nanos(1))).filter(|_| !is_last) else {
            return Ok(true);
        };
        if next_until == until {
            break;
        }
        until = next_until;
    }
    Ok(false)
}

/// Reads the newest events of some devices, `of_device` of each at most, one device by one.
pub(super) async fn read_apart(
    store: &Store,
    filter: &EventFilter,
    devices: Vec<DeviceName>,
    of_device: usize,
) -> Result<BoundedEvents> {
    let reads = devices.into_iter().map(|device| {
        let source_device = Some(device);
        store.events(EventFilter { source_device, limit: of_device + 1, offset: 0, ..filter.clone() })
    });
    let mut found = BoundedEvents::default();
    let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
    while let Some(records) = reads.try_next().await? {
        records.into_iter().for_each(|record| found.add(record, of_device));
    }
    drop(reads);
    Ok(found)
}

#[cfg(test)]
mod tests;
