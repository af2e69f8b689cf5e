//! Chunks: lines that travel in one request, and what they came from.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use super::settings::InfluxVersion;

/// Largest chunk, well below InfluxDB 3's limit of 10 MiB.
const MAX_CHUNK_BYTES: usize = 4 << 20;
/// Chunks whose failures are remembered. Beyond that all are forgotten, and a poison line is found later.
const MAX_REMEMBERED: usize = 1_000;

/// Lines that travel together. `T` is what a line is made of: an element of a batch, or an entry of an index.
pub(super) struct Chunk<T> {
    pub(super) lines: String,
    /// Origin of each line.
    pub(super) items: Vec<T>,
    identities: DefaultHasher,
}

impl<T> Default for Chunk<T> {
    fn default() -> Self {
        Self { lines: String::new(), items: Vec::new(), identities: DefaultHasher::new() }
    }
}

impl<T> Chunk<T> {
    /// Returns the chunk for the next line, and opens a new one if the last is full.
    pub(super) fn current(chunks: &mut Vec<Self>, max_lines: usize) -> &mut Self {
        let is_full =
            chunks.last().is_none_or(|last| last.items.len() >= max_lines || last.lines.len() >= MAX_CHUNK_BYTES);
        if is_full {
            chunks.push(Self::default());
        }
        let last = chunks.len() - 1;
        &mut chunks[last]
    }

    /// Assigns the line written last to its origin; `identity` distinguishes it from others.
    pub(super) fn assign(&mut self, item: T, identity: impl Hash) {
        self.items.push(item);
        identity.hash(&mut self.identities);
    }

    /// Key of the chunk: equal whenever the same elements are sent again. A hash suffices: chunks with one key only
    /// come under suspicion earlier, and no line is refused on suspicion.
    pub(super) fn key(&self) -> u64 {
        self.identities.finish()
    }
}

/// Shape of the requests with values for one version: lines per request, and requests in flight.
pub(super) struct BatchShape {
    pub(super) max_lines: usize,
    pub(super) initial_requests: usize,
    pub(super) max_requests: usize,
}

impl BatchShape {
    /// Returns the shape for a version.
    ///
    /// Versions 1 and 2 process a request while it is open: measured on 1.6.7 on the same machine, two to four
    /// concurrent requests are best, eight are worse, and 2,500 to 10,000 lines make no difference. Version 3 holds
    /// each request until the next flush of its log, up to a second: there the product of the two is the rate.
    pub(super) fn of(version: InfluxVersion) -> Self {
        match version {
            InfluxVersion::V1 | InfluxVersion::V2 | InfluxVersion::OpenGemini => {
                Self { max_lines: 5_000, initial_requests: 2, max_requests: 4 }
            }
            InfluxVersion::V3 => Self { max_lines: 10_000, initial_requests: 4, max_requests: 16 },
        }
    }
}

/// Number of failures of each chunk that one of its lines may have caused.
#[derive(Debug, Default)]
pub(super) struct FailureCounts(Mutex<HashMap<u64, u32>>);

impl FailureCounts {
    /// Adds one failure and returns the new count.
    pub(super) fn add(&self, key: u64) -> u32 {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() > MAX_REMEMBERED {
            counts.clear();
        }
        let n_failures = counts.entry(key).or_default();
        *n_failures += 1;
        *n_failures
    }

    pub(super) fn forget(&self, key: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}
