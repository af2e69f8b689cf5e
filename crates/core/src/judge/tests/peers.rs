//! Slow devices and failing drives.

use super::*;

/// Sends a minute of latencies of twelve drives in one enclosure; `factors` slow down the first ones.
fn shelf(judge: &mut FleetJudge, i: i64, factors: &[f64]) {
    for drive in 0..12 {
        let device = format!("disk{drive:02}");
        let factor = factors.get(drive as usize).copied().unwrap_or(1.0);
        let value = factor * (5.0 + 0.02 * drive as f64) * (1.0 + 0.1 * noise(100 * i + drive));
        let labels = [("enclosure", "shelf"), ("serial", "S1"), ("model", "M")];
        judge.metric(&labelled(metric(&device, "Latency", minute(i), value), &labels), minute(i));
    }
}

#[test]
fn a_slow_drive_is_found_once_and_its_end_too() {
    let mut judge = FleetJudge::default();
    let mut events = Vec::new();
    for i in 0..900 {
        shelf(&mut judge, i, if (300..600).contains(&i) { &[2.0] } else { &[] });
        events.extend(judge.take());
    }
    let (slow, ended) = (of_type(&events, events::DEVICE_SLOW), of_type(&events, events::DEVICE_SLOW_ENDED));
    let levels: Vec<_> = slow.iter().map(|event| event.criticality.level()).collect();
    assert_eq!((levels.as_slice(), ended.len(), n_pages(&events)), ([7].as_slice(), 1, 1), "{slow:?} {ended:?}");
    assert!(slow[0].timestamp <= minute(310) && ended[0].timestamp < minute(840));
    assert_eq!(
        (label(slow[0], "n_peers"), label(slow[0], "enclosure"), label(slow[0], "serial")),
        ("11", "shelf", "S1")
    );
    let changed = of_type(&events, events::HEALTH_CHANGED);
    let of_slow: Vec<_> =
        changed.iter().filter(|event| &*event.source_device == "disk00").map(|event| label(event, "to")).collect();
    assert_eq!(of_slow, ["ok", "warning", "ok"]);
}

/// A load of its own slows a drive: nobody is called. The load of all of them explains nothing.
#[test]
fn a_drive_with_a_load_of_its_own_is_not_slow() {
    for (own, of_all, n_slow) in [(1.0, 1.0, 1), (2.0, 1.0, 0), (2.0, 2.0, 1), (2.0, 0.5, 0)] {
        let mut judge = FleetJudge::default();
        let mut events = Vec::new();
        for i in 0..600 {
            let is_slow = (300..500).contains(&i);
            for drive in 0..12 {
                let factor = if drive == 0 { own } else { of_all };
                let load = 100.0 * if is_slow { factor } else { 1.0 } * (1.0 + 0.1 * noise(90 * i + drive));
                judge.metric(&metric(&format!("disk{drive:02}"), "IOPs", minute(i), load), minute(i));
            }
            shelf(&mut judge, i, if is_slow { &[2.0] } else { &[] });
            events.extend(judge.take());
        }
        assert_eq!(of_type(&events, events::DEVICE_SLOW).len(), n_slow, "{own} {of_all}");
    }
}

#[test]
fn several_slow_drives_of_one_enclosure_are_one_page() {
    let mut judge = FleetJudge::default();
    let mut events = Vec::new();
    for i in 0..400 {
        shelf(&mut judge, i, if i >= 300 { &[2.0, 2.0, 2.1] } else { &[] });
        events.extend(judge.take());
    }
    let slow = of_type(&events, events::DEVICE_SLOW);
    let with = slow.iter().filter(|event| !label(event, "with").is_empty());
    assert_eq!((with.count(), n_pages(&events)), (2, 1), "{slow:?}");
}

