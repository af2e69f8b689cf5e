//! Simulated storage fleet: devices that follow a working day, warm up under load, fill, wear out and fail together, and
//! the ground truth about all of it, so that detection can be scored afterwards.
//!
//! Pure: time and seed are arguments. The same seed, epoch, size and tick times give identical batches and ids, bit for
//! bit on one platform (`sin` and `exp` may differ in the last bit between platforms). Each device draws from its own
//! random stream, so a larger fleet leaves the values of the devices it shares with a smaller one unchanged; the devices
//! hit by faults do depend on the size.
//!
//! Time is compressed: a real drive wears out over weeks, a simulated one over minutes to hours, so that a day of
//! simulation is worth scoring. Faults are planned per hour after the epoch, so the daemon may be stopped for any length
//! of time and continue.
//!
//! Never emits a value outside the range in the metric table, nor an event that is not also recorded as [`Truth`].

#![warn(missing_docs)]

mod class;
mod config;
mod device;
mod enclosure;
mod fault;
mod hour;
mod load;
mod meters;
mod plan;
mod random;
mod site;
mod step;
mod story;
mod truth;
mod wear;

#[cfg(test)]
mod tests;

pub use config::{EventRates, FleetConfig};
pub use plan::{HORIZON_HOURS, MAX_EVENT_AGE};
pub use truth::{Truth, WearCause};

use plan::Plan;
use site::Site;

use spindle_core::timestamp::Timestamp;
use spindle_core::wire::{Batch, Event};

/// Largest fleet; larger sizes are reduced to it. A million devices take about 0.4 GB, their metrics of one tick 1 GB.
pub const MAX_DEVICES: usize = 1_000_000;

/// Fleet under simulation.
///
/// Up to three devices have the plain names `DiskUnit`, `StorageArray`, `CloudStorage`; larger fleets use
/// `DiskUnit-0001`, `StorageArray-0002` and so on, 70 % disks, 20 % arrays and 10 % cloud gateways. Every five share an
/// enclosure: its fans, its shelf, its air.
#[derive(Debug)]
pub struct Fleet {
    site: Site,
    plan: Plan,
    epoch: Timestamp,
    last_tick: Option<Timestamp>,
}

impl Fleet {
    /// Builds the fleet and plans its first hours.
    pub fn new(config: FleetConfig) -> Self {
        let n_devices = config.n_devices.min(MAX_DEVICES);
        let mut site = Site::new(n_devices, config.seed, config.epoch);
        let mut plan = Plan::new(config.seed, config.epoch, &config.rates, n_devices);
        if let Some(until) = config.past_until {
            plan = plan.with_past(&config.rates, &mut site, until);
        }
        plan.extend(config.epoch, &mut site);
        Self { site, plan, epoch: config.epoch, last_tick: None }
    }

    /// Returns the measurements of all reporting devices at `now`, and the events after the last tick up to and including
    /// `now` (at the first tick: after the epoch), each at its own time.
    ///
    /// After a gap the state has advanced, but events older than [`MAX_EVENT_AGE`] are omitted. A `now` at or before the
    /// last tick gives an empty batch.
    pub fn tick(&mut self, now: Timestamp) -> Batch {
        self.advance(now, now.minus(MAX_EVENT_AGE))
    }

    /// Returns all events up to `now` that no tick has returned; no later tick returns them. For a past, whose events are
    /// known before its measurements.
    pub fn events_until(&mut self, now: Timestamp) -> Vec<Event> {
        self.plan.extend(now, &mut self.site);
        self.plan.take_due(self.last_tick.unwrap_or(self.epoch), now)
    }

    /// Does the same as [`Fleet::tick`] for a time of the past, in steps as long as one likes: no event is too old.
    pub fn tick_past(&mut self, now: Timestamp) -> Batch {
        self.advance(now, self.epoch)
    }

    fn advance(&mut self, now: Timestamp, oldest: Timestamp) -> Batch {
        if self.last_tick.is_some_and(|last| now <= last) {
            return Batch::default();
        }
        self.plan.extend(now, &mut self.site);
        let events = self.plan.take_due(self.last_tick.unwrap_or(self.epoch).max(oldest), now);
        let metrics = self.site.measure(self.last_tick, now);
        self.last_tick = Some(now);
        Batch { metrics, events }
    }

    /// Returns the simulated faults, ordered by start: the next [`HORIZON_HOURS`] hours from the epoch on, extended as time
    /// passes. Truths returned by [`Fleet::new_truth`] are dropped a week after their end.
    pub fn truth(&self) -> &[Truth] {
        self.plan.truth()
    }

    /// Returns the truths not returned before, to be appended to a log.
    pub fn new_truth(&mut self) -> Vec<Truth> {
        self.plan.new_truth()
    }
}
