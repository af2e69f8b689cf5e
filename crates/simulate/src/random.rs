//! Random streams, each derived from seed, purpose and index. No global state.

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use uuid::Uuid;

/// Purpose of a stream, so that two uses of one seed never share numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    DeviceProfile = 1,
    DeviceNoise = 2,
    Enclosure = 3,
    WearOuts = 4,
    FanFailures = 5,
    ShelfOutages = 6,
    Corruptions = 7,
    UnauthorizedAccesses = 8,
    Serial = 9,
    Bursts = 10,
    Story = 11,
}

/// Mixes two numbers into one whose bits depend on all bits of both (the finalizer of SplitMix64).
pub(super) const fn mix(left: u64, right: u64) -> u64 {
    let mut bits = left.rotate_left(23) ^ right.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Returns a number that depends only on seed, purpose and index.
pub(super) const fn key(seed: u64, purpose: Purpose, index: u64) -> u64 {
    mix(mix(mix(seed, 0x0053_7069_6e64_6c65), purpose as u64), index)
}

/// Stream of random numbers.
#[derive(Clone, Debug)]
pub(super) struct RandomStream(Pcg64Mcg);

impl RandomStream {
    pub(super) fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(key(seed, purpose, index)))
    }

    /// Draws uniformly from [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// Draws uniformly from [low, high).
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Draws from [low, high), uniformly in the logarithm; both above 0.
    pub(super) fn log_between(&mut self, low: f64, high: f64) -> f64 {
        low * (high / low).powf(self.unit())
    }

    /// Draws an integer from [low, high].
    pub(super) fn whole(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Draws an index below `length`; 0 if `length` is 0.
    pub(super) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// Draws an index into `weights` with these probabilities.
    pub(super) fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut rest = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if rest < *weight {
                return index;
            }
            rest -= weight;
        }
        0
    }

    /// Draws from a nearly normal distribution, mean 0 and spread 1, never beyond ±3.5: the sum of the four quarters of
    /// one number. Bounded tails keep all values plausible, at a fifth of the cost of a true normal.
    pub(super) fn bell(&mut self) -> f64 {
        let bits = self.0.next_u64();
        let sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
        // Four uniforms on [0, 1] have mean 2 and variance 4/12.
        (sum as f64 / 65_535.0 - 2.0) * 1.732_050_807_568_877_2
    }

    fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(limit)) >> 64) as u64
    }
}

/// Returns the id of an event: a hash of everything that distinguishes it, as a version 8 UUID (RFC 9562).
pub(super) fn event_id(numbers: &[u64], texts: &[&str]) -> Uuid {
    let half = |lane: u64| {
        let hash = numbers.iter().fold(lane, |hash, number| mix(hash, *number));
        texts.iter().fold(hash, |hash, text| {
            let hash = mix(hash, text.len() as u64);
            text.bytes().fold(hash, |hash, byte| mix(hash, u64::from(byte)))
        })
    };
    let bits = u128::from(half(1)) << 64 | u128::from(half(2));
    uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(seed: u64) -> RandomStream {
        RandomStream::new(seed, Purpose::DeviceNoise, 7)
    }

    #[test]
    fn a_bell_has_mean_0_spread_1_and_bounded_tails() {
        let mut stream = stream(1);
        let draws: Vec<f64> = (0..20_000).map(|_| stream.bell()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        assert!(draws.iter().all(|draw| draw.abs() < 3.5));
    }

    #[test]
    fn weights_and_limits_hold() {
        let mut stream = stream(2);
        let mut hits = [0; 3];
        for _ in 0..10_000 {
            hits[stream.weighted(&[1, 0, 3])] += 1;
            assert!((3..=5).contains(&stream.whole(3, 5)));
            assert!((2.0..8.0).contains(&stream.log_between(2.0, 8.0)));
        }
        assert_eq!(hits[1], 0);
        assert!((2_300..2_700).contains(&hits[0]), "{hits:?}");
        assert_eq!((stream.index(0), stream.weighted(&[])), (0, 0));
    }

    #[test]
    fn an_id_depends_on_every_part_and_is_a_valid_uuid() {
        let id = event_id(&[1, 2], &["DiskUnit", "DriveFailure"]);
        assert_eq!(id.get_version_num(), 8);
        assert_eq!(id, event_id(&[1, 2], &["DiskUnit", "DriveFailure"]));
        assert_ne!(id, event_id(&[2, 1], &["DiskUnit", "DriveFailure"]));
        assert_ne!(id, event_id(&[1, 2], &["DiskUnitD", "riveFailure"]));
    }
}
