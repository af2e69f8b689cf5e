//! Bounds, and the saved state.

use super::*;

/// A judge with something of everything in its state.
fn busy() -> FleetJudge {
    let mut judge = FleetJudge::default();
    for i in 0..300 {
        for device in 0..5 {
            let name = format!("disk{device}");
            let labels = [("enclosure", "shelf"), ("model", "M"), ("serial", "S")];
            for (metric_type, value) in [("Latency", 5.0), ("DiskTemp", 50.0), ("smart_5_raw", 3.0), ("Other", 1.0)] {
                let metric = metric(&name, metric_type, minute(i), value + noise(7 * i + device) * 8.0);
                judge.metric(&labelled(metric, &labels), minute(i));
            }
        }
        if i % 90 == 0 {
            judge.event(&event("disk1", "FanFailure", minute(i), 7), minute(i));
        }
    }
    judge
}

fn saved(judge: &FleetJudge) -> Vec<u8> {
    let mut bytes = Vec::new();
    judge.save(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_restored_state_is_the_same_and_small() {
    let judge = busy();
    let bytes = saved(&judge);
    let restored = FleetJudge::restore(bytes.as_slice()).unwrap();
    assert_eq!(saved(&restored), bytes);
    assert_eq!((restored.n_series(), restored.n_left_out()), (15, 0));
    let bound = judge.n_series() * (8 << 10) + judge.devices.len() * (4 << 10);
    println!("{} bytes for {} series of {} devices", bytes.len(), judge.n_series(), judge.devices.len());
    assert!(bytes.len() <= bound + 8_192, "{} of {bound}", bytes.len());
}

#[test]
fn damaged_bytes_are_an_error() {
    let bytes = saved(&busy());
    for place in (0..bytes.len()).step_by(997) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x20;
        assert!(FleetJudge::restore(damaged.as_slice()).is_err(), "byte {place}");
        assert!(FleetJudge::restore(&bytes[..place]).is_err(), "cut at {place}");
    }
}

#[test]
fn what_sends_nothing_for_thirty_days_is_forgotten() {
    let mut judge = busy();
    judge.advance(minute(300 + 60 * 24 * 32));
    assert_eq!((judge.n_series(), judge.devices.len(), judge.peers.cohorts.n_devices()), (0, 0, 0));
}

#[test]
fn a_series_without_room_is_counted_and_still_judged_by_its_limits() {
    let mut judge = FleetJudge { n_series: MAX_SERIES, ..FleetJudge::default() };
    for i in 0..20 {
        send(&mut judge, "d", "DiskTemp", minute(i), 70.0);
    }
    assert_eq!((judge.n_series(), judge.n_left_out()), (MAX_SERIES, 20));
    assert_eq!(n_pages(&judge.take()), 1);
}

#[test]
fn a_device_has_bounded_state_whatever_it_sends() {
    let mut judge = FleetJudge::default();
    for i in 0..2_000 {
        judge.metric(&metric("d", &format!("smart_{i}_raw"), minute(i), 1.0), minute(i));
        judge.metric(&metric("d", &format!("smart_{i}_normalized"), minute(i), 1.0), minute(i));
        let noise = Event { event_message: Some("x".repeat(10_000)), ..event("d", &format!("Type{i}"), minute(i), 9) };
        judge.event(&noise, minute(i));
        let labels = [("metric", format!("m{i}")), ("until", "2100-01-01T00:00:00Z".to_owned())];
        let labels: Labels = labels.map(|(key, value)| (key.to_owned(), value)).into();
        let accepted = Event { labels: Some(Box::new(labels)), ..event("d", "FindingAccepted", minute(i), 1) };
        judge.event(&accepted, minute(i));
    }
    assert!(saved(&judge).len() < 32 << 10, "{} bytes", saved(&judge).len());
    assert!(judge.devices.at(0).series.len() <= 256);
}
