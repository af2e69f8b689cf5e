//! One simulated fleet, from its first hour on.

use std::time::Duration;

use spindle_core::Timestamp;
use spindle_simulate::{EventRates, Fleet, FleetConfig};

use super::faults::Fault;
use super::recorder::Recorder;
use super::tally::Tally;

/// Monday, 2025-06-02T00:00:00Z.
const EPOCH: Timestamp = Timestamp::from_seconds(1_748_822_400);

/// Plays a fleet for some hours and returns the counts and the cases to look at.
pub(super) fn judge(n_devices: usize, seed: u64, hours: u32, interval: Duration, rates: f64) -> (Tally, Vec<String>) {
    let rates = scaled(&EventRates::default(), rates);
    let mut fleet = Fleet::new(FleetConfig { rates, ..FleetConfig::new(n_devices, seed, EPOCH) });
    let mut recorder = Recorder::default();
    let end = EPOCH.plus(Duration::from_secs(3_600) * hours);
    let mut now = EPOCH;
    while now < end {
        now = now.plus(interval);
        let batch = fleet.tick(now);
        fleet.new_truth().into_iter().filter_map(Fault::of).for_each(|fault| recorder.add_fault(fault));
        recorder.take(&batch, now);
        recorder.ask(now, |_| Some(interval.as_secs_f64()));
    }
    let (tally, cases) = recorder.finish(now);
    (tally, cases.into_iter().map(|case| format!("{n_devices} devices, seed {seed}: {case}")).collect())
}

fn scaled(rates: &EventRates, factor: f64) -> EventRates {
    EventRates {
        unauthorized_accesses_per_hour: rates.unauthorized_accesses_per_hour * factor,
        corruptions_per_hour: rates.corruptions_per_hour * factor,
        fan_failures_per_hour: rates.fan_failures_per_hour * factor,
        shelf_outages_per_hour: rates.shelf_outages_per_hour * factor,
        wear_out_share_per_day: rates.wear_out_share_per_day * factor,
        min_wear_outs_per_day: rates.min_wear_outs_per_day * factor,
    }
}
