//! Device: its name, model and load profile, and its state.

use std::time::Duration;

use super::class::Class;
use super::load::LoadShape;
use super::random::{Purpose, RandomStream, key};
use super::wear::WearOut;
use spindle_core::name::DeviceName;
use spindle_core::records::Window;
use spindle_core::timestamp::Timestamp;
use spindle_core::wire::Labels;

/// Largest fleet whose devices have the plain names of their class.
const MAX_PLAIN_NAMES: usize = 3;

/// Label `host` of all simulated devices: grouped by it, they stand apart from real ones.
const HOST: &str = "demo-fleet";

/// Growth and clean-up of the data on a device, in percent of its capacity.
#[derive(Clone, Copy, Debug)]
struct Filling {
    start: f64,
    percent_per_hour: f64,
    /// Level that starts a clean-up.
    top: f64,
    /// Level after a clean-up.
    floor: f64,
}

/// Random properties of one device.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) load: LoadShape,
    pub(super) service_ms: f64,
    pub(super) latency_spread: f64,
    pub(super) max_iops: f64,
    pub(super) request_bytes: f64,
    pub(super) read_share: f64,
    pub(super) idle_rise_celsius: f64,
    pub(super) busy_rise_celsius: f64,
    filling: Filling,
    model: &'static str,
    capacity_bytes: u64,
}

impl Profile {
    fn draw(class: Class, random: &mut RandomStream, burst_key: u64) -> Self {
        let traits = class.traits();
        let (model, capacity_bytes) = traits.models[random.index(traits.models.len())];
        let mut from = |(low, high): (f64, f64)| random.between(low, high);
        let floor = from((40.0, 55.0));
        Self {
            service_ms: from(traits.service_ms),
            latency_spread: traits.latency_spread,
            max_iops: from(traits.max_iops),
            request_bytes: from(traits.request_bytes),
            read_share: from((0.55, 0.8)),
            idle_rise_celsius: from(traits.idle_rise_celsius),
            busy_rise_celsius: from(traits.busy_rise_celsius),
            // Some fill up to 90 %, past the warning limit of the metric table; none to its critical 95 %.
            filling: Filling {
                start: from((30.0, 72.0)),
                percent_per_hour: from((0.15, 0.9)),
                top: from((74.0, 90.0)),
                floor,
            },
            model,
            capacity_bytes,
            load: LoadShape::draw(random, traits.load_scale, burst_key),
        }
    }

    /// Makes it fill by `percent_per_hour` on average, so that it is at `level` after `busy_hours`. It is cleaned up at `top`.
    pub(super) fn fill_up(&mut self, busy_hours: f64, level: f64, percent_per_hour: f64, top: f64) {
        let Filling { start, percent_per_hour: rate, top: limit, .. } = &mut self.filling;
        (*start, *rate, *limit) = (level - percent_per_hour * busy_hours, percent_per_hour, top);
    }

    /// Returns the percentage of the capacity in use after `busy_hours`: it fills, is cleaned up, fills again.
    pub(super) fn capacity_percent(&self, busy_hours: f64) -> f64 {
        let Filling { start, percent_per_hour, top, floor } = self.filling;
        let level = start + percent_per_hour * busy_hours;
        if level < top { level.max(1.0) } else { floor + (level - floor) % (top - floor) }
    }
}

/// Device and its state.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) name: DeviceName,
    pub(super) class: Class,
    pub(super) profile: Profile,
    /// Its own noise, independent of other devices.
    pub(super) random: RandomStream,
    /// Temperature of its body.
    pub(super) celsius: f64,
    /// Persistent random part of the load, spread 1.
    pub(super) load_noise: f64,
    /// Sectors replaced before any wear-out simulated here.
    pub(super) old_reallocated_sectors: f64,
    /// Number of replacements.
    pub(super) generation: u64,
    /// Time in which it reports nothing although it works.
    pub(super) silence: Option<Window>,
    /// Present and future wear-outs, in order, never overlapping.
    pub(super) wear_outs: Vec<WearOut>,
    in_service_since: Timestamp,
    hours_before: f64,
    serial_key: u64,
}

impl Device {
    pub(super) fn new(index: usize, n_devices: usize, seed: u64, epoch: Timestamp) -> Self {
        let class = Class::of(index);
        let mut random = RandomStream::new(seed, Purpose::DeviceProfile, index as u64);
        let profile = Profile::draw(class, &mut random, key(seed, Purpose::Bursts, index as u64));
        Self {
            name: device_name(index, n_devices),
            class,
            profile,
            random: RandomStream::new(seed, Purpose::DeviceNoise, index as u64),
            celsius: 0.0,
            load_noise: 0.0,
            // 9 % of a running fleet has a few (Backblaze, 2013-04-10).
            old_reallocated_sectors: if random.unit() < 0.09 { random.whole(1, 8) as f64 } else { 0.0 },
            generation: 0,
            silence: None,
            wear_outs: Vec::new(),
            in_service_since: epoch,
            hours_before: random.between(500.0, 40_000.0),
            serial_key: key(seed, Purpose::Serial, index as u64),
        }
    }

