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

mod class;
mod device;
mod enclosure;
mod fault;
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

pub use plan::{HORIZON_HOURS, MAX_EVENT_AGE};
pub use truth::{Truth, WearCause};

use plan::Plan;
use site::Site;

use crate::timestamp::Timestamp;
use crate::wire::Batch;

/// Largest fleet; a larger request is cut to this. A million devices take some 0.4 GB, their metrics of one
/// tick 1 GB.
pub const MAX_DEVICES: usize = 1_000_000;

/// What fleet to simulate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FleetConfig {
    /// How many devices, 0 to [`MAX_DEVICES`].
    pub n_devices: usize,
    /// Decides everything that is random.
    pub seed: u64,
    /// When the fleet was started. Faults are planned from here on.
    pub epoch: Timestamp,
    /// How often what goes wrong.
    pub rates: EventRates,
}

impl FleetConfig {
    /// A fleet with the default rates.
    pub fn new(n_devices: usize, seed: u64, epoch: Timestamp) -> Self {
        Self { n_devices, seed, epoch, rates: EventRates::default() }
    }
}

/// Mean rates of what goes wrong, for the whole fleet. Those per hour hold for up to 20 devices and grow
/// with the logarithm of the size beyond (twice as many at 2,000 devices). What is negative or no number
/// counts as 0, and no kind happens more than 10,000 times an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventRates {
    /// `UnauthorizedAccess`, criticality 1 to 10; one in six is 8 or more.
    pub unauthorized_accesses_per_hour: f64,
    /// `DataCorruption`, criticality 6 to 9; nearly every second is 8 or more.
    pub corruptions_per_hour: f64,
    /// `FanFailure` (7), later `FanRestored` (3).
    pub fan_failures_per_hour: f64,
    /// `ShelfOffline` (9), later `ShelfOnline` (3).
    pub shelf_outages_per_hour: f64,
    /// Share of the devices that wears out in a (compressed) day: `DriveFailure` (9 or 10), later
    /// `DriveReplaced` (2).
    pub wear_out_share_per_day: f64,
    /// Fewest devices that wear out in a day, however small the fleet.
    pub min_wear_outs_per_day: f64,
}

impl Default for EventRates {
    /// For someone who watches: an event about every 27 s, one of criticality 8 or more about every 90 s.
    fn default() -> Self {
        Self {
            unauthorized_accesses_per_hour: 70.0,
            corruptions_per_hour: 50.0,
            fan_failures_per_hour: 1.0,
            shelf_outages_per_hour: 4.0,
            wear_out_share_per_day: 0.03,
            min_wear_outs_per_day: 6.0,
        }
    }
}

impl EventRates {
    /// Nothing goes wrong: the fleet's normal life alone.
    pub const NONE: Self = Self {
        unauthorized_accesses_per_hour: 0.0,
        corruptions_per_hour: 0.0,
        fan_failures_per_hour: 0.0,
        shelf_outages_per_hour: 0.0,
        wear_out_share_per_day: 0.0,
        min_wear_outs_per_day: 0.0,
    };
}

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
