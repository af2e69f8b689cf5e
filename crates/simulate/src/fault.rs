//! Kinds of faults: their times, victims, severity and messages. Each function plans one hour: it marks the site, plans the
//! events and records the truth.

use std::time::Duration;

use super::class::Class;
use super::enclosure::{DEVICES_PER_ENCLOSURE, FanFault};
use super::hour::{EventDraft, PlannedHour};
use super::random::{Purpose, RandomStream};
use super::site::Site;
use super::truth::Truth;
use super::wear::{WearOut, draw_cause, hundredths};
use spindle_core::records::Window;
use spindle_core::timestamp::Timestamp;

/// Maximum number of devices drawn until one can have the fault.
const MAX_TRIES: usize = 32;
/// Minimum time between a replacement and the next wear-out of a device, for the sake of its baseline.
const WEAR_OUT_MARGIN: Duration = Duration::from_secs(1800);

/// Onset of the very first wear-out after the epoch; with [`FIRST_LIFE_SECONDS`], a new fleet shows a failing device after
/// 6 to 10 minutes, and its replacement two minutes later.
const FIRST_ONSET_SECONDS: f64 = 60.0;
const FIRST_LIFE_SECONDS: (f64, f64) = (300.0, 540.0);
const FIRST_REPAIR_SECONDS: (f64, f64) = (90.0, 150.0);
/// Later wear-outs: half an hour to eight hours from the first sign to the failure. Real drives take weeks.
const LIFE_SECONDS: (f64, f64) = (1_800.0, 28_800.0);
const REPAIR_SECONDS: (f64, f64) = (600.0, 2_400.0);

/// Plans devices that wear out, fail and are replaced.
pub(super) fn plan_wear_outs(hour: &mut PlannedHour, per_hour: f64, site: &mut Site) {
    let mut random = hour.random(Purpose::WearOuts);
    if hour.is_first() && per_hour > 0.0 {
        let onset = hour.at(FIRST_ONSET_SECONDS);
        plan_wear_out(hour, onset, [FIRST_LIFE_SECONDS, FIRST_REPAIR_SECONDS], &mut random, site);
    }
    for onset in hour.occurrences(per_hour, &mut random) {
        plan_wear_out(hour, onset, [LIFE_SECONDS, REPAIR_SECONDS], &mut random, site);
    }
}

fn plan_wear_out(
    hour: &mut PlannedHour,
    onset: Timestamp,
    [life, repair]: [(f64, f64); 2],
    random: &mut RandomStream,
    site: &mut Site,
) {
    let fails_at = onset.plus(Duration::from_secs_f64(random.log_between(life.0, life.1)));
    let replaced_at = fails_at.plus(Duration::from_secs_f64(random.log_between(repair.0, repair.1)));
    for _ in 0..MAX_TRIES {
        let index = random.index(site.devices.len());
        let device = &mut site.devices[index];
        let Some(cause) = draw_cause(device.class, random) else { continue };
        if !device.is_free(onset, replaced_at, WEAR_OUT_MARGIN) {
            continue;
        }
        let wear_out = WearOut::draw(cause, [onset, fails_at, replaced_at], random);
        device.wear_outs.push(wear_out.clone());
        device.wear_outs.sort_by_key(|wear_out| wear_out.onset);
        report_wear_out(hour, index, &wear_out, random, site);
        return;
    }
}

