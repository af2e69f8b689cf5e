//! Size, seed and fault rates of a simulated fleet.

use spindle_core::timestamp::Timestamp;

/// Configuration of a fleet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FleetConfig {
    /// Number of devices, 0 to [`MAX_DEVICES`](super::MAX_DEVICES).
    pub n_devices: usize,
    /// Seed of all randomness.
    pub seed: u64,
    /// Start of the fleet. Faults are planned from here on.
    pub epoch: Timestamp,
    /// Rates of faults.
    pub rates: EventRates,
    /// Time until which the fleet is given a past at once; `None` for a fleet without one. Before it, random faults are
    /// ten to forty times rarer; around it, a few are certain: a drive that is failing, a shelf that runs hot, an array that fills
    /// up and a device that fell silent, as far as the fleet is large enough.
    pub past_until: Option<Timestamp>,
}

impl FleetConfig {
    /// Returns a fleet with the default rates.
    pub fn new(n_devices: usize, seed: u64, epoch: Timestamp) -> Self {
        Self { n_devices, seed, epoch, rates: EventRates::default(), past_until: None }
    }
}

/// Mean rates of faults, for the whole fleet. Hourly rates apply to up to 20 devices and grow with the logarithm of the
/// size beyond (twice as many at 2,000 devices). Negative rates and NaN count as 0, and no kind occurs more than 10,000
/// times an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventRates {
    /// `UnauthorizedAccess`, criticality 1 to 10; one in six is 8 or more.
    pub unauthorized_accesses_per_hour: f64,
    /// `DataCorruption`, criticality 6 to 9; nearly half are 8 or more.
    pub corruptions_per_hour: f64,
    /// `FanFailure` (7), later `FanRestored` (3).
    pub fan_failures_per_hour: f64,
    /// `ShelfOffline` (9), later `ShelfOnline` (3).
    pub shelf_outages_per_hour: f64,
    /// Share of the devices that wear out in a (compressed) day: `DriveFailure` (9 or 10), later
    /// `DriveReplaced` (2).
    pub wear_out_share_per_day: f64,
    /// Minimum number of devices that wear out in a day, even in a small fleet.
    pub min_wear_outs_per_day: f64,
}

impl Default for EventRates {
    /// Rates for a demonstration: an event about every 27 s, one of criticality 8 or more about every 90 s.
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
    /// Returns the rates that apply while nobody watches: with those of the demonstration, each device of a small fleet
    /// would have been ill all day.
    pub(super) fn of_the_past(&self) -> Self {
        const SHARE: f64 = 0.1;
        // These are over within minutes, and many of them would hide the rest.
        const SHARE_OF_SHORT: f64 = 0.025;
        Self {
            unauthorized_accesses_per_hour: self.unauthorized_accesses_per_hour * SHARE_OF_SHORT,
            corruptions_per_hour: self.corruptions_per_hour * SHARE_OF_SHORT,
            fan_failures_per_hour: self.fan_failures_per_hour * SHARE,
            shelf_outages_per_hour: self.shelf_outages_per_hour * SHARE_OF_SHORT,
            wear_out_share_per_day: self.wear_out_share_per_day * SHARE,
            min_wear_outs_per_day: self.min_wear_outs_per_day * SHARE,
        }
    }

    /// No faults: normal operation only.
    pub const NONE: Self = Self {
        unauthorized_accesses_per_hour: 0.0,
        corruptions_per_hour: 0.0,
        fan_failures_per_hour: 0.0,
        shelf_outages_per_hour: 0.0,
        wear_out_share_per_day: 0.0,
        min_wear_outs_per_day: 0.0,
    };
}
