//! Faults that a fleet with a past certainly has around its end, so that the first look at it shows something: a drive
//! that is failing, a shelf that runs hot, an array that fills up and a device that fell silent. Each has a device of its
//! own; a fleet that is too small has fewer of them.

use std::time::Duration;

use super::class::Class;
use super::enclosure::{DEVICES_PER_ENCLOSURE, FanFault};
use super::fault;
use super::hour::PlannedHour;
use super::random::{Purpose, RandomStream};
use super::site::Site;
use super::step::Instant;
use super::truth::Truth;
use super::wear::{WearOut, draw_cause, hundredths};
use spindle_core::records::Window;
use spindle_core::timestamp::Timestamp;

/// Number of the hour that stands for the story: no other hour has it, so no event has the same id.
pub(super) const NUMBER: i64 = -1;

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3_600.0;
/// Limits between which the array is at the end of the past: above the warning of the metric table, below its critical
/// limit, which it passes in the hours that follow.
const FULL_PERCENT: (f64, f64) = (89.0, 92.0);
const PERCENT_PER_HOUR: (f64, f64) = (1.1, 1.5);
/// Level at which it is cleaned up.
const TOP_PERCENT: f64 = 97.0;
/// Longest time looked ahead for the clean-up.
const MAX_HOURS_TO_CLEAN: u32 = 48;

/// Plans the faults around `now`, the end of the past.
pub(super) fn plan(hour: &mut PlannedHour, now: Timestamp, site: &mut Site) {
    let mut random = hour.random(Purpose::Story);
    let failing = some_device(site, Class::DiskUnit, &[], &mut random);
    let hot = random.index(site.enclosures.len());
    // The shelf of the failing drive is not the one that runs hot, if there are several.
    let is_shared = failing.is_some_and(|device| device / DEVICES_PER_ENCLOSURE == hot);
    let hot = if is_shared { (hot + 1) % site.enclosures.len() } else { hot };
    let mut taken: Vec<usize> = failing.into_iter().collect();
    let filling = some_device(site, Class::StorageArray, &taken, &mut random);
    taken.extend(filling);
    taken.extend(hot * DEVICES_PER_ENCLOSURE..(hot + 1) * DEVICES_PER_ENCLOSURE);
    let silent = some_device(site, Class::DiskUnit, &taken, &mut random);
    if let Some(device) = silent {
        plan_silence(hour, device, now, &mut random, site);
    }
    if let Some(device) = failing {
        plan_failure(hour, device, now, &mut random, site);
    }
    if site.enclosures.len() > 1 {
        plan_heat(hour, hot, now, &mut random, site);
    }
    if let Some(device) = filling {
        plan_filling(hour, device, now, &mut random, site);
    }
}

/// Draws a device of a class that is not taken.
fn some_device(site: &Site, class: Class, taken: &[usize], random: &mut RandomStream) -> Option<usize> {
    let is_free = |index: &usize| site.devices[*index].class == class && !taken.contains(index);
    let free: Vec<usize> = (0..site.devices.len()).filter(is_free).collect();
    free.get(random.index(free.len())).copied()
}

/// A drive that has been wearing out for hours fails some minutes after the past has ended, so that it can be watched.
fn plan_failure(hour: &mut PlannedHour, device: usize, now: Timestamp, random: &mut RandomStream, site: &mut Site) {
    let onset = now.minus(seconds(random.between(6.0 * HOUR, 9.0 * HOUR)));
    let fails_at = now.plus(seconds(random.between(6.0 * MINUTE, 10.0 * MINUTE)));
    let replaced_at = fails_at.plus(seconds(random.between(90.0, 150.0)));
    let Some(cause) = draw_cause(Class::DiskUnit, random) else { return };
    let wear_out = WearOut::draw(cause, [onset, fails_at, replaced_at], random);
    site.devices[device].wear_outs.push(wear_out.clone());
    fault::report_wear_out(hour, device, &wear_out, random, site);
}

/// A shelf whose fan has stopped.
fn plan_heat(hour: &mut PlannedHour, enclosure: usize, now: Timestamp, random: &mut RandomStream, site: &mut Site) {
    let from = now.minus(seconds(random.between(40.0 * MINUTE, 100.0 * MINUTE)));
    let until = now.plus(seconds(random.between(20.0 * MINUTE, 40.0 * MINUTE)));
    let heat_celsius = hundredths(random.between(13.0, 17.0));
    let fault = FanFault { window: Window { from, until }, heat_celsius };
    if site.enclosures[enclosure].plan_fan_fault(fault) {
        fault::report_fan_failure(hour, enclosure, &fault, random.whole(1, 4), site);
    }
}

/// An array whose capacity is running out.
fn plan_filling(hour: &mut PlannedHour, device: usize, now: Timestamp, random: &mut RandomStream, site: &mut Site) {
    let epoch = hour.epoch();
    let percent_per_hour = hundredths(random.between(PERCENT_PER_HOUR.0, PERCENT_PER_HOUR.1));
    let level = random.between(FULL_PERCENT.0, FULL_PERCENT.1);
    let busy_hours = |at| Instant::new(at).busy_hours_since(epoch);
    let device = &mut site.devices[device];
    device.profile.fill_up(busy_hours(now), level, percent_per_hour, TOP_PERCENT);
    let hours = (1..MAX_HOURS_TO_CLEAN).map(|hours| now.plus(seconds(f64::from(hours) * HOUR)));
    let is_clean = |at: &Timestamp| device.profile.capacity_percent(busy_hours(*at)) < level;
    let Some(until) = hours.into_iter().find(is_clean) else { return };
    hour.truth.push(Truth::FillsUp { device: device.name.clone(), from: epoch, until, percent_per_hour });
}

/// A device of which nothing is heard.
fn plan_silence(hour: &mut PlannedHour, device: usize, now: Timestamp, random: &mut RandomStream, site: &mut Site) {
    let from = now.minus(seconds(random.between(2.0 * HOUR, 4.0 * HOUR)));
    let until = now.plus(seconds(random.between(2.0 * HOUR, 4.0 * HOUR)));
    let device = &mut site.devices[device];
    device.silence = Some(Window { from, until });
    hour.truth.push(Truth::Silence { device: device.name.clone(), from, until });
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}
