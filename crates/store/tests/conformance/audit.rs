//! Sequence numbers: each is counted once, by the time of its point, and found again outside a window.

use std::sync::Arc;

use spindle_core::audit::{Missing, Points, SEQUENCES_PER_EPOCH, SeqVisitor, Tally};
use spindle_core::response::{AuditState, AuditedDevice};
use spindle_core::{Batch, DeviceMetric, Event, Timestamp};

use crate::fixture::*;

fn numbered(mut metric: DeviceMetric, seq: u64) -> DeviceMetric {
    metric.seq = Some(seq);
    metric
}

fn numbered_event(mut event: Event, seq: u64) -> Event {
    event.seq = Some(seq);
    event
}

async fn tally(store: &Store, name: &str, from: i64, until: i64) -> Tally {
    store.tally(&[device(name)], window(from, until)).await.unwrap().pop().unwrap()
}

/// Points, points without a number, distinct numbers, missing ones, duplicates.
fn counts(tally: &Tally) -> (u64, u64, u64, u64, u64) {
    let (n_numbers, n_missing, n_doubled) = tally.totals();
    (tally.n_points(), tally.n_without_seq(), n_numbers, n_missing, n_doubled)
}

pub(crate) async fn counts_metrics_and_events_of_each_device(store: &Store) {
    let metrics = vec![
        numbered(metric("a", "IOPs", 10, 1.0), 1),
        numbered(metric("a", "DiskTemp", 10, 1.0), 2),
        // Three is missing, four is duplicated.
        numbered(metric("a", "IOPs", 20, 1.0), 4),
        numbered(metric("a", "IOPs", 30, 1.0), 4),
        metric("a", "Latency", 10, 1.0),
        numbered(metric("b", "IOPs", 10, 1.0), 8),
        metric("plain", "IOPs", 10, 1.0),
    ];
    let events = vec![
        numbered_event(event(1, "a", "Note", 15, 5), 5),
        event(2, "a", "Note", 16, 5),
        numbered_event(event(3, "b", "Note", 15, 5), 9),
    ];
    store.write(batch(metrics, events), at(NOON)).await.unwrap();
    let asked = ["b", "nobody", "a", "plain"].map(device);
    let tallies = store.tally(&asked, window(0, 100)).await.unwrap();
    let expect = [(2, 0, 2, 0, 0), (0, 0, 0, 0, 0), (7, 2, 4, 1, 1), (1, 1, 0, 0, 0)];
    assert_eq!(tallies.iter().map(counts).collect::<Vec<_>>(), expect);
    let findings = tallies[2].findings();
    assert_eq!(findings[0].missing, [Missing { from: 3, to: 3, after: None, before: None }]);
    assert_eq!(findings[0].duplicates.iter().map(|duplicate| duplicate.sequence).collect::<Vec<_>>(), [4]);
    assert_eq!(findings[0].points, Points::Both);
    assert_eq!(store.tally(&[], window(0, 100)).await.unwrap().len(), 0);
}

pub(crate) async fn windows_include_their_start_and_exclude_their_end(store: &Store) {
    let metrics = (10..=30).step_by(10).map(|time| numbered(metric("a", "IOPs", time, 1.0), time as u64)).collect();
    let events = (10..=30).step_by(10).map(|time| numbered_event(event(1, "a", "Note", time, 1), 100 + time as u64));
    // Whole seconds, after which the points of events lie in InfluxDB.
    let whole =
        (1..=3).map(|second| numbered_event(event(2, "late", "Note", NOON + second * SECOND, 1), second as u64));
    store.write(batch(metrics, events.chain(whole).collect()), at(NOON)).await.unwrap();
    assert_eq!(tally(store, "a", 10, 30).await.n_points(), 4);
    assert_eq!(tally(store, "a", 11, 31).await.n_points(), 4);
    assert_eq!(tally(store, "a", 10, 10).await.n_points(), 0);
    assert_eq!(tally(store, "a", 30, 10).await.n_points(), 0);
    assert_eq!(tally(store, "a", i64::MIN, i64::MAX).await.n_points(), 6);
    assert_eq!(tally(store, "late", NOON + SECOND, NOON + 3 * SECOND).await.n_points(), 2);
    assert_eq!(tally(store, "late", NOON + SECOND + 1, NOON + 3 * SECOND + 1).await.n_points(), 2);
}

