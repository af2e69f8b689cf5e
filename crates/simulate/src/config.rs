//! Size, seed and fault rates of a simulated fleet.

use spindle_core::timestamp::Timestamp;

/// What fleet to simulate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FleetConfig {
    /// How many devices, 0 to [`MAX_DEVICES`](super::MAX_DEVICES).
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
