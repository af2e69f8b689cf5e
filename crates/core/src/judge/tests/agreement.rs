//! Notes that agree, and load that explains them.

use super::*;
use crate::judge::device::agreement::Family;

/// Three days of a device with a load, minute by minute; the last hours as `change` makes them: factors of load, latency
/// and temperature.
fn device(judge: &mut FleetJudge, name: &str, change: [f64; 3]) {
    for i in 0..4_400 {
        let [load, latency, celsius] = if i >= 4_320 { change } else { [1.0; 3] };
        let noise = |k: i64| noise(10 * i + k);
        let enclosure = [("enclosure", "shelf"), ("serial", name)];
        for (metric_type, value) in [
            ("IOPs", load * (100.0 + 10.0 * noise(1))),
            ("Latency", latency * (5.0 + noise(2))),
            ("nvme_temperature", celsius * (30.0 + noise(3))),
        ] {
            judge.metric(&labelled(metric(name, metric_type, minute(i), value), &enclosure), minute(i));
        }
    }
}

fn agreed(change: [f64; 3]) -> Vec<Event> {
    let mut judge = FleetJudge::default();
    device(&mut judge, "d", change);
    judge.advance(minute(6_000));
    judge.take()
}

#[test]
fn latency_and_temperature_that_rise_alone_call_a_person_once_and_end() {
    let events = agreed([1.0, 4.0, 1.5]);
    let agree = of_type(&events, events::ANOMALIES_AGREE);
    assert_eq!((agree.len(), n_pages(&events)), (1, 1), "{events:?}");
    assert_eq!((label(agree[0], "families"), agree[0].criticality.level()), ("latency,temperature", 7));
    assert!((minute(4_320)..minute(4_330)).contains(&agree[0].timestamp));
    assert!(!of_type(&events, events::ANOMALIES_ENDED).is_empty());
}

#[test]
fn load_is_no_illness() {
    for change in [[4.0, 4.0, 1.5], [4.0, 1.0, 1.0], [1.0, 1.8, 1.0], [0.2, 0.3, 0.8]] {
        let events = agreed(change);
        assert_eq!(of_type(&events, events::ANOMALIES_AGREE).len(), 0, "{change:?}");
    }
}

#[test]
fn most_devices_of_an_enclosure_are_one_page_that_names_it() {
    let mut judge = FleetJudge::default();
    for i in 0..4_400 {
        for disk in 0..4 {
            let celsius = if i >= 4_320 { 15.0 } else { 0.0 };
            let value = 30.0 + celsius + noise(10 * i + disk);
            let name = format!("disk{disk}");
            let metric = metric(&name, "nvme_temperature", minute(i), value);
            judge.metric(&labelled(metric, &[("enclosure", "shelf")]), minute(i));
        }
    }
    let events = judge.take();
    let agree = of_type(&events, events::ANOMALIES_AGREE);
    assert_eq!((agree.len(), n_pages(&events)), (1, 1), "{agree:?}");
    assert_eq!((label(agree[0], "enclosure"), label(agree[0], "n_devices")), ("shelf", "3"));
    assert_eq!(label(agree[0], "devices").split(',').count(), 3);
}

/// Four drives of a shelf with a temperature and a latency each, which rise after three days as `changes` make them: minute,
/// first drive, factors of latency and temperature. `events` arrive in between.
fn shelf(changes: &[(i64, i64, [f64; 2])], events: &[(i64, Event)], lag_s: [i64; 4]) -> Vec<Event> {
    let mut judge = FleetJudge::default();
    let mut made = Vec::new();
    for i in 0..4_500 {
        for disk in 0..4 {
            let applies = |change: &&(i64, i64, [f64; 2])| i >= change.0 && disk >= change.1;
            let [latency, celsius] = changes.iter().rfind(applies).map_or([1.0; 2], |change| change.2);
            let name = format!("disk{disk}");
            let noise = |k: i64| noise(100 * i + 10 * disk + k);
            for (metric_type, value) in
                [("Latency", latency * (5.0 + noise(1))), ("nvme_temperature", celsius * (30.0 + noise(2)))]
            {
                let measured = minute(i).minus(Duration::from_secs(lag_s[disk as usize] as u64));
                let metric = metric(&name, metric_type, measured, value);
                judge.metric(&labelled(metric, &[("enclosure", "shelf")]), minute(i));
            }
        }
        for (_, event) in events.iter().filter(|(at, _)| *at == i) {
            judge.event(event, minute(i));
        }
        made.extend(judge.take());
    }
    made
}

fn heat_pages(events: &[Event]) -> usize {
    let agree = of_type(events, events::ANOMALIES_AGREE);
    agree.iter().filter(|event| label(event, "families") == "temperature" && event.criticality.calls()).count()
}

#[test]
fn slowness_of_a_shelf_hides_its_heat_not() {
    let events = shelf(&[(4_320, 0, [4.0, 1.0]), (4_400, 0, [4.0, 1.5])], &[], [0; 4]);
    assert_eq!(heat_pages(&events), 1);
    let of_shelf =
        of_type(&events, events::ANOMALIES_AGREE).into_iter().filter(|event| !label(event, "devices").is_empty());
    assert_eq!(of_shelf.count(), 2);
}

#[test]
fn a_page_about_one_disk_hides_the_heat_of_its_shelf_not() {
    let slow: Vec<(i64, Event)> =
        (0..4).map(|disk| (4_000, event(&format!("disk{disk}"), "DeviceSlow", minute(4_000), 7))).collect();
    let events = shelf(&[(4_320, 0, [1.0, 1.5])], &slow, [0; 4]);
    assert_eq!(heat_pages(&events), 1, "{events:?}");
    let fan = [(4_310, event("disk0", "FanFailure", minute(4_310), 7))];
    let events = shelf(&[(4_320, 0, [1.0, 1.5])], &fan, [0; 4]);
    assert_eq!(heat_pages(&events), 0, "the fan has called");
}

/// Clocks of some drives may be hours behind.
#[test]
fn devices_agree_by_the_time_of_arrival() {
    let lag_s = [13 * 3_600, 7 * 3_600, 3 * 3_600, 0];
    assert_eq!(heat_pages(&shelf(&[(4_320, 0, [1.0, 1.5])], &[], lag_s)), 1);
}

#[test]
fn an_enclosure_is_counted_by_its_whole_name_and_however_large_it_is() {
    let mut judge = FleetJudge::default();
    for (enclosure, n_devices) in [("shelf", 3), ("shelf 2", 90)] {
        for disk in 0..n_devices {
            let metric = metric(&format!("{enclosure} {disk}"), "nvme_temperature", minute(0), 30.0);
            judge.metric(&labelled(metric, &[("enclosure", enclosure), ("class", "disk")]), minute(0));
        }
    }
    assert_eq!((judge.peers.n_in("shelf"), judge.peers.n_in("shelf 2")), (3, 90));
    let mut shelves = Shelves::default();
    let mut agreed = 0;
    for device in judge.devices.iter().filter(|device| device.enclosure() == Some("shelf 2")) {
        agreed += usize::from(shelves.agree(device, Family::Temperature, minute(1), 180).is_some());
    }
    assert_eq!(agreed, 0, "90 of 180 are not most");
    let agree = judge.devices.iter().map(|device| {
        shelves.agree(device, Family::Temperature, minute(1), 170).is_some_and(|(devices, _)| devices.len() >= 86)
    });
    assert!(agree.filter(|is_most| *is_most).count() > 0, "90 of 170 are most");
}
