//! Reads with limits of a few events: what is kept, and what is named as left out.

use spindle_core::records::TimeBasis;
use spindle_core::{Batch, Criticality, Event, EventType, Timestamp};

use super::*;
use crate::query_service::test_data::{event, name, put};

const LIMITS: ReadLimits = ReadLimits { of_device: 3, page: 4, n_pages: 2, n_apart: 1 };
const NOW: Timestamp = Timestamp::from_seconds(1_750_000_000);

/// Reads the events of devices that sent one at each of these seconds before now.
async fn read_all(sent: &[(&str, &[u64])], device: Option<&str>) -> BoundedEvents {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_embedded(&folder.path().join("a.db")).await.unwrap();
    let of = |(device, ages): &(&str, &[u64])| -> Vec<Event> {
        ages.iter().map(|age| event(device, "FanFailure", NOW.minus(Duration::from_secs(*age)), &[])).collect()
    };
    put(&store, Batch { metrics: Vec::new(), events: sent.iter().flat_map(of).collect() }, NOW).await;
    let filter = EventFilter {
        window: Window::ending_at(NOW, Duration::from_secs(1_000)),
        basis: TimeBasis::Happened,
        source_device: device.map(name),
        event_type: Some(EventType::new("FanFailure").unwrap()),
        min_criticality: Criticality::MIN,
        limit: 0,
        offset: 0,
    };
    read(&store, filter, LIMITS).await.unwrap()
}

fn ages(found: &BoundedEvents, device: &str) -> Vec<f64> {
    let records = found.by_device.get(&name(device)).map(Vec::as_slice).unwrap_or_default();
    records.iter().map(|record| NOW.seconds_since(record.event.timestamp)).collect()
}

fn names(devices: &HashSet<DeviceName>) -> Vec<&str> {
    let mut names: Vec<&str> = devices.iter().map(|device| device.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn pages_meet_without_gap_or_repetition() {
    // Three events of one instant lie on the border of the first page.
    let found = read_all(&[("a", &[1, 4, 6]), ("b", &[2, 4, 6]), ("c", &[4])], None).await;
    assert_eq!((ages(&found, "a"), ages(&found, "b")), (vec![1.0, 4.0, 6.0], vec![2.0, 4.0, 6.0]));
    assert_eq!((ages(&found, "c"), names(&found.cut)), (vec![4.0], Vec::new()));
}

#[tokio::test]
async fn a_loud_device_hides_no_other_and_those_left_out_are_named() {
    let loud: &[u64] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let found = read_all(&[("loud", loud), ("quiet", &[20, 30])], None).await;
    assert_eq!((ages(&found, "loud"), ages(&found, "quiet")), (vec![1.0, 2.0, 3.0], vec![20.0, 30.0]));
    assert_eq!((names(&found.cut), names(&found.unread)), (vec!["loud"], Vec::new()));
    let found = read_all(&[("loud", loud), ("quiet", &[20, 30]), ("silent", &[40])], None).await;
    assert_eq!(found.unread.len(), 1, "one is read apart: {found:?}");
    assert_eq!(names(&found.cut).len(), 2);
}

#[tokio::test]
async fn many_events_of_one_instant_end_the_pages() {
    let found =
        read_all(&[("a", &[5; 1]), ("b", &[5]), ("c", &[5]), ("d", &[5]), ("e", &[5]), ("f", &[6])], None).await;
    let n_read: usize = found.by_device.values().map(Vec::len).sum();
    assert_eq!((n_read, found.unread.len()), (5, 1), "{found:?}");
}

#[tokio::test]
async fn the_newest_of_one_device_are_read() {
    let found = read_all(&[("a", &[9, 3, 7, 1, 5]), ("b", &[1])], Some("a")).await;
    assert_eq!((ages(&found, "a"), names(&found.cut), found.unread.len()), (vec![1.0, 3.0, 5.0], vec!["a"], 0));
}

#[test]
fn an_answer_that_keeps_much_reads_less() {
    let ReadLimits { of_device, page, n_pages, n_apart } = ReadLimits::DEFAULT;
    let beside = |n_kept| {
        let limits = ReadLimits::DEFAULT.beside(n_kept);
        (limits.n_pages, limits.n_apart)
    };
    assert_eq!(beside(0), (n_pages, n_apart));
    assert_eq!(beside(MAX_KEPT - 2 * page), (2, 2 * page / of_device));
    assert_eq!((beside(MAX_KEPT), beside(usize::MAX)), ((1, 0), (1, 0)));
}