pub(super) fn report_wear_out(
    hour: &mut PlannedHour,
    device: usize,
    wear_out: &WearOut,
    random: &mut RandomStream,
    site: &Site,
) {
    let worn = &site.devices[device];
    // Earlier wear-outs in the list will have ended in replacements by then.
    let n_before = worn.wear_outs.iter().take_while(|other| other.onset < wear_out.onset).count() as u64;
    let generation = worn.generation + n_before;
    let serial = worn.serial(generation);
    let counts_sectors = worn.class == Class::DiskUnit;
    let sectors = if counts_sectors {
        format!(", {} sectors reallocated and {} pending", wear_out.reallocated_sectors, wear_out.pending_sectors)
    } else {
        String::new()
    };
    let message = format!(
        "drive {serial} failed from {}, {:.1} min after the first sign: latency {:.0} times normal, {:.1} °C hotter{sectors}",
        wear_out.cause.text(),
        wear_out.fails_at.seconds_since(wear_out.onset) / 60.0,
        wear_out.latency_factor,
        wear_out.heat_celsius,
    );
    let criticality = random.whole(9, 10) as u8;
    let event_id = hour
        .event(site, EventDraft { device, event_type: "DriveFailure", criticality, at: wear_out.fails_at, message });
    let message = format!(
        "drive {serial} replaced by {} after {:.1} min without it",
        worn.serial(generation + 1),
        wear_out.replaced_at.seconds_since(wear_out.fails_at) / 60.0,
    );
    hour.event(
        site,
        EventDraft { device, event_type: "DriveReplaced", criticality: 2, at: wear_out.replaced_at, message },
    );
    hour.truth.push(Truth::WearOut {
        device: worn.name.clone(),
        serial,
        cause: wear_out.cause,
        onset: wear_out.onset,
        fails_at: wear_out.fails_at,
        replaced_at: wear_out.replaced_at,
        latency_factor: wear_out.latency_factor,
        heat_celsius: wear_out.heat_celsius,
        reallocated_sectors: if counts_sectors { wear_out.reallocated_sectors } else { 0.0 },
        event_id,
    });
}

/// Plans fans that stop for 8 to 20 minutes and would heat their enclosure by 10 to 15 °C.
pub(super) fn plan_fan_failures(hour: &mut PlannedHour, per_hour: f64, site: &mut Site) {
    let mut random = hour.random(Purpose::FanFailures);
    for from in hour.occurrences(per_hour, &mut random) {
        let enclosure = random.index(site.enclosures.len());
        let until = from.plus(Duration::from_secs_f64(random.between(480.0, 1_200.0)));
        let heat_celsius = hundredths(random.between(10.5, 15.0));
        let fan = random.whole(1, 4);
        let fault = FanFault { window: Window { from, until }, heat_celsius };
        if site.enclosures[enclosure].plan_fan_fault(fault) {
            report_fan_failure(hour, enclosure, &fault, fan, site);
        }
    }
}

pub(super) fn report_fan_failure(hour: &mut PlannedHour, enclosure: usize, fault: &FanFault, fan: u64, site: &Site) {
    let Window { from, until } = fault.window;
    let heat_celsius = fault.heat_celsius;
    let name = site.enclosures[enclosure].name.clone();
    let devices = site.names_of(enclosure, &[Class::DiskUnit, Class::StorageArray, Class::CloudStorage]);
    let n_devices = devices.len();
    let message =
        format!("fan {fan} of {name} stopped at 0 rpm; its {n_devices} devices will heat up by {heat_celsius:.1} °C");
    let device = reporter_of(enclosure, from, site);
    let event_id = hour.event(site, EventDraft { device, event_type: "FanFailure", criticality: 7, at: from, message });
    let minutes = until.seconds_since(from) / 60.0;
    let message = format!("fan {fan} of {name} runs again after {minutes:.1} min");
    let device = reporter_of(enclosure, until, site);
    hour.event(site, EventDraft { device, event_type: "FanRestored", criticality: 3, at: until, message });
    hour.truth.push(Truth::FanFailure { enclosure: name, devices, from, until, heat_celsius, event_id });
}

/// Plans shelves that lose their paths for half a minute to a minute and a half.
pub(super) fn plan_shelf_outages(hour: &mut PlannedHour, per_hour: f64, site: &mut Site) {
    let mut random = hour.random(Purpose::ShelfOutages);
    for from in hour.occurrences(per_hour, &mut random) {
        let enclosure = random.index(site.enclosures.len());
        let until = from.plus(Duration::from_secs_f64(random.between(30.0, 90.0)));
        let outage = Window { from, until };
        if site.enclosures[enclosure].plan_outage(outage) {
            report_outage(hour, enclosure, outage, site);
        }
    }
}

