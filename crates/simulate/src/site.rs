//! Site of the fleet: all devices in their enclosures, and their measurement.

use super::class::Class;
use super::device::Device;
use super::enclosure::{DEVICES_PER_ENCLOSURE, Enclosure};
use super::meters::{Meter, advance, meters, n_meters, read};
use super::step::{Instant, Step, steps};
use spindle_core::name::DeviceName;
use spindle_core::timestamp::Timestamp;
use spindle_core::wire::{DeviceMetric, Labels};

/// All devices and enclosures.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) devices: Vec<Device>,
    pub(super) enclosures: Vec<Enclosure>,
    meters: Vec<Meter>,
    epoch: Timestamp,
}

impl Site {
    pub(super) fn new(n_devices: usize, seed: u64, epoch: Timestamp) -> Self {
        let n_enclosures = n_devices.div_ceil(DEVICES_PER_ENCLOSURE);
        Self {
            devices: (0..n_devices).map(|index| Device::new(index, n_devices, seed, epoch)).collect(),
            enclosures: (0..n_enclosures).map(|index| Enclosure::new(index, seed)).collect(),
            meters: meters(),
            epoch,
        }
    }

    /// Returns the devices of an enclosure.
    pub(super) fn devices_of(&self, enclosure: usize) -> &[Device] {
        self.devices.chunks(DEVICES_PER_ENCLOSURE).nth(enclosure).unwrap_or_default()
    }

    /// Returns the names of the devices of an enclosure that belong to one of the classes.
    pub(super) fn names_of(&self, enclosure: usize, classes: &[Class]) -> Vec<DeviceName> {
        let devices = self.devices_of(enclosure).iter();
        devices.filter(|device| classes.contains(&device.class)).map(|device| device.name.clone()).collect()
    }

    /// Returns `true` if a device does not report at a time.
    pub(super) fn is_silent_at(&self, device: usize, at: Timestamp) -> bool {
        let is_offline = self.enclosures[device / DEVICES_PER_ENCLOSURE].is_offline_at(at);
        is_silent(&self.devices[device], is_offline, at)
    }

    /// Advances all devices from the last tick to `now` and reads the meters of those that report.
    pub(super) fn measure(&mut self, last: Option<Timestamp>, now: Timestamp) -> Vec<DeviceMetric> {
        let steps = steps(last, now);
        let instant = Instant::new(now);
        let mut metrics = Vec::with_capacity(self.devices.len() * self.meters.len());
        let shelves = self.devices.chunks_mut(DEVICES_PER_ENCLOSURE).zip(&mut self.enclosures);
        for (devices, enclosure) in shelves {
            let is_offline = enclosure.is_offline_at(now);
            for (place, device) in devices.iter_mut().enumerate() {
                advance_to(device, enclosure, &steps);
                let values = read(device, &instant, self.epoch, is_offline);
                if !is_silent(device, is_offline, now) {
                    let values = self.meters.iter().zip(values).take(n_meters(device.class));
                    let labels = device.labels(&enclosure.name, place + 1);
                    report(device, labels, now, values, &mut metrics);
                }
            }
            enclosure.drop_before(now);
        }
        metrics
    }
}

/// Returns `true` for a failed device, for one that cannot be heard, and for a disk whose shelf is offline.
fn is_silent(device: &Device, is_offline: bool, at: Timestamp) -> bool {
    (is_offline && device.class == Class::DiskUnit) || device.is_dead_at(at) || device.is_unheard_at(at)
}

fn advance_to(device: &mut Device, enclosure: &Enclosure, steps: &[Step]) {
    for step in steps {
        let air_celsius = enclosure.air_celsius(step.room_celsius, step.instant.at);
        device.replace_if_due(step.instant.at, air_celsius);
        advance(device, step, air_celsius);
    }
}

fn report<'a>(
    device: &Device,
    labels: Labels,
    timestamp: Timestamp,
    values: impl Iterator<Item = (&'a Meter, f64)>,
    metrics: &mut Vec<DeviceMetric>,
) {
    // Labels on about one metric in ten are enough; on each they would double the bytes.
    let mut labels = Some(Box::new(labels));
    metrics.extend(values.map(|(meter, value)| DeviceMetric {
        timestamp,
        source_device: device.name.clone(),
        metric_type: meter.metric_type.clone(),
        value: meter.display(value),
        seq: None,
        labels: labels.take(),
    }));
}