    /// Returns the hours in operation at `now`.
    pub(super) fn power_on_hours(&self, now: Timestamp) -> f64 {
        self.hours_before + now.seconds_since(self.in_service_since) / 3600.0
    }

    /// Returns the wear-out in progress, or the one that ended in a failure without a replacement yet.
    pub(super) fn wear_out_at(&self, now: Timestamp) -> Option<&WearOut> {
        self.wear_outs.iter().find(|wear_out| wear_out.onset <= now && now < wear_out.replaced_at)
    }

    /// Returns `true` if it has failed and is not replaced yet.
    pub(super) fn is_dead_at(&self, now: Timestamp) -> bool {
        self.wear_out_at(now).is_some_and(|wear_out| wear_out.fails_at <= now)
    }

    /// Returns `true` if it works and cannot be heard.
    pub(super) fn is_unheard_at(&self, now: Timestamp) -> bool {
        self.silence.is_some_and(|silence| silence.contains(now))
    }

    /// Returns `true` if nothing is planned between two instants, with `margin` around, and no wear-out later.
    pub(super) fn is_free(&self, from: Timestamp, until: Timestamp, margin: Duration) -> bool {
        let (from, until) = (from.minus(margin), until.plus(margin));
        self.silence.is_none_or(|silence| silence.until < from || until < silence.from)
            // One that precedes another would change the serial number that the other has announced.
            && self.wear_outs.iter().all(|wear_out| wear_out.replaced_at < from)
    }

    /// Carries out all replacements due by `now`. `celsius` is the temperature of the surrounding air.
    pub(super) fn replace_if_due(&mut self, now: Timestamp, celsius: f64) {
        while let Some(replaced_at) = self.wear_outs.first().map(|wear_out| wear_out.replaced_at) {
            if now < replaced_at {
                break;
            }
            self.wear_outs.remove(0);
            self.generation += 1;
            self.in_service_since = replaced_at;
            self.hours_before = 0.0;
            self.old_reallocated_sectors = 0.0;
            self.celsius = celsius;
        }
    }

    /// Returns the serial number of a generation; 0 is the first.
    pub(super) fn serial(&self, generation: u64) -> String {
        let number = super::random::mix(self.serial_key, generation) & 0xff_ffff_ffff;
        format!("{}{number:010X}", self.class.traits().serial_prefix)
    }

    /// Returns the labels.
    pub(super) fn labels(&self, enclosure: &str, bay: usize) -> Labels {
        Labels::from([
            ("bay".to_owned(), bay.to_string()),
            ("capacity_bytes".to_owned(), self.profile.capacity_bytes.to_string()),
            ("class".to_owned(), self.class.name().to_owned()),
            ("enclosure".to_owned(), enclosure.to_owned()),
            ("host".to_owned(), HOST.to_owned()),
            ("model".to_owned(), self.profile.model.to_owned()),
            ("serial".to_owned(), self.serial(self.generation)),
            ("source".to_owned(), "simulate".to_owned()),
        ])
    }
}

fn device_name(index: usize, n_devices: usize) -> DeviceName {
    let class = Class::of(index).name();
    let name = if n_devices <= MAX_PLAIN_NAMES {
        DeviceName::new(class)
    } else {
        DeviceName::new(&format!("{class}-{:04}", index + 1))
    };
    name.expect("a class name and a number are short and printable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_devices_carry_the_plain_names_and_more_are_numbered() {
        let names = |n: usize| (0..n).map(|index| device_name(index, n).to_string()).collect::<Vec<_>>();
        assert_eq!(names(3), ["DiskUnit", "StorageArray", "CloudStorage"]);
        assert_eq!(names(1), ["DiskUnit"]);
        assert_eq!(names(4), ["DiskUnit-0001", "StorageArray-0002", "CloudStorage-0003", "DiskUnit-0004"]);
        assert_eq!(names(100_000)[99_999], "DiskUnit-100000");
        assert_eq!(names(20)[..10], names(100)[..10]);
    }

    #[test]
    fn capacity_fills_and_is_cleaned_up() {
        let device = Device::new(0, 3, 1, Timestamp::from_seconds(0));
        let levels: Vec<f64> = (0..2_000).map(|hour| device.profile.capacity_percent(f64::from(hour))).collect();
        let n_cleanings = levels.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!((1..200).contains(&n_cleanings), "{n_cleanings}");
        assert!(levels.iter().all(|level| (1.0..=90.0).contains(level)));
        assert!((1.0..=90.0).contains(&device.profile.capacity_percent(-1e12)));
        assert!((1.0..=90.0).contains(&device.profile.capacity_percent(1e12)));
    }

    #[test]
    fn a_replacement_has_a_new_serial_number() {
        let device = Device::new(0, 3, 1, Timestamp::from_seconds(0));
        assert_ne!(device.serial(0), device.serial(1));
        assert_ne!(device.serial(0), Device::new(0, 3, 2, Timestamp::from_seconds(0)).serial(0));
    }
}