/// Collects all visits.
#[derive(Default)]
struct Visited(Vec<(u64, Timestamp)>);

impl SeqVisitor for Visited {
    fn visit(&mut self, seq: u64, time: Timestamp) {
        self.0.push((seq, time));
    }
}

pub(crate) async fn numbers_of_every_size_are_heard_with_their_times(store: &Store) {
    let exact = 9_007_199_254_740_993; // 2^53 + 1, which a float would round
    let seqs = [0, 1, exact - 1, exact, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX];
    let metrics = seqs.iter().zip(1..).map(|(seq, time)| numbered(metric("a", "IOPs", time, 1.0), *seq));
    let events = seqs.iter().zip(1..).map(|(seq, id)| numbered_event(event(id, "a", "Note", NOON, 1), *seq));
    let others = vec![numbered(metric("b", "IOPs", 1, 1.0), 1), metric("a", "IOPs", 99, 1.0)];
    store.write(batch(metrics.chain(others).collect(), events.collect()), at(NOON)).await.unwrap();
    let mut expect: Vec<_> = seqs.iter().zip(1..).map(|(seq, time)| (*seq, at(time))).collect();
    expect.extend(seqs.iter().map(|seq| (*seq, at(NOON))));
    expect.sort_unstable();
    for range in [0..=u64::MAX, exact..=exact, 1..=i64::MAX as u64] {
        let visited = store.sequences(&device("a"), always(), range.clone(), Visited::default()).await.unwrap();
        // Numbers outside the range may be visited or not.
        let mut visited: Vec<_> = visited.0.into_iter().filter(|(seq, _)| range.contains(seq)).collect();
        visited.sort_unstable();
        let within: Vec<_> = expect.iter().copied().filter(|(seq, _)| range.contains(seq)).collect();
        assert_eq!(visited, within, "{range:?}");
    }
}

pub(crate) async fn what_lies_outside_the_window_is_no_gap(store: &Store) {
    // Number 2 lies before the window, 4 after it, 6 is missing.
    let metrics = [(1, 100), (2, 50), (3, 110), (4, 250), (5, 120), (7, 130), (8, 10), (9, 300)];
    put_metrics(store, metrics.iter().map(|(seq, time)| numbered(metric("a", "IOPs", *time, 1.0), *seq)).collect())
        .await;
    let inside = tally(store, "a", 100, 200).await;
    assert_eq!(inside.totals(), (4, 3, 0));
    let gaps = inside.gaps().unwrap();
    let whole = store.sequences(&device("a"), window(0, 400), gaps, inside).await.unwrap();
    // 8 and 9 exceed the last number of the window: they do not affect it.
    assert_eq!(whole.totals(), (6, 1, 0));
    let mut findings = whole.findings();
    let places = findings[0].seq_times();
    let places = store.sequences(&device("a"), window(0, 400), places.range().unwrap(), places).await.unwrap();
    findings[0].locate(&places);
    assert_eq!(findings[0].missing, [Missing { from: 6, to: 6, after: Some(at(120)), before: Some(at(130)) }]);
}

pub(crate) async fn the_same_delivered_again_doubles_nothing(store: &Store) {
    let metrics: Vec<_> = (0..50).map(|time| numbered(metric("a", "IOPs", time, 1.0), time as u64)).collect();
    let events: Vec<_> = (0..50)
        .map(|id| numbered_event(event(id, "a", "Note", id as i64, 1), SEQUENCES_PER_EPOCH + id as u64))
        .collect();
    let once = Arc::new(Batch { metrics: metrics.clone(), events });
    for received in [NOON, NOON + SECOND] {
        store.write(Arc::clone(&once), at(received)).await.unwrap();
        assert_eq!(counts(&tally(store, "a", 0, 100).await), (100, 0, 100, 0, 0));
    }
    // A recording repeats the values without numbers: the stored numbers stay.
    put_metrics(store, metrics.iter().cloned().map(|metric| DeviceMetric { seq: None, ..metric }).collect()).await;
    let other_values = metrics.into_iter().map(|metric| DeviceMetric { seq: None, value: 2.0, ..metric });
    put_metrics(store, other_values.collect()).await;
    assert_eq!(counts(&tally(store, "a", 0, 100).await), (100, 0, 100, 0, 0));
}