/// Polls forty drives once an hour.
fn poll(judge: &mut FleetJudge, hour: i64, bad: f64) {
    let at = minute(60 * hour);
    for drive in 0..40 {
        let device = format!("disk{drive:02}");
        let sectors = if drive == 7 { bad } else { 0.0 };
        let labels = [("model", "M"), ("serial", device.as_str())];
        for (metric_type, value) in
            [("smart_5_raw", sectors), ("smart_197_raw", sectors), ("smart_187_raw", sectors), ("smart_194_raw", 30.0)]
        {
            judge.metric(&labelled(metric(&device, metric_type, at, value), &labels), at);
        }
    }
}

#[test]
fn a_failing_drive_is_predicted_once_and_its_replacement_is_another() {
    let mut judge = FleetJudge::default();
    let mut events = Vec::new();
    for hour in 0..240 {
        poll(&mut judge, hour, if hour < 100 { 0.0 } else { (hour as f64 - 99.0).min(40.0) });
        events.extend(judge.take());
    }
    let predicted = of_type(&events, events::FAILURE_PREDICTED);
    assert_eq!(
        (predicted.len(), n_pages(&events)),
        (1, 1),
        "{:?}",
        events.iter().filter(|e| e.criticality.level() > 4).collect::<Vec<_>>()
    );
    assert_eq!(&*predicted[0].source_device, "disk07");
    assert!(predicted[0].timestamp < minute(60 * 130) && !label(predicted[0], "advice").is_empty());
    judge.event(&event("disk07", "DriveFailure", minute(60 * 240), 9), minute(60 * 240));
    judge.event(&event("disk07", "DriveReplaced", minute(60 * 240 + 30), 2), minute(60 * 240 + 30));
    for hour in 241..340 {
        poll(&mut judge, hour, 0.0);
    }
    let events = judge.take();
    let of_drive: Vec<_> = events.iter().filter(|event| &*event.source_device == "disk07").collect();
    assert!(of_type(&events, events::FAILURE_PREDICTION_ENDED).is_empty() && n_pages(&events) == 0);
    assert_eq!(label(of_drive[of_drive.len() - 1], "to"), "ok", "{of_drive:?}");
}

#[test]
fn a_fault_of_the_data_hides_no_slow_drive_and_a_failure_does() {
    for (event_type, n_expected) in [("DataCorruption", 1), ("FailurePredicted", 0), ("ShelfOffline", 1)] {
        let mut judge = FleetJudge::default();
        for i in 0..400 {
            shelf(&mut judge, i, if i >= 300 { &[2.0] } else { &[] });
            if i == 250 {
                judge.event(&event("disk00", event_type, minute(i), 8), minute(i));
            }
        }
        assert_eq!(n_pages(&judge.take()), n_expected, "{event_type}");
    }
}

#[test]
fn a_risk_around_the_threshold_is_said_once() {
    let mut judge = FleetJudge::default();
    let mut events = Vec::new();
    for hour in 0..200 {
        // Attributes that come and go: the drive does not always answer.
        poll(
            &mut judge,
            hour,
            if hour < 50 {
                0.0
            } else if hour % 3 == 0 {
                200.0
            } else {
                2.0
            },
        );
        events.extend(judge.take());
    }
    let said: Vec<_> = events.iter().filter(|event| event.event_type.as_str().starts_with("Failure")).collect();
    assert!((1..=2).contains(&said.len()) && n_pages(&events) <= 1, "{said:?}");
}

/// Without peers, a device is compared with its own past; a load that is no longer sent excuses and accuses nothing.
#[test]
fn latency_beside_the_own_past_needs_a_present_load() {
    for (is_load_sent, n_expected) in [(true, 1), (false, 0)] {
        let mut judge = FleetJudge::default();
        for i in 0..400 {
            let factor = if i < 320 { 1.0 } else { 2.4 };
            send(&mut judge, "array", "Latency", minute(i), factor * (5.0 + 0.2 * noise(i)));
            if i < 280 || is_load_sent {
                send(&mut judge, "array", "IOPs", minute(i), 100.0 + noise(i));
            }
        }
        let events = judge.take();
        assert_eq!(of_type(&events, events::LATENCY_RAISED).len(), n_expected, "{events:?}");
        assert_eq!(n_pages(&events), n_expected);
    }
}
