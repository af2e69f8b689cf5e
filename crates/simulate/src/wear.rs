//! Wear-out of devices: the signature of each cause, and its severity over time.

use super::class::Class;
use super::random::RandomStream;
use super::truth::WearCause;
use spindle_core::timestamp::Timestamp;

/// Effect of a cause at the time of failure. Pairs are ranges to draw from.
struct Signature {
    /// Latency as a multiple of normal.
    latency_factor: (f64, f64),
    heat_celsius: (f64, f64),
    reallocated_sectors: (f64, f64),
    pending_sectors: (f64, f64),
}

/// Failing heads: many retries and reallocated sectors.
const HEAD_WEAR: Signature = Signature {
    latency_factor: (12.0, 20.0),
    heat_celsius: (6.0, 9.0),
    reallocated_sectors: (300.0, 1_200.0),
    pending_sectors: (80.0, 300.0),
};
/// Failing surface: mainly reallocated sectors.
const MEDIA_DEGRADATION: Signature = Signature {
    latency_factor: (8.0, 14.0),
    heat_celsius: (6.0, 9.0),
    reallocated_sectors: (1_200.0, 4_000.0),
    pending_sectors: (200.0, 800.0),
};
/// Friction: mainly heat.
const BEARING_WEAR: Signature = Signature {
    latency_factor: (10.0, 16.0),
    heat_celsius: (11.0, 16.0),
    reallocated_sectors: (80.0, 300.0),
    pending_sectors: (10.0, 60.0),
};
/// Failing power supply of the electronics; a controller disables its write cache: mainly latency.
const CAPACITOR_AGEING: Signature = Signature {
    latency_factor: (15.0, 25.0),
    heat_celsius: (7.0, 11.0),
    reallocated_sectors: (60.0, 150.0),
    pending_sectors: (5.0, 20.0),
};
/// Cells that need more and more correction.
const FLASH_WEAR: Signature = Signature {
    latency_factor: (8.0, 14.0),
    heat_celsius: (6.0, 9.0),
    reallocated_sectors: (400.0, 1_600.0),
    pending_sectors: (10.0, 60.0),
};

fn signature(cause: WearCause) -> &'static Signature {
    match cause {
        WearCause::HeadWear => &HEAD_WEAR,
        WearCause::MediaDegradation => &MEDIA_DEGRADATION,
        WearCause::BearingWear => &BEARING_WEAR,
        WearCause::CapacitorAgeing => &CAPACITOR_AGEING,
        WearCause::FlashWear => &FLASH_WEAR,
    }
}

/// Draws the cause of a wear-out for a class; `None` for a gateway, whose disks are elsewhere.
pub(super) fn draw_cause(class: Class, random: &mut RandomStream) -> Option<WearCause> {
    use WearCause::{BearingWear, CapacitorAgeing, FlashWear, HeadWear, MediaDegradation};
    let (causes, weights): (&[WearCause], &[u64]) = match class {
        Class::DiskUnit => (&[HeadWear, MediaDegradation, BearingWear, CapacitorAgeing], &[30, 35, 25, 10]),
        Class::StorageArray => (&[CapacitorAgeing, FlashWear], &[50, 50]),
        Class::CloudStorage => return None,
    };
    causes.get(random.weighted(weights)).copied()
}

/// Wear-out of one device, from the first sign to its replacement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WearOut {
    pub(super) cause: WearCause,
    pub(super) onset: Timestamp,
    pub(super) fails_at: Timestamp,
    pub(super) replaced_at: Timestamp,
    /// Final effect; see [`Signature`].
    pub(super) latency_factor: f64,
    pub(super) heat_celsius: f64,
    pub(super) reallocated_sectors: f64,
    pub(super) pending_sectors: f64,
}

impl WearOut {
    /// Draws the effect of a cause; `times` are onset, failure and replacement.
    pub(super) fn draw(cause: WearCause, times: [Timestamp; 3], random: &mut RandomStream) -> Self {
        let signature = signature(cause);
        let [onset, fails_at, replaced_at] = times;
        let mut from = |(low, high): (f64, f64)| random.log_between(low, high);
        Self {
            cause,
            onset,
            fails_at,
            replaced_at,
            latency_factor: hundredths(from(signature.latency_factor)),
            heat_celsius: hundredths(from(signature.heat_celsius)),
            reallocated_sectors: from(signature.reallocated_sectors).round(),
            pending_sectors: from(signature.pending_sectors).round(),
        }
    }

    /// Returns the severity, from 0 at the onset to 1 at the failure, slowly at first.
    pub(super) fn severity(&self, now: Timestamp) -> f64 {
        let life_seconds = self.fails_at.seconds_since(self.onset).max(1.0);
        let progress = (now.seconds_since(self.onset) / life_seconds).clamp(0.0, 1.0);
        progress * progress.sqrt()
    }
}

/// Rounds to two digits, to keep the truth readable.
pub(super) fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::super::random::Purpose;
    use super::*;

    #[test]
    fn severity_goes_from_0_to_1_and_never_back() {
        let mut random = RandomStream::new(1, Purpose::WearOuts, 0);
        let times = [100, 200, 300].map(Timestamp::from_seconds);
        let wear_out = WearOut::draw(WearCause::HeadWear, times, &mut random);
        let severities: Vec<f64> = (50..400).map(|second| wear_out.severity(Timestamp::from_seconds(second))).collect();
        assert_eq!((severities[0], severities[severities.len() - 1]), (0.0, 1.0));
        assert!(severities.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn causes_fit_the_class() {
        let mut random = RandomStream::new(1, Purpose::WearOuts, 0);
        assert_eq!(draw_cause(Class::CloudStorage, &mut random), None);
        for _ in 0..100 {
            assert_ne!(draw_cause(Class::DiskUnit, &mut random), Some(WearCause::FlashWear));
            assert_ne!(draw_cause(Class::StorageArray, &mut random), Some(WearCause::HeadWear));
        }
    }
}
