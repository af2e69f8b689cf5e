//! Physics of one device: its state under load and air, and the values of its meters.

use super::class::Class;
use super::device::Device;
use super::load::utilization;
use super::step::{Instant, Step};
use spindle_core::metric;
use spindle_core::name::MetricType;
use spindle_core::timestamp::Timestamp;

/// Spread of the persistent random part of the load.
const LOAD_NOISE: f64 = 0.05;
/// Noise of a thermometer in °C.
const THERMOMETER_NOISE: f64 = 0.15;
/// Time for which a request waits for an offline shelf before it is served from elsewhere.
const OFFLINE_WAIT_MS: f64 = 1_500.0;
/// Share of the requests served meanwhile.
const OFFLINE_IOPS_SHARE: f64 = 0.08;

/// Meters: name, and the decimal places of a real one (which also saves bytes). Only disks have the last three.
const METERS: [(&str, i32); 11] = [
    ("DiskTemp", 2),
    ("IOPs", 1),
    ("Latency", 3),
    ("CapacityUsed", 4),
    ("Utilization", 2),
    ("ReadThroughput", 0),
    ("WriteThroughput", 0),
    ("QueueDepth", 3),
    ("ReallocatedSectors", 0),
    ("PendingSectors", 0),
    ("PowerOnHours", 2),
];
/// Number of meters common to all classes.
const N_COMMON_METERS: usize = 8;

/// Meter with its range from the metric table.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    pub(super) metric_type: MetricType,
    min: f64,
    max: f64,
    /// 10 to the power of the decimal places.
    scale: f64,
}

impl Meter {
    /// Returns the displayed value: rounded, and always within range.
    pub(super) fn display(&self, value: f64) -> f64 {
        let rounded = (value * self.scale).round() / self.scale;
        if rounded.is_finite() { rounded.clamp(self.min, self.max) } else { self.min }
    }
}

/// Returns all meters, in the order of [`read`]. Meters outside the metric table are omitted; a test ensures that there
/// are none.
pub(super) fn meters() -> Vec<Meter> {
    let meter = |(name, digits): &(&str, i32)| {
        let kind = metric::lookup(name)?;
        let metric_type = MetricType::new(name).ok()?;
        Some(Meter { metric_type, min: kind.min, max: kind.max, scale: 10_f64.powi(*digits) })
    };
    METERS.iter().filter_map(meter).collect()
}

/// Returns the number of meters of a class.
pub(super) fn n_meters(class: Class) -> usize {
    match class {
        Class::DiskUnit => METERS.len(),
        Class::StorageArray | Class::CloudStorage => N_COMMON_METERS,
    }
}

/// Advances a device by one step, in air of `air_celsius`. Draws one random number.
pub(super) fn advance(device: &mut Device, step: &Step, air_celsius: f64) {
    let fresh = (1.0 - step.noise_kept * step.noise_kept).max(0.0).sqrt();
    device.load_noise = device.load_noise * step.noise_kept + fresh * device.random.bell();
    let profile = &device.profile;
    let busy = busy_share(device, &step.instant);
    let balance_celsius = air_celsius + profile.idle_rise_celsius + profile.busy_rise_celsius * busy;
    device.celsius = balance_celsius + (device.celsius - balance_celsius) * step.heat_kept;
}

fn busy_share(device: &Device, instant: &Instant) -> f64 {
    utilization(device.profile.load.at(instant) + LOAD_NOISE * device.load_noise)
}

/// Returns the values of the meters of a device, in the order of [`meters`]. Draws four random numbers in every state, so
/// that a fault changes only what it should.
pub(super) fn read(device: &mut Device, instant: &Instant, epoch: Timestamp, is_offline: bool) -> [f64; METERS.len()] {
    let noise: [f64; 4] = std::array::from_fn(|_| device.random.bell());
    let profile = &device.profile;
    let wear = wear_signs(device, instant.at);
    let healthy_busy = busy_share(device, instant);
    // Retries keep a worn device busier with the same work.
    let busy = healthy_busy + (0.97 - healthy_busy) * 0.4 * wear.severity;
    let latency_ms =
        profile.service_ms / (1.0 - busy) * wear.latency_factor * (profile.latency_spread * noise[0]).exp();
    let iops = profile.max_iops * healthy_busy * (1.0 - 0.5 * wear.severity) * (1.0 + 0.03 * noise[1]);
    let (busy, latency_ms, iops) = if is_offline {
        (0.99, latency_ms + OFFLINE_WAIT_MS * (1.0 + 0.15 * noise[0]), iops * OFFLINE_IOPS_SHARE)
    } else {
        (busy, latency_ms, iops)
    };
    let read_share = profile.read_share + 0.03 * noise[2];
    let bytes_per_second = iops * profile.request_bytes;
    [
        device.celsius + wear.heat_celsius + THERMOMETER_NOISE * noise[3],
        iops,
        latency_ms,
        profile.capacity_percent(instant.busy_hours_since(epoch)),
        100.0 * busy,
        bytes_per_second * read_share,
        bytes_per_second * (1.0 - read_share),
        // Little's law: requests in flight = rate × time in the system.
        iops * latency_ms / 1000.0,
        device.old_reallocated_sectors + wear.reallocated_sectors,
        wear.pending_sectors,
        device.power_on_hours(instant.at),
    ]
}

/// Effect of wear at one time.
struct WearSigns {
    severity: f64,
    latency_factor: f64,
    heat_celsius: f64,
    reallocated_sectors: f64,
    pending_sectors: f64,
}

fn wear_signs(device: &Device, now: Timestamp) -> WearSigns {
    let Some(wear_out) = device.wear_out_at(now) else {
        return WearSigns {
            severity: 0.0,
            latency_factor: 1.0,
            heat_celsius: 0.0,
            reallocated_sectors: 0.0,
            pending_sectors: 0.0,
        };
    };
    let severity = wear_out.severity(now);
    WearSigns {
        severity,
        latency_factor: 1.0 + (wear_out.latency_factor - 1.0) * severity,
        // Close to the sensor: not delayed by the mass of the whole device, unlike the heat of the load.
        heat_celsius: wear_out.heat_celsius * severity,
        reallocated_sectors: (wear_out.reallocated_sectors * severity).floor(),
        pending_sectors: (wear_out.pending_sectors * severity).floor(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metric_table_knows_every_meter() {
        let meters = meters();
        assert_eq!(meters.len(), METERS.len());
        assert!(meters.iter().zip(METERS).all(|(meter, (name, _))| meter.metric_type.as_str() == name));
    }

    #[test]
    fn a_meter_stays_in_its_range() {
        let meter = Meter { metric_type: MetricType::new("x").unwrap(), min: 0.0, max: 100.0, scale: 100.0 };
        let displayed = [-1.0, 12.3456, 1e300, f64::NAN, f64::INFINITY].map(|value| meter.display(value));
        assert_eq!(displayed, [0.0, 12.35, 100.0, 0.0, 0.0]);
    }
}
