//! Random numbers derived from a seed, so that a run can be repeated.

/// Mixes two numbers into one whose bits depend on all of theirs (the finaliser of SplitMix64).
pub(crate) fn mix(left: u64, right: u64) -> u64 {
    let mut bits = left.rotate_left(23) ^ right.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Generator of random numbers.
pub(crate) struct Random {
    seed: u64,
    n_taken: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed: mix(seed, 0x6661_756c_7473), n_taken: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.n_taken += 1;
        mix(self.seed, self.n_taken)
    }

    /// Returns a whole number below `n`, which must not be 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Returns a number uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a number uniform in [low, high).
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
