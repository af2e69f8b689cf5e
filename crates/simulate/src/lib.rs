//! A simulated storage fleet: devices that follow a working day, warm up under load, fill, wear out and
//! fail together, and the truth about all of it, so that detection can be scored afterwards.
//!
//! Pure: the time and the seed are arguments. Same seed, epoch, size and tick times give identical
//! batches and ids, bit for bit on one platform (`sin` and `exp` may differ in the last bit between
//! platforms). Each device draws from a stream of its own, so a larger fleet leaves the readings of the
//! devices it shares with a smaller one unchanged; which device meets which fault does depend on the size.
//!
//! Time is compressed: a real drive wears out over weeks, one of these over minutes to hours, so that a
//! day of simulation is worth scoring. Faults are planned per hour after the epoch, so the daemon may be
//! stopped for any length of time and go on.
//!
//! It must never emit a value outside the metric table's range, nor an event it does not also write down
//! as [`Truth`].

#![warn(missing_docs)]

mod class;
mod config;
mod device;
mod enclosure;
mod fault;
mod hour;
mod load;
mod plan;
mod random;
mod reading;
mod site;
mod step;
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
use spindle_core::wire::Batch;

/// Largest fleet; a larger request is cut to this. A million devices take some 0.4 GB, their metrics of one
/// tick 1 GB.
pub const MAX_DEVICES: usize = 1_000_000;

/// A fleet under simulation.
///
/// Up to three devices carry the plain names `DiskUnit`, `StorageArray`, `CloudStorage`; more are called
/// `DiskUnit-0001`, `StorageArray-0002` and so on, 70 % disks, 20 % arrays and 10 % cloud gateways.
/// Every five share an enclosure: its fans, its shelf, its air.
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
        plan.extend(config.epoch, &mut site);
        Self { site, plan, epoch: config.epoch, last_tick: None }
    }

    /// What every reporting device measures at `now`, and what happened after the last tick up to and
    /// including `now` (at the first tick: after the epoch), each event at its own time.
    ///
    /// After a gap the state has moved on, but events older than [`MAX_EVENT_AGE`] are left out:
    /// nobody was there to see them. A `now` at or before the last tick gives an empty batch.
    pub fn tick(&mut self, now: Timestamp) -> Batch {
        if self.last_tick.is_some_and(|last| now <= last) {
            return Batch::default();
        }
        self.plan.extend(now, &mut self.site);
        let events = self.plan.take_due(self.last_tick.unwrap_or(self.epoch), now);
        let metrics = self.site.measure(self.last_tick, now);
        self.last_tick = Some(now);
        Batch { metrics, events }
    }

    /// What is simulated, in order of its beginning: from the start for the next [`HORIZON_HOURS`]
    /// hours, extended as time goes on. What [`Fleet::new_truth`] has handed out is forgotten a week
    /// after it is over.
    pub fn truth(&self) -> &[Truth] {
        self.plan.truth()
    }

    /// The truths not handed out yet, to be appended to a log.
    pub fn new_truth(&mut self) -> Vec<Truth> {
        self.plan.new_truth()
    }
}