fn report_outage(hour: &mut PlannedHour, enclosure: usize, Window { from, until }: Window, site: &Site) {
    let name = site.enclosures[enclosure].name.clone();
    let silent_devices = site.names_of(enclosure, &[Class::DiskUnit]);
    let slow_devices = site.names_of(enclosure, &[Class::StorageArray, Class::CloudStorage]);
    let message = format!(
        "both paths to {name} lost: {} disks cannot be reached, {} arrays and gateways wait for them",
        silent_devices.len(),
        slow_devices.len(),
    );
    let device = reporter_of(enclosure, from, site);
    let event_id =
        hour.event(site, EventDraft { device, event_type: "ShelfOffline", criticality: 9, at: from, message });
    let message = format!("both paths to {name} are back after {:.0} s", until.seconds_since(from));
    let device = reporter_of(enclosure, until, site);
    hour.event(site, EventDraft { device, event_type: "ShelfOnline", criticality: 3, at: until, message });
    hour.truth.push(Truth::ShelfOffline { enclosure: name, silent_devices, slow_devices, from, until, event_id });
}

/// Returns the device that reports for an enclosure: its first working array, else any working device, else its first.
fn reporter_of(enclosure: usize, at: Timestamp, site: &Site) -> usize {
    let devices = site.devices_of(enclosure);
    let living_array = devices.iter().position(|device| device.class == Class::StorageArray && !device.is_dead_at(at));
    let living = || devices.iter().position(|device| !device.is_dead_at(at));
    enclosure * DEVICES_PER_ENCLOSURE + living_array.or_else(living).unwrap_or(0)
}

/// Plans data found corrupt by a scrub. From criticality 8 on, some of it cannot be repaired.
pub(super) fn plan_corruptions(hour: &mut PlannedHour, per_hour: f64, site: &Site) {
    let mut random = hour.random(Purpose::Corruptions);
    for at in hour.occurrences(per_hour, &mut random) {
        let Some(device) = reporting_device(at, &mut random, site) else { continue };
        let criticality = 6 + random.weighted(&[30, 25, 27, 18]) as u8;
        let n_bad = random.whole(1, 1 << (criticality - 3));
        let n_lost = if criticality < 8 { 0 } else { random.whole(1, n_bad) };
        let block = random.whole(1 << 20, 1 << 34);
        let message = format!(
            "checksum mismatch in {n_bad} blocks from {block:#x} on: {} repaired from parity, {n_lost} lost",
            n_bad - n_lost
        );
        let event_id = hour.event(site, EventDraft { device, event_type: "DataCorruption", criticality, at, message });
        hour.truth.push(Truth::Corruption { device: site.devices[device].name.clone(), at, criticality, event_id });
    }
}

/// Probability of each criticality from 1 to 10 in percent: mostly mistyped passwords, but all occur.
const ACCESS_WEIGHTS: [u64; 10] = [22, 17, 13, 10, 8, 7, 6, 7, 6, 4];
const ACCOUNTS: [&str; 6] = ["root", "admin", "backup", "svc-replica", "monitor", "guest"];

/// Plans unauthorized accesses: from failed logins to unauthorized administrative sessions.
pub(super) fn plan_unauthorized_accesses(hour: &mut PlannedHour, per_hour: f64, site: &Site) {
    let mut random = hour.random(Purpose::UnauthorizedAccesses);
    for at in hour.occurrences(per_hour, &mut random) {
        let Some(device) = reporting_device(at, &mut random, site) else { continue };
        let criticality = 1 + random.weighted(&ACCESS_WEIGHTS) as u8;
        let message = access_message(criticality, &mut random);
        let event_id =
            hour.event(site, EventDraft { device, event_type: "UnauthorizedAccess", criticality, at, message });
        hour.truth.push(Truth::UnauthorizedAccess {
            device: site.devices[device].name.clone(),
            at,
            criticality,
            event_id,
        });
    }
}

fn access_message(criticality: u8, random: &mut RandomStream) -> String {
    let account = ACCOUNTS[random.index(ACCOUNTS.len())];
    // An address block reserved for examples (RFC 5737).
    let address = format!("203.0.113.{}", random.whole(1, 254));
    let count = random.whole(2, 8) << criticality;
    match criticality {
        0..=3 => format!("{count} failed logins as {account} from {address} within a minute"),
        4..=7 => format!("login as {account} from the unknown address {address}, {count} objects listed"),
        8.. => format!(
            "administrative session as {account} from {address} without a ticket: {count} objects read, {} MiB",
            count * 7
        ),
    }
}

/// Draws a device that can report at a time.
fn reporting_device(at: Timestamp, random: &mut RandomStream, site: &Site) -> Option<usize> {
    let mut tries = (0..MAX_TRIES).map(|_| random.index(site.devices.len()));
    tries.find(|device| !site.is_silent_at(*device, at))
}
