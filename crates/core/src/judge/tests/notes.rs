//! Notes: one per incident, late and doubled data aside.

use super::*;

/// Minutes of a calm temperature, and a step of 20 degrees for the last `n_hot`.
fn temperatures(judge: &mut FleetJudge, n: i64, n_hot: i64) -> Vec<Event> {
    for i in 0..n {
        let step = if i >= n - n_hot { 20.0 } else { 0.0 };
        send(judge, "d", "nvme_temperature", minute(i), 30.0 + noise(i) + step);
    }
    judge.take()
}

#[test]
fn a_step_is_one_note_with_its_evidence() {
    let mut judge = FleetJudge::default();
    let events = temperatures(&mut judge, 6_000, 600);
    let notes = of_type(&events, events::METRIC_ANOMALY);
    let at_step: Vec<_> = notes.iter().filter(|note| note.timestamp >= minute(5_400)).collect();
    assert_eq!(at_step.len(), 1, "{notes:?}");
    let note = at_step[0];
    assert!(note.timestamp < minute(5_405) && (4..=6).contains(&note.criticality.level()));
    assert_eq!(label(note, "metric"), "nvme_temperature");
    let [value, low, high] =
        ["value", "expected_low", "expected_high"].map(|key| label(note, key).parse::<f64>().unwrap());
    assert!(low < high && high < value && value > 49.0, "{note:?}");
    let message = note.event_message.as_deref().unwrap();
    assert!(message.contains("°C, expected") && message.contains("as odd once in"), "{message}");
    assert!(notes.len() <= 2, "{notes:?}");
}

#[test]
fn a_flapping_series_makes_few_notes() {
    let mut judge = FleetJudge::default();
    let mut events = temperatures(&mut judge, 4_000, 0);
    for i in 4_000..10_000 {
        let flap = if (i / 30) % 2 == 0 { 25.0 * noise(i / 60) } else { 0.0 };
        send(&mut judge, "d", "nvme_temperature", minute(i), 30.0 + noise(i) + flap);
    }
    events.extend(judge.take());
    let notes = of_type(&events, events::METRIC_ANOMALY);
    assert!((1..=8).contains(&notes.len()), "{}", notes.len());
}

#[test]
fn late_and_doubled_values_teach_nothing() {
    let (mut plain, mut disturbed) = (FleetJudge::default(), FleetJudge::default());
    temperatures(&mut plain, 500, 0);
    for i in 0..500 {
        let received = minute(i);
        send(&mut disturbed, "d", "nvme_temperature", minute(i), 30.0 + noise(i));
        disturbed.metric(&metric("d", "nvme_temperature", minute(i), 99.0), received);
        disturbed.metric(&metric("d", "nvme_temperature", minute(i - 10), 99.0), received);
    }
    let detector = |judge: &mut FleetJudge| judge.devices.at(0).series[0].detector.clone().unwrap();
    assert_eq!(detector(&mut plain), detector(&mut disturbed));
}

#[test]
fn a_clock_that_was_ahead_and_is_set_goes_on() {
    let mut judge = FleetJudge::default();
    let year = Duration::from_secs(365 * 86_400);
    judge.metric(&metric("d", "x", minute(0).plus(year), 1.0), minute(0));
    judge.metric(&metric("d", "x", minute(1), 2.0), minute(1));
    let newest = judge.devices.at(0).series[0].newest.clone().unwrap();
    assert_eq!((newest.time, newest.value), (minute(1), 2.0));
}

#[test]
fn a_recording_teaches_and_is_no_news() {
    let mut judge = FleetJudge::default();
    let week = Duration::from_secs(7 * 86_400);
    for i in 0..6_000 {
        let step = if i >= 5_400 { 20.0 } else { 0.0 };
        judge.metric(&metric("d", "nvme_temperature", minute(i), 30.0 + noise(i) + step), minute(i).plus(week));
    }
    assert_eq!(of_type(&judge.take(), events::METRIC_ANOMALY).len(), 0);
}

#[test]
fn attributes_that_are_no_series_have_no_detector() {
    let mut judge = FleetJudge::default();
    for metric_type in
        ["smart_5_normalized", "smart_9_raw", "PowerOnHours", "spindle_writer_points_total", "smart_5_raw"]
    {
        send(&mut judge, "d", metric_type, minute(0), 1.0);
    }
    assert_eq!(judge.n_series(), 0);
    for metric_type in ["DiskTemp", "smart_194_raw", "Latency", "VendorThing"] {
        send(&mut judge, "d", metric_type, minute(0), 30.0);
    }
    assert_eq!((judge.n_series(), judge.n_left_out()), (4, 0));
}