pub(crate) async fn names_of_every_kind_are_told_apart(store: &Store) {
    let names = ["'; DROP TABLE devices; --", "a,b=c d\\", "a.b.*.>", "e\u{301}", "é", "磁盘/3", "🔥"];
    let metrics = names.iter().zip(1..).map(|(name, seq)| numbered(metric(name, "IOPs", NOON, 1.0), seq));
    let events = names.iter().zip(1..).map(|(name, seq)| numbered_event(event(1, name, name, NOON, 1), seq + 1));
    store.write(batch(metrics.collect(), events.collect()), at(NOON)).await.unwrap();
    for tally in store.tally(&names.map(device), always()).await.unwrap() {
        assert_eq!(counts(&tally), (2, 0, 2, 0, 0));
    }
}

/// More rows than one response of a server holds, and more devices than one query names.
pub(crate) async fn many_points_of_many_devices_are_all_counted(store: &Store) {
    let names: Vec<String> = (0..120).map(|number| format!("disk-{number:03}")).collect();
    let metrics = names.iter().flat_map(|name| {
        (0..250)
            .map(move |seq| numbered(metric(name, ["IOPs", "Latency"][seq % 2], seq as i64 * SECOND, 1.0), seq as u64))
    });
    put_metrics(store, metrics.collect()).await;
    let asked: Vec<_> = names.iter().map(|name| device(name)).collect();
    let tallies = store.tally(&asked, window(0, 200 * SECOND)).await.unwrap();
    assert_eq!(tallies.len(), 120);
    assert!(tallies.iter().all(|tally| counts(tally) == (200, 0, 200, 0, 0)));
}

/// Two values of one device, type and nanosecond: the later one stays, and the number of the earlier one is missing,
/// also where no number before or after it would show that.
pub(crate) async fn values_that_meet_cost_their_numbers(store: &Store) {
    let value = |name: &str, time, seq: u64| numbered(metric(name, "IOPs", time, seq as f64), seq);
    let check = async |name: &str, n_points: u64, expect: (u64, u64, u64), missing: &[(u64, u64)]| {
        let tally = tally(store, name, 0, 100).await;
        assert_eq!((tally.n_points(), tally.totals()), (n_points, expect), "{name}");
        let found: Vec<_> = tally.findings().into_iter().flat_map(|finding| finding.missing).collect();
        assert_eq!(found.iter().map(|missing| (missing.from, missing.to)).collect::<Vec<_>>(), missing, "{name}");
        let state = AuditedDevice::new(device(name), &tally).state;
        assert_eq!(state, if missing.is_empty() { AuditState::Complete } else { AuditState::Gaps }, "{name}");
    };
    put_metrics(store, (1..=5).map(|seq| value("one batch", 10, seq)).collect()).await;
    check("one batch", 1, (1, 4, 0), &[(1, 4)]).await;

    for seq in [1, 2] {
        put_metrics(store, vec![value("two batches", 10, seq)]).await;
    }
    check("two batches", 1, (1, 1, 0), &[(1, 1)]).await;
    // The earlier one is delivered again: now the other number is gone.
    put_metrics(store, vec![value("two batches", 10, 1)]).await;
    check("two batches", 1, (1, 1, 0), &[(2, 2)]).await;

    put_metrics(store, vec![value("backwards", 10, 6), value("backwards", 20, 7)]).await;
    put_metrics(store, vec![value("backwards", 20, 5)]).await;
    check("backwards", 2, (2, 1, 0), &[(7, 7)]).await;
    put_metrics(store, vec![value("backwards", 30, 7)]).await;
    check("backwards", 3, (3, 0, 0), &[]).await;

    // Another epoch took the place.
    put_metrics(store, vec![value("epochs", 10, 3)]).await;
    put_metrics(store, vec![value("epochs", 10, SEQUENCES_PER_EPOCH)]).await;
    check("epochs", 1, (1, 1, 0), &[(3, 3)]).await;

    // The same again, and a value without a number, cost none.
    for _ in 0..2 {
        put_metrics(store, vec![value("again", 10, 1), value("again", 20, 2)]).await;
    }
    put_metrics(store, vec![metric("again", "IOPs", 10, 7.0)]).await;
    check("again", 2, (2, 0, 0), &[]).await;

    // It is missing in the window that holds its time, and in no other.
    assert_eq!(tally(store, "two batches", 11, 100).await.totals(), (0, 0, 0));
    assert_eq!(tally(store, "two batches", 0, 10).await.totals(), (0, 0, 0));
}
