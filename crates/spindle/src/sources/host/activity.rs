//! Activity of a disk: the kernel's counters, and the rates between two samples of them
//! (Documentation/block/stat.rst and Documentation/admin-guide/iostats.rst of Linux).

use std::fs;
use std::time::Duration;

use super::disks::Disk;
use super::problems::Problem;

/// Shortest interval with rates: the time counters tick in milliseconds, some in jiffies of ten.
pub(super) const MIN_INTERVAL_SECONDS: f64 = 0.1;

/// Unit of the kernel's counters, whatever the sector size of the disk.
const SECTOR_BYTES: f64 = 512.0;

/// Counters of one disk at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ActivitySample {
    /// Time of the sample on a monotonic clock.
    pub(super) uptime: Duration,
    pub(super) counters: Counters,
    diskseq: Option<u64>,
}

impl ActivitySample {
    /// Returns true if both belong to the same disk, as far as the kernel shows (since 5.15): another disk under the
    /// same name has another sequence number.
    pub(super) fn same_disk(&self, other: &Self) -> bool {
        self.diskseq == other.diskseq
    }
}

/// Activity of a disk since it appeared, or between two samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counters {
    reads: u64,
    read_sectors: u64,
    read_ms: u64,
    writes: u64,
    write_sectors: u64,
    write_ms: u64,
    /// Time with at least one request in flight.
    busy_ms: u64,
    /// Time multiplied with the number of requests in flight.
    weighted_ms: u64,
}

/// Reads a disk's `stat`, which the kernel serves from memory, without accessing the disk.
pub(super) fn read(disk: &Disk, uptime: Duration) -> Result<ActivitySample, Problem> {
    let path = disk.path.join("stat");
    let text = fs::read_to_string(&path).map_err(|error| Problem::unreadable(&path, error))?;
    let counters = Counters::parse(&text).ok_or_else(|| Problem::unparsable(&path, &text, "at least 11 counters"))?;
    let diskseq = fs::read_to_string(disk.path.join("diskseq")).ok().and_then(|text| text.trim().parse().ok());
    Ok(ActivitySample { uptime, counters, diskseq })
}

impl Counters {
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<u64> = text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [reads, _, read_sectors, read_ms, writes, _, write_sectors, write_ms, _, busy_ms, weighted_ms, ..] =
            fields[..]
        else {
            return None;
        };
        Some(Self { reads, read_sectors, read_ms, writes, write_sectors, write_ms, busy_ms, weighted_ms })
    }

    /// Returns the difference to `earlier`; `None` if any counter decreased.
    pub(super) fn since(&self, earlier: &Self) -> Option<Self> {
        Some(Self {
            reads: self.reads.checked_sub(earlier.reads)?,
            read_sectors: self.read_sectors.checked_sub(earlier.read_sectors)?,
            read_ms: self.read_ms.checked_sub(earlier.read_ms)?,
            writes: self.writes.checked_sub(earlier.writes)?,
            write_sectors: self.write_sectors.checked_sub(earlier.write_sectors)?,
            write_ms: self.write_ms.checked_sub(earlier.write_ms)?,
            busy_ms: self.busy_ms.checked_sub(earlier.busy_ms)?,
            weighted_ms: self.weighted_ms.checked_sub(earlier.weighted_ms)?,
        })
    }

    /// Returns the metrics of an interval of `seconds`, which is above zero.
    pub(super) fn rates(self, seconds: f64) -> impl Iterator<Item = (&'static str, f64)> {
        let requests = (self.reads as f64) + (self.writes as f64);
        let request_ms = (self.read_ms as f64) + (self.write_ms as f64);
        let interval_ms = seconds * 1e3;
        let latency = (requests > 0.0).then_some(("Latency", request_ms / requests));
        [
            ("IOPs", requests / seconds),
            ("ReadThroughput", self.read_sectors as f64 * SECTOR_BYTES / seconds),
            ("WriteThroughput", self.write_sectors as f64 * SECTOR_BYTES / seconds),
            // The two clocks are not in step: a busy disk may come to slightly more than 100 %.
            ("Utilization", (self.busy_ms as f64 / interval_ms * 100.0).min(100.0)),
            ("QueueDepth", self.weighted_ms as f64 / interval_ms),
        ]
        .into_iter()
        .chain(latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_need_eleven_numbers() {
        let old_kernel = "34853 9272 4443722 25111 4257 22345 2044240 5610 0 7516 31214\n";
        let counters = Counters::parse(old_kernel).unwrap();
        assert_eq!((counters.reads, counters.write_ms, counters.weighted_ms), (34_853, 5_610, 31_214));
        assert_eq!(Counters::parse(&format!("{} 29 234888 482 1 203 9", old_kernel.trim())), Some(counters));
        for text in ["", "1 2 3", "1 2 3 4 5 6 7 8 9 10 x", "-1 2 3 4 5 6 7 8 9 10 11"] {
            assert_eq!(Counters::parse(text), None, "{text}");
        }
    }

    #[test]
    fn rates_are_per_second_and_per_request() {
        let delta = Counters {
            reads: 30,
            read_sectors: 2_000,
            read_ms: 60,
            writes: 10,
            write_sectors: 500,
            write_ms: 140,
            busy_ms: 1_001,
            weighted_ms: 200,
        };
        let rates: Vec<_> = delta.rates(1.0).collect();
        assert_eq!(
            rates,
            [
                ("IOPs", 40.0),
                ("ReadThroughput", 1_024_000.0),
                ("WriteThroughput", 256_000.0),
                ("Utilization", 100.0),
                ("QueueDepth", 0.2),
                ("Latency", 5.0),
            ]
        );
        assert!(Counters::default().rates(1.0).all(|(name, value)| name != "Latency" && value == 0.0), "idle");
    }
}
