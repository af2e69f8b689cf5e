//! Memory of what was written, bounded in bytes: an entry takes the same few bytes whatever the length of its texts.
//!
//! A key is 128 bits of two SipHashes whose keys are random in each process: no sender can make two texts meet, and
//! among a million the odds that any two do are below 1 in 10^26.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// Parts of two that a table may fill, of its power of two, before it grows.
const LOAD: (usize, usize) = (7, 8);

/// Stands for one or more texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key([u64; 2]);

/// Entries by key, up to a bound. The table fills a power of two, so that it never grows beyond the bound.
#[derive(Debug)]
pub(crate) struct Remembered<V> {
    entries: HashMap<Key, V>,
    hashers: [RandomState; 2],
    max_entries: usize,
}

impl<V> Remembered<V> {
    /// Returns an empty memory of at most 7/8 of `n_slots` entries; `n_slots` is a power of two.
    pub(crate) fn new(n_slots: usize) -> Self {
        let max_entries = n_slots / LOAD.1 * LOAD.0;
        Self { entries: HashMap::new(), hashers: [RandomState::new(), RandomState::new()], max_entries }
    }

    /// Returns the key of texts, which only this memory can use.
    pub(crate) fn key(&self, texts: &impl Hash) -> Key {
        Key([self.hashers[0].hash_one(texts), self.hashers[1].hash_one(texts)])
    }

    pub(crate) fn get(&self, key: Key) -> Option<&V> {
        self.entries.get(&key)
    }

    /// Remembers an entry. Returns `true` if it forgot others for it: about a half, at random, so that of a fleet beyond
    /// the bound a part is still remembered.
    pub(crate) fn insert(&mut self, key: Key, value: V) -> bool {
        let is_beyond = self.is_full() && !self.entries.contains_key(&key);
        if is_beyond {
            self.forget_half();
        }
        self.entries.insert(key, value);
        // Removed entries may have left marks that count as filled.
        if self.entries.capacity() > self.max_entries {
            self.entries.shrink_to(self.max_entries);
        }
        is_beyond
    }

    fn forget_half(&mut self) {
        // Another half each time: the highest bit of a random product depends on all bits of the key.
        let factor = RandomState::new().hash_one(self.max_entries) | 1;
        let is_kept = |Key([bits, _]): &Key| bits.wrapping_mul(factor) >> 63 == 0;
        let kept: Vec<_> = self.entries.drain().filter(|(key, _)| is_kept(key)).take(self.max_entries - 1).collect();
        self.entries.extend(kept);
    }

    pub(crate) fn remove(&mut self, key: Key) {
        self.entries.remove(&key);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= self.max_entries
    }

    /// Returns the most bytes that a table of so many slots takes.
    #[cfg(test)]
    pub(crate) fn max_bytes(n_slots: usize) -> usize {
        n_slots * (size_of::<(Key, V)>() + 1)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stays_within_its_bound() {
        let mut remembered = Remembered::new(1 << 10);
        for number in 0..20_000_u64 {
            let key = remembered.key(&("disk", number));
            remembered.insert(key, number);
            if number % 3 == 0 {
                let key = remembered.key(&("disk", number / 2));
                remembered.remove(key);
            }
            assert!(remembered.len() <= 896 && remembered.entries.capacity() <= 896, "{number}");
            let key = remembered.key(&("disk", number));
            assert!(remembered.get(key).is_none_or(|found| *found == number));
        }
        assert_eq!(Remembered::<u64>::max_bytes(1 << 10), 1024 * 25);
    }

    #[test]
    fn a_half_is_kept_when_the_table_is_full() {
        let mut remembered = Remembered::new(1 << 12);
        let n_forgotten = (0..3_584 + 1).filter(|number| remembered.insert(remembered.key(number), ())).count();
        assert_eq!(n_forgotten, 1);
        assert!((1_200..2_400).contains(&remembered.len()), "{}", remembered.len());
        let last = remembered.key(&3_584);
        assert!(remembered.get(last).is_some() && !remembered.insert(last, ()), "it is there");
    }

    #[test]
    fn texts_that_read_the_same_when_joined_have_keys_of_their_own() {
        let remembered = Remembered::<()>::new(8);
        assert_ne!(remembered.key(&("ab", "c")), remembered.key(&("a", "bc")));
        assert_eq!(remembered.key(&("ab", "c")), remembered.key(&("ab".to_owned(), "c")));
    }
}
